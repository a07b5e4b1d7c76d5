//! How far the planner is from the best that can be: against an exact search for the same order of work, and against an integer program
//! that may choose any. The program shares nothing with the search nor with the planner, so they check each other.

use std::collections::BTreeMap;

use microlp::{ComparisonOp, LinearExpr, OptimizationDirection, Problem, SolutionStatus, Variable};

use super::build::*;
use super::oracle::{self, Gang};
use crate::plan::{Outcome, Planner, Request};
use crate::shares::{QueueSpec, QueueTree};

const NOW: i64 = 1_000_000;
const GANGS: usize = 6;

/// Gangs of two queues on a few nodes.
struct Small {
    /// GPUs of the nodes of each target.
    targets: Vec<Vec<i64>>,
    /// Pods and GPUs of each pod, in the order of their age.
    gangs: Vec<Gang>,
    /// GPUs that the gangs of even and of odd number may use.
    limits: [i64; 2],
}

/// The same fleets every time.
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: u64) -> i64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((self.0 >> 33) % most).expect("small")
    }

    fn small(&mut self) -> Small {
        let target = |draws: &mut Self| -> Vec<i64> {
            let nodes = 0..=draws.below(2);
            nodes.map(|_| 4 * (1 + draws.below(2))).collect()
        };
        let targets = (0..=self.below(2)).map(|_| target(self)).collect();
        let gang = |draws: &mut Self| {
            let pods = usize::try_from(1 + draws.below(3)).expect("few");
            (pods, 1 + draws.below(4))
        };
        let gangs = (0..GANGS).map(|_| gang(self)).collect();
        Small {
            targets,
            gangs,
            limits: [i64::MAX; 2],
        }
    }

    /// The same with limits that matter.
    fn limited(&mut self) -> Small {
        Small {
            limits: [4 + self.below(8), 4 + self.below(8)],
            ..self.small()
        }
    }
}

impl Small {
    fn size(&self, gang: usize) -> i64 {
        let (pods, gpus) = self.gangs[gang];
        i64::try_from(pods).expect("few") * gpus
    }

    /// GPUs of those that run, and how many they are.
    fn sum(&self, runs: &[bool]) -> (i64, i64) {
        let running = (0..GANGS).filter(|gang| runs[*gang]);
        running.fold((0, 0), |(gpus, gangs), gang| {
            (gpus + self.size(gang), gangs + 1)
        })
    }

    /// Who runs by the planner.
    fn planned(&self) -> Vec<bool> {
        let mut fleet = fleet();
        for (target, nodes) in self.targets.iter().enumerate() {
            let node = |(at, gpus)| node(&format!("n{at}"), "", &format!("gpu={gpus}"));
            let nodes: Vec<N> = nodes.iter().enumerate().map(node).collect();
            add(&mut fleet, &format!("t{target}"), "", &nodes);
        }
        let mut planner = Planner::new();
        if self.limits != [i64::MAX; 2] {
            let queue = |(at, limit): (usize, &i64)| QueueSpec {
                name: format!("q{at}"),
                limit: BTreeMap::from([(GPU.to_owned(), *limit)]),
                ..QueueSpec::default()
            };
            let queues = self.limits.iter().enumerate().map(queue);
            planner.set_queues(QueueTree::new(queues.collect()).0);
        }
        let request = |(at, (pods, gpus)): (usize, &Gang)| Request {
            submitted_ms: i64::try_from(at).expect("few"),
            queue: format!("q{}", at % 2),
            ..gang(
                &format!("w{at}"),
                i64::try_from(*pods).expect("few"),
                &format!("gpu={gpus}"),
            )
        };
        let requests: Vec<Request> = self.gangs.iter().enumerate().map(request).collect();
        let (decisions, _) = planner.plan(&mut fleet, &requests, NOW);
        let made = decisions.iter().take(GANGS);
        made.map(|one| one.outcome == Outcome::Place).collect()
    }

    /// Who runs if what these weigh that run is to be the most: each gang whole in one target, no node overfull, within the limits.
    fn best(&self, weights: &[i64; GANGS]) -> Vec<bool> {
        let mut problem = Problem::new(OptimizationDirection::Maximize);
        let mut runs: Vec<Vec<Variable>> = Vec::new();
        let mut used: BTreeMap<(usize, usize), LinearExpr> = BTreeMap::new();
        let mut queues = [LinearExpr::empty(), LinearExpr::empty()];
        for (gang, (pods, gpus)) in self.gangs.iter().enumerate() {
            let weight = float(weights[gang]);
            let here: Vec<Variable> = self
                .targets
                .iter()
                .map(|_| problem.add_binary_var(weight))
                .collect();
            problem.add_constraint(here.iter().map(|one| (*one, 1.0)), ComparisonOp::Le, 1.0);
            for (target, nodes) in self.targets.iter().enumerate() {
                let mut placed = LinearExpr::empty();
                placed.add(here[target], -float(i64::try_from(*pods).expect("few")));
                for node in 0..nodes.len() {
                    let pods =
                        problem.add_integer_var(0.0, (0, i32::try_from(*pods).expect("few")));
                    placed.add(pods, 1.0);
                    let used = used.entry((target, node)).or_insert_with(LinearExpr::empty);
                    used.add(pods, float(*gpus));
                }
                problem.add_constraint(placed, ComparisonOp::Eq, 0.0);
                queues[gang % 2].add(here[target], float(self.size(gang)));
            }
            runs.push(here);
        }
        for ((target, node), used) in used {
            let has = float(self.targets[target][node]);
            problem.add_constraint(used, ComparisonOp::Le, has);
        }
        for (queue, limit) in queues.into_iter().zip(self.limits) {
            if limit < i64::MAX {
                problem.add_constraint(queue, ComparisonOp::Le, float(limit));
            }
        }
        let outcome = problem.solve().expect("nobody runs is a solution");
        let best = outcome.into_solution().expect("solved");
        assert_eq!(best.status(), SolutionStatus::Optimal);
        let run = |here: &Vec<Variable>| here.iter().any(|one| best.var_value(*one) > 0.5);
        runs.iter().map(run).collect()
    }
}

fn float(small: i64) -> f64 {
    f64::from(i32::try_from(small).expect("small"))
}

fn add_up(sum: &mut (i64, i64), more: (i64, i64)) {
    *sum = (sum.0 + more.0, sum.1 + more.1);
}

/// The planner places one by one, looks at nobody's successors, and has learned nothing of what will come; the oracle tries all ways
/// for all of them together.
#[test]
fn the_gap_to_the_best_placement_is_small() {
    let mut draws = Draws(7);
    let (mut ours, mut best) = ((0, 0), (0, 0));
    for _ in 0..500 {
        let small = draws.small();
        add_up(&mut ours, small.sum(&small.planned()));
        let in_turn = oracle::best_in_turn(&small.targets, &small.gangs);
        add_up(&mut best, small.sum(&in_turn));
    }
    println!(
        "in turn: {} of {} GPUs, {} of {} gangs",
        ours.0, best.0, ours.1, best.1
    );
    assert!(
        ours.0 <= best.0 + best.0 / 50,
        "the oracle misses something: {} of {}",
        ours.0,
        best.0
    );
    assert!(ours.0 * 100 >= best.0 * 95, "{} of {} GPUs", ours.0, best.0);
    assert!(
        ours.1 * 100 >= best.1 * 95,
        "{} of {} gangs",
        ours.1,
        best.1
    );
}

/// Where each gang weighs more than all after it together, the best of the program is that in turn.
#[test]
fn the_program_finds_what_the_search_finds() {
    let mut draws = Draws(11);
    for _ in 0..60 {
        let small = draws.small();
        let in_turn = std::array::from_fn(|gang| 1 << (GANGS - gang));
        let searched = oracle::best_in_turn(&small.targets, &small.gangs);
        let (targets, gangs) = (&small.targets, &small.gangs);
        assert_eq!(small.best(&in_turn), searched, "{targets:?} {gangs:?}");
    }
}

/// The order is given, so the planner cannot do what the program does; what that costs is bounded. One target's room for one pod size in any
/// order would be two thirds; with gangs and limits it is measured.
#[test]
fn the_gap_to_any_order_is_bounded() {
    let mut draws = Draws(13);
    let (mut ours, mut best) = ((0, 0), (0, 0));
    for _ in 0..60 {
        let small = draws.limited();
        let runs = small.planned();
        let mine = small.sum(&runs);
        for queue in 0..2 {
            let gangs = (0..GANGS).filter(|gang| gang % 2 == queue && runs[*gang]);
            let used: i64 = gangs.map(|gang| small.size(gang)).sum();
            assert!(used <= small.limits[queue], "{used} of {:?}", small.limits);
        }
        let sizes = std::array::from_fn(|gang| small.size(gang));
        let most = small.sum(&small.best(&sizes));
        let (targets, gangs, limits) = (&small.targets, &small.gangs, small.limits);
        assert!(
            mine.0 <= most.0,
            "{mine:?} of {most:?}: {targets:?} {gangs:?} {limits:?}"
        );
        add_up(&mut ours, mine);
        add_up(&mut best, most);
    }
    println!("any order: {} of {} GPUs", ours.0, best.0);
    assert!(ours.0 * 100 >= best.0 * 85, "{} of {} GPUs", ours.0, best.0);
}
