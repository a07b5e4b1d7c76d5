//! `inhaul whatif`: what would change on the fleet as it is now. It reads the hub with the rights of whoever asks, and
//! writes nothing.
//!
//! ```text
//! hub --read--> View --plan()----------------> Outlook \
//!                 \----change()--> View --plan()--> Outlook > differences -> text, json
//! ```

use jiff::Timestamp;
use scheduler::fleet::WorkloadId;
use scheduler::whatif::{Change, Outlook, View, differences};
use serde_json::json;

use crate::args;
use crate::explain::kind_is;
use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::session::Session;

pub(crate) mod read;
mod text;

/// Asks.
pub(crate) async fn run(session: &Session, args: args::WhatIf) -> Result<(), Failure> {
    let yaml = match args.output {
        None => None,
        Some(Format::Json) => Some(false),
        Some(Format::Yaml) => Some(true),
        Some(Format::Name | Format::Wide) => {
            return Err(Failure::typed("whatif prints text, json or yaml")
                .hint("leave out -o, or write -o json"));
        }
    };
    let changes = parse(&args.changes)?;
    let namespace = session.namespace(args.namespace.as_deref())?;
    let hub = session.hub().await?;
    let view = read::view(&hub).await?;
    let mut changed = view.clone();
    for change in &changes {
        let change = named(&view, change.clone(), &namespace)?;
        changed = changed.change(&change).map_err(Failure::failed)?;
    }
    let (before, after) = (view.plan(), changed.plan());
    if let Some(yaml) = yaml {
        return output::structured(&answer(&before, &after), yaml);
    }
    let asked = text::Asked {
        changes: &words(&args.changes),
        view: &view,
        before: &before,
        after: &after,
    };
    output::data(&text::render(&asked, Timestamp::now(), Paint::stdout()))
}

/// For machines: what differs, and what the queues are entitled to.
fn answer(before: &Outlook, after: &Outlook) -> serde_json::Value {
    json!({
        "differences": differences(before, after),
        "queues": {"before": before.queues, "after": after.queues},
        "hubDegraded": {"before": before.hub_degraded, "after": after.hub_degraded},
    })
}

/// Each change in quotes, or one change as words by themselves.
fn words(typed: &[String]) -> Vec<String> {
    if typed.iter().any(|one| one.trim().contains(' ')) {
        typed.to_vec()
    } else {
        vec![typed.join(" ")]
    }
}

fn parse(typed: &[String]) -> Result<Vec<Change>, Failure> {
    words(typed)
        .iter()
        .map(|one| Change::parse(one).map_err(Failure::typed))
        .collect()
}

/// People name a workload by its object.
fn named(view: &View, change: Change, namespace: &str) -> Result<Change, Failure> {
    let id = |name: &str| find(view, name, namespace).map(|id| id.to_string());
    Ok(match change {
        Change::Priority { workload, by } => Change::Priority {
            workload: id(&workload)?,
            by,
        },
        Change::Product { workload, product } => Change::Product {
            workload: id(&workload)?,
            product,
        },
        Change::Topology { workload, mode } => Change::Topology {
            workload: id(&workload)?,
            mode,
        },
        other => other,
    })
}

/// The workload of an object: `job/train`, `vision/job/train`, or the name of the Workload.
fn find(view: &View, typed: &str, namespace: &str) -> Result<WorkloadId, Failure> {
    if let Some((id, _)) = view.requests.get_key_value(typed) {
        return Ok(id.clone());
    }
    let words: Vec<&str> = typed.split('/').collect();
    let (namespace, kind, name) = match words[..] {
        [kind, name] => (namespace, kind, name),
        [namespace, kind, name] => (namespace, kind, name),
        _ => {
            return Err(Failure::typed(format!("{typed:?}: want KIND/NAME"))
                .hint(format!("such as job/{typed}, with -n for the namespace")));
        }
    };
    let is_it = |one: &scheduler::plan::Request| {
        let here = one.namespace.is_empty() || one.namespace == namespace;
        // Whoever writes a group too has said enough with the kind.
        let kind = kind.split_once('.').map_or(kind, |(kind, _)| kind);
        here && one.name == name && kind_is(kind, "", &one.kind)
    };
    let mut found = view.requests.iter().filter(|(_, one)| is_it(one));
    match (found.next(), found.next()) {
        (Some((id, _)), None) => Ok(id.clone()),
        (Some((first, _)), Some((second, _))) => Err(Failure::typed(format!(
            "{typed} may mean several workloads"
        ))
        .hint(format!("name the Workload itself: {first} or {second}"))),
        (None, _) => Err(Failure::failed(format!(
            "no workload {kind}/{name} in namespace {namespace} is planned"
        ))
        .hint("`inhaul get -A` lists them; finished ones ask for nothing any more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let text = "fleet: [{target: east, nodes: [{name: e, capacity: {gpu: 8}}]}]\nworkloads: [{name: train, namespace: vision, kind: Job, pods: [{}]}]\n";
        let scenario = scheduler::scenario::parse("x.yaml", text).expect("a scenario");
        scheduler::scenario::view(&scenario)
    }

    #[test]
    fn changes_are_words_or_in_quotes() {
        let typed = |words: &[&str]| {
            words
                .iter()
                .map(|one| (*one).to_owned())
                .collect::<Vec<_>>()
        };
        let one = typed(&["queue", "vision", "guaranteed", "gpu", "+4"]);
        assert_eq!(words(&one), ["queue vision guaranteed gpu +4"]);
        let two = typed(&["queue vision weight +1", "target lose east"]);
        assert_eq!(parse(&two).expect("two changes").len(), 2);
        assert_eq!(parse(&typed(&["more", "gpus"])).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_workload_is_named_by_its_object() {
        let view = view();
        let id =
            |typed: &str, namespace: &str| find(&view, typed, namespace).map(|id| id.to_string());
        for typed in ["job/train", "vision/job/train", "train", "jobs.batch/train"] {
            assert_eq!(id(typed, "vision").expect(typed), "train", "{typed}");
        }
        assert_eq!(id("job/train", "shop").unwrap_err().exit_code(), 1);
        assert_eq!(id("sweep", "vision").unwrap_err().exit_code(), 2);
    }
}
