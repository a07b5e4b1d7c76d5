//! "What if": one change of a scenario, in words.

use placement_api::quantity::{Quantity, ResourceVector};

use super::Scenario;
use super::read::{GPU, near, way_out};
use crate::fleet::TargetState;

/// So long is a target lost that is lost "what if": longer than any failover waits.
const LOST_FOR_MS: i64 = 24 * 3_600_000;
/// What can be written, for errors.
const WORDS: &str = "write `queue NAME guaranteed|limit RESOURCE +N`, `queue NAME weight +N`, `workload NAME priority +N`, \
    `workload NAME product H100`, `target add NAME like OTHER`, `target lose NAME` or `target cordon NAME`";

/// The scenario with a change, such as `queue vision guaranteed gpu +4`. What was expected of the old one is dropped.
///
/// # Errors
/// What is wrong with the change, and what would be right.
pub fn change(scenario: &Scenario, text: &str) -> Result<Scenario, String> {
    let mut new = scenario.clone();
    new.expect = None;
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["queue", name, "weight", by] => {
            let queue = find(&mut new.queues, name, "queue", |one| &one.name)?;
            let weight = number(by, i64::from(queue.weight))?;
            queue.weight = u32::try_from(weight)
                .map_err(|_| format!("a weight of {weight}; write one of 0 or more"))?;
        }
        [
            "queue",
            name,
            field @ ("guaranteed" | "limit"),
            resource,
            by,
        ] => {
            let resource = if resource == "gpu" { GPU } else { resource };
            let queue = find(&mut new.queues, name, "queue", |one| &one.name)?;
            let list = if field == "limit" {
                &mut queue.limit
            } else {
                &mut queue.guaranteed
            };
            let has = match (list.get(resource), field) {
                (Some(has), _) => *has,
                (None, "guaranteed") => 0,
                (None, _) if by.starts_with('=') => 0,
                (None, _) => {
                    return Err(format!(
                        "queue {name} has no limit of {resource}; write `=N` to set one"
                    ));
                }
            };
            let amount = amount(resource, by, has)?;
            list.insert(resource.to_owned(), amount);
        }
        ["workload", name, "priority", by] => {
            let workload = find(&mut new.workloads, name, "workload", |one| &one.name)?;
            let priority = number(by, i64::from(workload.priority))?;
            workload.priority = i32::try_from(priority)
                .map_err(|_| format!("a priority of {priority}; write a smaller one"))?;
        }
        ["workload", name, "product", product] => {
            let workload = find(&mut new.workloads, name, "workload", |one| &one.name)?;
            for set in &mut workload.pods {
                let key = set.selector.keys().find(|key| key.ends_with("product"));
                let key = key.cloned().unwrap_or_else(|| "product".to_owned());
                set.selector.insert(key, product.to_owned());
            }
        }
        ["target", "add", name, "like", other] => {
            if new.target(name).is_some() {
                return Err(format!(
                    "target {name} is there already; write another name"
                ));
            }
            let mut target = find(&mut new.fleet, other, "target", |one| &one.name)?.clone();
            name.clone_into(&mut target.name);
            target.state = TargetState::Ready;
            new.fleet.push(target);
        }
        ["target", "lose", name] => {
            let target = find(&mut new.fleet, name, "target", |one| &one.name)?;
            target.state = TargetState::Lost;
            target.lost_for_ms = LOST_FOR_MS;
        }
        ["target", "cordon", name] => {
            find(&mut new.fleet, name, "target", |one| &one.name)?.state = TargetState::Cordoned;
        }
        _ => return Err(format!("{text:?} is no change; {WORDS}")),
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

/// `+4` more, `-4` less, `=4` exactly.
fn number(by: &str, has: i64) -> Result<i64, String> {
    let wrong = || format!("{by:?} is no change of a number; write for example +4, -4 or =4");
    let exact = by.strip_prefix('=');
    let amount: i64 = exact.unwrap_or(by).parse().map_err(|_| wrong())?;
    match exact {
        Some(_) => Ok(amount),
        None if by.starts_with(['+', '-']) => has.checked_add(amount).ok_or_else(wrong),
        None => Err(wrong()),
    }
}

fn amount(resource: &str, by: &str, has: i64) -> Result<i64, String> {
    let wrong =
        || format!("{by:?} is no change of an amount; write for example +4, -4, =4 or +64Gi");
    let (sign, text) = match by.split_at_checked(1) {
        Some(("+", text)) => (1, text),
        Some(("-", text)) => (-1, text),
        Some(("=", text)) => (0, text),
        _ => return Err(wrong()),
    };
    let quantity = Quantity::parse(text).map_err(|_| wrong())?;
    if quantity.is_negative() {
        return Err(wrong());
    }
    let base = ResourceVector::base_units(resource, quantity);
    Ok(match sign {
        0 => base,
        sign => has.saturating_add(base.saturating_mul(sign)).max(0),
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
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
