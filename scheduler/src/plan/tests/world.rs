//! A fleet over time: targets are drained, lost and found again, members confirm late. Whatever happens in whatever order, work that may
//! run only once runs once, room is never given twice, and everything comes to rest.

use placement_api::kinds::{FailoverMode, Strategy};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::build::*;
use crate::fleet::{Fleet, TargetState};
use crate::plan::{Current, FailoverRule, Outcome, Request, plan};

const MINUTE: i64 = 60_000;

#[derive(Clone, Debug)]
enum Op {
    Submit {
        pods: i64,
        overlap: bool,
        divide: bool,
    },
    State(usize, TargetState),
    Healthy(usize),
    Confirm(usize),
    Scale(usize, i64),
    Finish(usize),
    Later(i64),
}

fn an_op() -> impl proptest::strategy::Strategy<Value = Op> {
    let state = prop_oneof![
        3 => Just(TargetState::Ready),
        1 => Just(TargetState::Cordoned),
        2 => Just(TargetState::Draining),
        2 => Just(TargetState::Lost),
    ];
    prop_oneof![
        4 => (1_i64..5, any::<bool>(), any::<bool>()).prop_map(|(pods, overlap, divide)| Op::Submit { pods, overlap, divide }),
        4 => (0_usize..3, state).prop_map(|(target, state)| Op::State(target, state)),
        2 => (0_usize..6).prop_map(Op::Healthy),
        3 => (0_usize..6).prop_map(Op::Confirm),
        1 => (0_usize..6, 0_i64..6).prop_map(|(which, pods)| Op::Scale(which, pods)),
        1 => (0_usize..6).prop_map(Op::Finish),
        2 => (1_i64..10).prop_map(Op::Later),
    ]
}

/// The hub and what its members run.
struct World {
    fleet: Fleet,
    live: Vec<Request>,
    now_ms: i64,
}

impl World {
    fn new() -> Self {
        let mut fleet = fleet();
        add(
            &mut fleet,
            "t0",
            "",
            &[
                node("n0", "rack=r1", "gpu=4"),
                node("n1", "rack=r1", "gpu=2"),
            ],
        );
        add(
            &mut fleet,
            "t1",
            "",
            &[
                node("n0", "rack=r1", "gpu=4"),
                node("n1", "rack=r2", "gpu=1"),
            ],
        );
        add(&mut fleet, "t2", "", &[node("n0", "rack=r1", "gpu=3")]);
        Self {
            fleet,
            live: Vec::new(),
            now_ms: 1000 * MINUTE,
        }
    }

    fn set_state(&mut self, target: usize, state: TargetState) {
        let contact = if state == TargetState::Lost {
            self.now_ms - 2 * MINUTE * i64::try_from(target).unwrap()
        } else {
            self.now_ms
        };
        super::build::state(&mut self.fleet, &format!("t{target}"), state, contact);
    }

    fn apply(&mut self, op: &Op, number: usize) {
        match op {
            Op::Submit {
                pods,
                overlap,
                divide,
            } => {
                let mut request = gang(&format!("w{number}"), *pods, "gpu=1");
                request.submitted_ms = self.now_ms;
                if *divide {
                    request.strategy = Strategy::Divide;
                }
                let mode = if *overlap {
                    FailoverMode::Overlap
                } else {
                    FailoverMode::Never
                };
                request.failover = FailoverRule {
                    mode,
                    after_ms: 5 * MINUTE,
                    fencer: false,
                };
                self.live.push(request);
            }
            Op::State(target, state) => self.set_state(*target, *state),
            Op::Healthy(which) => {
                for part in self
                    .live
                    .get_mut(*which)
                    .into_iter()
                    .flat_map(|one| &mut one.current)
                {
                    part.healthy = part.started;
                }
            }
            Op::Confirm(which) => {
                let fleet = &self.fleet;
                // A lost member confirms nothing.
                let answers = |part: &Current| {
                    fleet
                        .target(part.target.as_str())
                        .is_some_and(|target| target.state != TargetState::Lost)
                };
                if let Some(one) = self.live.get_mut(*which) {
                    one.current.retain(|part| !part.evicting || !answers(part));
                }
            }
            Op::Scale(which, pods) => {
                if let Some(one) = self.live.get_mut(*which) {
                    one.pod_sets[0].count = *pods;
                }
            }
            Op::Finish(which) => {
                if *which < self.live.len() {
                    let request = self.live.remove(*which);
                    plan(
                        &mut self.fleet,
                        &[Request {
                            finished: true,
                            ..request
                        }],
                        self.now_ms,
                    );
                }
            }
            Op::Later(minutes) => self.now_ms += minutes * MINUTE,
        }
    }

    /// One cycle over everything, written out as the shell does. Returns whether something was decided.
    fn cycle(&mut self) -> bool {
        let (decisions, _) = plan(&mut self.fleet, &self.live, self.now_ms);
        for (request, decision) in self.live.iter_mut().zip(&decisions) {
            let healthy: Vec<_> = request
                .current
                .iter()
                .filter(|part| part.healthy)
                .map(|part| part.target.clone())
                .collect();
            let started: Vec<_> = request
                .current
                .iter()
                .filter(|part| part.started)
                .map(|part| part.target.clone())
                .collect();
            *request = after(request, decision);
            let waits = request.failover.mode != FailoverMode::Overlap
                && request
                    .current
                    .iter()
                    .any(|part| part.evicting && part.started);
            for part in request.current.iter_mut().filter(|part| !part.evicting) {
                part.healthy = healthy.contains(&part.target);
                part.started = started.contains(&part.target) || !waits;
            }
            // What was never started is gone as soon as it is revoked.
            request
                .current
                .retain(|part| !part.evicting || part.started);
        }
        decisions.iter().any(|one| one.outcome == Outcome::Place)
    }

    fn check(&self) {
        for (name, target) in self.fleet.targets() {
            for node in target.nodes() {
                let free = self
                    .fleet
                    .free_on(name.as_str(), node.name().as_str())
                    .expect("node");
                assert!(!free.has_negative(), "{name}/{}: {free:?}", node.name());
            }
        }
        for request in &self.live {
            let runs: i64 = request
                .current
                .iter()
                .filter(|part| part.started)
                .flat_map(|part| part.counts.values())
                .sum();
            let targets = request.current.iter().filter(|part| part.started).count();
            if request.failover.mode == FailoverMode::Never && request.strategy == Strategy::Gang {
                assert!(
                    targets <= 1,
                    "{} runs on {targets} targets: {:?}",
                    request.id,
                    request.current
                );
                assert!(runs <= 5);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn everything_comes_to_rest(ops in prop::collection::vec(an_op(), 1..30)) {
        let mut world = World::new();
        for (number, op) in ops.iter().enumerate() {
            world.apply(op, number);
            world.cycle();
            world.check();
        }
        // The last fault is over: all targets are back and every member answers.
        for target in 0..3 {
            world.set_state(target, TargetState::Ready);
        }
        let mut rounds = 0;
        loop {
            for which in 0..world.live.len() {
                world.apply(&Op::Healthy(which), 0);
                world.apply(&Op::Confirm(which), 0);
            }
            let decided = world.cycle();
            world.check();
            if !decided && !world.live.iter().flat_map(|one| &one.current).any(|part| part.evicting) {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 10, "it never comes to rest: {:?}", world.live);
        }
        for request in &world.live {
            let pods: i64 = request.current.iter().flat_map(|part| part.counts.values()).sum();
            prop_assert!(pods <= request.pod_sets[0].count, "{:?}", request);
            prop_assert!(request.strategy == Strategy::Divide || request.current.len() <= 1, "{:?}", request);
        }
        let (decisions, _) = plan(&mut world.fleet, &world.live, world.now_ms);
        for (request, decision) in world.live.iter().zip(&decisions) {
            let all = decision.pods() == request.pod_sets[0].count && !decision.parts.is_empty();
            prop_assert!(all || decision.explanation.reason.is_some(), "lost without a reason: {:?}", decision);
        }
    }
}
