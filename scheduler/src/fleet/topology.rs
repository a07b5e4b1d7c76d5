//! Which domain of each topology level every node is in, numbered in the order of the domains' paths.
//!
//! A domain is known by the values of its level and of all wider ones, for rack `r1` may exist in two zones.

use std::collections::BTreeMap;

use super::Node;

/// Number of a node that lacks the label of the level: it is in no domain.
pub(crate) const NOWHERE: usize = usize::MAX;

/// The domains of each level by node: `[depth][node]`.
pub(super) fn domains(levels: &[String], nodes: &[Node]) -> Vec<Vec<usize>> {
    (0..levels.len())
        .map(|depth| level(&levels[..=depth], nodes))
        .collect()
}

fn level(keys: &[String], nodes: &[Node]) -> Vec<usize> {
    let paths: Vec<Option<Vec<&str>>> = nodes.iter().map(|node| path(keys, node)).collect();
    let mut numbers: BTreeMap<&[&str], usize> = paths
        .iter()
        .flatten()
        .map(|path| (path.as_slice(), 0))
        .collect();
    for (next, number) in numbers.values_mut().enumerate() {
        *number = next;
    }
    paths
        .iter()
        .map(|path| {
            path.as_ref()
                .map_or(NOWHERE, |path| numbers[path.as_slice()])
        })
        .collect()
}

fn path<'a>(keys: &[String], node: &'a Node) -> Option<Vec<&'a str>> {
    node.label(keys.last()?)?;
    let value = |key: &String| node.label(key).unwrap_or("");
    Some(keys.iter().map(value).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn equal_names_in_two_zones_are_two_domains() {
        let node = |labels: &[(&str, &str)]| Node {
            labels: Arc::new(
                labels
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            ),
            ..Node::default()
        };
        let nodes = [
            node(&[("zone", "z2"), ("rack", "r1")]),
            node(&[("zone", "z1"), ("rack", "r1")]),
            node(&[("rack", "r1")]),
            node(&[("zone", "z1")]),
            node(&[("zone", "z1"), ("rack", "r1")]),
        ];
        let levels = ["zone".to_owned(), "rack".to_owned()];
        assert_eq!(
            domains(&levels, &nodes),
            [vec![1, 0, NOWHERE, 0, 0], vec![2, 1, 0, NOWHERE, 1]]
        );
        assert!(domains(&[], &nodes).is_empty());
    }
}
