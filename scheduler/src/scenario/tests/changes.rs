//! A fleet on which things happen: nodes fail and come back, targets are cordoned, drained and lost, workloads end, time passes.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::rounds::World;
use super::super::{Scenario, build, parse};
use super::fleets::{cases, config};
use crate::fleet::{TargetState, WorkloadId};
use crate::record::Core;

/// What happens between two cycles; numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Minutes(i64),
    NodeTurns(usize, usize),
    Target(usize, TargetState),
    Ends(usize),
}

const STATES: [TargetState; 5] = [
    TargetState::Ready,
    TargetState::Ready,
    TargetState::Cordoned,
    TargetState::Draining,
    TargetState::Lost,
];

fn happenings() -> impl Strategy<Value = Vec<Happens>> {
    let one = prop_oneof![
        3 => (1..3000_i64).prop_map(Happens::Minutes),
        2 => (0..4_usize, 0..4_usize).prop_map(|(target, node)| Happens::NodeTurns(target, node)),
        1 => (0..4_usize, select(&STATES[..])).prop_map(|(target, state)| Happens::Target(target, state)),
        2 => (0..16_usize).prop_map(Happens::Ends),
    ];
    prop::collection::vec(one, 1..6)
}

impl Happens {
    fn to(self, scenario: &mut Scenario, world: &mut World) {
        match self {
            Self::Minutes(minutes) => world.now_ms += minutes * 60_000,
            Self::NodeTurns(target, node) => {
                let targets = scenario.fleet.len();
                let nodes = &mut scenario.fleet[target % targets].nodes;
                let node = node % nodes.len();
                nodes[node].healthy = !nodes[node].healthy;
            }
            Self::Target(target, state) => {
                let targets = scenario.fleet.len();
                scenario.fleet[target % targets].state = state;
            }
            Self::Ends(workload) => {
                if scenario.workloads.is_empty() {
                    return;
                }
                let at = workload % scenario.workloads.len();
                let id = WorkloadId::from(&scenario.workloads.remove(at).name);
                world.requests.remove(&id);
                world.core.release_all(&id);
                world.core.forget(&id);
            }
        }
        scenario.now_ms = world.now_ms;
        build::fleet(scenario, &mut world.core);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_fleet_keeps_the_invariants_whatever_happens(case in cases(), happenings in happenings()) {
        let text = case.text();
        let mut scenario = parse("random.yaml", &text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?;
        let mut world = World::begin(&scenario, Core::new()).adopted();
        let cycle = |scenario: &Scenario, world: &mut World, what: &str| {
            world.round(scenario, &mut |cycle| cycle()).map(|_| ()).map_err(|broken| TestCaseError::fail(format!("{broken} {what}\n{text}")))
        };
        cycle(&scenario, &mut world, "at first")?;
        for (number, happens) in happenings.iter().enumerate() {
            happens.to(&mut scenario, &mut world);
            cycle(&scenario, &mut world, &format!("after {:?}", &happenings[..=number]))?;
        }
    }
}
