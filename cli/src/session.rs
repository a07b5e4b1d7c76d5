//! What was typed, made into what it means: which hub, which namespace.

use std::path::Path;

use client::ConnectOptions;

use crate::args::Global;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::kubeconfig;

/// One run of the command line.
#[derive(Debug)]
pub(crate) struct Session {
    global: Global,
}

impl Session {
    /// From the options of every command.
    pub(crate) fn new(global: Global) -> Self {
        Self { global }
    }

    /// Connects to the hub.
    pub(crate) async fn hub(&self) -> Result<Cluster, Failure> {
        let file = self.global.kubeconfig.as_deref();
        Cluster::connect("hub", file, self.global.context.as_deref(), self.options()).await
    }

    /// Connects to a member.
    pub(crate) async fn member(
        &self,
        file: &Path,
        context: Option<&str>,
    ) -> Result<Cluster, Failure> {
        Cluster::connect("member", Some(file), context, self.options()).await
    }

    /// The namespace that was asked for, else that of the context, else `default`.
    pub(crate) fn namespace(&self, asked: Option<&str>) -> Result<String, Failure> {
        if let Some(asked) = asked {
            return Ok(asked.to_owned());
        }
        let context = kubeconfig::context(
            self.global.kubeconfig.as_deref(),
            self.global.context.as_deref(),
        )?;
        Ok(context
            .and_then(|c| c.namespace)
            .unwrap_or_else(|| "default".to_owned()))
    }

    /// `--kubeconfig` and `--context` as they were typed, for commands that we tell people to run.
    pub(crate) fn hub_flags(&self) -> String {
        let file = self
            .global
            .kubeconfig
            .as_ref()
            .map(|f| format!(" --kubeconfig {}", f.display()));
        let context = self
            .global
            .context
            .as_ref()
            .map(|c| format!(" --context {c}"));
        file.unwrap_or_default() + &context.unwrap_or_default()
    }

    fn options(&self) -> ConnectOptions {
        ConnectOptions {
            deadline: self.global.request_timeout.get(),
            user_agent: concat!("inhaul-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..ConnectOptions::default()
        }
    }
}
