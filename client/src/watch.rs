//! A watch that never ends: it lists, follows, resumes where it was cut off, and lists again when it cannot.
//!
//! ```text
//!          list by stream --- Restarted, Applied..., Synced ---+
//! Start <                                                      +--> Following --(end, error)--> Resume --(200)--> Following
//!    ^     list by pages ---- Restarted, Applied..., Synced ---+        |                          |
//!    +---------------------------(410, a lost event)--------------------+--------------------------+
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::BodyExt;
use placement_api::api_type::ApiType;
use placement_api::raw::RawObject;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tower::ServiceExt;

use crate::Connection;
use crate::backoff::{Backoff, random_fraction};
use crate::call::{Call, retry_after};
use crate::connection::Page;
use crate::error::{ApiError, Class};
use crate::path::{self, Query};
use crate::transport::WatchPlace;
use crate::watch_lines::{Line, Lines, read};

/// The server ends a watch after this long, less up to a fifth so that not all end at once.
const SERVER_TIMEOUT: Duration = Duration::from_secs(290);
/// A watch that is silent for this long after it should have ended is dead.
const SLACK: Duration = Duration::from_secs(15);
/// First and longest wait between tries.
const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MOST: Duration = Duration::from_secs(15);
/// Not allowed, or no such kind: that does not pass in a moment.
const WAIT_REFUSED: Duration = Duration::from_secs(1);
/// A watch that lived this long worked; the next trouble is a new one.
const WORKED_AFTER: Duration = Duration::from_secs(10);
/// An event that was not understood is made up for by a list, but not at once: there may be more of its sort.
const RELIST_AFTER_LOSS: Duration = Duration::from_secs(10);
/// So many failures to resume, and the resource version itself is under suspicion.
const RESUMES_BEFORE_RELIST: u32 = 6;

/// What a watch is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchScope {
    /// One namespace, or everywhere.
    pub namespace: Option<String>,
    /// Only objects with these labels.
    pub label_selector: Option<String>,
    /// Only objects with these fields.
    pub field_selector: Option<String>,
}

impl WatchScope {
    /// Everything, everywhere.
    pub fn all() -> Self {
        Self::default()
    }

    /// One namespace.
    pub fn namespace(namespace: impl Into<String>) -> Self {
        Self {
            namespace: Some(namespace.into()),
            ..Self::default()
        }
    }

    /// Everywhere, by label.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self {
            label_selector: Some(selector.into()),
            ..Self::default()
        }
    }

    fn query(&self) -> Query {
        Query::default()
            .with_some("labelSelector", self.label_selector.as_deref())
            .with_some("fieldSelector", self.field_selector.as_deref())
    }
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// A complete list begins.
    Restarted,
    /// The object is there, new or changed or as before.
    Applied(RawObject),
    /// The object is gone; this is how it was.
    Deleted(RawObject),
    /// The list is complete: what was known before [`Restarted`](Self::Restarted) and was not listed since has gone unseen.
    Synced,
    /// Something failed. The stream goes on by itself, after a wait that grows.
    Error(ApiError),
}

impl Connection {
    /// Watches a kind. The stream never ends; dropping it ends the watch.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a scope is written where it is used"
    )]
    pub fn watch(&self, api: &ApiType, scope: WatchScope) -> BoxStream<'static, WatchEvent> {
        let watcher = Watcher {
            namespace: scope.namespace.clone().unwrap_or_default(),
            scope: scope.query(),
            api: api.clone(),
            connection: self.clone(),
            phase: Phase::Start,
            events: VecDeque::new(),
            backoff: Backoff::new(WAIT_FIRST, WAIT_MOST),
            wait: None,
            by_pages: false,
        };
        stream::unfold(watcher, |mut watcher| async move {
            let event = watcher.next().await;
            Some((event, watcher))
        })
        .boxed()
    }
}

struct Watcher {
    connection: Connection,
    api: ApiType,
    namespace: String,
    scope: Query,
    phase: Phase,
    /// Ready to be handed out.
    events: VecDeque<WatchEvent>,
    backoff: Backoff,
    /// Before the next step.
    wait: Option<Duration>,
    /// A streaming list has stalled here; list by pages from now on.
    by_pages: bool,
}

enum Phase {
    /// Nothing is known.
    Start,
    /// In the middle of a list by pages; with the token for the next one.
    Paging(String),
    /// In the middle of a list by stream.
    Listing(Live),
    /// Cut off at this resource version.
    Resume(String),
    /// Up to date.
    Following(Live),
}

/// A watch that is open.
struct Live {
    lines: Lines,
    /// The last one that came.
    resource_version: String,
    opened: Instant,
    ends: Instant,
    /// An event was not understood: what it said has to be learned by a list.
    lost: bool,
    _place: WatchPlace,
}

impl Watcher {
    async fn next(&mut self) -> WatchEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if let Some(wait) = self.wait.take() {
                sleep(wait).await;
            }
            self.phase = match std::mem::replace(&mut self.phase, Phase::Start) {
                Phase::Start => self.start().await,
                Phase::Paging(continues) => self.page(&continues).await,
                Phase::Listing(live) => self.list(live).await,
                Phase::Resume(resource_version) => self.resume(resource_version).await,
                Phase::Following(live) => self.follow(live).await,
            };
        }
    }

    async fn start(&mut self) -> Phase {
        if self.by_pages || !self.connection.streaming_lists() {
            return self.page("").await;
        }
        let query = self
            .scope
            .clone()
            .with("sendInitialEvents", "true")
            .with("resourceVersionMatch", "NotOlderThan");
        match self.open(query, String::new()).await {
            Ok(live) => {
                self.tell(WatchEvent::Restarted);
                Phase::Listing(live)
            }
            // Older than 1.34, or switched off there.
            Err(error) if error.class() == Class::Invalid => {
                self.by_pages = true;
                if error.message.contains("sendInitialEvents") {
                    self.connection.refuse_streaming_lists();
                }
                Phase::Start
            }
            Err(error) => self.again(Phase::Start, error),
        }
    }

    async fn page(&mut self, continues: &str) -> Phase {
        let page: Result<Page<RawObject>, _> = self
            .connection
            .page(&self.api, &self.namespace, self.scope.clone(), continues)
            .await;
        match page {
            Ok(page) => {
                if continues.is_empty() {
                    self.tell(WatchEvent::Restarted);
                }
                for object in page.items {
                    self.tell(WatchEvent::Applied(object));
                }
                if !page.metadata.continues.is_empty() {
                    return Phase::Paging(page.metadata.continues);
                }
                self.tell(WatchEvent::Synced);
                Phase::Resume(page.metadata.resource_version)
            }
            // One page more may succeed where one failed, but only with a token that is still good.
            Err(error) if error.is_transient() && self.backoff.tries() < RESUMES_BEFORE_RELIST => {
                let again = match continues {
                    "" => Phase::Start,
                    token => Phase::Paging(token.to_owned()),
                };
                self.again(again, error)
            }
            Err(error) => self.again(Phase::Start, error),
        }
    }

    async fn list(&mut self, mut live: Live) -> Phase {
        let patience = self.connection.deadline();
        let Ok(line) = timeout(patience, live.lines.next()).await else {
            self.by_pages = true;
            let error = ApiError::timeout("watch", &self.path(), patience);
            return self.again(Phase::Start, error);
        };
        match line {
            Ok(Some(line)) => match self.take(&mut live, &line) {
                Taken::Listed if live.lost => {
                    // The list is known to be incomplete, so nobody may conclude anything from it.
                    let error = ApiError::local(
                        "list",
                        &self.path(),
                        "Broken",
                        "the list has unreadable parts",
                    );
                    self.again(Phase::Start, error)
                }
                Taken::Listed => {
                    self.tell(WatchEvent::Synced);
                    Phase::Following(live)
                }
                Taken::Event => Phase::Listing(live),
                Taken::Refused(error) => self.again(Phase::Start, error),
            },
            Ok(None) => {
                let error =
                    ApiError::local("watch", &self.path(), "Broken", "ended within the list");
                self.again(Phase::Start, error)
            }
            Err(why) => {
                let error = ApiError::local("watch", &self.path(), "Broken", why);
                self.again(Phase::Start, error)
            }
        }
    }

    async fn resume(&mut self, resource_version: String) -> Phase {
        if resource_version.is_empty() {
            let error = ApiError::local(
                "list",
                &self.path(),
                "Malformed",
                "the list has no resource version",
            );
            return self.again(Phase::Start, error);
        }
        let query = self
            .scope
            .clone()
            .with("resourceVersion", &resource_version);
        match self.open(query, resource_version.clone()).await {
            Ok(live) => Phase::Following(live),
            Err(error) => self.cut_off(resource_version, error),
        }
    }

    async fn follow(&mut self, mut live: Live) -> Phase {
        let line = timeout_at(live.ends, live.lines.next()).await;
        if live.opened.elapsed() >= WORKED_AFTER {
            self.backoff.reset();
        }
        let error = match line {
            Ok(Ok(Some(line))) => match self.take(&mut live, &line) {
                Taken::Event | Taken::Listed => return Phase::Following(live),
                Taken::Refused(error) => Some(error),
            },
            // The usual end, after some minutes.
            Ok(Ok(None)) => None,
            Ok(Err(why)) => Some(ApiError::local("watch", &self.path(), "Broken", why)),
            Err(_) if live.lost => None,
            Err(_) => Some(ApiError::timeout(
                "watch",
                &self.path(),
                live.opened.elapsed(),
            )),
        };
        let phase = if live.lost {
            Phase::Start
        } else {
            Phase::Resume(live.resource_version)
        };
        match (error, phase) {
            (Some(error), Phase::Resume(resource_version)) => self.cut_off(resource_version, error),
            (Some(error), start) => self.again(start, error),
            (None, phase) => {
                // A server that ends watches at once shall not make us busy.
                if live.opened.elapsed() < WORKED_AFTER {
                    self.wait = Some(self.backoff.next(Duration::ZERO));
                }
                phase
            }
        }
    }

    /// Opens a watch; the answer's head has to come within the deadline.
    async fn open(&mut self, query: Query, resource_version: String) -> Result<Live, ApiError> {
        let seconds = SERVER_TIMEOUT
            .mul_f64(1.0 - 0.2 * random_fraction())
            .as_secs();
        let query = query
            .with("watch", "true")
            .with("allowWatchBookmarks", "true")
            .with("timeoutSeconds", &seconds.to_string());
        let call = Call::read("watch", &self.api.plural, self.path()).query(query);
        let request = call.request()?;
        let place = self.connection.transport().watch_place();
        let metrics = self.connection.metrics();
        let _in_flight = metrics.begin(false);
        let begun = Instant::now();
        let deadline = self.connection.deadline();
        let answer = timeout(deadline, place.sender.clone().oneshot(request)).await;
        let code = match &answer {
            Ok(Ok(answer)) => Some(answer.status().as_u16()),
            _ => None,
        };
        metrics.end("watch", &self.api.plural, code, begun.elapsed());
        let answer = answer
            .map_err(|_| ApiError::timeout("watch", &call.path, deadline))?
            .map_err(|error| call.broken(&error))?;
        let (head, body) = answer.into_parts();
        if !head.status.is_success() {
            let text = match timeout(deadline, body.collect()).await {
                Ok(Ok(body)) => body.to_bytes(),
                _ => bytes::Bytes::new(),
            };
            let wait = retry_after(&head.headers);
            return Err(ApiError::answer(
                "watch",
                &call.path,
                head.status,
                wait,
                &text,
            ));
        }
        let opened = Instant::now();
        Ok(Live {
            lines: Lines::new(body),
            resource_version,
            opened,
            ends: opened + Duration::from_secs(seconds) + SLACK,
            lost: false,
            _place: place,
        })
    }

    /// Takes one line of an open watch.
    fn take(&mut self, live: &mut Live, line: &[u8]) -> Taken {
        match read(line) {
            Line::Applied(object) => {
                live.resource_version
                    .clone_from(&object.metadata.resource_version);
                self.tell(WatchEvent::Applied(object));
            }
            Line::Deleted(object) => {
                live.resource_version
                    .clone_from(&object.metadata.resource_version);
                self.tell(WatchEvent::Deleted(object));
            }
            Line::Bookmark {
                resource_version,
                initial_events_end,
            } => {
                live.resource_version = resource_version;
                if initial_events_end {
                    return Taken::Listed;
                }
            }
            Line::Error(status) => {
                return Taken::Refused(ApiError::from_status(
                    "watch",
                    &self.path(),
                    status.as_bytes(),
                ));
            }
            Line::Garbage(why) => {
                live.lost = true;
                live.ends = live.ends.min(Instant::now() + RELIST_AFTER_LOSS);
                let error = ApiError::local("watch", &self.path(), "Malformed", why);
                self.tell(WatchEvent::Error(error));
            }
        }
        Taken::Event
    }

    /// An open watch failed, or could not be opened again: back to its resource version, or to the start if that is no use.
    fn cut_off(&mut self, resource_version: String, error: ApiError) -> Phase {
        let usable = error.is_transient() && self.backoff.tries() < RESUMES_BEFORE_RELIST;
        let unsent = error.code.is_none();
        let phase = if usable || unsent {
            Phase::Resume(resource_version)
        } else {
            Phase::Start
        };
        self.again(phase, error)
    }

    /// Tells the error and waits before the next step.
    fn again(&mut self, phase: Phase, error: ApiError) -> Phase {
        let floor = match error.class() {
            Class::Denied | Class::NotFound | Class::Invalid => WAIT_REFUSED,
            _ => Duration::ZERO,
        };
        let asked = error.retry_after.unwrap_or_default().min(WAIT_MOST);
        self.wait = Some(self.backoff.next(floor).max(asked));
        self.tell(WatchEvent::Error(error));
        phase
    }

    fn tell(&mut self, event: WatchEvent) {
        let name = match event {
            WatchEvent::Restarted => "restarted",
            WatchEvent::Applied(_) => "applied",
            WatchEvent::Deleted(_) => "deleted",
            WatchEvent::Synced => "synced",
            WatchEvent::Error(_) => "error",
        };
        self.connection
            .metrics()
            .watch_event(&self.api.plural, name);
        self.events.push_back(event);
    }

    fn path(&self) -> String {
        path::collection(&self.api, &self.namespace)
    }
}

/// What a line was.
enum Taken {
    Event,
    /// The end of the list.
    Listed,
    Refused(ApiError),
}
