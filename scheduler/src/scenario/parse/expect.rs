//! What must come out.

use placement_api::reason::Reason;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{Deserialize, IntoDeserializer};

use super::super::read::{Node, Reader, near};
use super::super::tree::Value;
use super::super::{Expect, ExpectedPlace};

/// Reasons for which something waits, as the format lists them.
const WAITING: [Reason; 24] = [
    Reason::InsufficientCapacity,
    Reason::TopologyTooSmall,
    Reason::NoDevice,
    Reason::SelectorMismatch,
    Reason::TaintNotTolerated,
    Reason::NoLocation,
    Reason::SpreadImpossible,
    Reason::TargetCordoned,
    Reason::TargetLost,
    Reason::KindNotServed,
    Reason::QueueLimit,
    Reason::ShareExhausted,
    Reason::ReservedForOlder,
    Reason::UnknownQueue,
    Reason::QueueNotAllowed,
    Reason::Suspended,
    Reason::NotYetSubmitted,
    Reason::Evicted,
    Reason::FailoverNever,
    Reason::FencePending,
    Reason::RefusedByTarget,
    Reason::Impossible,
    Reason::HubDegraded,
    Reason::NoPlacement,
];

pub(super) fn expect(r: &mut Reader, node: &Node<'_>) -> Option<Expect> {
    let f = r.fields(node, "the expectation", &["placed", "evicted", "pending"])?;
    let mut expect = Expect::default();
    for (key, node) in r.entries(f.get("placed"), "{train-1: [{target: east, count: 4}]}") {
        let line = node.line();
        let places = r.items(Some(node), "[{target: east, count: 4}]");
        let places = places.iter().filter_map(|node| place(r, node)).collect();
        expect.placed.insert(key.text.clone(), (line, places));
    }
    if let Some(node) = f.get("evicted") {
        let line = node.line();
        let items = r.items(Some(node), "[old-1], or [] for nobody");
        let names = items.iter().filter_map(|node| r.name(node)).collect();
        expect.evicted = Some((line, names));
    }
    for (key, node) in r.entries(f.get("pending"), "{big-2: InsufficientCapacity}") {
        let line = node.line();
        expect
            .pending
            .insert(key.text.clone(), (line, reason(r, &node)));
    }
    Some(expect)
}

fn place(r: &mut Reader, node: &Node<'_>) -> Option<ExpectedPlace> {
    let f = r.fields(
        node,
        "a place",
        &["target", "domain", "node", "pods", "count"],
    )?;
    let target = r
        .required(&f, "target", "east")
        .and_then(|node| r.name(&node));
    Some(ExpectedPlace {
        target: target?,
        domain: r.labels(f.get("domain"), "{rack: r1}"),
        node: f.get("node").and_then(|node| r.name(&node)),
        pods: f.get("pods").and_then(|node| r.name(&node)),
        count: f
            .get("count")
            .and_then(|node| r.integer(&node, 0, 1_000_000)),
    })
}

/// A reason; `None` for whatever reason.
fn reason(r: &mut Reader, node: &Node<'_>) -> Option<Reason> {
    let text = match &node.tree.value {
        Value::Text(text) => text.as_str(),
        _ => "",
    };
    if text == "any" {
        return None;
    }
    let words: StrDeserializer<'_, Error> = text.into_deserializer();
    let found = Reason::deserialize(words)
        .ok()
        .filter(|reason| WAITING.contains(reason));
    if found.is_none() {
        let known: Vec<&str> = WAITING.iter().map(|one| one.as_str()).collect();
        let hint =
            near(text, &known).map_or_else(String::new, |near| format!("did you mean {near}? "));
        r.wrong(
            node,
            format!(
                "{text:?} is no reason for which a workload waits; {hint}Write any or one of {}",
                known.join(", ")
            ),
        );
    }
    found
}
