//! The tree of queues: who stands under whom, and which queues cannot be used and why.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::spec::QueueSpec;

/// Name of the queue of workloads that name none. It is the root's own line unless there is a Queue of this name.
pub const DEFAULT_QUEUE: &str = "default";

/// A queue by its number in one [`QueueTree`]; the root is 0 and a parent's number is below those of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub(super) usize);

/// All usable queues under an implied root, and the problems of the others. Never changes; a changed queue makes a new tree.
#[derive(Clone, Debug)]
pub struct QueueTree {
    nodes: Vec<Node>,
    names: BTreeMap<String, QueueId>,
    problems: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Node {
    spec: QueueSpec,
    parent: usize,
    depth: usize,
    children: Range<usize>,
}

impl Default for QueueTree {
    fn default() -> Self {
        Self::new(Vec::new()).0
    }
}

impl QueueTree {
    /// The root: everything. Workloads that name no queue are in its line.
    pub const ROOT: QueueId = QueueId(0);

    /// Builds the tree. What is wrong with one queue makes that one unusable, with a message that names the field and the way
    /// out; so are queues below it if there is no way from them to the root. A wrong amount harms only its own queue: what
    /// stands below it is served, as if the queue had neither guarantee nor limit.
    pub fn new(specs: Vec<QueueSpec>) -> (Self, BTreeMap<String, String>) {
        let mut known: BTreeMap<String, QueueSpec> = BTreeMap::new();
        let mut problems = BTreeMap::new();
        for spec in specs {
            if known.contains_key(&spec.name) {
                problems.insert(
                    spec.name.clone(),
                    format!(
                        "metadata.name: there are two queues {:?}: rename one",
                        spec.name
                    ),
                );
            } else {
                known.insert(spec.name.clone(), spec);
            }
        }
        let unrooted = unrooted(&known);
        problems.extend(unrooted.clone());
        let mut below: BTreeMap<String, Vec<QueueSpec>> = BTreeMap::new();
        for (name, mut spec) in known {
            if unrooted.contains_key(&name) {
                continue;
            }
            if let Some(problem) = spec.problem() {
                problems.insert(name, problem);
                spec.guaranteed = BTreeMap::new();
                spec.limit = BTreeMap::new();
                spec.accelerators = Vec::new();
            }
            below.entry(spec.parent.clone()).or_default().push(spec);
        }
        let tree = Self::grow(below, problems.clone());
        (tree, problems)
    }

    /// Breadth first, siblings by name: the children of a queue have numbers in a row.
    fn grow(
        mut below: BTreeMap<String, Vec<QueueSpec>>,
        problems: BTreeMap<String, String>,
    ) -> Self {
        let mut nodes = vec![Node {
            spec: QueueSpec::default(),
            parent: 0,
            depth: 0,
            children: 0..0,
        }];
        let mut at = 0;
        while let Some(node) = nodes.get(at) {
            let depth = node.depth + 1;
            let children = below.remove(&node.spec.name).unwrap_or_default();
            let start = nodes.len();
            nodes.extend(children.into_iter().map(|spec| Node {
                spec,
                parent: at,
                depth,
                children: 0..0,
            }));
            nodes[at].children = start..nodes.len();
            at += 1;
        }
        let names = nodes.iter().enumerate().skip(1);
        let names = names
            .map(|(number, node)| (node.spec.name.clone(), QueueId(number)))
            .collect();
        Self {
            nodes,
            names,
            problems,
        }
    }

    /// The queue that a workload names, the root's line where it names none. `Err` says why it cannot be used:
    /// `None` where there is no such queue.
    pub fn find(&self, name: &str) -> Result<QueueId, Option<&str>> {
        if let Some(problem) = self.problems.get(name) {
            return Err(Some(problem));
        }
        match self.names.get(name) {
            Some(id) => Ok(*id),
            None if name.is_empty() || name == DEFAULT_QUEUE => Ok(Self::ROOT),
            None => Err(None),
        }
    }

    /// Where the use of a workload of this queue is counted: as [`Self::find`], and what runs for queues that cannot be used
    /// is counted where they stand, else at the root.
    pub fn home(&self, name: &str) -> QueueId {
        self.names.get(name).copied().unwrap_or(Self::ROOT)
    }

    /// A queue that stands in the tree, usable or not.
    pub fn known(&self, name: &str) -> Option<QueueId> {
        self.names.get(name).copied()
    }

    /// Why queues cannot be used, by name.
    pub fn problems(&self) -> &BTreeMap<String, String> {
        &self.problems
    }

    /// All queues, parents before children; the root first.
    pub fn ids(&self) -> impl Iterator<Item = QueueId> + use<> {
        (0..self.nodes.len()).map(QueueId)
    }

    /// Its name; empty for the root.
    pub fn name(&self, queue: QueueId) -> &str {
        &self.nodes[queue.0].spec.name
    }

    /// What was said of it.
    pub fn spec(&self, queue: QueueId) -> &QueueSpec {
        &self.nodes[queue.0].spec
    }

    /// Its parent; `None` for the root.
    pub fn parent(&self, queue: QueueId) -> Option<QueueId> {
        (queue != Self::ROOT).then(|| QueueId(self.nodes[queue.0].parent))
    }

    /// Its children by name.
    pub fn children(&self, queue: QueueId) -> impl Iterator<Item = QueueId> + use<> {
        self.nodes[queue.0].children.clone().map(QueueId)
    }

    /// Itself, its parent, and so on; the root last.
    pub fn path(&self, queue: QueueId) -> impl Iterator<Item = QueueId> + '_ {
        std::iter::successors(Some(queue), |one| self.parent(*one))
    }

    /// Whether `queue` is `above` or stands below it.
    pub fn is_within(&self, queue: QueueId, above: QueueId) -> bool {
        let steps = self.nodes[queue.0]
            .depth
            .checked_sub(self.nodes[above.0].depth);
        steps.is_some_and(|steps| self.path(queue).nth(steps) == Some(above))
    }

    /// The nearest common parent of two queues, with its child towards each; `None` as child is its own line.
    pub fn meet(&self, a: QueueId, b: QueueId) -> Meeting {
        let (mut one, mut other) = (a, b);
        let (mut below_one, mut below_other) = (None, None);
        while one != other {
            let deeper = self.nodes[one.0].depth.cmp(&self.nodes[other.0].depth);
            if deeper.is_ge() {
                below_one = Some(one);
            }
            if deeper.is_le() {
                below_other = Some(other);
            }
            if deeper.is_ge() {
                one = QueueId(self.nodes[one.0].parent);
            }
            if deeper.is_le() {
                other = QueueId(self.nodes[other.0].parent);
            }
        }
        Meeting {
            parent: one,
            a: below_one,
            b: below_other,
        }
    }
}

/// Where two queues meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The nearest common parent; the queue itself where both are the same.
    pub parent: QueueId,
    /// Its child on the way to the first; `None`: the first is in the parent's own line.
    pub a: Option<QueueId>,
    /// Its child on the way to the second.
    pub b: Option<QueueId>,
}

/// Queues from which no way leads to the root.
fn unrooted(known: &BTreeMap<String, QueueSpec>) -> BTreeMap<String, String> {
    let mut problems: BTreeMap<String, String> = BTreeMap::new();
    let mut rooted: BTreeSet<&str> = BTreeSet::from([""]);
    for name in known.keys() {
        let mut way: Vec<&str> = Vec::new();
        let mut at = name.as_str();
        // Up to what is settled already, to a name that is not there, or to a queue that was passed before.
        let verdict = loop {
            if rooted.contains(at) {
                break None;
            }
            if problems.contains_key(at) {
                break Some(at);
            }
            if let Some(begin) = way.iter().position(|passed| *passed == at) {
                let cycle = way.split_off(begin);
                for (index, one) in cycle.iter().enumerate() {
                    problems.insert((*one).to_owned(), cyclic(&cycle, index));
                }
                break Some(at);
            }
            way.push(at);
            let parent = known[at].parent.as_str();
            if !parent.is_empty() && !known.contains_key(parent) {
                problems.insert(
                    at.to_owned(),
                    format!(
                        "spec.parent: there is no queue {parent:?}: create it, name another, or leave the field out to hang under the root"
                    ),
                );
                way.pop();
                break Some(at);
            }
            at = parent;
        };
        let Some(mut broken) = verdict else {
            rooted.extend(way);
            continue;
        };
        for one in way.into_iter().rev() {
            problems.insert(
                one.to_owned(),
                format!("spec.parent: queue {broken:?} cannot be used: repair it first, or name another parent"),
            );
            broken = one;
        }
    }
    problems
}

fn cyclic(cycle: &[&str], from: usize) -> String {
    let round: Vec<&str> = (0..=cycle.len())
        .map(|step| cycle[(from + step) % cycle.len()])
        .collect();
    if cycle.len() == 1 {
        return "spec.parent: the queue is its own parent: name another, or leave the field out to hang under the root"
            .to_owned();
    }
    format!(
        "spec.parent: the queues are parents of each other in a circle ({}): give one of them another parent, or none",
        round.join(" -> ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(pairs: &[(&str, &str)]) -> (QueueTree, BTreeMap<String, String>) {
        let spec = |(name, parent): &(&str, &str)| QueueSpec {
            name: (*name).to_owned(),
            parent: (*parent).to_owned(),
            ..QueueSpec::default()
        };
        QueueTree::new(pairs.iter().map(spec).collect())
    }

    #[test]
    fn broken_queues_are_named_and_the_others_are_served() {
        let (tree, problems) = tree(&[
            ("self", "self"),
            ("a", "b"),
            ("b", "c"),
            ("c", "a"),
            ("below-circle", "b"),
            ("lost", "nowhere"),
            ("under-lost", "lost"),
            ("good", ""),
            ("better", "good"),
        ]);
        let names: Vec<_> = problems.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["a", "b", "below-circle", "c", "lost", "self", "under-lost"]
        );
        assert!(problems["a"].contains("a -> b -> c -> a"), "{problems:?}");
        assert!(problems["b"].contains("b -> c -> a -> b"), "{problems:?}");
        assert!(problems["self"].contains("its own parent"));
        assert!(problems["lost"].contains("no queue \"nowhere\""));
        assert!(problems["under-lost"].contains("\"lost\" cannot be used"));
        assert!(problems["below-circle"].contains("\"b\" cannot be used"));
        for problem in problems.values() {
            assert!(problem.starts_with("spec.parent"), "{problem}");
        }
        assert!(tree.find("good").is_ok());
        assert_eq!(
            tree.parent(tree.find("better").expect("usable")),
            tree.find("good").ok()
        );
        assert_eq!(tree.find("nope"), Err(None));
        assert!(matches!(tree.find("lost"), Err(Some(_))));
        assert_eq!(tree.home("lost"), QueueTree::ROOT);
    }

    #[test]
    fn who_names_no_queue_is_in_the_roots_line() {
        let (without, _) = tree(&[("a", "")]);
        assert_eq!(without.find(""), Ok(QueueTree::ROOT));
        assert_eq!(without.find("default"), Ok(QueueTree::ROOT));
        let (with, _) = tree(&[("default", "")]);
        assert_ne!(with.find("default"), Ok(QueueTree::ROOT));
    }

    #[test]
    fn a_wrong_amount_harms_only_its_own_queue() {
        let broken = QueueSpec {
            name: "research".to_owned(),
            guaranteed: [("cpu".to_owned(), -1)].into_iter().collect(),
            limit: BTreeMap::from([("cpu".to_owned(), 0)]),
            ..QueueSpec::default()
        };
        let below = QueueSpec {
            name: "vision".to_owned(),
            parent: "research".to_owned(),
            ..QueueSpec::default()
        };
        let (tree, problems) = QueueTree::new(vec![below, broken]);
        assert_eq!(problems.len(), 1);
        assert!(problems["research"].starts_with("spec.guaranteed of cpu is -1"));
        assert!(tree.find("vision").is_ok());
        assert!(tree.find("research").is_err());
        assert!(tree.spec(tree.home("research")).limit.is_empty());
    }

    #[test]
    fn where_queues_meet() {
        let (tree, problems) = tree(&[
            ("a", ""),
            ("b", ""),
            ("a1", "a"),
            ("a2", "a"),
            ("a11", "a1"),
        ]);
        assert!(problems.is_empty());
        let id = |name| tree.find(name).expect(name);
        for (one, other, parent, left, right) in [
            ("a11", "a2", "a", Some("a1"), Some("a2")),
            ("a11", "b", "", Some("a"), Some("b")),
            ("a11", "a1", "a1", Some("a11"), None),
            ("a", "a11", "a", None, Some("a1")),
            ("b", "b", "b", None, None),
            ("", "b", "", None, Some("b")),
        ] {
            let met = tree.meet(id(one), id(other));
            assert_eq!(met.parent, id(parent), "{one} {other}");
            assert_eq!(met.a, left.map(id), "{one} {other}");
            assert_eq!(met.b, right.map(id), "{one} {other}");
        }
        assert!(tree.is_within(id("a11"), id("a")));
        assert!(!tree.is_within(id("a"), id("a11")));
        assert!(!tree.is_within(id("b"), id("a")));
    }
}
