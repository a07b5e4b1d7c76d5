//! YAML or JSON as a tree that remembers its lines. What could exhaust the machine (aliases upon aliases, depth, length)
//! is an error before it costs anything.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Options, Spanned};

use super::Problem;

/// Most bytes of a file: a fleet of a million nodes needs a few lines.
pub const MOST_BYTES: usize = 8 << 20;
/// Most levels; the format has eight.
const MOST_DEPTH: usize = 24;
/// Most values, aliases written out.
const MOST_VALUES: usize = 1_000_000;

/// A value and its line.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) line: u64,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// Numbers as they would be written.
    Number(String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
}

/// A key and its line.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) line: u64,
    pub(super) text: String,
}

impl Tree {
    /// "a list", for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map of fields",
        }
    }
}

impl Tree {
    /// Line of the field at this path, or of the nearest around it that is there.
    pub(super) fn line_of(&self, path: &str) -> u64 {
        let below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        match &self.value {
            Value::Map(entries) => {
                let path = path.strip_prefix('.').unwrap_or(path);
                for (key, tree) in entries {
                    if let Some(rest) = path
                        .strip_prefix(key.text.as_str())
                        .filter(|rest| below(rest))
                    {
                        let exact =
                            rest.is_empty() && matches!(tree.value, Value::Map(_) | Value::List(_));
                        return if exact { key.line } else { tree.line_of(rest) };
                    }
                }
                self.line
            }
            Value::List(items) => {
                let inside = path.strip_prefix('[').and_then(|path| path.split_once(']'));
                let item = inside.and_then(|(index, rest)| {
                    Some((items.get(index.parse::<usize>().ok()?)?, rest))
                });
                item.map_or(self.line, |(item, rest)| item.line_of(rest))
            }
            _ => self.line,
        }
    }
}

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Tree, Problem> {
    let whole = |message: String| Problem {
        line: 1,
        path: String::new(),
        message,
    };
    if text.len() > MOST_BYTES {
        return Err(whole(format!(
            "the file has {} bytes; write at most {MOST_BYTES} (`count` makes many nodes or pods of one line)",
            text.len()
        )));
    }
    if text.trim().is_empty() {
        return Err(whole(
            "the file is empty; write at least `fleet:` and `workloads:`".to_owned(),
        ));
    }
    serde_saphyr::from_str_with_options::<Tree>(text, options()).map_err(|error| Problem {
        line: error.location().map_or(1, |place| place.line().max(1)),
        path: String::new(),
        message: explained(&error),
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MOST_DEPTH,
            flow_nesting_limit: 2 * MOST_DEPTH,
            max_documents: 1,
            max_aliases: 10_000,
            max_nodes: MOST_VALUES,
            max_events: 3 * MOST_VALUES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_VALUES,
        },
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// The parser's words without its place, which stands in front, and with a way out where one is known.
fn explained(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    let cut = [" at line ", ", set DuplicateKeyPolicy"];
    let first = cut.iter().fold(first, |text, end| {
        text.split_once(end).map_or(text, |(before, _)| before)
    });
    let first = first.trim_end_matches([':', ',']);
    let lower = first.to_lowercase();
    if lower.contains("documents") {
        return "there are several documents in the file; write one".to_owned();
    }
    if lower.contains("anchorevents") || lower.contains("anchorbytes") || lower.contains("replay") {
        return "aliases of aliases make too much of this file; write the values out".to_owned();
    }
    if lower.contains("depth") || lower.contains("nesting") || lower.contains("recursion") {
        return "values are nested too deeply; a scenario is at most eight levels deep".to_owned();
    }
    if lower.contains("budget") || lower.contains("limit exceeded") {
        return "there are too many values in this file; use `count` for many nodes or pods alike"
            .to_owned();
    }
    let way_out = if lower.contains("unknown anchor") {
        "; write the value out, or `&name` where it is first"
    } else if lower.contains("tag") {
        "; write plain values without tags"
    } else if lower.contains("duplicate") {
        "; write each field once"
    } else {
        "; write one YAML or JSON document"
    };
    format!("{first}{way_out}")
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key {
                line: key.referenced.line(),
                text: key.value,
            };
            entries.push((key, map.next_value()?));
        }
        Ok(Value::Map(entries))
    }
}
