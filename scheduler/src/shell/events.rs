//! Events on users' objects: waits, refusals, moves and failures, each once, when it begins. Nothing is said of what goes
//! well.

use placement_api::api_type::{ObjectKey, known};
use placement_api::kinds::ObjectRef;
use placement_api::names::SCHEDULER;
use serde_json::{Value, json};

use super::jobs::Tag;
use super::model::Key;
use super::writer::{Job, Verb, Write};

/// Longest message that the API server takes, less room for an ellipsis.
const MESSAGE: usize = 1020;

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    object: ObjectRef,
    warning: bool,
    reason: String,
    message: String,
}

impl Note {
    /// Something is not as the user wants it.
    pub(crate) fn warning(object: &ObjectRef, reason: &str, message: String) -> Self {
        Self::new(object, true, reason, message)
    }

    /// Something that was meant to happen.
    pub(crate) fn normal(object: &ObjectRef, reason: &str, message: String) -> Self {
        Self::new(object, false, reason, message)
    }

    fn new(object: &ObjectRef, warning: bool, reason: &str, message: String) -> Self {
        Self {
            object: object.clone(),
            warning,
            reason: reason.to_owned(),
            message,
        }
    }

    /// The write that records it; `number` tells it from the others of this process.
    pub(crate) fn job(&self, number: u64, identity: &str) -> Job<Key, Tag> {
        let now = jiff::Timestamp::now();
        let namespace = if self.object.namespace.is_empty() {
            "default"
        } else {
            self.object.namespace.as_str()
        };
        let key = ObjectKey::new(
            namespace,
            format!(
                "{}.{:x}{number:04x}",
                self.name_part(),
                now.as_microsecond()
            ),
        );
        let verb = Verb::Create(self.body(&key, now, identity));
        Job {
            key: Key::Note(number),
            stages: vec![vec![Write {
                tag: Tag::Other,
                api: known::EVENT,
                key,
                verb,
            }]],
        }
    }

    fn body(&self, key: &ObjectKey, now: jiff::Timestamp, identity: &str) -> Value {
        let api_version = if self.object.group.is_empty() {
            self.object.version.clone()
        } else {
            format!("{}/{}", self.object.group, self.object.version)
        };
        let seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut involved = json!({
            "apiVersion": api_version, "kind": self.object.kind, "name": self.object.name, "uid": self.object.uid,
        });
        if !self.object.namespace.is_empty() {
            involved["namespace"] = self.object.namespace.as_str().into();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "involvedObject": involved,
            "type": if self.warning { "Warning" } else { "Normal" },
            "reason": self.reason,
            "message": shortened(&self.message),
            "source": {"component": SCHEDULER, "host": identity},
            "reportingComponent": SCHEDULER,
            "reportingInstance": identity,
            "firstTimestamp": seconds,
            "lastTimestamp": seconds,
            "count": 1,
        })
    }

    /// Names of objects may be as long as names of events may be.
    fn name_part(&self) -> String {
        let mut name: String = self.object.name.chars().take(200).collect();
        while name.ends_with(['-', '.']) {
            name.pop();
        }
        name
    }
}

fn shortened(message: &str) -> String {
    if message.len() <= MESSAGE {
        return message.to_owned();
    }
    let mut end = MESSAGE;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_about_the_users_object() {
        let object = ObjectRef {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
        };
        let job = Note::warning(&object, "InsufficientCapacity", "é".repeat(900)).job(7, "me");
        let write = &job.stages[0][0];
        assert_eq!(write.key.namespace, "shop");
        let Verb::Create(body) = &write.verb else {
            panic!("an event is created");
        };
        assert_eq!(body["involvedObject"]["apiVersion"], "apps/v1");
        assert_eq!(body["involvedObject"]["namespace"], "shop");
        assert_eq!(body["type"], "Warning");
        assert!(body["message"].as_str().unwrap().len() <= 1024);
    }
}
