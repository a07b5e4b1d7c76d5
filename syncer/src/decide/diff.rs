//! The next steps for one assignment, from what was ordered, what the ledger says and what is seen on the member.
//!
//! It is asked again after every step that was done and every event, until it has nothing more to say. Absence of an order is never
//! a reason to delete: only [`AssignmentState::Removed`] leads to [`Step::Delete`].

use std::collections::BTreeMap;

use placement_api::kinds::{
    AppliedAssignmentSpec, AssignmentState, FinishedRecord, LedgerObject, ObjectRef, SyncPolicySpec,
};
use placement_api::raw::RawObject;

use super::compare::{content, covers};
use super::desired::Desired;
use super::ledger::{Confirmed, announce, record};
use super::object_id::ObjectId;
use super::policy::denial;

/// The order: the head of an Assignment.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The root object on the hub.
    pub workload: &'a ObjectRef,
    /// Epoch.
    pub epoch: i64,
    /// Term of the scheduler that wrote it.
    pub term: i64,
    /// Digest of the order.
    pub digest: &'a str,
    /// To run or to go.
    pub state: AssignmentState,
}

/// What is known of an object on the member.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// Not known yet: its kind is not watched or not listed.
    Unknown,
    /// Not there, or not ours.
    Absent,
    /// There, with the marker of our hub.
    Ours(&'a RawObject),
    /// There, and somebody else's.
    Foreign(&'a RawObject),
}

/// What this process remembers of an object that it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Digest of the desired state.
    pub digest: String,
    /// [`content`] of the object as it was right after.
    pub content: String,
}

/// Everything that the decision rests on.
pub struct Input<'a> {
    /// What was ordered.
    pub order: Order<'a>,
    /// UID of the hub.
    pub hub_uid: &'a str,
    /// What the ledger says, as it was last written.
    pub ledger: Option<&'a AppliedAssignmentSpec>,
    /// Objects of the order, root last; empty for a tombstone.
    pub desired: &'a [Desired],
    /// Secrets of the order whose copies have not arrived.
    pub missing: &'a [ObjectId],
    /// How the member looks.
    pub seen: &'a dyn Fn(&ObjectId) -> Seen<'a>,
    /// Whether the member serves the kind.
    pub served: &'a dyn Fn(&Desired) -> bool,
    /// Whether a namespace is there; `None`: not known yet.
    pub namespace: &'a dyn Fn(&str) -> Option<bool>,
    /// What this process wrote.
    pub written: &'a BTreeMap<ObjectId, Written>,
    /// Whether another assignment has to do with the object.
    pub elsewhere: &'a dyn Fn(&ObjectId) -> bool,
    /// What the member's admin allows.
    pub policy: &'a SyncPolicySpec,
    /// How the root ended, if its kind can end and it did.
    pub finished: Option<&'a FinishedRecord>,
    /// Pods of the assignment that have not ended; `None`: not known yet.
    pub pods: Option<usize>,
    /// Objects that may be deleted now.
    pub deletions: usize,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Read the lowest term live; go on only if the order's is not below it.
    CheckTerm,
    /// Write the ledger.
    WriteLedger(Box<AppliedAssignmentSpec>),
    /// Create a namespace.
    MakeNamespace(String),
    /// Create `desired[index]`; look before, if it was announced earlier.
    Create {
        /// Which one.
        index: usize,
        /// It may exist already.
        look: bool,
    },
    /// Apply `desired[index]`.
    Apply(usize),
    /// Delete it, after a live look.
    Delete(LedgerObject),
    /// Everything looks gone: look at each of these live, then delete the ledger.
    DropLedger(Vec<LedgerObject>),
}

/// Why something cannot be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands in the way.
    pub why: Why,
    /// Which object, if it is about one.
    pub id: Option<ObjectId>,
    /// For people.
    pub message: String,
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The ledger is of a newer epoch.
    StaleEpoch,
    /// Objects of another workload of the same name are here.
    LeftOver,
    /// The kind is not served.
    KindNotServed,
    /// The SyncPolicy forbids it.
    Denied,
    /// The agent has no right to it.
    Forbidden,
    /// Somebody else's object has the name.
    ForeignObject,
    /// The hub's copy of a Secret has not arrived.
    SecretMissing,
    /// The first look at the member is not complete, or something is on its way out.
    Waiting,
    /// The breaker for deletions.
    DeleteBudget,
}

/// What to do and what cannot be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// In this order; stop at the first that fails.
    pub steps: Vec<Step>,
    /// What stands in the way.
    pub blocks: Vec<Block>,
    /// Of a tombstone: everything is gone and confirmed.
    pub removed: bool,
    /// Every object of the order is as ordered.
    pub complete: bool,
}

/// Decides.
pub fn decide(input: &Input<'_>) -> Decision {
    if let Some(block) = fenced(input) {
        return Decision {
            blocks: vec![block],
            ..Decision::default()
        };
    }
    match input.order.state {
        AssignmentState::Active => active(input),
        AssignmentState::Removed => removed(input),
    }
}

fn fenced(input: &Input<'_>) -> Option<Block> {
    let ledger = input.ledger?;
    let order = &input.order;
    if order.epoch < ledger.epoch {
        let message = format!(
            "epoch {} is older than epoch {}, which is here",
            order.epoch, ledger.epoch
        );
        return Some(Block {
            why: Why::StaleEpoch,
            id: None,
            message,
        });
    }
    if ledger.workload.uid != order.workload.uid || ledger.hub_uid != input.hub_uid {
        let message = format!(
            "objects of an earlier {} (UID {}) are still here; they go with a tombstone of their own",
            ledger.workload, ledger.workload.uid
        );
        return Some(Block {
            why: Why::LeftOver,
            id: None,
            message,
        });
    }
    None
}

/// How one object stands.
enum Stand<'a> {
    Good(&'a RawObject),
    /// Foreign, and that is as good: a CRD that the member's admin installed.
    Enough,
    Create,
    Apply,
    Blocked(Block),
}

fn active(input: &Input<'_>) -> Decision {
    let mut decision = Decision::default();
    if input.ledger.is_some_and(|ledger| ledger.finished.is_some()) {
        decision.complete = true;
        // Finished work is left as it is; only a newer epoch is noted.
        return noted(input, decision, &BTreeMap::new());
    }
    for id in input.missing {
        decision.blocks.push(block(
            Why::SecretMissing,
            id,
            "its copy on the hub has not arrived",
        ));
    }
    let mut confirmed = BTreeMap::new();
    let mut work = Vec::new();
    let mut namespaces = Vec::new();
    for (index, desired) in input.desired.iter().enumerate() {
        if desired.root {
            // What it needs is not there: it is not started. What runs is kept in repair all the same.
            let held =
                !decision.blocks.is_empty() && !matches!((input.seen)(&desired.id), Seen::Ours(_));
            if held || input.finished.is_some() {
                continue;
            }
        }
        match stand(input, desired) {
            Stand::Good(live) => {
                let known = Confirmed {
                    uid: &live.metadata.uid,
                    digest: &desired.digest,
                    api_version: &desired.api_version,
                };
                confirmed.insert(desired.id.clone(), known);
            }
            Stand::Enough => {}
            Stand::Blocked(block) => decision.blocks.push(block),
            Stand::Apply => work.push(Step::Apply(index)),
            Stand::Create => {
                let namespace = &desired.id.key.namespace;
                if !namespace.is_empty() && !namespaces.contains(namespace) {
                    match (input.namespace)(namespace) {
                        Some(true) => {}
                        Some(false) => namespaces.push(namespace.clone()),
                        None => {
                            let message = "the namespaces of the member are not known yet";
                            decision
                                .blocks
                                .push(block(Why::Waiting, &desired.id, message));
                            continue;
                        }
                    }
                }
                let look = input.ledger.is_some_and(|l| lists(l, &desired.id));
                work.push(Step::Create { index, look });
            }
        }
    }
    let first = input
        .ledger
        .is_none_or(|ledger| ledger.epoch < input.order.epoch);
    let announced = announce(&input.order, input.hub_uid, input.ledger, input.desired);
    let unannounced = first
        || input
            .ledger
            .is_none_or(|have| announced.objects.len() != have.objects.len());
    if work.is_empty() && (!unannounced || !decision.blocks.is_empty()) {
        decision.complete = decision.blocks.is_empty();
        return noted(input, decision, &confirmed);
    }
    if first {
        decision.steps.push(Step::CheckTerm);
    }
    if unannounced {
        decision.steps.push(Step::WriteLedger(Box::new(announced)));
    }
    decision
        .steps
        .extend(namespaces.into_iter().map(Step::MakeNamespace));
    decision.steps.extend(work);
    decision
}

fn stand<'a>(input: &Input<'a>, desired: &Desired) -> Stand<'a> {
    let id = &desired.id;
    if let Some(message) = denial(input.policy, id) {
        return Stand::Blocked(block(Why::Denied, id, &message));
    }
    if !(input.served)(desired) {
        let message = format!(
            "this cluster does not serve {} {}",
            desired.api_version, id.kind.kind
        );
        return Stand::Blocked(block(Why::KindNotServed, id, &message));
    }
    match (input.seen)(id) {
        Seen::Unknown => Stand::Blocked(block(
            Why::Waiting,
            id,
            "the first look at its kind is not complete",
        )),
        Seen::Absent => Stand::Create,
        Seen::Foreign(_) if id.is_kept() => Stand::Enough,
        Seen::Foreign(_) => Stand::Blocked(foreign(id)),
        Seen::Ours(live) if live.is_deleting() => Stand::Blocked(block(
            Why::Waiting,
            id,
            "it is being deleted on the member and will be made anew",
        )),
        Seen::Ours(live) => {
            let written = input.written.get(id).filter(|w| w.digest == desired.digest);
            let recorded = input.ledger.is_some_and(|ledger| {
                ledger
                    .objects
                    .iter()
                    .any(|o| ObjectId::of(&o.reference) == *id && o.digest == desired.digest)
            });
            // Seen in another version than it is written in, it cannot be compared.
            let as_ordered =
                || live.api_version != desired.api_version || covers(live, &desired.object);
            // A repair that changed nothing is not repeated: the server writes it in its own way.
            let as_left = || written.is_some_and(|w| w.content == content(live));
            if (written.is_some() || recorded) && (as_ordered() || as_left()) {
                Stand::Good(live)
            } else {
                Stand::Apply
            }
        }
    }
}

/// The block for a foreign object of the same name.
pub fn foreign(id: &ObjectId) -> Block {
    let message = format!("{id} is on this cluster already and is not the hub's: it is left alone");
    block(Why::ForeignObject, id, &message)
}

fn block(why: Why, id: &ObjectId, message: &str) -> Block {
    Block {
        why,
        id: Some(id.clone()),
        message: message.to_owned(),
    }
}

fn lists(ledger: &AppliedAssignmentSpec, id: &ObjectId) -> bool {
    ledger
        .objects
        .iter()
        .any(|o| ObjectId::of(&o.reference) == *id)
}

/// Adds the writing of the ledger, if there is something new to note.
fn noted(
    input: &Input<'_>,
    mut decision: Decision,
    confirmed: &BTreeMap<ObjectId, Confirmed<'_>>,
) -> Decision {
    let Some(ledger) = input.ledger else {
        return decision;
    };
    let mut new = record(
        ledger,
        &input.order,
        decision.complete,
        confirmed,
        input.finished,
    );
    new.epoch = new.epoch.max(input.order.epoch);
    if new != *ledger {
        decision.steps.push(Step::WriteLedger(Box::new(new)));
    }
    decision
}

fn removed(input: &Input<'_>) -> Decision {
    let mut decision = Decision::default();
    let Some(ledger) = input.ledger else {
        decision.removed = true;
        return decision;
    };
    let root = ObjectId::of(&ledger.workload);
    let mut left: Vec<(bool, &LedgerObject)> = Vec::new();
    let mut to_look_at = Vec::new();
    for object in &ledger.objects {
        let id = ObjectId::of(&object.reference);
        if id.is_kept() || (id != root && (input.elsewhere)(&id)) {
            continue;
        }
        to_look_at.push(object.clone());
        match (input.seen)(&id) {
            Seen::Unknown => {
                decision.blocks.push(block(
                    Why::Waiting,
                    &id,
                    "the first look at its kind is not complete",
                ));
            }
            Seen::Absent | Seen::Foreign(_) => {}
            Seen::Ours(live) if live.is_deleting() => {
                decision
                    .blocks
                    .push(block(Why::Waiting, &id, "it is being deleted"));
                if id == root {
                    // What it needs stays until it is gone.
                    return decision;
                }
            }
            Seen::Ours(_) => left.push((id == root, object)),
        }
    }
    if !decision.blocks.is_empty() && decision.blocks.iter().any(|b| b.id.as_ref() == Some(&root)) {
        return decision;
    }
    let root_left = left.iter().any(|(is_root, _)| *is_root);
    for (is_root, object) in left {
        if root_left && !is_root {
            continue;
        }
        if decision.steps.len() >= input.deletions {
            let id = ObjectId::of(&object.reference);
            let message = "the SyncPolicy of this cluster lets no more objects be deleted for now";
            decision.blocks.push(block(Why::DeleteBudget, &id, message));
            break;
        }
        decision.steps.push(Step::Delete(object.clone()));
    }
    if !decision.steps.is_empty() || !decision.blocks.is_empty() {
        return decision;
    }
    match input.pods {
        Some(0) => decision.steps.push(Step::DropLedger(to_look_at)),
        Some(count) => decision.blocks.push(Block {
            why: Why::Waiting,
            id: None,
            message: format!("{count} pods are still ending"),
        }),
        None => decision.blocks.push(Block {
            why: Why::Waiting,
            id: None,
            message: "the first look at the pods is not complete".to_owned(),
        }),
    }
    decision
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::desired::{desired, tests::job_spec};

    /// A member that does what it is told, as the API server would.
    #[derive(Default)]
    struct Member {
        objects: BTreeMap<ObjectId, RawObject>,
        ledger: Option<AppliedAssignmentSpec>,
        written: BTreeMap<ObjectId, Written>,
        namespaces: Vec<String>,
        uids: u32,
    }

    struct World {
        spec: placement_api::kinds::AssignmentSpec,
        member: Member,
        policy: SyncPolicySpec,
        elsewhere: Vec<ObjectId>,
        pods: Option<usize>,
        finished: Option<FinishedRecord>,
        unserved: Vec<String>,
        deletions: usize,
    }

    fn world() -> World {
        World {
            spec: job_spec(),
            member: Member {
                namespaces: vec!["vision".into()],
                ..Member::default()
            },
            policy: SyncPolicySpec::default(),
            elsewhere: Vec::new(),
            pods: Some(0),
            finished: None,
            unserved: Vec::new(),
            deletions: usize::MAX,
        }
    }

    fn job() -> ObjectId {
        ObjectId::new("batch", "Job", "vision", "train")
    }

    fn script() -> ObjectId {
        ObjectId::new("", "ConfigMap", "vision", "script")
    }

    impl World {
        fn desired(&self) -> Vec<Desired> {
            desired("job-train", "hub", &self.spec).unwrap_or_default()
        }

        fn decide(&self) -> Decision {
            let desired = self.desired();
            let member = &self.member;
            decide(&Input {
                order: Order {
                    workload: &self.spec.workload,
                    epoch: self.spec.epoch,
                    term: self.spec.term,
                    digest: &self.spec.digest,
                    state: self.spec.state,
                },
                hub_uid: "hub",
                ledger: member.ledger.as_ref(),
                desired: &desired,
                missing: &[],
                seen: &|id| match member.objects.get(id) {
                    None => Seen::Absent,
                    Some(o) if o.label("inhaul.dev/hub") == Some("hub") => Seen::Ours(o),
                    Some(o) => Seen::Foreign(o),
                },
                served: &|d| !self.unserved.contains(&d.id.kind.kind),
                namespace: &|name| Some(member.namespaces.iter().any(|n| n == name)),
                written: &member.written,
                elsewhere: &|id| self.elsewhere.contains(id),
                policy: &self.policy,
                finished: self.finished.as_ref(),
                pods: self.pods,
                deletions: self.deletions,
            })
        }

        fn put(&mut self, desired: &Desired) {
            let member = &mut self.member;
            let mut object = desired.object.clone();
            let uid = member
                .objects
                .get(&desired.id)
                .map(|o| o.metadata.uid.clone());
            let uid = uid.unwrap_or_else(|| {
                member.uids += 1;
                format!("m{}", member.uids)
            });
            object["metadata"]["uid"] = uid.into();
            object["spec"]["defaulted"] = true.into();
            let raw = RawObject::from_value(&object).unwrap();
            member.written.insert(
                desired.id.clone(),
                Written {
                    digest: desired.digest.clone(),
                    content: content(&raw),
                },
            );
            member.objects.insert(desired.id.clone(), raw);
        }

        /// Does a step; false: it stops the steps behind it.
        fn perform(&mut self, step: &Step) -> bool {
            let desired = self.desired();
            match step {
                Step::CheckTerm => {}
                Step::WriteLedger(spec) => self.member.ledger = Some((**spec).clone()),
                Step::MakeNamespace(name) => self.member.namespaces.push(name.clone()),
                Step::Create { index, .. } => {
                    let wanted = &desired[*index];
                    assert!(
                        self.member
                            .ledger
                            .as_ref()
                            .is_some_and(|l| lists(l, &wanted.id)),
                        "{} is created without being announced",
                        wanted.id
                    );
                    if self.member.objects.contains_key(&wanted.id) {
                        return false;
                    }
                    self.put(wanted);
                }
                Step::Apply(index) => self.put(&desired[*index]),
                Step::Delete(object) => {
                    let id = ObjectId::of(&object.reference);
                    self.member.objects.remove(&id);
                    self.member.written.remove(&id);
                }
                Step::DropLedger(_) => self.member.ledger = None,
            }
            true
        }

        /// Until there is nothing to do; the kinds of steps that were done.
        fn settle(&mut self) -> Vec<String> {
            let mut done = Vec::new();
            for _ in 0..20 {
                let decision = self.decide();
                if decision.steps.is_empty() {
                    return done;
                }
                for step in &decision.steps {
                    done.push(match step {
                        Step::Create { index, .. } => {
                            format!("create {}", self.desired()[*index].id.kind.kind)
                        }
                        Step::Apply(index) => {
                            format!("apply {}", self.desired()[*index].id.kind.kind)
                        }
                        Step::Delete(object) => format!("delete {}", object.reference.kind),
                        Step::CheckTerm => "term".into(),
                        Step::WriteLedger(_) => "ledger".into(),
                        Step::MakeNamespace(name) => format!("namespace {name}"),
                        Step::DropLedger(_) => "drop".into(),
                    });
                    if !self.perform(step) {
                        break;
                    }
                }
            }
            panic!("it never settles: {done:?}");
        }

        fn edit(&mut self, id: &ObjectId, edit: impl FnOnce(&mut Value)) {
            let mut value = self.member.objects[id].to_value();
            edit(&mut value);
            self.member
                .objects
                .insert(id.clone(), RawObject::from_value(&value).unwrap());
        }
    }

    #[test]
    fn a_first_start_is_announced_checked_and_recorded_in_two_ledger_writes() {
        let mut world = world();
        world.member.namespaces.clear();
        assert_eq!(
            world.settle(),
            [
                "term",
                "ledger",
                "namespace vision",
                "create ConfigMap",
                "create Job",
                "ledger"
            ]
        );
        let ledger = world.member.ledger.clone().unwrap();
        assert!(
            ledger
                .objects
                .iter()
                .all(|o| !o.reference.uid.is_empty() && !o.digest.is_empty()),
            "{ledger:?}"
        );
        assert!(world.decide().complete);
        // A restart remembers nothing but the ledger, and finds everything in place.
        world.member.written.clear();
        assert_eq!(world.settle(), [""; 0]);
    }

    #[test]
    fn drift_is_repaired_and_the_doings_of_others_are_not() {
        let mut world = world();
        world.settle();
        world.edit(&script(), |o| o["data"]["a"] = "changed".into());
        assert_eq!(world.settle(), ["apply ConfigMap"]);
        world.edit(&script(), |o| o["data"]["theirs"] = "x".into());
        world.edit(&job(), |o| o["status"] = json!({"active": 2}));
        assert_eq!(world.settle(), [""; 0]);
        world.member.objects.remove(&job());
        assert_eq!(world.settle(), ["create Job", "ledger"]);
    }

    #[test]
    fn a_repair_that_changes_nothing_is_not_repeated() {
        let mut world = world();
        world.settle();
        // The server keeps another spelling than the one that was sent.
        world.edit(&script(), |o| o["data"]["a"] = "normalized".into());
        let live = world.member.objects[&script()].clone();
        world.member.written.get_mut(&script()).unwrap().content = content(&live);
        assert_eq!(world.settle(), [""; 0]);
        world.edit(&script(), |o| o["data"]["a"] = "drift".into());
        assert_eq!(world.settle(), ["apply ConfigMap"]);
    }

    #[test]
    fn a_change_of_the_order_costs_one_apply_and_one_ledger_write() {
        let mut world = world();
        world.settle();
        world.spec.manifests[1].object["data"] = json!({});
        world.spec.digest = "d2".into();
        assert_eq!(world.settle(), ["apply ConfigMap", "ledger"]);
        assert_eq!(world.member.ledger.as_ref().unwrap().digest, "d2");
        // An order without the ConfigMap does not delete it: only a tombstone does.
        world.spec.manifests.remove(1);
        world.spec.digest = "d3".into();
        assert_eq!(world.settle(), ["ledger"]);
        assert!(world.member.objects.contains_key(&script()));
    }

    #[test]
    fn a_crash_between_any_two_steps_converges() {
        for crash_after in 0..8 {
            let mut world = world();
            let mut steps = 0;
            'run: loop {
                let decision = world.decide();
                if decision.steps.is_empty() {
                    break;
                }
                for step in decision.steps {
                    if steps == crash_after {
                        break 'run;
                    }
                    steps += 1;
                    world.perform(&step);
                }
            }
            world.member.written.clear();
            world.settle();
            assert!(world.decide().complete, "crash after {crash_after}");
            assert_eq!(world.member.objects.len(), 2);
            world.spec.state = AssignmentState::Removed;
            world.spec.manifests.clear();
            world.settle();
            assert!(world.decide().removed && world.member.objects.is_empty());
        }
    }

    #[test]
    fn finished_work_is_never_started_again() {
        let mut world = world();
        world.settle();
        world.finished = Some(FinishedRecord {
            succeeded: true,
            root_status: Some(json!({"succeeded": 2})),
        });
        assert_eq!(world.settle(), ["ledger"]);
        world.finished = None;
        world.member.objects.remove(&job());
        assert_eq!(world.settle(), [""; 0]);
        // Not even for a newer epoch.
        world.spec.epoch = 2;
        assert_eq!(world.settle(), ["ledger"]);
        assert!(!world.member.objects.contains_key(&job()));
        assert!(world.member.ledger.as_ref().unwrap().finished.is_some());
    }

    #[test]
    fn a_tombstone_takes_the_root_first_and_waits_for_the_pods() {
        let mut world = world();
        world.settle();
        world.spec.state = AssignmentState::Removed;
        world.spec.manifests.clear();
        world.pods = Some(2);
        assert_eq!(world.settle(), ["delete Job", "delete ConfigMap"]);
        let decision = world.decide();
        assert!(!decision.removed && decision.blocks[0].message.contains("2 pods"));
        world.pods = Some(0);
        assert_eq!(world.settle(), ["drop"]);
        assert!(world.decide().removed);
    }

    #[test]
    fn a_tombstone_waits_for_a_root_that_is_going() {
        let mut world = world();
        world.settle();
        world.spec.state = AssignmentState::Removed;
        world.edit(&job(), |o| {
            o["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        });
        let decision = world.decide();
        assert_eq!(decision.steps, []);
        assert_eq!(decision.blocks[0].why, Why::Waiting);
    }

    #[test]
    fn what_a_tombstone_never_deletes() {
        let mut world = world();
        world.settle();
        world.spec.state = AssignmentState::Removed;
        world.elsewhere = vec![script()];
        world.edit(&job(), |o| o["metadata"]["labels"] = json!({}));
        assert_eq!(
            world.settle(),
            ["drop"],
            "shared with another assignment, and no longer ours"
        );
        assert_eq!(world.member.objects.len(), 2);

        let mut world = self::world();
        world.settle();
        world.spec.state = AssignmentState::Removed;
        world.spec.epoch = 0;
        assert_eq!(world.decide().blocks[0].why, Why::StaleEpoch);
        world.spec.epoch = 1;
        world.spec.workload.uid = "other".into();
        assert_eq!(world.decide().blocks[0].why, Why::LeftOver);
        world.spec.workload.uid = "u1".into();
        world.deletions = 0;
        let decision = world.decide();
        assert_eq!(
            (decision.steps.len(), decision.blocks[0].why),
            (0, Why::DeleteBudget)
        );
    }

    #[test]
    fn what_stands_in_the_way_of_the_root() {
        let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "script", "namespace": "vision"}});
        type Prepare = Box<dyn Fn(&mut World)>;
        let cases: Vec<(&str, Prepare, Why)> = vec![
            (
                "not served",
                Box::new(|w| w.unserved = vec!["ConfigMap".into()]),
                Why::KindNotServed,
            ),
            (
                "policy",
                Box::new(|w| w.policy.namespaces.deny = vec!["vis*".into()]),
                Why::Denied,
            ),
            (
                "foreign",
                Box::new(move |w| {
                    w.member
                        .objects
                        .insert(script(), RawObject::from_value(&foreign).unwrap());
                }),
                Why::ForeignObject,
            ),
        ];
        for (name, prepare, why) in cases {
            let mut world = world();
            prepare(&mut world);
            let decision = world.decide();
            assert_eq!(decision.blocks[0].why, why, "{name}");
            assert_eq!(decision.steps, [], "{name}: nothing is started");
            assert!(!decision.complete);
        }
    }
}
