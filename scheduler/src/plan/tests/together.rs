//! Devices that several workloads have together by one ResourceClaim: they are charged once, to the queue of the oldest that has them, and
//! there is no way round a limit through them.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::devices::{DeviceClaim, class_resource};
use placement_api::kinds::{
    CountedAssignment, DeviceClassSummary, DeviceGroup, DeviceLayout, DeviceShape, InventoryStatus,
    NodeDevices, Strategy, TopologyMode,
};
use placement_api::reason::Reason;
use proptest::prelude::*;
use proptest::strategy::Strategy as Drawn;
use serde_json::json;

use super::build::*;
use crate::fleet::{Event, Fleet, HOSTNAME, TargetName, TargetState, WorkloadId};
use crate::plan::accounts::Accounts;
use crate::plan::{Decision, Planner, Policy, Request, Step};
use crate::shares::{QueueSpec, QueueTree};

const CLASS: &str = "gpu.nvidia.com";
/// Devices of each node.
const DEVICES: i64 = 4;

/// What an agent reports: nodes with four devices each, and how many of them are taken.
fn report(nodes: &[(&str, i64)], counted: &[(String, i64)]) -> InventoryStatus {
    let plain: Vec<N> = nodes
        .iter()
        .map(|(name, _)| node(name, "", "cpu=64 pods=110"))
        .collect();
    let mut report = inventory(&plain, &[]);
    report.counted = counted
        .iter()
        .map(|(name, epoch)| CountedAssignment {
            name: name.clone(),
            epoch: *epoch,
            ..CountedAssignment::default()
        })
        .collect();
    report.device_classes = vec![DeviceClassSummary {
        name: CLASS.to_owned(),
        selectors: vec!["true".to_owned()],
        extended_resource: None,
    }];
    report.device_shapes = vec![DeviceShape {
        id: "gpu".to_owned(),
        driver: CLASS.to_owned(),
        attributes: serde_json::from_value(json!({"productName": {"string": "H100"}}))
            .expect("attributes"),
        ..DeviceShape::default()
    }];
    report.device_layouts = vec![DeviceLayout {
        id: "four".to_owned(),
        groups: vec![DeviceGroup {
            shape: "gpu".to_owned(),
            count: DEVICES,
            ..DeviceGroup::default()
        }],
        ..DeviceLayout::default()
    }];
    for (at, (_, taken)) in nodes.iter().enumerate() {
        report.nodes[at].devices = Some(NodeDevices {
            layout: "four".to_owned(),
            taken: vec![*taken],
        });
    }
    report
}

fn claim(count: i64, shared: Option<&str>) -> DeviceClaim {
    let spec = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": CLASS, "count": count}}]}});
    DeviceClaim::read("c", shared.map(str::to_owned), &spec).expect("a claim")
}

/// A workload of one queue that has devices of its own and some together with whoever names the claim; what is older was submitted before.
fn job(id: &str, queue: &str, age: i64, own: i64, shared: &[(&str, i64)]) -> Request {
    let mut request = Request {
        queue: queue.to_owned(),
        submitted_ms: 1_000_000 - age,
        waits_since_ms: 1_000_000 - age,
        min_runtime_ms: 0,
        topology: in_one(HOSTNAME, TopologyMode::Required),
        ..gang(id, 1, "cpu=1")
    };
    let set = &mut request.pod_sets[0];
    if own > 0 {
        set.requests.set(&class_resource(CLASS), own);
        set.claims.push(claim(own, None));
    }
    for (name, count) in shared {
        set.claims.push(claim(*count, Some(&format!("ns/{name}"))));
    }
    request
}

fn queues(limits: &[(&str, &str, i64)]) -> QueueTree {
    let queue = |(name, parent, limit): &(&str, &str, i64)| QueueSpec {
        name: (*name).to_owned(),
        parent: (*parent).to_owned(),
        limit: BTreeMap::from([(GPU.to_owned(), *limit)]),
        ..QueueSpec::default()
    };
    QueueTree::new(limits.iter().map(queue).collect()).0
}

/// A planner with what its shell and the members do.
struct World {
    planner: Planner,
    fleet: Fleet,
    targets: BTreeMap<&'static str, Vec<&'static str>>,
    requests: BTreeMap<WorkloadId, Request>,
    now_ms: i64,
    /// Decisions of the last event.
    made: Vec<Decision>,
}

impl World {
    fn new(tree: QueueTree, targets: &[(&'static str, &[&'static str])]) -> Self {
        let mut fleet = fleet();
        for (target, nodes) in targets {
            let nodes: Vec<(&str, i64)> = nodes.iter().map(|node| (*node, 0)).collect();
            fleet.set_inventory(&name(target), &report(&nodes, &[]));
            fleet.set_target(&name(target), pairs(""), Vec::new(), TargetState::Ready, 0);
        }
        let mut planner = Planner::new();
        planner.set_queues(tree);
        Self {
            planner,
            fleet,
            targets: targets
                .iter()
                .map(|(target, nodes)| (*target, nodes.to_vec()))
                .collect(),
            requests: BTreeMap::new(),
            now_ms: 1_000_000,
            made: Vec::new(),
        }
    }

    fn submit(&mut self, request: Request) {
        let id = request.id.clone();
        self.requests.insert(id.clone(), request);
        self.settle(Event::nothing(), [id].into());
    }

    fn end(&mut self, id: &str) {
        let id = WorkloadId::from(id);
        self.requests.remove(&id);
        let mut event = self.fleet.release_all(&id);
        event.merge(self.planner.forget(&id));
        self.settle(event, BTreeSet::new());
    }

    /// The members report what they run.
    fn report(&mut self) {
        let mut event = Event::nothing();
        for (target, nodes) in self.targets.clone() {
            let used = self.devices(target);
            let nodes: Vec<(&str, i64)> = nodes
                .iter()
                .map(|node| (*node, used.get(*node).copied().unwrap_or(0)))
                .collect();
            let here = |one: &&Request| one.current.iter().any(|part| part.target == name(target));
            let counted: Vec<(String, i64)> = self
                .requests
                .values()
                .filter(here)
                .map(|one| (one.id.to_string(), one.epoch))
                .collect();
            event.merge(
                self.fleet
                    .set_inventory(&name(target), &report(&nodes, &counted)),
            );
        }
        self.settle(event, BTreeSet::new());
    }

    /// Devices that are in use, by node: those of a claim that is named by several once.
    fn devices(&self, target: &str) -> BTreeMap<String, i64> {
        let mut used: BTreeMap<String, i64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for request in self.requests.values() {
            for part in request
                .current
                .iter()
                .filter(|part| part.target == name(target))
            {
                for share in &part.nodes {
                    for claim in &request.pod_sets[0].claims {
                        let (_, count) = claim.counts().next().expect("a count");
                        let first = claim
                            .shared
                            .as_ref()
                            .is_none_or(|name| seen.insert(name.clone()));
                        *used.entry(share.name.clone()).or_default() += count * i64::from(first);
                    }
                }
            }
        }
        used
    }

    fn settle(&mut self, event: Event, mut look: BTreeSet<WorkloadId>) {
        self.made.clear();
        look.extend(self.planner.wake(&event));
        for _ in 0..50 {
            let asked: Vec<Request> = std::mem::take(&mut look)
                .iter()
                .filter_map(|id| self.requests.get(id).cloned())
                .collect();
            if asked.is_empty() {
                return;
            }
            let now_ms = self.now_ms;
            let (decisions, report) = self.planner.plan(&mut self.fleet, &asked, now_ms);
            look.extend(self.planner.wake(&report.freed));
            let due = report.wake_ms.iter().filter(|(_, at)| **at <= now_ms);
            look.extend(due.map(|(id, _)| id.clone()));
            for decision in decisions {
                self.take(&decision, &mut look);
                self.made.push(decision);
            }
        }
        panic!("it does not come to rest");
    }

    fn take(&mut self, decision: &Decision, look: &mut BTreeSet<WorkloadId>) {
        let Some(request) = self.requests.get_mut(&decision.id) else {
            return;
        };
        if decision.leaving.iter().any(|part| part.step == Step::Now) {
            request.epoch = decision.epoch;
            request.current.clear();
            look.insert(decision.id.clone());
            return;
        }
        if decision.parts.is_empty() || !request.current.is_empty() {
            return;
        }
        *request = settled(request, decision);
        for part in &mut request.current {
            part.started_ms = Some(self.now_ms);
        }
        self.planner.adopt(&mut self.fleet, request);
    }

    /// Whole GPUs that a queue uses by its account.
    fn used(&self, queue: &str) -> i64 {
        let shares = self.planner.shares();
        let queue = shares.tree().home(queue);
        let used = shares.standings(queue).used.resources;
        used.get(GPU).copied().unwrap_or(0) / 1000
    }

    fn runs(&self) -> Vec<&str> {
        let running = self.requests.values().filter(|one| !one.current.is_empty());
        running.map(|one| one.id.as_str()).collect()
    }

    fn reason(&self, id: &str) -> Option<Reason> {
        let made = self.made.iter().rev().find(|one| one.id.as_str() == id);
        made.and_then(|one| one.explanation.reason)
    }

    fn nodes(&self, id: &str) -> Vec<&str> {
        let parts = &self.requests[&WorkloadId::from(id)].current;
        let nodes = parts.iter().flat_map(|part| &part.nodes);
        nodes.map(|node| node.name.as_str()).collect()
    }

    /// The accounts as they would be if everybody had just been counted, the last first.
    fn anew(&mut self) -> Accounts {
        let mut accounts = Accounts::default();
        let tree = self.planner.accounts.shares.tree().clone();
        accounts.set_tree(tree, |_| None);
        accounts.count(&self.fleet, &Policy::default());
        let all: Vec<Request> = self
            .planner
            .book
            .iter()
            .map(|one| one.request.clone())
            .collect();
        for request in all.iter().rev() {
            accounts.record(&mut self.fleet, request, false, self.now_ms);
        }
        accounts
    }

    fn check(&mut self) {
        let anew = self.anew();
        let shares = &self.planner.accounts.shares;
        for queue in shares.tree().ids() {
            let (kept, counted) = (shares.standings(queue), anew.shares.standings(queue));
            let title = shares.tree().name(queue);
            assert_eq!(kept.used, counted.used, "used by {title:?}");
            assert_eq!(kept.waiting, counted.waiting, "waiting in {title:?}");
            assert_eq!(kept.workloads, counted.workloads, "in {title:?}");
        }
        let targets: Vec<&str> = self.targets.keys().copied().collect();
        let there: i64 = targets
            .iter()
            .flat_map(|target| self.devices(target).into_values())
            .sum();
        assert_eq!(self.used(""), there, "everything is on some account, once");
        let full = targets
            .iter()
            .flat_map(|target| self.devices(target))
            .find(|(_, used)| *used > DEVICES);
        assert_eq!(full, None, "no node has more");
    }
}

fn two() -> World {
    World::new(
        queues(&[("a", "", 4), ("b", "", 4)]),
        &[("t", &["n1", "n2"]), ("u", &["n3"])],
    )
}

#[test]
fn a_claim_is_charged_once_and_to_the_oldest_who_has_it() {
    let mut world = two();
    world.submit(job("first", "a", 30, 0, &[("c", 4)]));
    assert_eq!((world.used("a"), world.used("b")), (4, 0));
    world.submit(job("second", "a", 20, 0, &[("c", 4)]));
    world.submit(job("third", "b", 10, 0, &[("c", 4)]));
    assert_eq!(world.runs(), ["first", "second", "third"]);
    assert_eq!((world.used("a"), world.used("b")), (4, 0));
    assert_eq!(
        world.nodes("third"),
        world.nodes("first"),
        "where the devices are"
    );
    world.submit(job("own", "a", 5, 1, &[]));
    assert_eq!(world.reason("own"), Some(Reason::QueueLimit));
    world.check();
    world.end("first");
    assert_eq!((world.used("a"), world.used("b")), (4, 0));
    world.check();
    world.end("second");
    assert_eq!((world.used("a"), world.used("b")), (1, 4));
    assert_eq!(world.runs(), ["own", "third"], "its queue has room again");
    world.check();
    world.end("third");
    assert_eq!((world.used("a"), world.used("b")), (1, 0));
    world.check();
}

#[test]
fn pods_and_roles_of_one_workload_count_a_claim_once() {
    let mut world = two();
    let mut request = job("w", "a", 10, 0, &[("c", 3)]);
    request.pod_sets[0].count = 3;
    let mut role = request.pod_sets[0].clone();
    role.name = "other".to_owned();
    request.pod_sets.push(role);
    world.submit(request);
    assert_eq!(world.runs(), ["w"]);
    assert_eq!(world.used("a"), 3);
}

#[test]
fn each_copy_of_a_duplicate_has_devices_of_its_own() {
    let mut world = World::new(
        queues(&[("a", "", 8), ("b", "", 4)]),
        &[("t", &["n1", "n2"]), ("u", &["n3"])],
    );
    world.submit(Request {
        strategy: Strategy::Duplicate,
        topology: None,
        ..job("everywhere", "a", 30, 0, &[("c", 2)])
    });
    assert_eq!(world.used("a"), 4, "one for each target");
    world.submit(job("one", "b", 10, 0, &[("c", 2)]));
    assert_eq!((world.used("a"), world.used("b")), (4, 0));
    world.check();
}

#[test]
fn who_would_carry_a_claim_needs_room_for_it_and_who_joins_does_not() {
    let mut world = two();
    world.submit(job("own", "b", 90, 3, &[]));
    world.submit(job("late", "b", 10, 0, &[("c", 4)]));
    assert_eq!(world.reason("late"), Some(Reason::QueueLimit));
    world.submit(job("first", "a", 30, 0, &[("c", 4)]));
    // It has the devices together with an older one of another queue now: that was all that was in its way.
    assert_eq!(world.runs(), ["first", "late", "own"]);
    assert_eq!((world.used("a"), world.used("b")), (4, 3));
    // An older one would carry the claim.
    world.submit(job("oldest", "b", 50, 0, &[("c", 4)]));
    assert_eq!(world.reason("oldest"), Some(Reason::QueueLimit));
    world.check();
    world.end("own");
    assert_eq!(world.runs(), ["first", "late", "oldest"]);
    assert_eq!((world.used("a"), world.used("b")), (0, 4));
    world.check();
}

#[test]
fn who_inherits_a_claim_starts_nothing_more() {
    let mut world = two();
    world.submit(job("first", "a", 30, 0, &[("c", 4)]));
    world.submit(job("own", "b", 20, 2, &[]));
    world.submit(job("heir", "b", 10, 0, &[("c", 4)]));
    world.end("first");
    assert_eq!((world.used("a"), world.used("b")), (0, 6));
    world.submit(job("more", "b", 5, 1, &[]));
    assert_eq!(world.reason("more"), Some(Reason::QueueLimit));
    world.end("own");
    assert_eq!(world.runs(), ["heir"]);
    world.end("heir");
    assert_eq!(world.runs(), ["more"]);
    world.check();
}

#[test]
fn to_evict_who_carries_a_claim_gains_nothing_while_others_have_it() {
    let mut world = two();
    world.submit(job("first", "a", 30, 0, &[("c", 4)]));
    world.submit(job("second", "a", 20, 0, &[("c", 4)]));
    world.report();
    world.submit(Request {
        priority: 1,
        ..job("urgent", "a", 10, 2, &[])
    });
    // Both have to go: neither makes room alone.
    assert_eq!(world.runs(), ["urgent"]);
    assert_eq!(world.used("a"), 2);
    world.check();
    let mut world = two();
    world.submit(job("first", "a", 30, 0, &[("c", 4)]));
    world.submit(job("other", "b", 20, 0, &[("c", 4)]));
    world.submit(job("large", "b", 15, 4, &[]));
    world.submit(job("large", "a", 15, 4, &[]));
    world.report();
    world.check();
}

#[test]
fn a_claim_is_joined_though_its_devices_are_reported_as_taken() {
    let mut world = two();
    world.submit(job("first", "a", 30, 0, &[("c", 4)]));
    world.report();
    world.submit(job("second", "b", 20, 0, &[("c", 4)]));
    assert_eq!(world.runs(), ["first", "second"]);
    assert_eq!(world.nodes("second"), world.nodes("first"));
    // Beside it there is nothing left, as before.
    world.submit(job("mixed", "b", 10, 1, &[("c", 4)]));
    assert_eq!(world.reason("mixed"), Some(Reason::InsufficientCapacity));
    world.report();
    world.check();
}

#[test]
fn accounts_stay_right_when_queues_change() {
    let mut world = two();
    world.submit(job("first", "a", 30, 1, &[("c", 2)]));
    world.submit(job("second", "b", 20, 0, &[("c", 2)]));
    world.submit(job("own", "b", 20, 3, &[]));
    world.submit(job("waits", "b", 20, 2, &[("d", 2)]));
    assert_eq!(world.reason("waits"), Some(Reason::QueueLimit));
    let mut specs = vec![QueueSpec {
        name: "c".to_owned(),
        // A resource that nobody has named before.
        limit: BTreeMap::from([("amd.com/gpu".to_owned(), 1)]),
        ..QueueSpec::default()
    }];
    specs.extend(["a", "b"].map(|name| QueueSpec {
        name: name.to_owned(),
        parent: "c".to_owned(),
        ..QueueSpec::default()
    }));
    world.planner.set_queues(QueueTree::new(specs).0);
    world.check();
    world.end("first");
    assert_eq!((world.used("a"), world.used("b")), (0, 9));
    world.check();
}

/// What happens.
#[derive(Clone, Debug)]
enum Op {
    /// Queue, priority, age, devices of its own, and which claim it names.
    Submit(usize, i32, i64, i64, usize),
    /// One of those that run or wait ends.
    End(usize),
    Report,
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const CLAIMS: [&[(&str, i64)]; 5] = [
    &[],
    &[("x", 4)],
    &[("y", 2)],
    &[("z", 1)],
    &[("y", 2), ("z", 1)],
];

fn an_op() -> impl Drawn<Value = Op> {
    prop_oneof![
        5 => (0_usize..3, 0_i32..2, 0_i64..50, 0_i64..3, 0_usize..5)
            .prop_map(|(queue, priority, age, own, claim)| Op::Submit(queue, priority, age, own, claim)),
        3 => (0_usize..12).prop_map(Op::End),
        1 => Just(Op::Report),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    /// Two queues of four GPUs, one of them with a queue below it, and any number of workloads that name claims.
    #[test]
    fn no_way_leads_round_a_limit(ops in prop::collection::vec(an_op(), 1..30)) {
        let limits: BTreeMap<&str, i64> = [("a", 4), ("b", 4), ("c", 3)].into();
        let mut world = World::new(
            queues(&[("a", "", 4), ("b", "", 4), ("c", "b", 3)]),
            &[("t", &["n1", "n2"]), ("u", &["n3"])],
        );
        for (number, op) in ops.iter().enumerate() {
            match op {
                Op::Submit(queue, priority, age, own, claims) => {
                    let id = format!("w{number:02}");
                    let together: i64 = CLAIMS[*claims].iter().map(|(_, count)| count).sum();
                    let own = (*own).min(DEVICES - together);
                    world.submit(Request {
                        priority: *priority,
                        ..job(&id, NAMES[*queue], *age, own, CLAIMS[*claims])
                    });
                }
                Op::End(at) => {
                    let Some(id) = world.requests.keys().nth(*at).cloned() else { continue };
                    world.end(id.as_str());
                }
                Op::Report => world.report(),
            }
            world.check();
            let evicted = world.made.iter().any(|one| !one.leaving.is_empty());
            for decision in world.made.iter().filter(|one| !one.parts.is_empty() && !evicted) {
                let request = &world.requests[&decision.id];
                // Who is charged for what he started was within his limit.
                let charged = request.pod_sets[0].claims.iter().any(|claim| {
                    let users = world.requests.values().filter(|one| !one.current.is_empty() && one.pod_sets[0].claims.contains(claim));
                    claim.shared.is_none() || users.count() == 1
                });
                for queue in NAMES.iter().filter(|queue| charged && **queue == request.queue) {
                    prop_assert!(world.used(queue) <= limits[queue], "{queue} uses {} after {op:?}", world.used(queue));
                }
            }
            for request in world.requests.values().filter(|one| one.current.is_empty()) {
                let (mut planner, mut fleet) = (world.planner.clone(), world.fleet.clone());
                let (decisions, _) = planner.plan(&mut fleet, std::slice::from_ref(request), world.now_ms);
                prop_assert!(decisions[0].parts.is_empty() || decisions.len() > 1, "{} sleeps after {op:?}", request.id);
            }
            for claim in ["x", "y", "z"] {
                let shared = format!("ns/{claim}");
                let names = |one: &&Request| one.pod_sets[0].claims.iter().any(|claim| claim.shared.as_ref() == Some(&shared));
                let parts = world.requests.values().filter(names).flat_map(|one| &one.current);
                let mut places: BTreeMap<&TargetName, BTreeSet<&str>> = BTreeMap::new();
                for part in parts {
                    let nodes = part.nodes.iter().map(|node| node.name.as_str());
                    places.entry(&part.target).or_default().extend(nodes);
                }
                prop_assert!(places.values().all(|nodes| nodes.len() == 1), "a copy of {claim} is on one node: {places:?}");
            }
        }
    }
}
