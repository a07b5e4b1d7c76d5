//! The ledgers on the member: read once, then written by this one agent only.

use client::{ApiError, Connection, DeletePreconditions, Propagation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use placement_api::api_type::ObjectKey;
use placement_api::kinds::api::APPLIED_ASSIGNMENTS;
use placement_api::kinds::{AppliedAssignment, AppliedAssignmentSpec};
use placement_api::names::{HUB_LABEL, SYNCER_MANAGER, SYSTEM_NAMESPACE};

/// All ledgers of this hub.
pub async fn read(member: &Connection, hub_uid: &str) -> Result<Vec<AppliedAssignment>, ApiError> {
    let all: Vec<AppliedAssignment> = member
        .list(&APPLIED_ASSIGNMENTS, Some(SYSTEM_NAMESPACE), None)
        .await?;
    Ok(all
        .into_iter()
        .filter(|ledger| ledger.spec.hub_uid == hub_uid)
        .collect())
}

/// What a write came to.
pub enum Wrote {
    /// It stands so now.
    Done(Box<AppliedAssignment>),
    /// It was not what we thought it was; it stands so.
    Stale(Option<Box<AppliedAssignment>>),
}

/// Creates or replaces a ledger.
pub async fn write(
    member: &Connection,
    name: &str,
    have: Option<&AppliedAssignment>,
    spec: AppliedAssignmentSpec,
) -> Result<Wrote, ApiError> {
    let key = ObjectKey::new(SYSTEM_NAMESPACE, name);
    let answer = if let Some(have) = have {
        let next = AppliedAssignment {
            metadata: ObjectMeta {
                managed_fields: None,
                ..have.metadata.clone()
            },
            spec,
        };
        member.replace(&APPLIED_ASSIGNMENTS, &key, &next).await
    } else {
        let mut next = AppliedAssignment::new(name, spec);
        next.metadata.namespace = Some(SYSTEM_NAMESPACE.to_owned());
        next.metadata.labels = Some([(HUB_LABEL.to_owned(), next.spec.hub_uid.clone())].into());
        member
            .create(
                &APPLIED_ASSIGNMENTS,
                SYSTEM_NAMESPACE,
                &next,
                SYNCER_MANAGER,
            )
            .await
    };
    match answer {
        Ok(ledger) => Ok(Wrote::Done(Box::new(ledger))),
        Err(error)
            if error.is_conflict()
                || error.is_already_exists()
                || error.is_not_found()
                || error.outcome_unknown() =>
        {
            match member.get(&APPLIED_ASSIGNMENTS, &key).await {
                Ok(live) => Ok(Wrote::Stale(live.map(Box::new))),
                Err(_) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Deletes a ledger, if it is still the same object.
pub async fn drop(member: &Connection, have: &AppliedAssignment) -> Result<(), ApiError> {
    let name = have.metadata.name.clone().unwrap_or_default();
    let uid = have.metadata.uid.clone().unwrap_or_default();
    let key = ObjectKey::new(SYSTEM_NAMESPACE, name);
    let only = DeletePreconditions::uid(uid);
    member
        .delete(&APPLIED_ASSIGNMENTS, &key, only, Propagation::Background)
        .await
        .map(|_| ())
}
