//! "What if": one change of a scenario, in words.

use placement_api::kinds::TopologyMode;

use super::Scenario;
use super::read::{near, way_out};
use crate::fleet::TargetState;
use crate::whatif::{Bound, Change};

/// So long is a target lost that is lost "what if": longer than any failover waits.
const LOST_FOR_MS: i64 = 24 * 3_600_000;

/// The scenario with a change, such as `queue vision guaranteed gpu +4`. What was expected of the old one is dropped.
///
/// # Errors
/// What is wrong with the change, and what would be right.
pub fn change(scenario: &Scenario, text: &str) -> Result<Scenario, String> {
    let mut new = scenario.clone();
    new.expect = None;
    match Change::parse(text)? {
        Change::Weight { queue, by } => {
            let queue = find(&mut new.queues, &queue, "queue", |one| &one.name)?;
            let weight = by.number(i64::from(queue.weight))?;
            queue.weight = u32::try_from(weight)
                .map_err(|_| format!("a weight of {weight}; write one of 0 or more"))?;
        }
        Change::Amount {
            queue,
            bound,
            resource,
            by,
        } => {
            let queue = find(&mut new.queues, &queue, "queue", |one| &one.name)?;
            let list = match bound {
                Bound::Limit => &mut queue.limit,
                Bound::Guaranteed => &mut queue.guaranteed,
            };
            let amount = by
                .amount(&resource, bound, list.get(&resource).copied())
                .map_err(|error| format!("queue {} {error}", queue.name))?;
            list.insert(resource, amount);
        }
        Change::Priority { workload, by } => {
            let workload = find(&mut new.workloads, &workload, "workload", |one| &one.name)?;
            let priority = by.number(i64::from(workload.priority))?;
            workload.priority = i32::try_from(priority)
                .map_err(|_| format!("a priority of {priority}; write a smaller one"))?;
        }
        Change::Product { workload, product } => {
            let workload = find(&mut new.workloads, &workload, "workload", |one| &one.name)?;
            for set in &mut workload.pods {
                let key = set.selector.keys().find(|key| key.ends_with("product"));
                let key = key.cloned().unwrap_or_else(|| "product".to_owned());
                set.selector.insert(key, product.clone());
            }
        }
        Change::Topology { workload, mode } => {
            let workload = find(&mut new.workloads, &workload, "workload", |one| &one.name)?;
            let level = workload.topology.take().map(|(level, ..)| level);
            let missing = || format!("{} asks for no topology; leave this out", workload.name);
            let level = level.ok_or_else(missing)?;
            workload.topology = mode.map(|mode: TopologyMode| (level, mode, None));
        }
        Change::Add { target, like } => {
            if new.target(&target).is_some() {
                return Err(format!(
                    "target {target} is there already; write another name"
                ));
            }
            let mut added = find(&mut new.fleet, &like, "target", |one| &one.name)?.clone();
            added.name = target;
            added.state = TargetState::Ready;
            new.fleet.push(added);
        }
        Change::Lose(name) => {
            let target = find(&mut new.fleet, &name, "target", |one| &one.name)?;
            target.state = TargetState::Lost;
            target.lost_for_ms = LOST_FOR_MS;
        }
        Change::Cordon(name) => {
            find(&mut new.fleet, &name, "target", |one| &one.name)?.state = TargetState::Cordoned;
        }
    }
    Ok(new)
}

fn find<'a, T>(
    list: &'a mut [T],
    name: &str,
    what: &str,
    named: impl Fn(&T) -> &String,
) -> Result<&'a mut T, String> {
    let known: Vec<String> = list.iter().map(|one| named(one).clone()).collect();
    let missing = || {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let rest = format!("write one of {}", known.join(", "));
        let hint = way_out(near(name, &known), &rest);
        format!("there is no {what} {name:?}; {hint}")
    };
    list.iter_mut()
        .find(|one| named(one) == name)
        .ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::read::GPU;
    use super::*;

    fn scenario() -> Scenario {
        let text = "queues: [{name: vision, guaranteed: {gpu: 4}}]\nfleet: [{target: east, nodes: [{name: e, capacity: {gpu: 8}}]}]\nworkloads: [{name: a, queue: vision, pods: [{}]}]\n";
        parse("x.yaml", text).unwrap()
    }

    #[test]
    fn changes_are_made_to_a_copy() {
        let old = scenario();
        let queue = |text: &str| change(&old, text).unwrap().queues[0].clone();
        assert_eq!(queue("queue vision guaranteed gpu +4").guaranteed[GPU], 8);
        assert_eq!(queue("queue vision guaranteed gpu -9").guaranteed[GPU], 0);
        assert_eq!(queue("queue vision limit cpu =2").limit["cpu"], 2000);
        assert_eq!(queue("queue vision weight +2").weight, 3);
        assert_eq!(
            change(&old, "workload a priority =7").unwrap().workloads[0].priority,
            7
        );
        let product = change(&old, "workload a product H100").unwrap();
        assert_eq!(product.workloads[0].pods[0].selector["product"], "H100");
        assert_eq!(
            change(&old, "target add west like east")
                .unwrap()
                .fleet
                .len(),
            2
        );
        assert_eq!(
            change(&old, "target lose east").unwrap().fleet[0].state,
            TargetState::Lost
        );
        assert_eq!(old.queues[0].guaranteed[GPU], 4);
    }

    #[test]
    fn what_is_no_change_says_what_would_be() {
        let old = scenario();
        for (text, part) in [
            ("more gpus", "is no change; write `queue NAME"),
            ("queue visoin weight +1", "did you mean vision?"),
            (
                "queue vision limit gpu +1",
                "has no limit of nvidia.com/gpu; write `=N`",
            ),
            ("queue vision guaranteed gpu 4", "write for example +4"),
            ("queue vision weight heavy", "write for example +4"),
            ("target add east like east", "is there already"),
        ] {
            let error = change(&old, text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }
}
