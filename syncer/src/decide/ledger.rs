//! The ledger of one assignment: what it has to say before a write, and what after it.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::api_type::split_api_version;
use placement_api::kinds::{AppliedAssignmentSpec, FinishedRecord, LedgerObject};

use super::desired::Desired;
use super::diff::Order;
use super::object_id::ObjectId;

/// The ledger that announces every desired object: nothing that was announced earlier is dropped, because it may exist.
pub fn announce(
    order: &Order<'_>,
    hub_uid: &str,
    ledger: Option<&AppliedAssignmentSpec>,
    desired: &[Desired],
) -> AppliedAssignmentSpec {
    let mut spec = ledger.cloned().unwrap_or_else(|| AppliedAssignmentSpec {
        hub_uid: hub_uid.to_owned(),
        workload: order.workload.clone(),
        digest: order.digest.to_owned(),
        ..AppliedAssignmentSpec::default()
    });
    spec.epoch = spec.epoch.max(order.epoch);
    spec.term = spec.term.max(order.term);
    let known: BTreeSet<ObjectId> = spec
        .objects
        .iter()
        .map(|o| ObjectId::of(&o.reference))
        .collect();
    for object in desired.iter().filter(|d| !known.contains(&d.id)) {
        let (_, version) = split_api_version(&object.api_version);
        spec.objects.push(LedgerObject {
            reference: object.id.reference(version, ""),
            plural: object.plural.clone(),
            digest: String::new(),
        });
    }
    spec
}

/// What is known of an object after it was written or seen.
pub struct Confirmed<'a> {
    /// UID on the member.
    pub uid: &'a str,
    /// Digest of the desired state that it has.
    pub digest: &'a str,
    /// `apiVersion` it is written in.
    pub api_version: &'a str,
}

/// The ledger with everything that has been confirmed since it was written.
pub fn record(
    ledger: &AppliedAssignmentSpec,
    order: &Order<'_>,
    complete: bool,
    confirmed: &BTreeMap<ObjectId, Confirmed<'_>>,
    finished: Option<&FinishedRecord>,
) -> AppliedAssignmentSpec {
    let mut spec = ledger.clone();
    for object in &mut spec.objects {
        if let Some(now) = confirmed.get(&ObjectId::of(&object.reference)) {
            now.uid.clone_into(&mut object.reference.uid);
            now.digest.clone_into(&mut object.digest);
            split_api_version(now.api_version)
                .1
                .clone_into(&mut object.reference.version);
        }
    }
    if complete {
        order.digest.clone_into(&mut spec.digest);
        spec.term = spec.term.max(order.term);
    }
    if spec.finished.is_none() {
        spec.finished = finished.cloned();
    }
    spec
}
