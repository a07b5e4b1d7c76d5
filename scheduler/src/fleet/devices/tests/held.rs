//! What is reserved, and given back.

use std::sync::Arc;

use placement_api::devices::DeviceClaim;
use placement_api::quantity::ResourceVector;
use serde_json::json;

use super::{claim, copies, exactly, fleet, mixed};
use crate::fleet::{Fleet, NodeName, Share, TargetName, WorkloadId};

#[test]
fn what_is_reserved_is_counted_once_whatever_the_member_allocates() {
    let mut fleet = fleet(&mixed(&[]));
    let any = claim(json!([exactly("gpu", json!({}))]));
    let large = claim(json!([exactly("large", json!({}))]));
    let hold = |fleet: &mut Fleet, id: &str, claim: &DeviceClaim, pods: i64| {
        let demand = Arc::new(fleet.demand(&ResourceVector::new(), std::slice::from_ref(claim)));
        let share = Share {
            node: NodeName::from("n"),
            pod_set: Arc::from("main"),
            demand,
            pods,
            devices: Vec::new(),
        };
        fleet.hold(
            &WorkloadId::from(id),
            &TargetName::from("t"),
            1,
            vec![share.clone()],
            vec![share],
        );
    };
    hold(&mut fleet, "a", &any, 5);
    assert_eq!(copies(&mut fleet, std::slice::from_ref(&any)), 3);
    assert_eq!(
        copies(&mut fleet, std::slice::from_ref(&large)),
        3,
        "the five may be had without all large ones"
    );
    hold(&mut fleet, "b", &large, 3);
    assert_eq!(copies(&mut fleet, std::slice::from_ref(&any)), 0);
    assert_eq!(copies(&mut fleet, std::slice::from_ref(&large)), 0);
    // The member's scheduler took other devices than one may think of; the report counts them.
    let mut report = mixed(&[1, 2, 2]);
    report.counted = vec![placement_api::kinds::CountedAssignment {
        name: "a".to_owned(),
        epoch: 1,
        ..placement_api::kinds::CountedAssignment::default()
    }];
    fleet.set_inventory(&TargetName::from("t"), &report);
    assert_eq!(
        copies(&mut fleet, std::slice::from_ref(&any)),
        0,
        "three free, three promised to b"
    );
    fleet.release(&WorkloadId::from("b"), &TargetName::from("t"));
    assert_eq!(
        copies(&mut fleet, std::slice::from_ref(&large)),
        1,
        "as reported"
    );
    assert_eq!(copies(&mut fleet, std::slice::from_ref(&any)), 3);
    fleet.release(&WorkloadId::from("a"), &TargetName::from("t"));
    assert_eq!(
        copies(&mut fleet, std::slice::from_ref(&any)),
        3,
        "until the report says that they are free"
    );
}

#[test]
fn who_gives_way_gives_devices_back() {
    let mut fleet = fleet(&mixed(&[2, 2, 4]));
    let any = claim(json!([exactly("gpu", json!({"count": 2}))]));
    let demand = fleet.demand(&ResourceVector::new(), std::slice::from_ref(&any));
    let mut free = fleet.target("t").expect("target").node_list()[0]
        .free
        .clone();
    assert_eq!(demand.copies_in(&free), 0);
    free.add(&demand, 3);
    assert_eq!(demand.copies_in(&free), 3);
    free.add(&demand, -2);
    assert_eq!(demand.copies_in(&free), 1);
}

#[test]
fn a_claim_that_pods_have_together_counts_once() {
    let spec = json!({"devices": {"requests": [exactly("gpu", json!({"count": 5}))]}});
    let shared =
        |name: &str| DeviceClaim::read("c", Some(name.to_owned()), &spec).expect("a claim");
    let mut fleet = fleet(&mixed(&[]));
    assert!(
        copies(&mut fleet, &[shared("ns/a")]) > 100,
        "as many pods as like"
    );
    let demand = Arc::new(fleet.demand(&ResourceVector::new(), &[shared("ns/a")]));
    let share = Share {
        node: NodeName::from("n"),
        pod_set: Arc::from("main"),
        demand,
        pods: 3,
        devices: Vec::new(),
    };
    fleet.hold(
        &WorkloadId::from("w"),
        &TargetName::from("t"),
        1,
        vec![share.clone()],
        vec![share],
    );
    assert!(
        copies(&mut fleet, &[shared("ns/a")]) > 100,
        "it has them already"
    );
    assert_eq!(
        copies(&mut fleet, &[shared("ns/b")]),
        0,
        "another has no five more"
    );
    assert_eq!(
        copies(&mut fleet, &[claim(json!([exactly("gpu", json!({}))]))]),
        3
    );
}

#[test]
fn classes_that_come_later_count_for_what_is_reserved_too() {
    let mut report = mixed(&[]);
    let classes = std::mem::take(&mut report.device_classes);
    let mut fleet = fleet(&report);
    let any = claim(json!([exactly("gpu", json!({}))]));
    let demand = Arc::new(fleet.demand(&ResourceVector::new(), std::slice::from_ref(&any)));
    let share = Share {
        node: NodeName::from("n"),
        pod_set: Arc::from("main"),
        demand,
        pods: 5,
        devices: Vec::new(),
    };
    fleet.hold(
        &WorkloadId::from("w"),
        &TargetName::from("t"),
        1,
        vec![share.clone()],
        vec![share],
    );
    report.device_classes = classes;
    let event = fleet.set_inventory(&TargetName::from("t"), &report);
    assert!(!event.targets.is_empty(), "who waits is woken");
    assert_eq!(copies(&mut fleet, &[any]), 3);
}
