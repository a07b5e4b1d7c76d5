//! The bytes of a watch, cut into events.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use placement_api::raw::RawObject;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call::chain;

/// No event is larger: etcd refuses objects of more than a few megabytes. What comes without end is not a watch.
const LINE_LIMIT: usize = 32 << 20;

/// The lines of a watch as they come.
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
}

impl Lines {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            scanned: 0,
        }
    }

    /// The next line; `None` at a clean end, an error when the stream broke (within a line, perhaps: that one is lost here but
    /// will be sent again to who resumes).
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(at) = self.buffer[self.scanned..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let line = self.buffer.split_to(self.scanned + at + 1).freeze();
                self.scanned = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(line));
            }
            self.scanned = self.buffer.len();
            if self.scanned > LINE_LIMIT {
                return Err(format!("an event of more than {} MiB", LINE_LIMIT >> 20));
            }
            match self.body.frame().await {
                None if self.buffer.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => return Err("ended within an event".to_owned()),
                Some(Err(error)) => return Err(chain(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// One event of a watch.
#[derive(Debug)]
pub(crate) enum Line {
    Applied(RawObject),
    Deleted(RawObject),
    Bookmark {
        resource_version: String,
        /// The objects that were there when the watch began have all been sent.
        initial_events_end: bool,
    },
    /// A `Status` as text.
    Error(String),
    /// Not to be understood; why.
    Garbage(String),
}

/// Reads one line. Cannot fail: what is not understood is garbage, and the lines after it still count.
pub(crate) fn read(line: &[u8]) -> Line {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    let event: Event<'_> = match serde_json::from_slice(line) {
        Ok(event) => event,
        Err(error) => return Line::Garbage(format!("not an event ({:?} error)", error.classify())),
    };
    if event.kind == "ERROR" {
        return Line::Error(event.object.get().to_owned());
    }
    let object: RawObject = match serde_json::from_str(event.object.get()) {
        Ok(object) => object,
        Err(error) => {
            return Line::Garbage(format!("not an object ({:?} error)", error.classify()));
        }
    };
    match &*event.kind {
        "ADDED" | "MODIFIED" if !object.metadata.name.is_empty() => Line::Applied(object),
        "DELETED" if !object.metadata.name.is_empty() => Line::Deleted(object),
        "BOOKMARK" => Line::Bookmark {
            initial_events_end: object.annotation("k8s.io/initial-events-end") == Some("true"),
            resource_version: object.metadata.resource_version,
        },
        _ => Line::Garbage("an event of an unknown type or without a name".to_owned()),
    }
}
