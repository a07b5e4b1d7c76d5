//! `inhaul explain`: where an object runs, or why it waits.

use std::collections::BTreeMap;

use client::Class;
use jiff::Timestamp;
use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::{SyncTarget, Workload, WorkloadPhase, api};
use placement_api::names::{SCHEDULER, SYSTEM_NAMESPACE, target_namespace};
use placement_api::raw::RawObject;
use serde_json::json;

use crate::args;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::session::Session;
use crate::views::{AssignmentView, LeaseView};

use in_line::InLine;

mod faster;
mod in_line;
mod render;

/// Short names of kinds that everyone types.
const SHORT: [(&str, &str); 8] = [
    ("deploy", "deployment"),
    ("sts", "statefulset"),
    ("ds", "daemonset"),
    ("cj", "cronjob"),
    ("svc", "service"),
    ("cm", "configmap"),
    ("sa", "serviceaccount"),
    ("pvc", "persistentvolumeclaim"),
];

/// Explains one object.
pub(crate) async fn run(session: &Session, args: args::Explain) -> Result<(), Failure> {
    let (kind, name) = split(&args.object)?;
    let namespace = session.namespace(args.namespace.as_deref())?;
    let hub = session.hub().await?;
    let Some(workload) = find(&hub, &namespace, &kind, &name).await? else {
        return Err(why_not(&hub, &namespace, &kind, &name).await?);
    };
    let mut facts = gather(&hub, workload).await?;
    let id = facts.workload.metadata.name.clone().unwrap_or_default();
    let status = facts.workload.status.as_ref();
    let promised = status.and_then(|status| status.expected_start.as_ref());
    let promised = promised.and_then(|text| text.parse::<Timestamp>().ok());
    let waits = status.is_some_and(|status| status.state == WorkloadPhase::Pending);
    if args.faster {
        let view = crate::whatif::read::view(&hub).await?;
        let outlook = view.plan();
        let was = outlook.workloads.get(&id);
        let promised_ms = promised.map(Timestamp::as_millisecond);
        let hints = was.map(|was| faster::hints(&view, &id, was, promised_ms, Timestamp::now()));
        facts.hints = Some(hints.unwrap_or_default());
        facts.expected_ms = was.and_then(|was| was.expected_ms);
    } else if waits && promised.is_none() {
        // Who may not see the whole fleet is told the rest all the same.
        let view = crate::whatif::read::view(&hub).await.ok();
        facts.expected_ms = view.and_then(|view| view.plan().workloads.get(&id)?.expected_ms);
    }
    match args.output {
        Some(Format::Json) => return structured(&hub, &facts, false).await,
        Some(Format::Yaml) => return structured(&hub, &facts, true).await,
        Some(Format::Name) => {
            return output::data(&format!(
                "workload.inhaul.dev/{}\n",
                facts.workload.metadata.name.unwrap_or_default()
            ));
        }
        Some(Format::Wide) | None => {}
    }
    output::data(&render::render(&facts, Timestamp::now(), Paint::stdout()))
}

/// `job/sweep`, or `job` and `sweep`.
fn split(words: &[String]) -> Result<(String, String), Failure> {
    let (kind, name) = match words {
        [one] => one.split_once('/').ok_or_else(|| {
            Failure::typed(format!("{one:?}: want KIND/NAME"))
                .hint(format!("such as deployment/{one}, or job/{one}"))
        })?,
        [kind, name] => (kind.as_str(), name.as_str()),
        _ => return Err(Failure::typed("want KIND/NAME")),
    };
    if kind.is_empty() || name.is_empty() || name.contains('/') {
        return Err(
            Failure::typed(format!("{:?}: want KIND/NAME", words.join(" ")))
                .hint("the namespace is given with -n"),
        );
    }
    Ok((kind.to_owned(), name.to_owned()))
}

/// Whether a word that was typed (`deploy`, `Deployments`, `deployment.apps`) means this kind.
pub(crate) fn kind_is(typed: &str, group: &str, kind: &str) -> bool {
    let typed = typed.to_ascii_lowercase();
    let (word, typed_group) = typed
        .split_once('.')
        .map_or((typed.as_str(), None), |(word, group)| (word, Some(group)));
    if typed_group.is_some_and(|typed| typed != group) {
        return false;
    }
    let kind = kind.to_ascii_lowercase();
    let word = SHORT
        .iter()
        .find(|(short, _)| *short == word)
        .map_or(word, |(_, long)| long);
    let y_plural = kind.strip_suffix('y').map(|stem| format!("{stem}ies"));
    word == kind
        || word == format!("{kind}s")
        || word == format!("{kind}es")
        || y_plural.as_deref() == Some(word)
}

/// The Workload of an object; objects outside namespaces have theirs in Inhaul's own.
async fn find(
    hub: &Cluster,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Result<Option<Workload>, Failure> {
    let is_it = |w: &Workload| {
        let own_name =
            w.metadata.name.as_deref() == Some(name) && kind_is(kind, "inhaul.dev", "Workload");
        own_name
            || (w.spec.root.name == name && kind_is(kind, &w.spec.root.group, &w.spec.root.kind))
    };
    let here: Vec<Workload> = hub.list(&api::WORKLOADS, Some(namespace)).await?;
    let mut found: Vec<Workload> = here.into_iter().filter(is_it).collect();
    if found.is_empty() && namespace != SYSTEM_NAMESPACE {
        let outside = hub
            .connection
            .list::<Workload>(&api::WORKLOADS, Some(SYSTEM_NAMESPACE), None)
            .await;
        // Users may not look there.
        found = outside
            .unwrap_or_default()
            .into_iter()
            .filter(|w| w.spec.root.namespace.is_empty() && is_it(w))
            .collect();
    }
    if found.len() > 1 {
        let which: Vec<String> = found
            .iter()
            .map(|w| {
                format!(
                    "{}.{}/{name}",
                    w.spec.root.kind.to_ascii_lowercase(),
                    w.spec.root.group
                )
            })
            .collect();
        return Err(
            Failure::typed(format!("{kind}/{name} may mean several objects"))
                .hint(format!("say which: {}", which.join(", "))),
        );
    }
    Ok(found.pop())
}

/// Everything that there is to say about a workload.
#[derive(Clone, Debug)]
struct Facts {
    workload: Workload,
    /// By target; `None` where it is not written yet.
    assignments: BTreeMap<String, Option<AssignmentView>>,
    /// Whether Assignments may be read at all.
    may_read: bool,
    targets: Vec<SyncTarget>,
    /// Of one that waits: its queue and its place in the line.
    in_line: Option<InLine>,
    /// What may let it start earlier, where that was asked.
    hints: Option<Vec<faster::Hint>>,
    /// When it may be expected to start, ms since 1970.
    expected_ms: Option<i64>,
}

async fn gather(hub: &Cluster, workload: Workload) -> Result<Facts, Failure> {
    let name = workload.metadata.name.clone().unwrap_or_default();
    let mut assignments = BTreeMap::new();
    let mut may_read = true;
    for target in workload.spec.assignments.iter().map(|a| &a.target) {
        let key = ObjectKey::new(target_namespace(target), &name);
        match hub
            .connection
            .get::<AssignmentView>(&api::ASSIGNMENTS, &key)
            .await
        {
            Ok(found) => {
                assignments.insert(target.clone(), found);
            }
            Err(error) if error.class() == Class::Denied => may_read = false,
            Err(error) => return Err(hub.failure(&error)),
        }
    }
    let targets = match hub.connection.list(&api::SYNC_TARGETS, None, None).await {
        Ok(targets) => targets,
        Err(error) if error.class() == Class::Denied => Vec::new(),
        Err(error) => return Err(hub.failure(&error)),
    };
    let in_line = in_line::of(hub, &workload).await?;
    Ok(Facts {
        workload,
        assignments,
        may_read,
        targets,
        in_line,
        hints: None,
        expected_ms: None,
    })
}

/// Why an object has no Workload.
async fn why_not(
    hub: &Cluster,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Result<Failure, Failure> {
    let discovery = hub
        .connection
        .discover()
        .await
        .map_err(|error| hub.failure(&error))?;
    let mut kinds = discovery.apis.iter().filter(|served| {
        let short = served.short_names.iter().any(|s| s == kind);
        let (plural, typed) = (served.api.plural.as_ref(), kind.to_ascii_lowercase());
        served.preferred
            && served.can("get")
            && (short || plural == typed || kind_is(kind, &served.api.group, &served.api.kind))
    });
    let Some(first) = kinds.next() else {
        return Ok(Failure::typed(format!("the hub has no kind {kind:?}"))
            .hint("kubectl api-resources lists the kinds that it has"));
    };
    for served in std::iter::once(first).chain(kinds) {
        let scope = if served.api.namespaced { namespace } else { "" };
        if let Some(object) = hub
            .get::<RawObject>(&served.api, &ObjectKey::new(scope, name))
            .await?
        {
            return Ok(not_placed(hub, &object).await);
        }
    }
    let kind = &first.api.kind;
    Ok(if first.api.namespaced {
        Failure::failed(format!(
            "there is no {kind} {name:?} in namespace {namespace}"
        ))
        .hint("choose the namespace with -n; `inhaul get -A` lists all workloads")
    } else {
        Failure::failed(format!("there is no {kind} {name:?}"))
            .hint("`inhaul get -A` lists all workloads")
    })
}

/// The object is there and nothing places it.
async fn not_placed(hub: &Cluster, object: &RawObject) -> Failure {
    let failure = Failure::failed(format!("{object} is there, but nothing places it"));
    let namespace = &object.metadata.namespace;
    if let Some(owner) = object.controller() {
        return failure.hint(format!(
            "it belongs to {} {}, which is placed as a whole: inhaul explain {}/{}",
            owner.kind,
            owner.name,
            owner.kind.to_ascii_lowercase(),
            owner.name
        ));
    }
    if namespace.starts_with("kube-") || namespace.starts_with("inhaul-") {
        return failure.hint(format!("objects in namespace {namespace} are never placed"));
    }
    let key = ObjectKey::new(SYSTEM_NAMESPACE, SCHEDULER);
    match hub.connection.get::<LeaseView>(&known::LEASE, &key).await {
        Ok(lease) if !lease.as_ref().is_some_and(LeaseView::is_held) => failure.hint("no scheduler runs on this hub: `inhaul install` says how to start it"),
        _ => failure
            .hint("no Placement selects it, or its kind has no pods and goes along with the workloads that name it")
            .hint("see what there is with: inhaul get placements"),
    }
}

/// Workload and Assignments as they are, for machines.
async fn structured(hub: &Cluster, facts: &Facts, yaml: bool) -> Result<(), Failure> {
    let name = facts.workload.metadata.name.clone().unwrap_or_default();
    let mut assignments = BTreeMap::new();
    for target in facts.assignments.keys() {
        let key = ObjectKey::new(target_namespace(target), &name);
        assignments.insert(target, hub.get::<RawObject>(&api::ASSIGNMENTS, &key).await?);
    }
    output::structured(
        &json!({
            "workload": facts.workload, "assignments": assignments, "inLine": facts.in_line, "faster": facts.hints,
        }),
        yaml,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_typed_in_two_ways() {
        let words =
            |words: &[&str]| split(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            words(&["job/sweep"]).unwrap(),
            ("job".into(), "sweep".into())
        );
        assert_eq!(
            words(&["job", "sweep"]).unwrap(),
            ("job".into(), "sweep".into())
        );
        for wrong in [
            &["sweep"][..],
            &["/sweep"],
            &["job/"],
            &["vision/job/sweep"],
        ] {
            assert_eq!(words(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn kinds_by_many_names() {
        for typed in ["Job", "jobs", "job.batch", "JOB"] {
            assert!(kind_is(typed, "batch", "Job"), "{typed}");
        }
        assert!(kind_is("deploy", "apps", "Deployment"));
        assert!(kind_is("policies", "x", "Policy"));
        assert!(!kind_is("job.apps", "batch", "Job"));
        assert!(!kind_is("jo", "batch", "Job"));
    }
}
