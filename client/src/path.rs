//! Paths and queries of requests.

use std::fmt::Write as _;

use placement_api::api_type::{ApiType, ObjectKey};

/// Path of all objects of a kind, in one namespace or (`""`) everywhere.
pub(crate) fn collection(api: &ApiType, namespace: &str) -> String {
    let mut path = if api.group.is_empty() {
        format!("/api/{}", segment(&api.version))
    } else {
        format!("/apis/{}/{}", segment(&api.group), segment(&api.version))
    };
    if api.namespaced && !namespace.is_empty() {
        path.push_str("/namespaces/");
        path.push_str(&segment(namespace));
    }
    path.push('/');
    path.push_str(&segment(&api.plural));
    path
}

/// Path of one object, or of a subresource of it.
pub(crate) fn object(api: &ApiType, key: &ObjectKey, subresource: Option<&str>) -> String {
    let mut path = collection(api, &key.namespace);
    path.push('/');
    path.push_str(&segment(&key.name));
    if let Some(subresource) = subresource {
        path.push('/');
        path.push_str(subresource);
    }
    path
}

/// Parameters after the question mark.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&segment(value));
        self
    }

    pub(crate) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) if !value.is_empty() => self.with(name, value),
            _ => self,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Percent-encodes everything that is not plainly allowed everywhere in a URL. A name is data: it cannot leave its segment.
fn segment(text: &str) -> String {
    // `.` and `..` have a meaning of their own even when every character is plain.
    let dots = !text.is_empty() && text.bytes().all(|byte| byte == b'.');
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'~')
            || (byte == b'.' && !dots);
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use placement_api::api_type::known;

    use super::*;

    #[test]
    fn paths() {
        let cases = [
            (collection(&known::POD, ""), "/api/v1/pods"),
            (collection(&known::POD, "a"), "/api/v1/namespaces/a/pods"),
            (
                collection(&known::JOB, "a"),
                "/apis/batch/v1/namespaces/a/jobs",
            ),
            (collection(&known::NODE, "ignored"), "/api/v1/nodes"),
            (
                object(&known::NODE, &ObjectKey::cluster("n1"), None),
                "/api/v1/nodes/n1",
            ),
            (
                object(&known::POD, &ObjectKey::new("a", "p"), Some("status")),
                "/api/v1/namespaces/a/pods/p/status",
            ),
            (
                object(
                    &known::CLUSTER_ROLE,
                    &ObjectKey::cluster("system:node"),
                    None,
                ),
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            ),
            (
                object(&known::POD, &ObjectKey::new("..", "../../x?y"), None),
                "/api/v1/namespaces/%2E%2E/pods/..%2F..%2Fx%3Fy",
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(path, expected);
        }
    }

    #[test]
    fn queries() {
        let query = Query::default()
            .with("labelSelector", "a=b,c in (d, é)")
            .with_some("continue", None)
            .with_some("fieldManager", Some(""))
            .with("limit", "5");
        assert_eq!(
            query.as_str(),
            "?labelSelector=a%3Db%2Cc%20in%20%28d%2C%20%C3%A9%29&limit=5"
        );
        assert_eq!(Query::default().as_str(), "");
    }
}
