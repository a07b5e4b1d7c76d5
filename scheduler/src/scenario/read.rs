//! Typed values out of the tree. What is wrong is noted and reading goes on, so that one run shows everything.

use std::collections::BTreeMap;

use placement_api::duration::GoDuration;
use placement_api::quantity::{Quantity, ResourceVector};
use placement_api::resources::{CPU, MEMORY};

use super::Problem;
use super::tree::{Key, Tree, Value};

/// What `gpu` stands for.
pub(super) const GPU: &str = "nvidia.com/gpu";
/// A hundred years, in ms: what is longer is a mistake.
const LONGEST_MS: i64 = 100 * 365 * 24 * 3_600_000;
/// Largest amounts in base units; larger ones are a mistake and could overflow sums.
const MOST_MEMORY: i64 = 1 << 60;
const MOST_CPU: i64 = 1_000_000_000_000;
const MOST_OTHER: i64 = 1_000_000_000;

/// A value with its path.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pub(super) tree: &'a Tree,
    pub(super) path: String,
}

/// The fields of a map.
pub(super) struct Fields<'a> {
    line: u64,
    path: String,
    entries: &'a [(Key, Tree)],
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<Node<'a>> {
        let (_, tree) = self.entries.iter().find(|(key, _)| key.text == name)?;
        (!matches!(tree.value, Value::Null)).then(|| Node {
            tree,
            path: join(&self.path, name),
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn line(&self) -> u64 {
        self.line
    }
}

impl Node<'_> {
    pub(super) fn line(&self) -> u64 {
        self.tree.line
    }

    /// The text as it was written, of whatever kind.
    fn shown(&self) -> String {
        match &self.tree.value {
            Value::Text(text) | Value::Number(text) => format!("{text:?}"),
            Value::Bool(value) => value.to_string(),
            _ => self.tree.kind().to_owned(),
        }
    }
}

impl Reader {
    /// Notes that something is wrong.
    pub(super) fn wrong(&mut self, node: &Node<'_>, message: impl Into<String>) {
        self.wrong_at(node.tree.line, &node.path, message);
    }

    pub(super) fn wrong_at(&mut self, line: u64, path: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            line,
            path: path.to_owned(),
            message: message.into(),
        });
    }

    /// The fields of a map, of which no other may be there.
    pub(super) fn fields<'a>(
        &mut self,
        node: &Node<'a>,
        what: &str,
        known: &[&str],
    ) -> Option<Fields<'a>> {
        let Value::Map(entries) = &node.tree.value else {
            let kind = node.tree.kind();
            self.wrong(
                node,
                format!(
                    "is {kind}; write {what} with its fields ({})",
                    known.join(", ")
                ),
            );
            return None;
        };
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                let fields = format!("the fields are {}", known.join(", "));
                let message = format!(
                    "{what} has no such field; {}",
                    way_out(near(&key.text, known), &fields)
                );
                self.wrong_at(key.line, &join(&node.path, &key.text), message);
            }
        }
        Some(Fields {
            line: node.tree.line,
            path: node.path.clone(),
            entries,
        })
    }

    /// A field that must be there.
    pub(super) fn required<'a>(
        &mut self,
        fields: &Fields<'a>,
        name: &str,
        example: &str,
    ) -> Option<Node<'a>> {
        let found = fields.get(name);
        if found.is_none() {
            self.wrong_at(
                fields.line,
                &join(&fields.path, name),
                format!("is missing; write for example `{name}: {example}`"),
            );
        }
        found
    }

    /// The items of a list.
    pub(super) fn items<'a>(&mut self, node: Option<Node<'a>>, example: &str) -> Vec<Node<'a>> {
        let Some(node) = node else {
            return Vec::new();
        };
        let Value::List(items) = &node.tree.value else {
            self.wrong(
                &node,
                format!("is {}; write a list, such as {example}", node.tree.kind()),
            );
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(index, tree)| Node {
                tree,
                path: format!("{}[{index}]", node.path),
            })
            .collect()
    }

    /// Keys and values of a map that may have any keys.
    pub(super) fn entries<'a>(
        &mut self,
        node: Option<Node<'a>>,
        example: &str,
    ) -> Vec<(&'a Key, Node<'a>)> {
        let Some(node) = node else {
            return Vec::new();
        };
        let Value::Map(entries) = &node.tree.value else {
            self.wrong(
                &node,
                format!("is {}; write a map, such as {example}", node.tree.kind()),
            );
            return Vec::new();
        };
        entries
            .iter()
            .map(|(key, tree)| {
                (
                    key,
                    Node {
                        tree,
                        path: join(&node.path, &key.text),
                    },
                )
            })
            .collect()
    }

    /// Text of any kind; numbers are what was written.
    pub(super) fn text(&mut self, node: &Node<'_>, example: &str) -> Option<String> {
        match &node.tree.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            _ => {
                let kind = node.tree.kind();
                self.wrong(node, format!("is {kind}; write text, such as {example}"));
                None
            }
        }
    }

    /// A name: not empty, on one line, without spaces.
    pub(super) fn name(&mut self, node: &Node<'_>) -> Option<String> {
        let text = self.text(node, "train-1")?;
        let fits = !text.is_empty()
            && text.len() <= 253
            && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if !fits {
            let shown: String = text.chars().take(40).collect();
            self.wrong(
                node,
                format!("{shown:?} is not a name; write 1 to 253 characters without spaces"),
            );
        }
        fits.then_some(text)
    }

    pub(super) fn bool(&mut self, node: &Node<'_>) -> Option<bool> {
        if let Value::Bool(value) = node.tree.value {
            return Some(value);
        }
        let shown = node.shown();
        self.wrong(node, format!("is {shown}; write true or false"));
        None
    }

    /// A whole number within bounds.
    pub(super) fn integer(&mut self, node: &Node<'_>, least: i64, most: i64) -> Option<i64> {
        let shown = node.shown();
        let number = match &node.tree.value {
            Value::Text(text) | Value::Number(text) => text.parse::<i128>().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong(
                node,
                format!("{shown} is not a whole number; write one from {least} to {most}"),
            );
            return None;
        };
        match i64::try_from(number) {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                let what = if number < 0 && least >= 0 {
                    "is negative"
                } else if number < i128::from(least) {
                    "is too small"
                } else {
                    "is too large"
                };
                self.wrong(
                    node,
                    format!("{shown} {what}; write a whole number from {least} to {most}"),
                );
                None
            }
        }
    }

    /// A length of time of 0 or more, in ms.
    pub(super) fn duration(&mut self, node: &Node<'_>) -> Option<i64> {
        let ms = self.time(node)?;
        if ms < 0 {
            let shown = node.shown();
            self.wrong(
                node,
                format!("{shown} is negative; write a duration of 0s or more, such as 10m"),
            );
            return None;
        }
        Some(ms)
    }

    /// A time: a duration from the start, before it with a minus, in ms.
    pub(super) fn time(&mut self, node: &Node<'_>) -> Option<i64> {
        let shown = node.shown();
        let text = match &node.tree.value {
            Value::Text(text) => text.trim(),
            Value::Number(text) if text == "0" => "0s",
            _ => "",
        };
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let Some(duration) = GoDuration::parse(unsigned)
            .ok()
            .filter(|_| !unsigned.starts_with('+'))
        else {
            self.wrong(
                node,
                format!("{shown} is not a duration; write a number with a unit (h, m, s, ms), such as 90s, 10m or -5m"),
            );
            return None;
        };
        let ms = duration.as_millis();
        if ms > LONGEST_MS {
            self.wrong(
                node,
                format!("{shown} is too long; write at most 876000h (100 years)"),
            );
            return None;
        }
        Some(if negative { -ms } else { ms })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = match &node.tree.value {
            Value::Text(text) | Value::Number(text) => text.as_str(),
            _ => "",
        };
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let shown = node.shown();
            let words = format!("write {}", known.join(", "));
            let way_out = way_out(near(text, &known), &words);
            self.wrong(
                node,
                format!("{shown} is not one of the words here; {way_out}"),
            );
        }
        found.map(|(_, value)| *value)
    }

    /// A quantity of 0 or more.
    pub(super) fn quantity(&mut self, node: &Node<'_>) -> Option<Quantity> {
        let shown = node.shown();
        let parsed = match &node.tree.value {
            Value::Text(text) | Value::Number(text) => Quantity::parse(text).ok(),
            _ => None,
        };
        let Some(quantity) = parsed else {
            self.wrong(
                node,
                format!("{shown} is not a quantity; write a number with or without a unit, such as 8, 500m or 512Gi"),
            );
            return None;
        };
        if quantity.is_negative() {
            self.wrong(
                node,
                format!("{shown} is negative; write a quantity of 0 or more"),
            );
            return None;
        }
        Some(quantity)
    }

    /// A quantity of a resource in base units.
    pub(super) fn amount(&mut self, node: &Node<'_>, resource: &str) -> Option<i64> {
        let quantity = self.quantity(node)?;
        let shown = node.shown();
        let base = ResourceVector::base_units(resource, quantity);
        let exact = if resource == CPU {
            Quantity::from_milli(base)
        } else {
            Quantity::from_units(base)
        };
        if exact != quantity {
            let unit = match resource {
                CPU => "thousandths of a CPU, such as 500m",
                MEMORY => "whole bytes, such as 512Mi",
                _ => "whole devices, such as 1",
            };
            self.wrong(
                node,
                format!("{shown} is a fraction of what {resource} is counted in; write {unit}"),
            );
            return None;
        }
        let (most, example) = match resource {
            CPU => (MOST_CPU, "a number of CPUs, such as 64 or 500m"),
            MEMORY => (MOST_MEMORY, "bytes with a unit, such as 512Gi"),
            _ => (MOST_OTHER, "a number of devices, such as 8"),
        };
        if base > most {
            self.wrong(
                node,
                format!("{shown} is more than any fleet has of {resource}; write {example}"),
            );
            return None;
        }
        Some(base)
    }

    /// Amounts by resource, short names written out.
    pub(super) fn amounts(&mut self, node: Option<Node<'_>>) -> BTreeMap<String, i64> {
        let mut amounts = BTreeMap::new();
        for (key, value) in self.entries(node, "{gpu: 8, cpu: 64, memory: 512Gi}") {
            let Some(resource) = self.resource(key, &value) else {
                continue;
            };
            if let Some(amount) = self.amount(&value, &resource)
                && amounts.insert(resource.clone(), amount).is_some()
            {
                self.wrong(
                    &value,
                    format!("{resource} is given twice; write it once, as {}", key.text),
                );
            }
        }
        amounts
    }

    /// The full name of a resource.
    pub(super) fn resource(&mut self, key: &Key, value: &Node<'_>) -> Option<String> {
        let plain = ["cpu", "memory", "pods", "ephemeral-storage"];
        let known = plain.contains(&key.text.as_str())
            || key.text.contains('/')
            || key.text.starts_with("hugepages-");
        match key.text.as_str() {
            "gpu" => Some(GPU.to_owned()),
            text if known => Some(text.to_owned()),
            text => {
                let hint = near(text, &["gpu", "cpu", "memory", "pods"]);
                let names = "write gpu, cpu, memory or a full name such as nvidia.com/mig-1g.10gb";
                let message = format!("{text:?} is not a resource; {}", way_out(hint, names));
                self.wrong_at(key.line, &value.path, message);
                None
            }
        }
    }

    /// Labels.
    pub(super) fn labels(
        &mut self,
        node: Option<Node<'_>>,
        example: &str,
    ) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for (key, value) in self.entries(node, example) {
            if key.text.is_empty() || key.text.chars().any(char::is_whitespace) {
                self.wrong_at(
                    key.line,
                    &value.path,
                    format!("{:?} is not a label key; write for example rack", key.text),
                );
            } else if let Some(text) = self.text(&value, "r1") {
                labels.insert(key.text.clone(), text);
            }
        }
        labels
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// "did you mean x? Write …", or only what stands behind it.
pub(super) fn way_out(near: Option<&str>, rest: &str) -> String {
    let Some(near) = near else {
        return rest.to_owned();
    };
    let mut letters = rest.chars();
    let first = letters
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().to_string());
    format!("did you mean {near}? {first}{}", letters.as_str())
}

/// The known word that this one is most like, if it is.
pub(super) fn near<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let length = word.chars().count();
    // Two letters the wrong way round are two changes.
    let most = if length < 4 { 1 } else { (length / 3).max(2) };
    known
        .iter()
        .map(|one| (distance(&word.to_lowercase(), &one.to_lowercase()), *one))
        .min()
        .filter(|(distance, _)| *distance <= most)
        .map(|(_, one)| one)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
