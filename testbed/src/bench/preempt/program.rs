//! The cheapest victims as an integer program: who goes, in which region the claimant is, and how many of its pods each node takes. It shares
//! nothing with the search in `exact`, so the two check each other.

use microlp::{ComparisonOp, Error, LinearExpr, OptimizationDirection, Problem};

use super::cut::Cut;

/// Starts and saves are multiples of this, so that lost work is a small whole number.
const UNIT_MS: i64 = 7_500;

/// Least priority of the most important victim, and the least lost work then, in GPU-milliseconds.
pub(super) fn least(cut: &Cut) -> Option<(i32, i64)> {
    let victims = cut.running.iter().filter(|one| one.is_victim());
    let mut priorities: Vec<i32> = victims.map(|one| one.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let mut priorities = priorities.into_iter();
    priorities.find_map(|most| Some((most, lost(cut, most)?)))
}

/// Where nobody more important than this may go.
fn lost(cut: &Cut, most: i32) -> Option<i64> {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let mut room: Vec<LinearExpr> = vec![LinearExpr::empty(); cut.nodes];
    for one in &cut.running {
        if !one.is_victim() || one.priority > most {
            continue;
        }
        assert_eq!(one.lost() % UNIT_MS, 0);
        let goes = problem.add_binary_var(float(one.lost() / UNIT_MS));
        for (node, there) in room.iter_mut().enumerate() {
            let pods = one.pods.iter().filter(|pod| **pod == node).count();
            if pods > 0 {
                let pods = i64::try_from(pods).expect("few");
                there.add(goes, -float(one.gpus * pods));
            }
        }
    }
    let mut there = LinearExpr::empty();
    let mut places = LinearExpr::empty();
    let free = cut.free(&[]);
    for region in cut.regions() {
        let here = problem.add_binary_var(0.0);
        there.add(here, 1.0);
        for node in region {
            let most = i32::try_from(cut.claimant.pods).expect("few");
            let pods = problem.add_integer_var(0.0, (0, most));
            places.add(pods, 1.0);
            let inside = [(pods, 1.0), (here, -f64::from(most))];
            problem.add_constraint(inside, ComparisonOp::Le, 0.0);
            let mut room = std::mem::replace(&mut room[node], LinearExpr::empty());
            room.add(pods, float(cut.claimant.gpus));
            problem.add_constraint(room, ComparisonOp::Le, float(free[node]));
        }
    }
    problem.add_constraint(there, ComparisonOp::Eq, 1.0);
    problem.add_constraint(places, ComparisonOp::Ge, float(cut.claimant.pods));
    match problem.solve() {
        Ok(outcome) => {
            let least = outcome.into_solution().expect("solved").objective();
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it is a whole number, but for rounding"
            )]
            Some(least.round() as i64 * UNIT_MS)
        }
        Err(Error::Infeasible) => None,
        Err(other) => panic!("{other}"),
    }
}

fn float(small: i64) -> f64 {
    f64::from(i32::try_from(small).expect("small"))
}
