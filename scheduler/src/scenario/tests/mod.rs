//! The format, the comparison, and that the invariants can break.

mod changes;
mod fleets;
mod random;

use super::invariants;
use super::outcome::Placed;
use super::rounds::World;
use super::*;
use crate::record::Core;

const SMALL: &str = "
name: a small fleet with two targets
config: {levels: [rack]}
fleet:
- target: east
  nodes:
  - {name: e-a, labels: {rack: r1}, capacity: {gpu: 8, cpu: 16}}
  - {name: e-b, labels: {rack: r2}, capacity: {gpu: 8, cpu: 16}}
- target: west
  state: Cordoned
  nodes: [{name: w, capacity: {gpu: 8, cpu: 16}}]
workloads:
- name: gang
  pods: [{count: 4, requests: {gpu: 2}}]
  topology: {level: rack}
- name: other
  pods: [{count: 1, requests: {gpu: 8}}]
";

fn scenario(text: &str) -> Scenario {
    parse("test.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn world(scenario: &Scenario) -> World {
    World::begin(scenario, Core::new())
}

fn place(target: &str, node: &str, count: i64) -> Placed {
    Placed {
        target: target.to_owned(),
        node: Some(node.to_owned()),
        pods: "main".to_owned(),
        count,
    }
}

#[test]
fn what_is_not_given_has_the_default_of_the_format() {
    let scenario =
        scenario("workloads: [{name: a, pods: [{}]}]\nqueues: [{name: q}]\nfleet: [{target: t}]");
    let workload = &scenario.workloads[0];
    assert_eq!(workload.namespace, "default");
    assert_eq!((workload.priority, workload.submitted_ms), (0, 0));
    assert_eq!((workload.preemptible, workload.min_runtime_ms), (true, 0));
    assert_eq!(workload.after_ms, 15 * 60_000);
    assert_eq!(workload.stage, Stage::Pending);
    assert_eq!(
        (workload.pods[0].name.as_str(), workload.pods[0].count),
        ("main", 1)
    );
    let queue = &scenario.queues[0];
    assert_eq!(
        (queue.weight, queue.priority, queue.lend, queue.time_slicing),
        (1, 0, true, false)
    );
    assert_eq!((scenario.now_ms, scenario.config.rounds), (0, 1));
    assert!(scenario.fleet[0].kinds.is_none() && scenario.expect.is_none());
}

#[test]
fn overlap_waits_five_minutes_where_nothing_is_said() {
    let scenario = scenario("workloads: [{name: a, failover: Overlap, pods: [{}]}]");
    assert_eq!(scenario.workloads[0].after_ms, 5 * 60_000);
}

#[test]
fn json_is_read_as_well() {
    let scenario = scenario(
        r#"{"workloads": [{"name": "a", "pods": [{"count": 2, "requests": {"cpu": "500m"}}]}]}"#,
    );
    assert_eq!(scenario.workloads[0].pods[0].requests.get("cpu"), 500);
}

#[test]
fn a_sound_round_passes_and_each_broken_one_is_noticed() {
    let scenario = scenario(SMALL);
    let before = world(&scenario);
    let outcome = simulate(&scenario, &mut || 0).unwrap();
    let good = outcome.rounds[0].clone();
    assert_eq!(good.placed.len(), 2);
    invariants::sound(&scenario, &before, &good).unwrap();
    let broken = |change: &dyn Fn(&mut Round)| {
        let mut round = good.clone();
        change(&mut round);
        invariants::sound(&scenario, &before, &round).expect_err("must be noticed")
    };
    let gang = |places: Vec<Placed>| {
        broken(&|round| drop(round.placed.insert("gang".to_owned(), places.clone())))
    };
    let nowhere = broken(&|round| drop(round.placed.remove("gang")));
    assert!(nowhere.contains("in 0 of"), "{nowhere}");
    let (mine, taken) = match good.placed["other"][0].node.as_deref() {
        Some("e-a-0") => ("e-b-0", "e-a-0"),
        _ => ("e-a-0", "e-b-0"),
    };
    let both = gang(vec![place("east", taken, 4)]);
    assert!(both.contains("are used"), "{both}");
    let part = gang(vec![place("east", mine, 3)]);
    assert!(part.contains("has 3 pods of main and needs 4"), "{part}");
    let torn = broken(&|round| {
        let places = vec![place("east", mine, 2), place("east", taken, 2)];
        round.placed.insert("gang".to_owned(), places);
        round.pending = good
            .placed
            .keys()
            .filter(|name| *name == "other")
            .map(|name| {
                (
                    name.clone(),
                    rounds::pending(placement_api::reason::Reason::Evicted, String::new()),
                )
            })
            .collect();
        round.placed.remove("other");
    });
    assert!(torn.contains("must be in one rack"), "{torn}");
    let cordoned = gang(vec![place("west", "w-0", 4)]);
    assert!(cordoned.contains("which is not Ready"), "{cordoned}");
    let unknown = gang(vec![place("east", "e-z-0", 4)]);
    assert!(unknown.contains("e-z-0"), "{unknown}");
}

#[test]
fn a_difference_says_what_was_expected_what_was_found_and_why() {
    let text = format!(
        "{SMALL}- {{name: late, submitted: 1m, pods: [{{}}]}}\nexpect:\n  placed: {{gang: [{{target: east, count: 3}}], late: []}}\n  evicted: [other]\n  pending: {{other: any}}\n"
    );
    let scenario = scenario(&text);
    let outcome = simulate(&scenario, &mut || 0).unwrap();
    let differences = compare(&scenario, &outcome);
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines[0].contains("gang: expected placed 3 on east, found placed 4 on east/"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].contains("other: expected evicted, found placed 1 on east/"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].contains("other: expected pending, found placed"),
        "{}",
        lines[2]
    );
}

#[test]
fn expected_places_take_their_pods_the_most_precise_first() {
    let yes = |expected: &str| {
        let text = format!("{SMALL}expect: {{placed: {{gang: {expected}}}}}");
        let scenario = scenario(&text);
        let outcome = simulate(&scenario, &mut || 0).unwrap();
        compare(&scenario, &outcome).is_empty()
    };
    let scenario = scenario(SMALL);
    let outcome = simulate(&scenario, &mut || 0).unwrap();
    let node = outcome.rounds[0].placed["gang"][0].node.clone().unwrap();
    assert!(yes("[{target: east, count: 4}]"));
    assert!(yes("[{target: east}]"));
    assert!(yes(&format!(
        "[{{target: east, count: 1}}, {{target: east, node: {node}, count: 3}}]"
    )));
    assert!(!yes("[{target: east, count: 5}]"));
    assert!(!yes("[{target: east, count: 2}]"));
    assert!(!yes("[{target: west, count: 4}]"));
    assert!(!yes("[{target: east, domain: {rack: r9}, count: 4}]"));
    assert!(!yes("[]"));
}

#[test]
fn figures_are_of_what_runs() {
    let scenario = scenario(SMALL);
    let outcome = simulate(&scenario, &mut || 0).unwrap();
    let allocated = outcome.metrics.allocated["gpu"];
    assert!((allocated - 16.0 / 24.0).abs() < 1e-5, "{allocated}");
    assert_eq!(outcome.metrics.cycles, 1);
    let json = serde_json::to_value(&outcome).unwrap();
    assert!(
        json["metrics"]["fragmentedGpu"].is_number() && json["rounds"][0]["shares"].is_object()
    );
}

#[test]
fn the_clock_measures_and_decides_nothing() {
    let scenario = scenario(SMALL);
    let mut ticks = 0;
    let mut clock = || {
        ticks += 1000;
        ticks
    };
    let slow = simulate(&scenario, &mut clock).unwrap();
    let fast = simulate(&scenario, &mut || 0).unwrap();
    assert_eq!(slow.metrics.decision_micros, 500);
    assert_eq!(slow.rounds[0].placed, fast.rounds[0].placed);
}
