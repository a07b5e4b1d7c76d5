//! Credentials of our processes: tokens of ServiceAccounts in kubeconfig files that only their owner reads.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use placement_api::api_type::{ObjectKey, known};
use placement_api::raw::RawObject;
use serde::Deserialize;
use serde_json::json;

use crate::apply::Change;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::kubeconfig::{self, Endpoint, Notes, Token};

/// Asked for; a server may grant less.
const LIFETIME_SECONDS: i64 = 365 * 24 * 3600;

/// A kubeconfig of a ServiceAccount, as text: the one that is there while it is good, else a new one.
pub(crate) struct Issued {
    /// YAML.
    pub(crate) text: String,
    /// Whether it is new.
    pub(crate) change: Change,
    /// When it ends.
    pub(crate) expires: Timestamp,
}

/// Makes the kubeconfig of a ServiceAccount, or keeps `existing` while that is good: the same server and account, and less than half
/// of its life has passed.
pub(crate) async fn issue(
    cluster: &Cluster,
    account: &ObjectKey,
    endpoint: &Endpoint,
    namespace: &str,
    existing: Option<String>,
) -> Result<Issued, Failure> {
    let found: Option<RawObject> = cluster.get(&known::SERVICE_ACCOUNT, account).await?;
    let uid = found.map(|a| a.metadata.uid).ok_or_else(|| {
        Failure::failed(format!(
            "ServiceAccount {account} has just gone from the {}",
            cluster.role
        ))
    })?;
    if let Some(text) = existing.as_ref()
        && let Some((at, notes)) = kubeconfig::read_back(text)
        && at == *endpoint
        && notes.uid == uid
        && notes.is_fresh(Timestamp::now())
    {
        return Ok(Issued {
            text: text.clone(),
            change: Change::Unchanged,
            expires: notes.expires,
        });
    }
    let token = request(cluster, account, uid).await?;
    let expires = token.notes.expires;
    let document = kubeconfig::document(cluster.role, endpoint, namespace, &token);
    let text = serde_yaml_ng::to_string(&document)
        .map_err(|e| Failure::failed(format!("cannot write a kubeconfig: {e}")))?;
    let change = if existing.is_some() {
        Change::Changed
    } else {
        Change::Created
    };
    Ok(Issued {
        text,
        change,
        expires,
    })
}

#[derive(Deserialize)]
struct Answer {
    status: AnswerStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerStatus {
    token: String,
    expiration_timestamp: Timestamp,
}

async fn request(cluster: &Cluster, account: &ObjectKey, uid: String) -> Result<Token, Failure> {
    let issued = Timestamp::now();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "expirationSeconds": LIFETIME_SECONDS },
    });
    let answer: Answer = cluster
        .connection
        .create_subresource(&known::SERVICE_ACCOUNT, account, "token", &body)
        .await
        .map_err(|error| cluster.failure(&error))?;
    Ok(Token {
        token: answer.status.token,
        notes: Notes {
            account: account.to_string(),
            uid,
            issued,
            expires: answer.status.expiration_timestamp,
        },
    })
}

/// Reads a file of ours; `None` where there is none.
pub(crate) fn read_file(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::failed(format!(
            "cannot read {}: {error}",
            path.display()
        ))),
    }
}

/// Writes a file that only its owner reads, whole or not at all.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!("cannot write {}: {error}", path.display()))
    };
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.tmp", std::process::id()));
    let result = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| std::fs::rename(&draft, path));
    if result.is_err() {
        let _nothing_to_add = std::fs::remove_file(&draft);
    }
    result.map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_for_their_owner_only() {
        let dir = std::env::temp_dir().join(format!("inhaul-cli-test-{}", std::process::id()));
        let path = dir.join("deep/hub.kubeconfig");
        assert_eq!(read_file(&path).unwrap(), None);
        write_file(&path, "a").unwrap();
        write_file(&path, "b").unwrap();
        assert_eq!(read_file(&path).unwrap().as_deref(), Some("b"));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no draft is left"
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
