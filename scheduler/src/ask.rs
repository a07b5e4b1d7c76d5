//! From a user's object and its Placement to what the planner is asked and what the Workload says.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::api_type::ApiType;
use placement_api::demand::PodClaim;
use placement_api::devices::{DeviceClaim, DeviceSelector, class_of_resource, class_resource};
use placement_api::duration::GoDuration;
use placement_api::kinds::{
    Failover, FailoverMode, ObjectRef, Strategy, TopologyMode, WorkloadPodSet, WorkloadSpec,
};
use placement_api::names::{DEFAULT_QUEUE, QUEUE_LABEL};
use placement_api::profile::{Dependency, PodSet, Profile, ProfileError, WorkloadShape};
use placement_api::quantity::{Quantity, ResourceList};
use placement_api::raw::RawObject;
use placement_api::reason::Reason;
use placement_api::selector::{LabelSelector, Labels};
use serde_json::Value;

use crate::annotations;
use crate::fleet::{HOSTNAME, WorkloadId, is_extended};
use crate::plan::{Closeness, DEFAULT_MIN_RUNTIME_MS, FailoverRule, PodSetRequest, Request};
use crate::select::{Rule, Selection};

/// `after` of `Overlap`, where the Placement says nothing.
const OVERLAP_AFTER: &str = "5m";
/// `after` of `Fenced`, where the Placement says nothing.
const FENCED_AFTER: &str = "15m";

/// What an object asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What the planner is asked; what the workload has and what it avoids is added by the caller.
    pub request: Request,
    /// What the Workload says of it, without epoch, term and assignments.
    pub spec: WorkloadSpec,
    /// Objects that it names.
    pub dependencies: Vec<Dependency>,
    /// Where the object has the pod template of each role.
    pub templates: BTreeMap<String, String>,
    /// Labels of its pod templates.
    pub pod_labels: Vec<Labels>,
    /// Its replicas can be set in each copy.
    pub scalable: bool,
    /// By its own status on the hub, its work is done.
    pub finished: bool,
}

/// What is known beside the object.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// How to read it.
    pub profile: &'a Profile,
    /// Its Placement, and the others that select it.
    pub placement: Option<(&'a Rule, &'a Selection)>,
    /// Queues, and the namespaces that may use them.
    pub queues: &'a BTreeMap<String, Option<LabelSelector>>,
    /// Those of them that cannot be used, and why.
    pub unusable: &'a BTreeMap<String, String>,
    /// Values of PriorityClasses.
    pub priorities: &'a BTreeMap<String, i32>,
    /// Labels of its namespace.
    pub namespace: &'a Labels,
    /// ResourceClaims and their templates in its namespace.
    pub claims: Claims<'a>,
}

/// Where ResourceClaims and ResourceClaimTemplates are looked up, by kind and name.
#[derive(Clone, Copy)]
pub struct Claims<'a>(pub &'a dyn Fn(&str, &str) -> Option<Value>);

impl std::fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Claims")
    }
}

impl Claims<'_> {
    /// Nothing is there.
    pub const NONE: Claims<'static> = Claims(&|_, _| None);
}

impl Ask {
    /// Keeps what an earlier Placement said: of a workload that has lost it nothing changes.
    pub fn keep(&mut self, divided: bool, said: &WorkloadSpec) {
        self.spec.placement.clone_from(&said.placement);
        self.spec.failover.clone_from(&said.failover);
        self.spec.queue.clone_from(&said.queue);
        self.spec.wants.clone_from(&said.wants);
        self.request.queue.clone_from(&said.queue);
        self.request.failover = rule_of(&said.failover);
        self.request.strategy = match self.request.strategy {
            Strategy::Duplicate => Strategy::Duplicate,
            _ if divided => Strategy::Divide,
            _ => Strategy::Gang,
        };
    }
}

/// Reads an object.
///
/// # Errors
/// Where it cannot be read; the message names the field.
pub fn ask(
    object: &RawObject,
    api: &ApiType,
    around: &Surroundings<'_>,
) -> Result<Ask, ProfileError> {
    let value = object.to_value();
    let mut shape = around.profile.shape(&value)?;
    let (queue, blocked) = queue(object, around);
    let (claims, unclear) = claims(object, &shape, around.claims);
    let spares = annotations::spares(object);
    let runtime = annotations::expected_runtime(object);
    let checkpoint = annotations::checkpointed_at(object);
    let unreadable = (spares.as_ref().err())
        .or(runtime.as_ref().err())
        .or(checkpoint.as_ref().err())
        .cloned();
    let blocked = blocked
        .or(unclear)
        .or(unreadable.map(|message| (Reason::Impossible, message)));
    for (set, claims) in shape.pod_sets.iter_mut().zip(&claims) {
        set.pod.requests.extend(by_class(claims));
    }
    let strategy = strategy(around, &shape, api);
    let priority = priority(&shape, around.priorities);
    let failover = failover(around, &shape);
    let rule = around.placement.map(|(rule, _)| &rule.spec);
    let disruption = rule
        .and_then(|rule| rule.disruption.clone())
        .unwrap_or_default();
    // Pods that have a device together are where it is.
    let together = claims.iter().flatten().any(|claim| claim.shared.is_some());
    let strategy = match strategy {
        Strategy::Divide if together => Strategy::Gang,
        other => other,
    };
    let topology = rule
        .and_then(|rule| rule.topology.as_ref())
        .filter(|_| !together)
        .map(|topology| Closeness {
            level: topology.level.clone(),
            mode: topology.mode,
            relax_after_ms: topology.relax_after.as_deref().and_then(millis),
        })
        .or_else(|| together.then(one_node));
    let min_count = rule
        .and_then(|rule| rule.divide.as_ref())
        .and_then(|divide| divide.min_count)
        .filter(|_| strategy == Strategy::Divide)
        .map(i64::from);
    let request = Request {
        id: WorkloadId::from(placement_api::names::workload_name(
            &api.group,
            &api.kind,
            &object.metadata.namespace,
            &object.metadata.name,
        )),
        kind: object.kind.clone(),
        namespace: object.metadata.namespace.clone(),
        name: object.metadata.name.clone(),
        kinds: kinds(object, &shape),
        pod_sets: shape
            .pod_sets
            .iter()
            .zip(claims)
            .map(|(set, claims)| pod_set(set, min_count, claims))
            .collect(),
        strategy,
        gang_per_target: rule.and_then(|rule| rule.gang_per_target).map(i64::from),
        tiers: rule.map_or_else(Vec::new, |rule| {
            rule.locations.iter().map(|l| l.name.clone()).collect()
        }),
        tolerations: rule.map_or_else(Vec::new, |rule| rule.tolerations.clone()),
        topology: topology.clone(),
        spread: rule.map_or_else(Vec::new, |rule| rule.spread.clone()),
        divide_by: rule
            .and_then(|rule| rule.divide.as_ref())
            .map(|divide| divide.by)
            .unwrap_or_default(),
        weights: rule
            .and_then(|rule| rule.divide.as_ref())
            .map(|divide| divide.weights.clone())
            .unwrap_or_default(),
        packing: rule.and_then(|rule| rule.packing),
        scoring: around
            .placement
            .map(|(rule, _)| rule.scoring.clone())
            .unwrap_or_default(),
        data: annotations::data(object),
        spares: spares.clone().unwrap_or(0),
        queue: queue.clone(),
        priority,
        submitted_ms: created(object).unwrap_or(0),
        waits_since_ms: created(object).unwrap_or(0),
        failover: rule_of(&failover),
        preemptible: disruption.preemptible.unwrap_or(true),
        min_runtime_ms: disruption
            .min_runtime
            .as_deref()
            .and_then(millis)
            .unwrap_or(DEFAULT_MIN_RUNTIME_MS),
        checkpoint_ms: checkpoint.unwrap_or_default(),
        runtime_ms: runtime.unwrap_or_default(),
        suspended: shape.suspended,
        blocked,
        ..Request::default()
    };
    let spec = WorkloadSpec {
        root: ObjectRef {
            group: api.group.to_string(),
            version: api.version.to_string(),
            kind: api.kind.to_string(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone(),
            uid: object.metadata.uid.clone(),
        },
        placement: around
            .placement
            .map(|(rule, _)| rule.name.clone())
            .unwrap_or_default(),
        also_selected_by: around
            .placement
            .map(|(_, selection)| selection.also.clone())
            .unwrap_or_default(),
        pod_sets: shape
            .pod_sets
            .iter()
            .map(|set| written(set, min_count))
            .collect(),
        wants: wants(&shape, strategy, topology.as_ref()),
        queue,
        priority,
        failover,
        ..WorkloadSpec::default()
    };
    let pod_labels = shape
        .pod_sets
        .iter()
        .filter_map(|set| labels(&value, set))
        .collect();
    Ok(Ask {
        request,
        spec,
        pod_labels,
        templates: shape
            .pod_sets
            .iter()
            .filter_map(|set| Some((set.name.clone(), set.template_path.clone()?)))
            .collect(),
        scalable: shape.replicas_path.is_some(),
        finished: around.profile.health(&value).is_finished(),
        dependencies: shape.dependencies,
    })
}

/// Pods that have devices together are where these are.
pub(crate) fn one_node() -> Closeness {
    Closeness {
        level: HOSTNAME.to_owned(),
        mode: TopologyMode::Required,
        relax_after_ms: None,
    }
}

fn rule_of(failover: &Failover) -> FailoverRule {
    FailoverRule {
        mode: failover.mode.unwrap_or_default(),
        after_ms: failover.after.as_deref().and_then(millis).unwrap_or(0),
        // None runs in the members yet.
        fencer: false,
    }
}

/// A Go duration in ms; unreadable ones were reported with the Placement.
fn millis(text: &str) -> Option<i64> {
    GoDuration::parse(text).ok().map(GoDuration::as_millis)
}

/// When an object was created, ms since 1970.
pub(crate) fn created(object: &RawObject) -> Option<i64> {
    moment(object.metadata.creation_timestamp.as_deref()?)
}

/// A time (RFC 3339) in ms since 1970.
fn moment(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
}

fn kinds(object: &RawObject, shape: &WorkloadShape) -> BTreeSet<String> {
    let core = |group: &str, kind: &str| match group {
        "" => Some(format!("v1/{kind}")),
        "resource.k8s.io" => Some(format!("resource.k8s.io/v1/{kind}")),
        _ => None,
    };
    let mut kinds: BTreeSet<String> = shape
        .dependencies
        .iter()
        .filter_map(|one| core(&one.group, &one.kind))
        .collect();
    kinds.insert(format!("{}/{}", object.api_version, object.kind));
    kinds
}

fn strategy(around: &Surroundings<'_>, shape: &WorkloadShape, api: &ApiType) -> Strategy {
    if shape.pod_sets.is_empty() {
        return Strategy::Duplicate;
    }
    let deployment = api.group == "apps" && api.kind == "Deployment";
    let asked = around.placement.and_then(|(rule, _)| rule.spec.strategy);
    match asked.unwrap_or(if deployment {
        Strategy::Divide
    } else {
        Strategy::Gang
    }) {
        Strategy::Divide if !shape.divisible => Strategy::Gang,
        other => other,
    }
}

fn priority(shape: &WorkloadShape, classes: &BTreeMap<String, i32>) -> i32 {
    shape
        .pod_sets
        .iter()
        .filter_map(|set| {
            let named = set
                .pod
                .priority_class
                .as_ref()
                .and_then(|name| classes.get(name));
            set.pod.priority.or(named.copied())
        })
        .max()
        .unwrap_or(0)
}

fn failover(around: &Surroundings<'_>, shape: &WorkloadShape) -> Failover {
    let written = around
        .placement
        .and_then(|(rule, _)| rule.spec.failover.clone())
        .unwrap_or_default();
    let default = if shape.stateless {
        FailoverMode::Overlap
    } else {
        FailoverMode::Never
    };
    let mode = written.mode.unwrap_or(default);
    let after = match mode {
        FailoverMode::Never => None,
        FailoverMode::Overlap => Some(written.after.unwrap_or_else(|| OVERLAP_AFTER.to_owned())),
        FailoverMode::Fenced => Some(written.after.unwrap_or_else(|| FENCED_AFTER.to_owned())),
    };
    Failover {
        mode: Some(mode),
        after,
    }
}

/// The queue: what the object's label names, else the Placement, else the first Queue made for its namespace.
fn queue(object: &RawObject, around: &Surroundings<'_>) -> (String, Option<(Reason, String)>) {
    if let Some(name) = object.label(QUEUE_LABEL).filter(|name| !name.is_empty()) {
        let allowed = around.queues.get(name).is_none_or(|selector| {
            selector
                .as_ref()
                .is_none_or(|one| one.matches(around.namespace))
        });
        let blocked = not_usable(name, around).or_else(|| {
            let message = format!(
                "namespace {} may not use queue {name:?}",
                object.metadata.namespace
            );
            (!allowed).then_some((Reason::QueueNotAllowed, message))
        });
        return (name.to_owned(), blocked);
    }
    let placed = around
        .placement
        .and_then(|(rule, _)| rule.spec.queue.clone());
    let made_for = || {
        let mut queues = around.queues.iter();
        queues
            .find(|(name, selector)| {
                let usable = !around.unusable.contains_key(*name);
                usable
                    && selector
                        .as_ref()
                        .is_some_and(|one| !one.is_empty() && one.matches(around.namespace))
            })
            .map(|(name, _)| name.clone())
    };
    let name = placed
        .or_else(made_for)
        .unwrap_or_else(|| DEFAULT_QUEUE.to_owned());
    let blocked = not_usable(&name, around);
    (name, blocked)
}

/// Why nobody can be in this queue.
fn not_usable(name: &str, around: &Surroundings<'_>) -> Option<(Reason, String)> {
    let message = match (around.unusable.get(name), around.queues.contains_key(name)) {
        (Some(problem), _) => format!("queue {name:?} cannot be used: {problem}"),
        (None, true) => return None,
        (None, false) if name == DEFAULT_QUEUE => return None,
        (None, false) => {
            let mut known: Vec<&str> = around.queues.keys().map(String::as_str).collect();
            if known.is_empty() {
                known.push(DEFAULT_QUEUE);
            }
            format!(
                "queue {name:?} does not exist; known queues: {}",
                known.join(", ")
            )
        }
    };
    Some((Reason::UnknownQueue, message))
}

fn pod_set(set: &PodSet, min_count: Option<i64>, claims: Vec<DeviceClaim>) -> PodSetRequest {
    PodSetRequest {
        name: set.name.clone(),
        count: i64::from(set.count),
        min_count: min_count.or(set.min_count.map(i64::from)),
        requests: set.pod.vector(),
        gpu_share_milli: 0,
        claims,
        node_selector: set.pod.node_selector.clone(),
        affinity: set.pod.affinity.clone(),
        tolerations: set.pod.tolerations.clone(),
        gateable: set.template_path.is_some(),
    }
}

/// Claims of one pod of each role, and why they cannot be told.
fn claims(
    object: &RawObject,
    shape: &WorkloadShape,
    known: Claims<'_>,
) -> (Vec<Vec<DeviceClaim>>, Option<(Reason, String)>) {
    let mut unclear = None;
    let namespace = &object.metadata.namespace;
    let mut of_set = |set: &PodSet| {
        let claims = set.pod.claims.iter().filter_map(|claim| {
            read_claim(namespace, claim, known)
                .map_err(|message| unclear.get_or_insert((Reason::Impossible, message)).clone())
                .ok()
        });
        claims.collect::<Vec<DeviceClaim>>()
    };
    let all = shape.pod_sets.iter().map(&mut of_set).collect();
    (all, unclear)
}

fn read_claim(namespace: &str, claim: &PodClaim, known: Claims<'_>) -> Result<DeviceClaim, String> {
    let named = claim.resource_claim_name.as_ref();
    let template = claim.resource_claim_template_name.as_ref();
    let (kind, name, path) = match (named, template) {
        (Some(name), None) => ("ResourceClaim", name, "/spec"),
        (None, Some(name)) => ("ResourceClaimTemplate", name, "/spec/spec"),
        _ => {
            return Err(format!(
                "claim {} names no ResourceClaim and no ResourceClaimTemplate",
                claim.name
            ));
        }
    };
    let object = (known.0)(kind, name).ok_or_else(|| format!("its {kind} {name} is not there"))?;
    let spec = object.pointer(path).cloned().unwrap_or_default();
    let shared = named.map(|name| format!("{namespace}/{name}"));
    let read = DeviceClaim::read(&claim.name, shared, &spec)
        .map_err(|error| format!("{kind} {name}: {error}"))?;
    for selector in read.selectors() {
        DeviceSelector::compile(selector).map_err(|error| {
            format!("{kind} {name}: the selector {selector:?} cannot be evaluated: {error}")
        })?;
    }
    Ok(read)
}

/// Devices of one pod's own by class, named as in a ResourceQuota, as far as their number is known beforehand.
fn by_class(claims: &[DeviceClaim]) -> ResourceList {
    let mut sum = ResourceList::new();
    let own = claims.iter().filter(|claim| claim.shared.is_none());
    for (class, count) in own.flat_map(DeviceClaim::by_class) {
        let all = sum.entry(class_resource(class)).or_default();
        *all = all.saturating_add(Quantity::from_units(count));
    }
    sum
}

fn written(set: &PodSet, min_count: Option<i64>) -> WorkloadPodSet {
    WorkloadPodSet {
        name: set.name.clone(),
        count: i64::from(set.count),
        min_count: min_count.or(set.min_count.map(i64::from)),
        requests: set.pod.requests.clone(),
    }
}

fn labels(object: &Value, set: &PodSet) -> Option<Labels> {
    let template = object.pointer(set.template_path.as_deref()?)?;
    let labels = template.pointer("/metadata/labels")?;
    serde_json::from_value(labels.clone()).ok()
}

/// What a run and its earlier runs have in common: namespace, kind, name of the series, and as many pods with as many devices.
pub(crate) fn series(object: &RawObject, pod_sets: &[WorkloadPodSet]) -> String {
    let name = annotations::series(object);
    let mut words = vec![format!(
        "{}/{}/{name}",
        object.metadata.namespace, object.kind
    )];
    for set in pod_sets {
        words.push(format!("{}×{}", set.name, set.count));
        let asked = set.requests.iter().filter(|(name, _)| is_extended(name));
        words.extend(asked.map(|(name, amount)| format!("{name}={amount}")));
    }
    words.join(" ")
}

/// What it asks for in a few words: "2×8 gpu, one rack", "6 replicas".
pub fn wants(shape: &WorkloadShape, strategy: Strategy, topology: Option<&Closeness>) -> String {
    let mut text = match shape.pod_sets.as_slice() {
        [] => "one copy per target".to_owned(),
        [set] => one_role(set, strategy == Strategy::Divide),
        sets => {
            let roles: Vec<String> = sets
                .iter()
                .map(|set| format!("{} {}", set.name, one_role(set, false)))
                .collect();
            roles.join(" + ")
        }
    };
    if strategy == Strategy::Duplicate && !shape.pod_sets.is_empty() {
        text.push_str(" in each target");
    }
    if let Some(topology) = topology {
        text.push_str(", one ");
        text.push_str(level_word(&topology.level));
        if topology.mode == TopologyMode::Preferred {
            text.push_str(" if it can be");
        }
    }
    text
}

/// A topology level as people say it: the last word of its label.
pub fn level_word(level: &str) -> &str {
    match level.rsplit(['/', '.']).next().unwrap_or(level) {
        "hostname" => "node",
        word => word,
    }
}

fn one_role(set: &PodSet, divisible: bool) -> String {
    let device = set
        .pod
        .requests
        .iter()
        .find(|(name, amount)| is_extended(name) && amount.value() > 0)
        .map(|(name, amount)| {
            let word = class_of_resource(name).unwrap_or_else(|| level_word(name));
            (word.to_owned(), amount.value())
        });
    let count = set.count;
    match device {
        Some((device, each)) if divisible => format!("{} × {each} {device}", replicas(count)),
        Some((device, 1)) => format!("{count} {device}"),
        Some((device, each)) => format!("{count}×{each} {device}"),
        None if divisible => replicas(count),
        None if count == 1 => "1 pod".to_owned(),
        None => format!("{count} pods"),
    }
}

fn replicas(count: u32) -> String {
    if count == 1 {
        "1 replica".to_owned()
    } else {
        format!("{count} replicas")
    }
}

#[cfg(test)]
mod tests;
