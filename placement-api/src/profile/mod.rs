//! How to read a kind: which pods an object asks for, what it depends on, how it fares, and what of its status goes back
//! into the user's object.
//!
//! ```text
//!              object on the hub -> shape()     -> PodSets, dependencies -> planner
//!           object on the member -> health()    -> finished? healthy?    -> Assignment.status
//! status of it on every member   -> aggregate() -> status of the object on the hub
//! ```
//!
//! Core kinds and the usual training kinds are built in; any other kind is read by the CEL expressions of a KindProfile.

mod aggregate;
mod custom;
mod dependency;
pub(crate) mod expression;
mod health;
mod patch;
mod pointer;
mod shape;
mod spec;

use std::sync::Arc;

use serde_json::Value;

pub use aggregate::Part;
pub use dependency::{Dependency, of_template as template_dependencies};
pub use health::{Health, HealthState};
pub use patch::merge_patch;
pub use shape::{PodSet, WorkloadShape};
pub use spec::{DeclaredDependency, DeclaredPods, ProfileFields};

use crate::demand::DemandError;
use crate::kinds::Interpretation;
use custom::Custom;

/// How to read one kind.
#[derive(Clone, Debug)]
pub struct Profile {
    group: String,
    kind: String,
    reader: Reader,
}

/// Why a profile or an object cannot be read. Every message begins with the field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// A field of the profile is wrong.
    #[error("{field}: {message}")]
    Profile {
        /// Path of the field in the KindProfile, such as `spec.demand[0].count`.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A field of the object is wrong.
    #[error("{field}: {message}")]
    Object {
        /// Path of the field in the object, such as `/spec/replicas`.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A pod template of the object is wrong.
    #[error("{field}: {source}")]
    Template {
        /// JSON pointer to the template.
        field: String,
        /// What is wrong with it.
        source: DemandError,
    },
}

impl ProfileError {
    pub(crate) fn profile(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Profile {
            field: field.into(),
            message: message.into(),
        }
    }

    pub(crate) fn object(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Object {
            field: field.into(),
            message: message.into(),
        }
    }
}

#[derive(Clone, Debug)]
enum Reader {
    Builtin(Builtin),
    Custom(Arc<Custom>),
    /// Nothing is known of the kind.
    Generic,
}

/// The kinds that need no KindProfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Builtin {
    Deployment,
    StatefulSet,
    Job,
    JobSet,
    LeaderWorkerSet,
    /// Kubeflow's training kinds: a map of roles at this pointer.
    Training {
        roles: &'static str,
    },
    Claim,
    /// Exists and that is all: Service, ConfigMap, Secret, ServiceAccount.
    Plain,
}

impl Profile {
    /// The built-in profile of a kind, if there is one. DaemonSets, ReplicaSets, CronJobs and bare Pods have none: they are
    /// not placed.
    pub fn builtin(group: &str, kind: &str) -> Option<Self> {
        let builtin = match (group, kind) {
            ("apps", "Deployment") => Builtin::Deployment,
            ("apps", "StatefulSet") => Builtin::StatefulSet,
            ("batch", "Job") => Builtin::Job,
            ("jobset.x-k8s.io", "JobSet") => Builtin::JobSet,
            ("leaderworkerset.x-k8s.io", "LeaderWorkerSet") => Builtin::LeaderWorkerSet,
            ("kubeflow.org", kind) => Builtin::Training {
                roles: match kind {
                    "PyTorchJob" => "/spec/pytorchReplicaSpecs",
                    "TFJob" => "/spec/tfReplicaSpecs",
                    "MPIJob" => "/spec/mpiReplicaSpecs",
                    "XGBoostJob" => "/spec/xgbReplicaSpecs",
                    "PaddleJob" => "/spec/paddleReplicaSpecs",
                    "JAXJob" => "/spec/jaxReplicaSpecs",
                    _ => return None,
                },
            },
            ("", "PersistentVolumeClaim") => Builtin::Claim,
            ("", "Service" | "ConfigMap" | "Secret" | "ServiceAccount") => Builtin::Plain,
            _ => return None,
        };
        Some(Self::new(group, kind, Reader::Builtin(builtin)))
    }

    /// Compiles a KindProfile.
    pub fn from_spec(spec: &ProfileFields) -> Result<Self, ProfileError> {
        let custom = Arc::new(Custom::compile(spec)?);
        Ok(Self::new(&spec.group, &spec.kind, Reader::Custom(custom)))
    }

    /// What the agent reads a root object with: the interpretation that came with the Assignment, else the built-in profile,
    /// else [`Self::generic`].
    pub fn for_agent(
        group: &str,
        kind: &str,
        interpretation: Option<&Interpretation>,
    ) -> Result<Self, ProfileError> {
        match interpretation {
            Some(interpretation) => Self::from_spec(&ProfileFields {
                group: group.to_owned(),
                kind: kind.to_owned(),
                healthy: interpretation.healthy.clone(),
                finished: interpretation.finished.clone(),
                succeeded: interpretation.succeeded.clone(),
                status: interpretation.status.clone(),
                ..ProfileFields::default()
            }),
            None => Ok(Self::builtin(group, kind).unwrap_or_else(|| Self::generic(group, kind))),
        }
    }

    /// For a kind that nothing is known of: no pods, health by the usual conditions, `/status` goes up.
    pub fn generic(group: &str, kind: &str) -> Self {
        Self::new(group, kind, Reader::Generic)
    }

    /// API group of the kind; empty for the core group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether objects of this kind have pods, so that a Placement without `resources` selects them.
    pub fn has_pods(&self) -> bool {
        match &self.reader {
            Reader::Builtin(builtin) => !matches!(builtin, Builtin::Plain | Builtin::Claim),
            Reader::Custom(custom) => custom.has_pods(),
            Reader::Generic => false,
        }
    }

    /// Which pods the object asks for and what it depends on.
    pub fn shape(&self, object: &Value) -> Result<WorkloadShape, ProfileError> {
        match &self.reader {
            Reader::Builtin(builtin) => shape::of_builtin(*builtin, object),
            Reader::Custom(custom) => custom.shape(object),
            Reader::Generic => Ok(WorkloadShape::default()),
        }
    }

    /// How the object fares, from its own status.
    pub fn health(&self, object: &Value) -> Health {
        match &self.reader {
            Reader::Builtin(builtin) => health::of_builtin(*builtin, object),
            Reader::Custom(custom) => custom.health(object),
            Reader::Generic => health::generic(object),
        }
    }

    /// JSON pointers to what is carried up into the user's object.
    pub fn status_paths(&self) -> Vec<String> {
        match &self.reader {
            Reader::Builtin(Builtin::Plain) => Vec::new(),
            Reader::Custom(custom) => custom.status_paths(),
            Reader::Builtin(_) | Reader::Generic => vec![spec::STATUS.to_owned()],
        }
    }

    /// The status for the object on the hub, made of the statuses of its copies; `Null` where there is nothing to say, and then
    /// the status stays as it is. `root` is the object on the hub with its present status: its generation is the one that counts,
    /// and counters and times that the API server lets only grow never fall.
    pub fn aggregate(&self, root: &Value, parts: &[Part<'_>]) -> Value {
        match &self.reader {
            Reader::Builtin(Builtin::Deployment) => aggregate::deployment(root, parts),
            Reader::Builtin(Builtin::StatefulSet) => aggregate::stateful_set(root, parts),
            Reader::Builtin(Builtin::Job) => aggregate::job(root, parts),
            Reader::Builtin(Builtin::Plain) => Value::Null,
            _ => aggregate::generic(root, parts),
        }
    }

    /// Writes a target's share of the replicas into its copy. Kinds that cannot be divided stay as they are.
    pub fn set_replicas(&self, object: &mut Value, replicas: u32) {
        match &self.reader {
            Reader::Builtin(builtin) => shape::set_replicas(*builtin, object, replicas),
            Reader::Custom(custom) => custom.set_replicas(object, replicas),
            Reader::Generic => {}
        }
    }

    /// The member's own words where it refuses to create the pods of this object (quota, admission); only kinds that say so in
    /// their status.
    pub fn refusal(&self, object: &Value) -> Option<String> {
        match self.reader {
            Reader::Builtin(Builtin::Plain | Builtin::Claim) => None,
            _ => health::refusal(object),
        }
    }

    fn new(group: &str, kind: &str, reader: Reader) -> Self {
        Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            reader,
        }
    }
}

impl From<&ProfileFields> for Interpretation {
    /// The part of a KindProfile that the agent needs.
    fn from(spec: &ProfileFields) -> Self {
        Self {
            healthy: spec.healthy.clone(),
            finished: spec.finished.clone(),
            succeeded: spec.succeeded.clone(),
            status: spec.status.clone(),
        }
    }
}
