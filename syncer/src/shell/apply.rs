//! Does the steps of one assignment, one after the other, and tells what became of them.
//!
//! Every write rests on something that was seen: a create on nothing being there (the server checks), an apply on the UID of an object
//! with our marker, a deletion on a live look and the UID that it found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::{ApiError, Class, Connection, DeletePreconditions, Deleted, Discovery, Propagation};
use placement_api::api_type::{ApiType, known};
use placement_api::kinds::{AppliedAssignment, LedgerObject};
use placement_api::names::{HUB_LABEL, SYNCER_MANAGER};
use placement_api::raw::RawObject;
use serde_json::{Value, json};

use super::discovery::resolve;
use super::hub::Hub;
use super::ledgers::{self, Wrote};
use crate::decide::backoff::Trouble;
use crate::decide::compare::content;
use crate::decide::desired::Desired;
use crate::decide::diff::{Step, Written, foreign};
use crate::decide::object_id::ObjectId;
use crate::decide::status::{Failure, STALE_TERM};
use crate::decide::upgrade::upgrade;

/// The steps of one assignment, with all that they need.
pub struct Work {
    /// The hub.
    pub hub: Hub,
    /// The member.
    pub member: Connection,
    /// UID of the hub.
    pub hub_uid: Arc<str>,
    /// Name of the assignment.
    pub name: String,
    /// Term of the order.
    pub term: i64,
    /// What to do.
    pub steps: Vec<Step>,
    /// Objects that the steps are about.
    pub desired: Vec<Desired>,
    /// The ledger as it was last seen.
    pub ledger: Option<AppliedAssignment>,
    /// What the member serves.
    pub discovery: Arc<Discovery>,
    /// Objects as they were last seen.
    pub live: BTreeMap<ObjectId, String>,
    /// UIDs of objects that this process has applied already.
    pub applied: BTreeSet<String>,
    /// Pod-security level of namespaces made here.
    pub pod_security: Option<String>,
}

/// What the steps learnt of the ledger.
#[derive(Clone, Debug, Default)]
pub enum Ledger {
    /// Nothing new.
    #[default]
    Unchanged,
    /// It is not there.
    Gone,
    /// It stands so.
    Stands(Box<AppliedAssignment>),
}

/// What became of the steps.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The ledger as it stands now, where a step was about it.
    pub ledger: Ledger,
    /// Objects as they stand now.
    pub objects: Vec<RawObject>,
    /// Objects that a live look did not find.
    pub gone: Vec<ObjectId>,
    /// What was written.
    pub written: Vec<(ObjectId, Written)>,
    /// UIDs whose fields are kept by server-side apply from now on.
    pub applied: Vec<String>,
    /// Namespaces that are there now.
    pub namespaces: Vec<String>,
    /// Deletions that were ordered.
    pub deleted: usize,
    /// The world was not as it was thought to be; the steps behind were not tried.
    pub again: bool,
    /// The step that failed; those behind it were not tried.
    pub failure: Option<(Failure, Trouble)>,
}

/// Why a step ends the work.
enum Stop {
    Failed(Box<Failure>, Trouble),
    /// The world is not as it was thought to be: decide again.
    Again,
}

impl Work {
    /// Does the steps; stops at the first that fails.
    pub async fn run(self) -> Outcome {
        let mut outcome = Outcome::default();
        for step in &self.steps {
            match self.step(step, &mut outcome).await {
                Ok(()) => {}
                Err(Stop::Again) => {
                    outcome.again = true;
                    break;
                }
                Err(Stop::Failed(failure, trouble)) => {
                    outcome.failure = Some((*failure, trouble));
                    break;
                }
            }
        }
        outcome
    }

    async fn step(&self, step: &Step, outcome: &mut Outcome) -> Result<(), Stop> {
        match step {
            Step::CheckTerm => self.check_term().await,
            Step::WriteLedger(spec) => {
                let have = self.ledger(outcome);
                let wrote = ledgers::write(&self.member, &self.name, have, (**spec).clone()).await;
                match wrote.map_err(|error| failed(None, &error))? {
                    Wrote::Done(ledger) => outcome.ledger = Ledger::Stands(ledger),
                    Wrote::Stale(live) => {
                        outcome.ledger = live.map_or(Ledger::Gone, Ledger::Stands);
                        return Err(Stop::Again);
                    }
                }
                Ok(())
            }
            Step::MakeNamespace(name) => self.make_namespace(name, outcome).await,
            Step::Create { index, look } => match self.desired.get(*index) {
                Some(desired) => self.create(desired, *look, outcome).await,
                None => Ok(()),
            },
            Step::Apply(index) => match self.desired.get(*index) {
                Some(desired) => self.apply(desired, outcome).await,
                None => Ok(()),
            },
            Step::Delete(object) => self.delete(object, outcome).await,
            Step::DropLedger(objects) => self.drop_ledger(objects, outcome).await,
        }
    }

    /// The ledger as the steps so far have left it.
    fn ledger<'a>(&'a self, outcome: &'a Outcome) -> Option<&'a AppliedAssignment> {
        match &outcome.ledger {
            Ledger::Unchanged => self.ledger.as_ref(),
            Ledger::Gone => None,
            Ledger::Stands(ledger) => Some(ledger),
        }
    }

    async fn check_term(&self) -> Result<(), Stop> {
        let inventory = self
            .hub
            .inventory()
            .await
            .map_err(|error| failed(None, &error))?;
        let least = inventory.map_or(i64::MAX, |inventory| inventory.spec.min_term);
        if self.term >= least {
            return Ok(());
        }
        let message = format!(
            "ordered in term {}, but the scheduler of term {least} has taken over",
            self.term
        );
        let failure = Failure {
            id: None,
            reason: STALE_TERM.to_owned(),
            message,
            refused: false,
        };
        Err(Stop::Failed(Box::new(failure), Trouble::Refused))
    }

    async fn make_namespace(&self, name: &str, outcome: &mut Outcome) -> Result<(), Stop> {
        let mut labels = json!({HUB_LABEL: *self.hub_uid});
        if let Some(level) = &self.pod_security {
            labels["pod-security.kubernetes.io/enforce"] = level.as_str().into();
        }
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        match self
            .member
            .create::<_, RawObject>(&known::NAMESPACE, "", &namespace, SYNCER_MANAGER)
            .await
        {
            Ok(_) => {}
            Err(error) if error.is_already_exists() => {}
            Err(error) => {
                return Err(failed(
                    Some(ObjectId::new("", "Namespace", "", name)),
                    &error,
                ));
            }
        }
        outcome.namespaces.push(name.to_owned());
        Ok(())
    }

    fn api(&self, desired: &Desired) -> Result<ApiType, Stop> {
        resolve(&self.discovery, &desired.api_version, &desired.id.kind).ok_or(Stop::Again)
    }

    fn is_ours(&self, object: &RawObject) -> bool {
        object.label(HUB_LABEL) == Some(&self.hub_uid)
    }

    async fn create(
        &self,
        desired: &Desired,
        look: bool,
        outcome: &mut Outcome,
    ) -> Result<(), Stop> {
        let api = self.api(desired)?;
        let id = &desired.id;
        if look && self.look(&api, id, outcome).await? {
            return Ok(());
        }
        let answer = self
            .member
            .create(&api, &id.key.namespace, &desired.object, SYNCER_MANAGER)
            .await;
        match answer {
            Ok(object) => note(desired, object, outcome),
            Err(error) if error.is_already_exists() => {
                if !self.look(&api, id, outcome).await? {
                    return Err(Stop::Again);
                }
            }
            Err(error) => return Err(failed(Some(id.clone()), &error)),
        }
        Ok(())
    }

    /// Looks at an object live: true if it is there and ours, false if it is not there.
    async fn look(
        &self,
        api: &ApiType,
        id: &ObjectId,
        outcome: &mut Outcome,
    ) -> Result<bool, Stop> {
        let live: Option<RawObject> = self
            .member
            .get(api, &id.key)
            .await
            .map_err(|error| failed(Some(id.clone()), &error))?;
        match live {
            None => Ok(false),
            Some(object) if self.is_ours(&object) => {
                outcome.objects.push(typed(object, api));
                Ok(true)
            }
            // The admin's own CRD does as well; the watch will show it.
            Some(_) if id.is_kept() => Err(Stop::Again),
            Some(_) => {
                let block = foreign(id);
                let failure = Failure {
                    id: block.id,
                    reason: "ForeignObject".to_owned(),
                    message: block.message,
                    refused: true,
                };
                Err(Stop::Failed(Box::new(failure), Trouble::Refused))
            }
        }
    }

    async fn apply(&self, desired: &Desired, outcome: &mut Outcome) -> Result<(), Stop> {
        let api = self.api(desired)?;
        let id = &desired.id;
        let fail = |error: &ApiError| failed(Some(id.clone()), error);
        let seen = self.live.get(id).cloned().unwrap_or_default();
        let uid = if self.applied.contains(&seen) {
            seen
        } else {
            let live: Option<Value> = self
                .member
                .get(&api, &id.key)
                .await
                .map_err(|error| fail(&error))?;
            let Some(live) = live else {
                outcome.gone.push(id.clone());
                return Err(Stop::Again);
            };
            if live["metadata"]["labels"][HUB_LABEL] != *self.hub_uid {
                outcome.gone.push(id.clone());
                return Err(Stop::Again);
            }
            if let Some(patch) = upgrade(&live, SYNCER_MANAGER) {
                let answer = self
                    .member
                    .json_patch(&api, &id.key, None, &patch, SYNCER_MANAGER)
                    .await;
                answer
                    .map(|_: RawObject| ())
                    .map_err(|error| fail(&error))?;
            }
            live["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let mut body = desired.object.clone();
        // Makes the server refuse to create it anew or to write to another object of that name.
        body["metadata"]["uid"] = uid.clone().into();
        match self
            .member
            .apply(&api, &id.key, &body, SYNCER_MANAGER, true)
            .await
        {
            Ok(object) => {
                outcome.applied.push(uid);
                note(desired, object, outcome);
                Ok(())
            }
            Err(error) => Err(fail(&error)),
        }
    }

    async fn delete(&self, object: &LedgerObject, outcome: &mut Outcome) -> Result<(), Stop> {
        let id = ObjectId::of(&object.reference);
        let Some(live) = self.live_of(object, outcome).await? else {
            return Ok(());
        };
        let Some(api) = self.api_of(object) else {
            return Ok(());
        };
        if !live.is_deleting() {
            let only = DeletePreconditions::uid(&live.metadata.uid);
            // What a controller made of a custom resource bears no label of ours, so the server waits for it.
            let native = matches!(id.kind.group.as_str(), "" | "apps" | "batch");
            let how = if native {
                Propagation::Background
            } else {
                Propagation::Foreground
            };
            let deleted = self
                .member
                .delete(&api, &id.key, only, how)
                .await
                .map_err(|error| failed(Some(id.clone()), &error))?;
            outcome.deleted += 1;
            if deleted == Deleted::Gone {
                outcome.gone.push(id);
                return Ok(());
            }
        }
        // It is on its way out; how it stands now keeps it from being ordered again.
        self.live_of(object, outcome).await.map(|_| ())
    }

    async fn drop_ledger(
        &self,
        objects: &[LedgerObject],
        outcome: &mut Outcome,
    ) -> Result<(), Stop> {
        for object in objects {
            if self.live_of(object, outcome).await?.is_some() {
                return Err(Stop::Again);
            }
        }
        if let Some(ledger) = self.ledger(outcome) {
            ledgers::drop(&self.member, ledger)
                .await
                .map_err(|error| failed(None, &error))?;
        }
        outcome.ledger = Ledger::Gone;
        Ok(())
    }

    fn api_of(&self, object: &LedgerObject) -> Option<ApiType> {
        let id = ObjectId::of(&object.reference);
        let version = &object.reference.version;
        let api_version = if id.kind.group.is_empty() {
            version.clone()
        } else {
            format!("{}/{version}", id.kind.group)
        };
        resolve(&self.discovery, &api_version, &id.kind)
    }

    /// An object of the ledger as it is now, if it is there and ours.
    async fn live_of(
        &self,
        object: &LedgerObject,
        outcome: &mut Outcome,
    ) -> Result<Option<RawObject>, Stop> {
        let id = ObjectId::of(&object.reference);
        let Some(api) = self.api_of(object) else {
            outcome.gone.push(id);
            return Ok(None);
        };
        let live: Option<RawObject> = self
            .member
            .get(&api, &id.key)
            .await
            .map_err(|error| failed(Some(id.clone()), &error))?;
        if let Some(live) = live.filter(|live| self.is_ours(live)) {
            let live = typed(live, &api);
            outcome.objects.push(live.clone());
            Ok(Some(live))
        } else {
            outcome.gone.push(id);
            Ok(None)
        }
    }
}

fn note(desired: &Desired, object: RawObject, outcome: &mut Outcome) {
    let written = Written {
        digest: desired.digest.clone(),
        content: content(&object),
    };
    outcome.written.push((desired.id.clone(), written));
    outcome.objects.push(object);
}

/// Some servers leave the types out of answers; they are those of the question.
fn typed(mut object: RawObject, api: &ApiType) -> RawObject {
    if object.kind.is_empty() {
        object.api_version = api.api_version();
        object.kind = api.kind.to_string();
    }
    object
}

fn failed(id: Option<ObjectId>, error: &ApiError) -> Stop {
    // Comes as Forbidden, but passes when the old namespace is gone.
    let ending = error.message.contains("because it is being terminated");
    let unauthorized = error.code == Some(401);
    let (reason, refused) = match error.class() {
        Class::Denied if !ending && !unauthorized => ("Denied".to_owned(), true),
        Class::Invalid => ("Invalid".to_owned(), true),
        _ => (error.category().to_owned(), false),
    };
    let trouble = if refused {
        Trouble::Refused
    } else {
        Trouble::Transient
    };
    let failure = Failure {
        id,
        reason: camel(&reason),
        message: error.message.clone(),
        refused,
    };
    Stop::Failed(Box::new(failure), trouble)
}

/// `server_error` → `ServerError`: reasons of conditions are words.
fn camel(words: &str) -> String {
    words
        .split('_')
        .map(|word| {
            let mut chars = word.chars();
            chars
                .next()
                .map(|first| first.to_uppercase().collect::<String>() + chars.as_str())
                .unwrap_or_default()
        })
        .collect()
}
