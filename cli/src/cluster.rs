//! A cluster that a command talks to, with errors that say which one and what to do.

use std::path::{Path, PathBuf};

use client::{ApiError, Class, ConnectError, ConnectOptions, Connection};
use placement_api::api_type::{ApiType, ObjectKey, known};
use placement_api::names;
use placement_api::raw::RawObject;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::kubeconfig;

/// The hub, or a member.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// `hub` or `member`.
    pub(crate) role: &'static str,
    /// Where calls go.
    pub(crate) connection: Connection,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
}

impl Cluster {
    /// Connects. Nothing is sent yet.
    pub(crate) async fn connect(
        role: &'static str,
        file: Option<&Path>,
        context: Option<&str>,
        options: ConnectOptions,
    ) -> Result<Self, Failure> {
        let connection = Connection::from_environment(file, context, options)
            .await
            .map_err(|error| cannot_connect(role, &error))?;
        Ok(Self {
            role,
            connection,
            kubeconfig: file.map(Path::to_owned),
            context: context.map(str::to_owned),
        })
    }

    /// How others reach this cluster: server, CA and TLS name of its kubeconfig.
    pub(crate) fn endpoint(&self) -> Result<kubeconfig::Endpoint, Failure> {
        kubeconfig::endpoint(self.kubeconfig.as_deref(), self.context.as_deref())
    }

    /// One object.
    pub(crate) async fn get<T: DeserializeOwned + 'static>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
    ) -> Result<Option<T>, Failure> {
        self.connection
            .get(api, key)
            .await
            .map_err(|error| self.failure(&error))
    }

    /// All objects of a kind.
    pub(crate) async fn list<T: DeserializeOwned + 'static>(
        &self,
        api: &ApiType,
        namespace: Option<&str>,
    ) -> Result<Vec<T>, Failure> {
        self.connection
            .list(api, namespace, None)
            .await
            .map_err(|error| self.failure(&error))
    }

    /// UID of the namespace kube-system: what a cluster is known by.
    pub(crate) async fn uid(&self) -> Result<String, Failure> {
        let key = ObjectKey::cluster("kube-system");
        let namespace: Option<RawObject> = self.get(&known::NAMESPACE, &key).await?;
        namespace.map(|n| n.metadata.uid).ok_or_else(|| {
            Failure::failed(format!(
                "the {} has no namespace kube-system, whose UID is what a cluster is known by",
                self.role
            ))
        })
    }

    /// The server's version.
    pub(crate) async fn version(&self) -> Result<String, Failure> {
        self.connection
            .version()
            .await
            .map_err(|error| self.failure(&error))
    }

    /// An error of this cluster in words.
    pub(crate) fn failure(&self, error: &ApiError) -> Failure {
        let role = self.role;
        let server = self.connection.server_url();
        let option = if role == "hub" {
            "--kubeconfig and --context"
        } else {
            "--member-kubeconfig and --member-context"
        };
        match (error.class(), error.code) {
            (Class::Transient, None) => Failure::failed(format!("cannot reach the {role} at {server}: {}", error.message))
                .hint(format!("is it running, and do {option} name the right cluster?")),
            (Class::Denied, Some(401)) => Failure::failed(format!("the {role} at {server} does not accept these credentials"))
                .hint(format!("{option} choose others")),
            (Class::Denied, _) => {
                let failure = Failure::failed(format!("the {role} does not allow it: {}", error.message));
                if error.verb == "list" && error.message.ends_with("at the cluster scope") {
                    return failure.hint("what belongs to one namespace you may be allowed to see there: -n NAMESPACE");
                }
                failure
            }
            (Class::NotFound, _) if role == "hub" && error.path.contains(names::GROUP) => {
                Failure::failed(format!("Inhaul is not installed on the hub at {server}"))
                    .hint("install it there with `inhaul install`, or choose another hub with --kubeconfig and --context")
            }
            _ => Failure::failed(format!("the {role} says: {error}")),
        }
    }
}

fn cannot_connect(role: &str, error: &ConnectError) -> Failure {
    let failure = Failure::failed(format!("no connection to the {role}: {error}"));
    match (error, role) {
        (ConnectError::NothingFound, "hub") => Failure::failed("no hub to talk to")
            .hint("name its kubeconfig with --kubeconfig, or set KUBECONFIG"),
        (ConnectError::Kubeconfig { .. }, "hub") => {
            failure.hint("--kubeconfig and --context choose the hub")
        }
        (ConnectError::Kubeconfig { .. }, _) => {
            failure.hint("--member-kubeconfig and --member-context choose the member")
        }
        _ => failure,
    }
}
