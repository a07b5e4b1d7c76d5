//! From a kubeconfig, a pod's own credentials or the environment to a [`Connection`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::Connection;
use crate::transport::{Transport, Tuning};

/// How a connection behaves.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// How long a call may take, tries and waiting for a free place included.
    pub deadline: Duration,
    /// What the server's log shows. The part before a `/` is the field manager of writes that name none.
    pub user_agent: String,
    /// Calls that may be under way at once, fewer while the server is slow; further ones wait. Watches do not count.
    pub max_in_flight: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            user_agent: concat!("inhaul/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_in_flight: 40,
        }
    }
}

/// Why there is no connection. None of these says that the server is away: nothing is sent before the first call.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig that was asked for cannot be used.
    #[error("kubeconfig {}: {source}", path.display())]
    Kubeconfig {
        /// Which file, or the value of `KUBECONFIG`.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// Not in a pod, or the pod has no service account token.
    #[error("not running in a cluster: {0}")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// Nothing tells where the API server is.
    #[error("no API server to talk to: give a kubeconfig, set KUBECONFIG, or run in a cluster")]
    NothingFound,
    /// Credentials or certificates cannot be used.
    #[error("credentials: {0}")]
    Credentials(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Connection {
    /// From a kubeconfig file, and a context of it other than its current one if given.
    pub async fn from_kubeconfig(
        path: &Path,
        context: Option<&str>,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let failed = |source| ConnectError::Kubeconfig {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &select(context))
            .await
            .map_err(failed)?;
        Self::from_config(config, options).await
    }

    /// From the service account of the pod that this process runs in.
    pub async fn in_cluster(options: ConnectOptions) -> Result<Self, ConnectError> {
        let config =
            Config::incluster_env().map_err(|source| ConnectError::InCluster(Box::new(source)))?;
        Self::from_config(config, options).await
    }

    /// From the file given, else `KUBECONFIG` (which may list several files), else `~/.kube/config`, else the pod's own
    /// credentials. What is there but broken is an error, not a reason to look further.
    pub async fn from_environment(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        if let Some(path) = kubeconfig {
            return Self::from_kubeconfig(path, context, options).await;
        }
        if let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
            let failed = |source| ConnectError::Kubeconfig {
                path: PathBuf::from(&list),
                source: Box::new(source),
            };
            let merged = Kubeconfig::from_env().map_err(failed)?.unwrap_or_default();
            let config = Config::from_custom_kubeconfig(merged, &select(context))
                .await
                .map_err(failed)?;
            return Self::from_config(config, options).await;
        }
        let home = std::env::home_dir().map(|home| home.join(".kube/config"));
        if let Some(path) = home.filter(|path| path.exists()) {
            return Self::from_kubeconfig(&path, context, options).await;
        }
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            return Self::in_cluster(options).await;
        }
        Err(ConnectError::NothingFound)
    }

    /// From kube's own configuration.
    pub async fn from_config(
        config: Config,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let tuning = Tuning::new(&options);
        Self::tuned(config, options, tuning).await
    }

    pub(crate) async fn tuned(
        config: Config,
        options: ConnectOptions,
        tuning: Tuning,
    ) -> Result<Self, ConnectError> {
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        // An exec plugin runs here, and waits for its process.
        let transport = tokio::task::spawn_blocking(move || Transport::new(&config, tuning))
            .await
            .map_err(|source| ConnectError::Credentials(source.into()))??;
        Ok(Self::over(transport, server, &options))
    }
}

fn select(context: Option<&str>) -> KubeConfigOptions {
    KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    }
}
