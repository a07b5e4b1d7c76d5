//! Kubeconfig files: the part of the user's that others need too, and those that we write for our processes.

use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::config::{Context, Kubeconfig};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Where the extension with our notes stands in a kubeconfig that we wrote.
const EXTENSION: &str = "inhaul.dev/credentials";
/// Where a pod finds the CA of its own cluster.
const POD_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// How a cluster is reached, without credentials: the entry `cluster` of a kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Endpoint {
    /// Address.
    pub(crate) server: String,
    /// CA, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_authority_data: Option<String>,
    /// The server's certificate is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) insecure_skip_tls_verify: Option<bool>,
    /// Name in the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls_server_name: Option<String>,
}

impl Endpoint {
    /// Whether only processes on this machine reach it.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.server.split("://").nth(1).unwrap_or_default();
        host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]")
    }
}

/// The context that is chosen in the file given, or in what the environment names; `None` in a pod.
pub(crate) fn context(file: Option<&Path>, name: Option<&str>) -> Result<Option<Context>, Failure> {
    let Some(config) = read(file)? else {
        return Ok(None);
    };
    let name = name
        .map(str::to_owned)
        .or_else(|| config.current_context.clone());
    Ok(config
        .contexts
        .into_iter()
        .find(|c| Some(&c.name) == name.as_ref())
        .and_then(|c| c.context))
}

/// How the cluster of a context is reached.
pub(crate) fn endpoint(file: Option<&Path>, name: Option<&str>) -> Result<Endpoint, Failure> {
    let Some(config) = read(file)? else {
        return in_pod();
    };
    let cluster_name = context(file, name)?.map(|c| c.cluster).unwrap_or_default();
    let cluster = config
        .clusters
        .into_iter()
        .find(|c| c.name == cluster_name)
        .and_then(|c| c.cluster)
        .ok_or_else(|| {
            Failure::failed(format!("the kubeconfig has no cluster {cluster_name:?}"))
        })?;
    // A path in a kubeconfig is relative to the file; kube has made it absolute.
    let from_file = cluster
        .certificate_authority
        .as_deref()
        .map(|ca| base64_of(Path::new(ca)))
        .transpose()?;
    Ok(Endpoint {
        server: cluster.server.unwrap_or_default(),
        certificate_authority_data: cluster.certificate_authority_data.or(from_file),
        insecure_skip_tls_verify: cluster.insecure_skip_tls_verify.filter(|skip| *skip),
        tls_server_name: cluster.tls_server_name,
    })
}

fn in_pod() -> Result<Endpoint, Failure> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").unwrap_or_default();
    let port = std::env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".to_owned());
    Ok(Endpoint {
        server: format!("https://{host}:{port}"),
        certificate_authority_data: Some(base64_of(Path::new(POD_CA))?),
        insecure_skip_tls_verify: None,
        tls_server_name: None,
    })
}

/// The file given, else `KUBECONFIG`, else `~/.kube/config`; the same order as the client's.
fn read(file: Option<&Path>) -> Result<Option<Kubeconfig>, Failure> {
    let failed = |error| Failure::failed(format!("cannot read the kubeconfig: {error}"));
    if let Some(file) = file {
        return Kubeconfig::read_from(file).map(Some).map_err(failed);
    }
    if std::env::var_os("KUBECONFIG").is_some_and(|list| !list.is_empty()) {
        return Kubeconfig::from_env().map_err(failed);
    }
    let home = std::env::home_dir().map(|home| home.join(".kube/config"));
    home.filter(|path| path.exists())
        .map(|path| Kubeconfig::read_from(path).map_err(failed))
        .transpose()
}

fn base64_of(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    // ByteString is what the API writes in base64.
    match serde_json::to_value(ByteString(bytes)) {
        Ok(Value::String(text)) => Ok(text),
        _ => Err(Failure::failed(format!("cannot encode {}", path.display()))),
    }
}

/// A token of a ServiceAccount.
#[derive(Clone)]
pub(crate) struct Token {
    /// The secret itself.
    pub(crate) token: String,
    /// Notes about it.
    pub(crate) notes: Notes,
}

/// What we note beside a token, so that a second run knows whether it is still good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notes {
    /// Whose token it is: `namespace/name`.
    pub(crate) account: String,
    /// UID of the account; a token dies with it.
    pub(crate) uid: String,
    /// When it was issued.
    pub(crate) issued: Timestamp,
    /// When it ends.
    pub(crate) expires: Timestamp,
}

impl Notes {
    /// Whether less than half of its life has passed.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        let half = (self.expires.as_second() - self.issued.as_second()) / 2;
        now.as_second() - self.issued.as_second() < half
    }
}

/// A kubeconfig for one of our processes.
pub(crate) fn document(
    cluster: &str,
    endpoint: &Endpoint,
    namespace: &str,
    token: &Token,
) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [{ "name": cluster, "cluster": endpoint }],
        "users": [{ "name": token.notes.account, "user": { "token": token.token } }],
        "contexts": [{
            "name": cluster,
            "context": { "cluster": cluster, "user": token.notes.account, "namespace": namespace },
        }],
        "extensions": [{ "name": EXTENSION, "extension": token.notes }],
    })
}

/// Endpoint and notes of a kubeconfig that we wrote; `None` of any other text.
pub(crate) fn read_back(text: &str) -> Option<(Endpoint, Notes)> {
    let value: Value = serde_yaml_ng::from_str(text).ok()?;
    let endpoint = serde_json::from_value(value.pointer("/clusters/0/cluster")?.clone()).ok()?;
    let extension = value
        .get("extensions")?
        .as_array()?
        .iter()
        .find(|e| e["name"] == EXTENSION)?;
    let notes = serde_json::from_value(extension["extension"].clone()).ok()?;
    Some((endpoint, notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint_at(server: &str) -> Endpoint {
        Endpoint {
            server: server.into(),
            certificate_authority_data: Some("Y2E=".into()),
            insecure_skip_tls_verify: None,
            tls_server_name: None,
        }
    }

    fn token() -> Token {
        Token {
            token: "secret".into(),
            notes: Notes {
                account: "inhaul-system/inhaul-agent".into(),
                uid: "u1".into(),
                issued: Timestamp::from_second(1000).unwrap(),
                expires: Timestamp::from_second(2000).unwrap(),
            },
        }
    }

    #[test]
    fn what_we_write_we_can_read_and_so_can_kube() {
        let endpoint = endpoint_at("https://10.0.0.1:6443");
        let text = serde_yaml_ng::to_string(&document("hub", &endpoint, "ns", &token())).unwrap();
        assert_eq!(read_back(&text), Some((endpoint, token().notes)));
        let config = Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("hub"));
        assert_eq!(
            config.clusters[0]
                .cluster
                .as_ref()
                .unwrap()
                .server
                .as_deref(),
            Some("https://10.0.0.1:6443")
        );
        assert!(read_back("apiVersion: v1\nkind: Config\n").is_none());
        assert!(read_back("{").is_none());
    }

    #[test]
    fn a_token_is_fresh_for_half_its_life() {
        let at = |s| Timestamp::from_second(s).unwrap();
        assert!(token().notes.is_fresh(at(1499)));
        assert!(!token().notes.is_fresh(at(1500)));
    }

    #[test]
    fn loopback_is_seen() {
        assert!(endpoint_at("https://127.0.0.1:6443").is_loopback());
        assert!(endpoint_at("https://localhost").is_loopback());
        assert!(endpoint_at("https://[::1]:6443").is_loopback());
        assert!(!endpoint_at("https://hub.example:6443").is_loopback());
    }
}
