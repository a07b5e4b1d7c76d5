//! What the engine knows: the world as it was last seen, what was decided, and what has to be looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use placement_api::api_type::{ApiType, GroupKind, ObjectKey};
use placement_api::kinds::{
    AssignmentSpec, AssignmentState, AssignmentStatus, InventoryStatus, NodeShare, ObjectRef,
    SyncTargetSpec, SyncTargetStatus, TargetVerdict, WorkloadPhase, WorkloadSpec, WorkloadState,
};
use placement_api::profile::{Profile, ProfileFields};
use placement_api::raw::{Metadata, RawObject};
use placement_api::reason::Reason;
use placement_api::selector::{LabelSelector, Labels};
use tokio::time::Instant;

use super::lease::LeaseSpec;
use crate::fleet::{Event, Rates, TargetName, TargetState, WorkloadId};
use crate::plan::{Request, Step};
use crate::record::Core;
use crate::runs::{Estimate, Runs};
use crate::select::Rule;

/// An object as it was last seen, by watch or in the answer to a write; what is older is not taken in.
#[derive(Debug)]
pub(crate) struct Live<T> {
    seen: u64,
    value: Option<T>,
}

impl<T> Default for Live<T> {
    fn default() -> Self {
        Self {
            seen: 0,
            value: None,
        }
    }
}

impl<T> Live<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Takes in a version of the object unless a later one has been seen.
    pub(crate) fn accept(&mut self, version: &str, value: impl FnOnce() -> T) -> bool {
        let version = number(version);
        if version < self.seen {
            return false;
        }
        self.seen = version;
        self.value = Some(value());
        true
    }

    /// The object is gone. Without a version (it was missing from a list) whatever comes next is newer.
    pub(crate) fn gone(&mut self, version: Option<&str>) -> bool {
        let version = version.map_or(self.seen, number);
        if version < self.seen {
            return false;
        }
        self.seen = version;
        self.value.take().is_some()
    }
}

/// Resource versions are numbers that grow over all objects of a kind.
pub(crate) fn number(version: &str) -> u64 {
    version.parse().unwrap_or(u64::MAX)
}

/// A Workload on the hub.
#[derive(Debug)]
pub(crate) struct LiveWorkload {
    pub(crate) uid: String,
    pub(crate) deleting: bool,
    pub(crate) finalizers: Vec<String>,
    pub(crate) spec: WorkloadSpec,
    pub(crate) status: WorkloadState,
}

/// An Assignment on the hub, without its manifests.
#[derive(Debug)]
pub(crate) struct LiveAssignment {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    /// When it was made, ms since 1970.
    pub(crate) created_ms: Option<i64>,
    pub(crate) deleting: bool,
    pub(crate) spec: AssignmentSpec,
    pub(crate) status: AssignmentStatus,
}

impl LiveAssignment {
    pub(crate) fn is_active(&self) -> bool {
        self.spec.state == AssignmentState::Active
    }
}

/// A workload's share of a target: what was decided, and the Assignment.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read by itself"
)]
pub(crate) struct Part {
    pub(crate) epoch: i64,
    pub(crate) counts: BTreeMap<String, i64>,
    pub(crate) domain: BTreeMap<String, String>,
    pub(crate) nodes: Vec<NodeShare>,
    pub(crate) replaces: Option<TargetName>,
    /// Who gives way to it: it starts when these are seen gone.
    pub(crate) after: BTreeSet<(WorkloadId, TargetName)>,
    pub(crate) evicting: bool,
    pub(crate) evicted_for: Option<Reason>,
    /// The Assignment was written at some time, or may have been.
    pub(crate) started: bool,
    /// The member has confirmed that everything is gone.
    pub(crate) removed: bool,
    /// Its manifests have to be made again and compared.
    pub(crate) render: bool,
    pub(crate) live: Live<LiveAssignment>,
}

/// Why and how long a target is avoided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) count: i64,
    pub(crate) until_ms: i64,
}

/// A root object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RootKey {
    pub(crate) kind: GroupKind,
    pub(crate) key: ObjectKey,
}

impl RootKey {
    /// The name of its Workload.
    pub(crate) fn id(&self) -> WorkloadId {
        let name = placement_api::names::workload_name(
            &self.kind.group,
            &self.kind.kind,
            &self.key.namespace,
            &self.key.name,
        );
        WorkloadId::from(name)
    }

    /// Where its Workload is.
    pub(crate) fn workload_key(&self) -> ObjectKey {
        let namespace = if self.key.namespace.is_empty() {
            placement_api::names::SYSTEM_NAMESPACE
        } else {
            self.key.namespace.as_str()
        };
        ObjectKey::new(namespace, self.id().as_str())
    }
}

/// One workload.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read by itself"
)]
pub(crate) struct Entry {
    pub(crate) root: RootKey,
    pub(crate) live: Live<LiveWorkload>,
    pub(crate) parts: BTreeMap<TargetName, Part>,
    pub(crate) refused: BTreeMap<TargetName, Refused>,
    /// What it asks, as last planned.
    pub(crate) request: Option<Arc<Request>>,
    /// What is to be written: the spec without term and assignments.
    pub(crate) spec: WorkloadSpec,
    pub(crate) phase: WorkloadPhase,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: String,
    pub(crate) verdicts: Vec<TargetVerdict>,
    /// Since when it is in this phase.
    pub(crate) since_ms: i64,
    /// When it was last moved for the sake of others.
    pub(crate) moved_ms: Option<i64>,
    /// What earlier runs of its series tell of how long it runs; it keeps to that.
    pub(crate) estimate: Option<Estimate>,
    /// What it and its earlier runs have in common.
    pub(crate) series: String,
    /// How long it ran, once it has ended well in one go.
    pub(crate) ran_ms: Option<i64>,
    /// Parts that should go: how, and what is missing.
    pub(crate) leaving: BTreeMap<TargetName, (Step, String)>,
    /// Its manifests cannot be made.
    pub(crate) unfit: Option<String>,
    /// Objects that it depends on, there or not.
    pub(crate) needs: BTreeSet<RootKey>,
    /// Labels of its pod templates, for Services.
    pub(crate) pod_labels: Vec<Labels>,
    /// Its replicas can be set in each copy.
    pub(crate) scalable: bool,
    /// Its replicas are divided over targets.
    pub(crate) divided: bool,
    /// Its pods were asked to be close together.
    pub(crate) close: bool,
    /// Where the object has the pod template of each role.
    pub(crate) templates: BTreeMap<String, String>,
    /// It has to be planned again, because its manifests cannot be made.
    pub(crate) replan: bool,
    /// Until when its first status waits for the other targets to report.
    pub(crate) status_waits: Option<Instant>,
    /// Reason that the metrics count it under.
    pub(crate) counted_reason: Option<Reason>,
    /// When its status was last written into the root object.
    pub(crate) status_at: Option<Instant>,
    /// A live read has shown that the root object is gone.
    pub(crate) gone: bool,
    /// The status that was sent last.
    pub(crate) sent_status: Option<serde_json::Value>,
    /// A status that the hub refused; not sent again.
    pub(crate) refused_status: Option<serde_json::Value>,
}

impl Entry {
    pub(crate) fn new(root: RootKey, now_ms: i64) -> Self {
        Self {
            root,
            live: Live::default(),
            parts: BTreeMap::new(),
            refused: BTreeMap::new(),
            request: None,
            spec: WorkloadSpec::default(),
            phase: WorkloadPhase::Pending,
            reason: None,
            message: String::new(),
            verdicts: Vec::new(),
            since_ms: now_ms,
            moved_ms: None,
            estimate: None,
            series: String::new(),
            ran_ms: None,
            leaving: BTreeMap::new(),
            unfit: None,
            needs: BTreeSet::new(),
            pod_labels: Vec::new(),
            scalable: false,
            divided: false,
            close: false,
            templates: BTreeMap::new(),
            replan: false,
            status_waits: None,
            counted_reason: None,
            status_at: None,
            gone: false,
            sent_status: None,
            refused_status: None,
        }
    }

    pub(crate) fn is_deleting(&self) -> bool {
        self.live.get().is_some_and(|live| live.deleting)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.phase == WorkloadPhase::Finished
    }

    /// Reference to the root object that this Workload is about.
    pub(crate) fn reference(&self) -> &ObjectRef {
        &self.spec.root
    }
}

/// Both clocks, read once for everything that happens together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The one that never jumps.
    pub(crate) instant: Instant,
    /// ms since 1970.
    pub(crate) ms: i64,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self {
            instant: Instant::now(),
            ms: jiff::Timestamp::now().as_millisecond(),
        }
    }

    /// The instant of a time of the wall clock.
    pub(crate) fn at(&self, ms: i64) -> Instant {
        let ahead = u64::try_from(ms.saturating_sub(self.ms)).unwrap_or(0);
        self.instant + Duration::from_millis(ahead)
    }
}

/// One target.
#[derive(Debug, Default)]
pub(crate) struct TargetRecord {
    /// The SyncTarget; absent where only its namespace has something.
    pub(crate) object: Live<LiveTarget>,
    pub(crate) inventory: Live<LiveInventory>,
    pub(crate) lease: Option<LeaseSpec>,
    /// When a renewal was last seen, by our clock.
    pub(crate) renewed: Option<Instant>,
    /// The same for the planner, ms since 1970.
    pub(crate) contact_ms: i64,
    pub(crate) lost: bool,
    /// A renewal was seen while this process watched.
    pub(crate) heard: bool,
    /// How it stands in the fleet.
    pub(crate) state: TargetState,
    pub(crate) status_at: Option<Instant>,
}

/// A SyncTarget.
#[derive(Debug)]
pub(crate) struct LiveTarget {
    pub(crate) metadata: Metadata,
    pub(crate) spec: SyncTargetSpec,
    pub(crate) status: SyncTargetStatus,
}

/// An Inventory.
#[derive(Debug)]
pub(crate) struct LiveInventory {
    pub(crate) uid: String,
    pub(crate) min_term: i64,
    pub(crate) status: Option<InventoryStatus>,
}

/// A Placement.
#[derive(Debug)]
pub(crate) struct PlacementRecord {
    pub(crate) version: u64,
    pub(crate) generation: i64,
    pub(crate) created: String,
    pub(crate) spec: placement_api::kinds::PlacementSpec,
    /// What is wrong with it.
    pub(crate) problem: Option<String>,
    pub(crate) status: placement_api::kinds::PlacementStatus,
    pub(crate) status_at: Option<Instant>,
}

/// A Queue.
#[derive(Debug)]
pub(crate) struct QueueRecord {
    pub(crate) version: u64,
    pub(crate) generation: i64,
    pub(crate) spec: crate::shares::QueueSpec,
    pub(crate) status: placement_api::kinds::QueueStatus,
    pub(crate) status_at: Option<Instant>,
}

/// A Location.
#[derive(Debug)]
pub(crate) struct LocationRecord {
    pub(crate) version: u64,
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) rates: Rates,
    pub(crate) status: placement_api::kinds::LocationStatus,
}

/// A KindProfile.
#[derive(Debug)]
pub(crate) struct ProfileRecord {
    pub(crate) version: u64,
    pub(crate) generation: i64,
    pub(crate) kind: GroupKind,
    pub(crate) fields: ProfileFields,
    pub(crate) problem: Option<String>,
    pub(crate) profile: Option<Arc<Profile>>,
    pub(crate) status: placement_api::kinds::KindProfileStatus,
}

/// What platform owners have written.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) placements: BTreeMap<String, PlacementRecord>,
    /// The Placements that can be used, in the order in which they are asked.
    pub(crate) rules: Vec<Rule>,
    pub(crate) queues: BTreeMap<String, QueueRecord>,
    /// The same: the namespaces that may use them; absent: all.
    pub(crate) queue_selectors: BTreeMap<String, Option<LabelSelector>>,
    pub(crate) locations: BTreeMap<String, LocationRecord>,
    pub(crate) profiles: BTreeMap<String, ProfileRecord>,
    pub(crate) priorities: BTreeMap<String, i32>,
    pub(crate) namespaces: BTreeMap<String, Labels>,
}

impl Config {
    pub(crate) fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// How to read a kind: the KindProfile (the first by name), else what is built in.
    pub(crate) fn profile(&self, kind: &GroupKind) -> Option<Arc<Profile>> {
        self.profiles
            .values()
            .find(|record| record.kind == *kind && record.profile.is_some())
            .and_then(|record| record.profile.clone())
            .or_else(|| Profile::builtin(&kind.group, &kind.kind).map(Arc::new))
    }
}

/// Objects of one kind that may be placed or that others depend on.
#[derive(Debug)]
pub(crate) struct KindStore {
    pub(crate) api: ApiType,
    /// It may be placed.
    pub(crate) is_root: bool,
    /// Its status can be written.
    pub(crate) has_status: bool,
    pub(crate) objects: BTreeMap<ObjectKey, Arc<RawObject>>,
}

/// A copy of a Secret in a target's namespace.
#[derive(Debug, Default)]
pub(crate) struct CopyRecord {
    /// Where it comes from.
    pub(crate) source: ObjectKey,
    pub(crate) live: Live<LiveCopy>,
}

/// A Secret that is a copy.
#[derive(Debug)]
pub(crate) struct LiveCopy {
    pub(crate) uid: String,
    pub(crate) ours: bool,
    pub(crate) digest: String,
}

/// Everything.
pub(crate) struct Model {
    pub(crate) hub_uid: String,
    pub(crate) term: i64,
    /// A target is lost so long after the last renewal of its lease.
    pub(crate) lost_after: Duration,
    pub(crate) core: Core,
    /// What has happened in the fleet since the last cycle.
    pub(crate) event: Event,
    pub(crate) config: Config,
    pub(crate) kinds: BTreeMap<GroupKind, KindStore>,
    /// Kinds that CustomResourceDefinitions define and the hub should serve.
    pub(crate) defined: BTreeSet<GroupKind>,
    /// Which kinds have to be watched may have changed.
    pub(crate) kinds_changed: bool,
    pub(crate) entries: BTreeMap<WorkloadId, Entry>,
    pub(crate) dependents: BTreeMap<RootKey, BTreeSet<WorkloadId>>,
    pub(crate) by_target: BTreeMap<TargetName, BTreeSet<WorkloadId>>,
    pub(crate) targets: BTreeMap<TargetName, TargetRecord>,
    pub(crate) copies: BTreeMap<(TargetName, String), CopyRecord>,
    /// How long earlier runs took.
    pub(crate) runs: Runs,
    /// Who is promised a start, and when (ms since 1970), as of the last cycle.
    pub(crate) promised: BTreeMap<WorkloadId, i64>,
    /// Workloads to look at in the next cycle.
    pub(crate) look: BTreeSet<WorkloadId>,
    /// What may have to be written.
    pub(crate) dirty: Vec<Key>,
    /// Workloads that began or ended to wait: the reasons before and now.
    pub(crate) recounted: Vec<(Option<Reason>, Option<Reason>)>,
    /// Events to record.
    pub(crate) notes: Vec<super::events::Note>,
    /// Times to set.
    pub(crate) alarms: Vec<(Timer, Alarm)>,
}

/// What may have to be written. One job of a key at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A Workload and its Assignments.
    Workload(WorkloadId),
    /// The status of its root object.
    Status(WorkloadId),
    /// Whether an object is really gone: a read.
    Check(RootKey),
    /// A copy of a Secret.
    Copy(TargetName, String),
    /// The term in a target's Inventory.
    Term(TargetName),
    /// Status of a SyncTarget.
    Target(TargetName),
    /// Status of a Location.
    Location(String),
    /// Status of a Placement.
    Placement(String),
    /// Status of a KindProfile.
    Profile(String),
    /// Status of a Queue.
    Queue(String),
    /// An Event.
    Note(u64),
}

/// What happens at a certain time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A target that has not renewed its lease is lost.
    Lost(TargetName),
    /// A workload is to be planned again: `after`, `relaxAfter`, end of a refusal.
    Plan(WorkloadId),
    /// A write that failed, or had to wait, is tried.
    Write(Key),
    /// What the hub serves is asked again.
    Discover,
    /// The numbers of the Queues are compared with what was written.
    Queues,
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// At this time, in place of what was set.
    At(Instant),
    /// At this time, or earlier if so set.
    By(Instant),
}

impl Model {
    pub(crate) fn new(hub_uid: String, term: i64, lost_after: Duration) -> Self {
        Self {
            hub_uid,
            term,
            lost_after,
            defined: BTreeSet::new(),
            kinds_changed: true,
            core: Core::new(),
            event: Event::nothing(),
            config: Config::default(),
            kinds: BTreeMap::new(),
            entries: BTreeMap::new(),
            dependents: BTreeMap::new(),
            by_target: BTreeMap::new(),
            targets: BTreeMap::new(),
            copies: BTreeMap::new(),
            runs: Runs::default(),
            promised: BTreeMap::new(),
            look: BTreeSet::new(),
            dirty: Vec::new(),
            recounted: Vec::new(),
            notes: Vec::new(),
            alarms: Vec::new(),
        }
    }

    /// The root object of a workload.
    pub(crate) fn root(&self, root: &RootKey) -> Option<&Arc<RawObject>> {
        self.kinds.get(&root.kind)?.objects.get(&root.key)
    }

    /// Writes of a workload have to be looked at.
    pub(crate) fn write(&mut self, id: &WorkloadId) {
        self.dirty.push(Key::Workload(id.clone()));
    }

    /// All manifests of a workload have to be made again.
    pub(crate) fn render(&mut self, id: &WorkloadId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.unfit = None;
            for part in entry.parts.values_mut() {
                part.render = true;
            }
        }
        self.write(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_is_not_taken_in() {
        let mut live = Live::default();
        assert!(live.accept("5", || "five"));
        assert!(!live.accept("4", || "four"));
        assert_eq!(live.get(), Some(&"five"));
        assert!(live.accept("5", || "five again"));
        assert!(live.gone(Some("7")));
        assert!(!live.accept("6", || "a late answer"), "no ghost");
        assert_eq!(live.get(), None);
        assert!(live.accept("8", || "a new one"));
        assert!(live.gone(None));
        assert!(!live.gone(None));
    }
}
