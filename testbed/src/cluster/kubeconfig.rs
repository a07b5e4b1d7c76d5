//! Kubeconfig files with everything inside, so that one can be copied anywhere.

use serde_json::{Value, json};

use super::pki::Identity;

/// One cluster as an entry of a kubeconfig.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The name of cluster, user and context.
    pub(crate) name: String,
    /// `https://127.0.0.1:…`
    pub(crate) server: String,
    /// The authority's certificate, PEM.
    pub(crate) ca: String,
    /// Who speaks.
    pub(crate) identity: Identity,
}

/// A kubeconfig with a context for each entry; the first is the current one. (JSON is YAML.)
pub(crate) fn render(entries: &[Entry]) -> String {
    let list = |one: fn(&Entry) -> Value| entries.iter().map(one).collect::<Vec<_>>();
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": list(|entry| json!({
            "name": entry.name,
            "cluster": {"server": entry.server, "certificate-authority-data": base64(entry.ca.as_bytes())},
        })),
        "users": list(|entry| json!({
            "name": entry.name,
            "user": {
                "client-certificate-data": base64(entry.identity.cert.as_bytes()),
                "client-key-data": base64(entry.identity.key.as_bytes()),
            },
        })),
        "contexts": list(|entry| json!({"name": entry.name, "context": {"cluster": entry.name, "user": entry.name}})),
        "current-context": entries.first().map(|entry| &entry.name),
    });
    format!("{config:#}\n")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0_u32, |group, (i, byte)| {
            group | u32::from(*byte) << (16 - 8 * i)
        });
        for i in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn the_first_entry_is_the_current_context() {
        let entry = |name: &str| Entry {
            name: name.into(),
            server: "https://127.0.0.1:1".into(),
            ca: "ca".into(),
            identity: Identity {
                cert: "cert".into(),
                key: "key".into(),
            },
        };
        let config: Value =
            serde_json::from_str(&render(&[entry("hub"), entry("member1")])).unwrap();
        assert_eq!(config["current-context"], "hub");
        assert_eq!(
            config["contexts"][1]["context"],
            json!({"cluster": "member1", "user": "member1"})
        );
    }
}
