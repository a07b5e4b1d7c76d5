//! Whatever goes in comes out again the same, and nothing that is damaged passes for whole.

use std::collections::BTreeMap;

use placement_api::kinds::{CountedAssignment, InventoryNode, InventoryStatus, NodeClass};
use placement_api::quantity::Quantity;
use placement_api::selector::{LabelSelector, Labels};
use proptest::prelude::*;

use super::{Core, Damaged, Encoder, Replay, Step, Summary};
use crate::fleet::{TargetName, TargetState, WorkloadId};
use crate::plan::{Change, Current, Decision, PodSetRequest, Policy, Request};
use crate::shares::QueueSpec;

const GPU: &str = "nvidia.com/gpu";

/// One thing that happens to a small fleet.
#[derive(Clone, Debug)]
enum Deed {
    Beat(usize),
    State(usize, usize),
    Gone(usize),
    Report {
        target: usize,
        nodes: Vec<(i64, bool)>,
        class: i64,
    },
    Arrive {
        job: usize,
        pods: i64,
        gpus: i64,
        queue: usize,
        priority: i32,
        runtime: Option<i64>,
    },
    Cycle,
    Finish(usize),
    Confirm(usize),
    Refuse(usize),
    Queues(i64),
    Policy(i64),
    Location(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        3 => (0..3_usize).prop_map(Deed::Beat),
        1 => (0..3_usize, 0..4_usize).prop_map(|(target, state)| Deed::State(target, state)),
        1 => (0..3_usize).prop_map(Deed::Gone),
        4 => (0..3_usize, prop::collection::vec((0..9_i64, prop::bool::weighted(0.9)), 0..4), 7..9_i64)
            .prop_map(|(target, nodes, class)| Deed::Report { target, nodes, class }),
        6 => (0..6_usize, 1..4_i64, 1..9_i64, 0..3_usize, 0..3_i32, prop::option::of(1..9_i64))
            .prop_map(|(job, pods, gpus, queue, priority, runtime)| Deed::Arrive { job, pods, gpus, queue, priority, runtime }),
        6 => Just(Deed::Cycle),
        1 => (0..6_usize).prop_map(Deed::Finish),
        2 => (0..6_usize).prop_map(Deed::Confirm),
        1 => (0..3_usize).prop_map(Deed::Refuse),
        1 => (0..17_i64).prop_map(Deed::Queues),
        1 => (0..3_i64).prop_map(Deed::Policy),
        1 => (0..3_usize).prop_map(Deed::Location),
    ];
    prop::collection::vec(deed, 1..40)
}

/// What drives a core as the shell does, and is recorded.
struct World {
    core: Core,
    jobs: BTreeMap<usize, Request>,
    known: BTreeMap<usize, TargetState>,
    now_ms: i64,
}

impl World {
    fn new() -> Self {
        let mut core = Core::new();
        core.record();
        Self {
            core,
            jobs: BTreeMap::new(),
            known: BTreeMap::new(),
            now_ms: 1_000_000,
        }
    }

    fn target(&mut self, number: usize, state: TargetState) {
        self.known.insert(number, state);
        let labels = Labels::from([("region".to_owned(), format!("r{}", number % 2))]);
        self.core
            .set_target(&name(number), labels, Vec::new(), state, self.now_ms);
    }

    fn deed(&mut self, deed: Deed) {
        self.now_ms += 1_000;
        match deed {
            Deed::Beat(target) => {
                let state = self.known.get(&target).copied();
                self.target(target, state.unwrap_or(TargetState::Ready));
            }
            Deed::State(target, state) => {
                use TargetState::{Cordoned, Draining, Lost, Ready};
                self.target(target, [Ready, Cordoned, Draining, Lost][state]);
            }
            Deed::Gone(target) => {
                self.known.remove(&target);
                self.core.remove_target(&name(target));
            }
            Deed::Report {
                target,
                nodes,
                class,
            } => {
                let counted = self.jobs.values().flat_map(|job| {
                    let here = job
                        .current
                        .iter()
                        .filter(|part| part.target == name(target));
                    here.map(|part| CountedAssignment {
                        name: job.id.to_string(),
                        epoch: part.epoch,
                        ..CountedAssignment::default()
                    })
                });
                let status = inventory(&nodes, class, counted.collect());
                self.core.set_inventory(&name(target), &status);
            }
            Deed::Arrive {
                job,
                pods,
                gpus,
                queue,
                priority,
                runtime,
            } => {
                let id = WorkloadId::from(format!("job-{job}"));
                let submitted_ms = self.now_ms;
                self.jobs.entry(job).or_insert_with(|| Request {
                    id,
                    kind: "Job".to_owned(),
                    namespace: "n".to_owned(),
                    name: format!("{job}"),
                    pod_sets: vec![PodSetRequest {
                        name: "main".to_owned(),
                        count: pods,
                        requests: [(GPU.to_owned(), gpus)].into_iter().collect(),
                        gateable: true,
                        ..PodSetRequest::default()
                    }],
                    queue: ["", "a", "b"][queue].to_owned(),
                    priority,
                    submitted_ms,
                    waits_since_ms: submitted_ms,
                    min_runtime_ms: 0,
                    runtime_ms: runtime.map(|minutes| minutes * 60_000),
                    ..Request::default()
                });
            }
            Deed::Cycle => self.cycle(),
            Deed::Finish(job) => {
                if let Some(request) = self.jobs.remove(&job) {
                    self.core.release_all(&request.id);
                    self.core.forget(&request.id);
                }
            }
            Deed::Confirm(job) => {
                if let Some(request) = self.jobs.get_mut(&job) {
                    let gone = request.current.iter().position(|part| part.evicting);
                    if let Some(gone) = gone {
                        let part = request.current.remove(gone);
                        self.core.release(&request.id, &part.target);
                    }
                }
            }
            Deed::Refuse(target) => self.core.refused(&name(target), self.now_ms),
            Deed::Queues(gpus) => {
                let queue = |name: &str, gpus| QueueSpec {
                    name: name.to_owned(),
                    guaranteed: [(GPU.to_owned(), gpus)].into(),
                    ..QueueSpec::default()
                };
                self.core.set_queues(vec![queue("a", gpus), queue("b", 2)]);
            }
            Deed::Policy(hours) => self.core.set_policy(Policy {
                half_life_ms: hours * 3_600_000,
                ..Policy::default()
            }),
            Deed::Location(region) => {
                let selector = LabelSelector {
                    match_labels: [("region".to_owned(), format!("r{region}"))].into(),
                    ..LabelSelector::default()
                };
                self.core.set_locations([("l".to_owned(), selector)].into());
            }
        }
    }

    fn cycle(&mut self) {
        let requests: Vec<Request> = self.jobs.values().cloned().collect();
        let (decisions, _) = self.core.plan(&requests, self.now_ms);
        for decision in decisions {
            let job = self.jobs.values_mut().find(|job| job.id == decision.id);
            if let Some(job) = job {
                happened(job, &decision, self.now_ms);
            }
        }
    }
}

fn happened(job: &mut Request, decision: &Decision, now_ms: i64) {
    job.epoch = decision.epoch;
    let leaves = |part: &Current| {
        let mut leaving = decision.leaving.iter();
        leaving.any(|one| one.target == part.target && one.step == crate::plan::Step::Now)
    };
    let mut current: Vec<Current> = job.current.clone();
    for part in &mut current {
        part.evicting |= leaves(part);
    }
    for part in &decision.parts {
        if part.change != Change::New && current.iter().any(|one| one.target == part.target) {
            continue;
        }
        current.retain(|one| one.target != part.target);
        current.push(Current {
            target: part.target.clone(),
            epoch: part.epoch,
            counts: part.counts.clone(),
            nodes: part.nodes.clone(),
            domain: part.domain.clone(),
            evicting: false,
            started: true,
            healthy: true,
            started_ms: Some(now_ms),
        });
    }
    job.current = current;
}

fn name(target: usize) -> TargetName {
    TargetName::from(["east", "north", "west"][target])
}

fn inventory(
    nodes: &[(i64, bool)],
    class: i64,
    counted: Vec<CountedAssignment>,
) -> InventoryStatus {
    let gpus = |units| [(GPU.to_owned(), Quantity::from_units(units))].into();
    InventoryStatus {
        cluster_uid: "u".to_owned(),
        classes: vec![NodeClass {
            id: "c".to_owned(),
            allocatable: gpus(class),
            ..NodeClass::default()
        }],
        nodes: nodes
            .iter()
            .enumerate()
            .map(|(number, (free, healthy))| InventoryNode {
                name: format!("n{number}"),
                class: "c".to_owned(),
                free: gpus((*free).min(class)),
                unusable: (!healthy).then(|| "NotReady".to_owned()),
                ..InventoryNode::default()
            })
            .collect(),
        served: vec!["batch/v1/Job".to_owned()],
        counted,
        ..InventoryStatus::default()
    }
}

fn encode(steps: Vec<Step>) -> Vec<String> {
    let (mut encoder, header) = Encoder::begin("a test", 0);
    let mut text = header;
    for step in steps {
        text += &encoder.step(step);
    }
    text += &encoder.end("the test is over");
    text.split_inclusive('\n').map(str::to_owned).collect()
}

fn replay(lines: &[String]) -> Result<Summary, Damaged> {
    let mut replay = Replay::new();
    for line in lines {
        replay.line(line)?;
    }
    Ok(replay.summary())
}

fn run(deeds: Vec<Deed>) -> Vec<String> {
    let mut world = World::new();
    for deed in deeds {
        world.deed(deed);
    }
    encode(world.core.take_steps())
}

/// A run in which much happens.
fn busy() -> Vec<String> {
    let arrive = |job, gpus| Deed::Arrive {
        job,
        pods: 2,
        gpus,
        queue: job % 3,
        priority: 0,
        runtime: None,
    };
    let report = |free: &[i64]| Deed::Report {
        target: 0,
        nodes: free.iter().map(|free| (*free, true)).collect(),
        class: 8,
    };
    run(vec![
        Deed::Queues(4),
        Deed::Beat(0),
        report(&[8, 8, 8]),
        arrive(0, 4),
        arrive(1, 4),
        Deed::Cycle,
        Deed::Beat(0),
        Deed::Beat(0),
        arrive(2, 8),
        Deed::Cycle,
        report(&[0, 8, 0]),
        Deed::Cycle,
        Deed::Beat(0),
    ])
}

/// The text with its sum made good, as somebody would who edits a recording by hand.
fn forged(lines: &[String], line: usize, from: &str, to: &str) -> Vec<String> {
    let mut sum = String::new();
    let rewrite = |(number, text): (usize, &String)| {
        let json = text.trim_end().strip_suffix(']').expect("an array");
        let (_, json) = json.split_at("[\"0123456789abcdef\",".len());
        let json = if number == line {
            assert!(json.contains(from), "{json}");
            json.replacen(from, to, 1)
        } else {
            json.to_owned()
        };
        sum = super::digest::chained(&sum, &json);
        format!("[\"{sum}\",{json}]\n")
    };
    lines.iter().enumerate().map(rewrite).collect()
}

fn first_plan(lines: &[String]) -> usize {
    lines
        .iter()
        .position(|line| line.contains("{\"plan\""))
        .expect("a plan")
}

proptest! {
    #[test]
    fn any_run_can_be_had_again(deeds in deeds()) {
        let cycles = deeds.iter().filter(|deed| matches!(deed, Deed::Cycle)).count() as u64;
        let lines = run(deeds);
        let summary = replay(&lines).map_err(|damaged| TestCaseError::fail(format!("{damaged}\n{}", lines.concat())))?;
        prop_assert_eq!(&summary.differences, &[], "{}", lines.concat());
        prop_assert_eq!((summary.cycles, summary.different), (cycles, 0));
        prop_assert_eq!(summary.end.as_deref(), Some("the test is over"));
    }

    #[test]
    fn any_changed_byte_is_found(place in any::<prop::sample::Index>(), flip in 1..128_u8) {
        static BUSY: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| busy().concat());
        let text = BUSY.clone();
        let at = place.index(text.len());
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= flip;
        let Ok(damaged) = String::from_utf8(bytes) else { return Ok(()) };
        let lines: Vec<String> = damaged.split_inclusive('\n').map(str::to_owned).collect();
        let before = text[..at].matches('\n').count() as u64;
        match replay(&lines) {
            Ok(summary) => prop_assert!(false, "byte {at} of the recording was changed and nobody noticed: {summary:?}"),
            // A line feed that is gone, or one too many, shows in the line itself or in the next.
            Err(found) => prop_assert!((before + 1..=before + 2).contains(&found.line), "{found} for line {}", before + 1),
        }
    }
}

#[test]
fn a_recording_says_only_what_changes() {
    let lines = busy();
    let of = |kind: &str| {
        let with = lines
            .iter()
            .filter(|line| line.contains(&format!("\",{{\"{kind}\"")));
        with.collect::<Vec<_>>()
    };
    assert_eq!(of("plan").len(), 3);
    assert_eq!(of("target").len(), 1, "a heartbeat is no new target");
    assert_eq!(
        of("beats").len(),
        1,
        "two in a row are one, and one that nobody sees is none"
    );
    let reports = of("inventory");
    assert!(
        reports[0].contains("\"n1\"") && !reports[1].contains("\"n1\""),
        "{reports:?}"
    );
    // The first job is asked about three times, its pods are said once.
    let shapes = lines.concat().matches("\"podSets\"").count()
        + lines.concat().matches("\"pod_sets\"").count();
    assert_eq!(shapes, 3, "{}", lines.concat());
}

#[test]
fn a_recorded_decision_that_was_changed_is_told() {
    let lines = busy();
    let plan = first_plan(&lines);
    let summary = replay(&forged(&lines, plan, "east 2", "east 3")).expect("whole");
    assert_eq!(summary.different, 1);
    let difference = &summary.differences[0];
    assert_eq!(difference.line, plan as u64 + 1);
    assert_eq!(
        (difference.cycle, difference.workload.as_deref()),
        (1, Some("job-0"))
    );
    assert!(difference.recorded.starts_with("east 3"), "{difference:?}");
    assert!(difference.now.starts_with("east 2"), "{difference:?}");
    // A digest alone.
    let digest = "\"job-0\",\"";
    let at = lines[plan].rfind(digest).expect("a digest") + digest.len();
    let was = &lines[plan][at..at + 16];
    let summary = replay(&forged(&lines, plan, was, "0000000000000000")).expect("whole");
    assert_eq!(summary.differences[0].workload.as_deref(), Some("job-0"));
    // What went in, changed: it comes out otherwise.
    let report = lines
        .iter()
        .position(|line| line.contains("{\"inventory\""))
        .expect("an inventory");
    let summary = replay(&forged(
        &lines,
        report,
        "{\"nvidia.com/gpu\":\"8\"}",
        "{\"nvidia.com/gpu\":\"1\"}",
    ))
    .expect("whole");
    assert!(summary.different > 0);
}

#[test]
fn damage_is_told_with_its_line() {
    let lines = busy();
    let told = |lines: &[String]| replay(lines).expect_err("damaged").to_string();
    let mut cut = lines.clone();
    let last = cut.last_mut().expect("a line");
    last.truncate(last.len() - 3);
    let count = lines.len();
    assert!(
        told(&cut).starts_with(&format!("line {count}: it is cut off")),
        "{}",
        told(&cut)
    );
    let mut missing = lines.clone();
    missing.remove(2);
    assert!(
        told(&missing).starts_with("line 3: its sum does not fit"),
        "{}",
        told(&missing)
    );
    let yaml = ["name: a scenario\n".to_owned()];
    assert!(
        told(&yaml).starts_with("line 1: this is no recording"),
        "{}",
        told(&yaml)
    );
    let newer = forged(&lines, 0, "\"format\":2", "\"format\":3");
    assert!(
        told(&newer).contains("format 3 of Inhaul"),
        "{}",
        told(&newer)
    );
    let twice = [lines.clone(), lines.clone()].concat();
    assert!(
        told(&twice).contains(&format!("line {}: ", count + 1)),
        "{}",
        told(&twice)
    );
    // Without its last line a recording is good as far as it goes.
    let open = replay(&lines[..count - 1]).expect("whole so far");
    assert_eq!((open.different, open.end), (0, None));
}

/// A request in which every field says something.
fn full() -> Request {
    let json = serde_json::json!({
        "id": "w", "kind": "Job", "namespace": "vision", "name": "train", "kinds": ["batch/v1/Job", "v1/Secret"],
        "pod_sets": [{
            "name": "main", "count": 4, "min_count": 2, "requests": {"cpu": 1500, "nvidia.com/gpu": 1}, "gpu_share_milli": 250,
            "claims": [{
                "name": "gpu", "shared": "vision/one",
                "requests": [{"name": "r", "alternatives": [
                    {"name": "a", "class": "gpu.example", "selectors": ["device.driver == \"x\""], "count": "All",
                     "tolerations": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
                    {"name": "b", "class": "gpu.example", "selectors": [], "count": {"Exact": 2}, "tolerations": []},
                ]}],
                "same": [{"attribute": "x/numa", "requests": ["r"]}],
            }],
            "node_selector": {"product": "H100"},
            "affinity": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "z", "operator": "In", "values": ["a"]}]}]},
            "tolerations": [{"key": "t", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}],
            "gateable": true,
        }],
        "strategy": "Divide", "gang_per_target": 2, "tiers": ["eu", "us"], "tolerations": [{"operator": "Exists"}],
        "topology": {"level": "rack", "mode": "Preferred", "relax_after_ms": 60000},
        "spread": [{"topologyKey": "zone", "minGroups": 2, "maxGroups": 3, "maxSkew": 1}],
        "divide_by": "Weight", "weights": {"eu": 2}, "packing": "Spread", "queue": "vision", "data": ["coco", "imagenet"], "spares": 2,
        "scoring": {"tiers": [[["Occupancy", 1]], [["Cost", 2], ["Carbon", 1]]]}, "priority": -5,
        "submitted_ms": 1000, "waits_since_ms": 1500,
        "failover": {"mode": "Overlap", "after_ms": 300_000, "fencer": true},
        "current": [{"target": "eu", "epoch": 3, "counts": {"main": 4}, "nodes": [{"podSet": "main", "name": "n", "pods": 4}],
            "domain": {"rack": "r"}, "evicting": true, "started": true, "healthy": true, "started_ms": 2000}],
        "avoid": {"us": {"until_ms": 9, "message": "quota"}}, "epoch": 3, "preemptible": false, "min_runtime_ms": 7,
        "checkpoint_ms": 8, "runtime_ms": 9, "suspended": true, "finished": true, "blocked": ["UnknownQueue", "no such queue"],
    });
    let request: Request = serde_json::from_value(json.clone()).expect("a request");
    assert_eq!(
        serde_json::to_value(&request).expect("JSON"),
        json,
        "no field is left out"
    );
    request
}

#[test]
fn every_field_of_a_request_comes_back() {
    let plain = Request {
        id: WorkloadId::from("plain"),
        ..Request::default()
    };
    let other = Request {
        id: WorkloadId::from("other"),
        ..full()
    };
    let asked = [full(), plain, other, full()];
    let plan = |now_ms| Step::Plan {
        requests: asked.to_vec(),
        now_ms,
        made: super::Made::default(),
    };
    let lines = encode(vec![plan(1), plan(2)]);
    let mut decoder = super::Decoder::new();
    let steps = lines
        .iter()
        .map(|line| decoder.line(line).expect("a good line"));
    let steps: Vec<Step> = steps.flatten().collect();
    assert_eq!(steps, [plan(1), plan(2)]);
    assert!(
        lines[2].len() < 200,
        "the second time nothing is new: {}",
        lines[2]
    );
}
