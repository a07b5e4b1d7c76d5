//! One call from request to whole answer: a place to send it from, a deadline, and further tries where they are safe.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use tokio::time::{Instant, sleep, timeout_at};
use tower::BoxError;

use crate::backoff::Backoff;
use crate::connection::Connection;
use crate::error::ApiError;
use crate::path::Query;

/// First wait before a read is tried again; doubles up to two seconds.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(2);

pub(crate) const JSON: &str = "application/json";

/// A request, ready to be sent as often as is safe.
pub(crate) struct Call {
    /// As RBAC and people call it.
    pub(crate) verb: &'static str,
    pub(crate) method: Method,
    /// Plural of the kind, for metrics.
    pub(crate) resource: String,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) accept: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

impl Call {
    /// A call that changes nothing.
    pub(crate) fn read(verb: &'static str, resource: &str, path: String) -> Self {
        Self {
            verb,
            method: Method::GET,
            resource: resource.to_owned(),
            path,
            query: Query::default(),
            accept: JSON,
            content_type: JSON,
            body: Bytes::new(),
        }
    }

    pub(crate) fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn request(&self) -> Result<Request<Full<Bytes>>, ApiError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{}{}", self.path, self.query.as_str()))
            .header(ACCEPT, self.accept);
        if !self.body.is_empty() {
            request = request.header(CONTENT_TYPE, self.content_type);
        }
        request
            .body(Full::new(self.body.clone()))
            .map_err(|error| ApiError::local(self.verb, &self.path, "Malformed", error.to_string()))
    }

    /// The error for a transport that failed.
    pub(crate) fn broken(&self, error: &BoxError) -> ApiError {
        let unsent = error
            .downcast_ref::<legacy::Error>()
            .is_some_and(legacy::Error::is_connect);
        let reason = if unsent { "Unreachable" } else { "Broken" };
        ApiError::local(self.verb, &self.path, reason, chain(&**error))
    }

    fn is_write(&self) -> bool {
        self.method != Method::GET
    }
}

/// Sends a call and reads the whole answer. Reads are repeated on transient errors while the deadline lasts; writes never.
pub(crate) async fn execute(connection: &Connection, call: &Call) -> Result<Bytes, ApiError> {
    let deadline = Instant::now() + connection.deadline();
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
    loop {
        let error = match timeout_at(deadline, attempt(connection, call)).await {
            Ok(Ok(body)) => return Ok(body),
            Ok(Err(error)) => error,
            Err(_) => {
                return Err(ApiError::timeout(
                    call.verb,
                    &call.path,
                    connection.deadline(),
                ));
            }
        };
        let wait = backoff
            .next(Duration::ZERO)
            .max(error.retry_after.unwrap_or_default());
        if call.is_write() || !error.is_transient() || Instant::now() + wait >= deadline {
            return Err(error);
        }
        sleep(wait).await;
    }
}

async fn attempt(connection: &Connection, call: &Call) -> Result<Bytes, ApiError> {
    let request = call.request()?;
    let mut place = connection.place().await;
    let metrics = connection.metrics();
    let _in_flight = metrics.begin(call.is_write());
    let begun = Instant::now();
    let mut code = None;
    let outcome = exchange(connection, call, request, &mut code).await;
    metrics.end(call.verb, &call.resource, code, begun.elapsed());
    if let Some(place) = place.as_mut().filter(|_| code.is_some()) {
        place.answered();
    }
    outcome
}

async fn exchange(
    connection: &Connection,
    call: &Call,
    request: Request<Full<Bytes>>,
    code: &mut Option<u16>,
) -> Result<Bytes, ApiError> {
    let answer = connection
        .transport()
        .send(request)
        .await
        .map_err(|error| call.broken(&error))?;
    let (head, body) = answer.into_parts();
    *code = Some(head.status.as_u16());
    let body = body
        .collect()
        .await
        .map_err(|error| ApiError::local(call.verb, &call.path, "Broken", chain(&error)))?
        .to_bytes();
    if head.status.is_success() {
        Ok(body)
    } else {
        let retry_after = retry_after(&head.headers);
        Err(ApiError::answer(
            call.verb,
            &call.path,
            head.status,
            retry_after,
            &body,
        ))
    }
}

/// What the header asks for, in seconds; API servers send no dates.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// An error with all its causes, which is where the useful word stands.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next.source();
    }
    text
}
