//! What can go wrong in a call, by what to do about it.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

/// Why a call to an API server failed. Holds no request or response body, so that no secret gets into a log.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ApiError {
    /// What was tried: `get`, `list`, `watch`, `create`, `update`, `apply`, `patch` or `delete`.
    pub verb: &'static str,
    /// Path of the request, without query.
    pub path: String,
    /// HTTP status of the answer; `None` when there was none.
    pub code: Option<u16>,
    /// The machine-readable reason: Kubernetes' own (`AlreadyExists`, `Forbidden`, …), or one of ours:
    /// `Timeout`, `Unreachable` (nothing was sent), `Broken` (the connection broke underway), `Malformed`.
    pub reason: String,
    /// The message for people.
    pub message: String,
    /// How long the server asks to wait before another try.
    pub retry_after: Option<Duration>,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The same call may succeed later: network, overload, server trouble.
    Transient,
    /// The object has changed since it was read, or another manager owns a field: read again, decide again.
    Conflict,
    /// Something of that name is there already.
    AlreadyExists,
    /// Not allowed: credentials, permissions, quota or admission.
    Denied,
    /// The server will never accept this request as it is.
    Invalid,
    /// No such object, or no such kind.
    NotFound,
    /// The resource version is too old: list again.
    Gone,
}

impl ApiError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match (self.code, self.reason.as_str()) {
            (_, "AlreadyExists") => Class::AlreadyExists,
            (_, "Malformed") => Class::Invalid,
            (Some(409), _) => Class::Conflict,
            (Some(401 | 403), _) => Class::Denied,
            (Some(404), _) => Class::NotFound,
            (Some(410), _) => Class::Gone,
            (None | Some(408 | 429 | 500..=599), _) => Class::Transient,
            (Some(_), _) => Class::Invalid,
        }
    }

    /// A short name for metrics and conditions, one of a small fixed set.
    pub fn category(&self) -> &'static str {
        match (self.class(), self.code, self.reason.as_str()) {
            (_, None, "Timeout") => "timeout",
            (_, None, "Unreachable") => "unreachable",
            (_, _, "Malformed") => "malformed",
            (_, None, _) => "broken",
            (_, Some(401), _) => "unauthorized",
            (_, Some(429), _) => "throttled",
            (Class::Transient, ..) => "server_error",
            (Class::Conflict, ..) => "conflict",
            (Class::AlreadyExists, ..) => "already_exists",
            (Class::Denied, ..) => "denied",
            (Class::Invalid, ..) => "invalid",
            (Class::NotFound, ..) => "not_found",
            (Class::Gone, ..) => "gone",
        }
    }

    /// For a write: whether it may have happened all the same, so that the caller has to read back before it decides.
    pub fn outcome_unknown(&self) -> bool {
        match self.code {
            None => self.reason != "Unreachable",
            // 429 and 503 are refused at the door; these are not.
            Some(code) => matches!(code, 408 | 500 | 502 | 504),
        }
    }

    /// Whether the class is [`Class::Transient`].
    pub fn is_transient(&self) -> bool {
        self.class() == Class::Transient
    }

    /// Whether the class is [`Class::Conflict`].
    pub fn is_conflict(&self) -> bool {
        self.class() == Class::Conflict
    }

    /// Whether the class is [`Class::AlreadyExists`].
    pub fn is_already_exists(&self) -> bool {
        self.class() == Class::AlreadyExists
    }

    /// Whether the class is [`Class::NotFound`].
    pub fn is_not_found(&self) -> bool {
        self.class() == Class::NotFound
    }

    pub(crate) fn local(
        verb: &'static str,
        path: &str,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            verb,
            path: path.to_owned(),
            code: None,
            reason: reason.to_owned(),
            message: message.into(),
            retry_after: None,
        }
    }

    pub(crate) fn timeout(verb: &'static str, path: &str, after: Duration) -> Self {
        let message = format!("no complete answer within {:.1} s", after.as_secs_f64());
        Self::local(verb, path, "Timeout", message)
    }

    /// From an answer that is not a success.
    pub(crate) fn answer(
        verb: &'static str,
        path: &str,
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Self {
        let mut error = Self::from_status(verb, path, body);
        error.code = Some(status.as_u16());
        if error.reason.is_empty() {
            status
                .canonical_reason()
                .unwrap_or("Unknown")
                .clone_into(&mut error.reason);
        }
        error.retry_after = retry_after.or(error.retry_after);
        error
    }

    /// From a `Status` object, or from any text.
    pub(crate) fn from_status(verb: &'static str, path: &str, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let message = match status.message {
            Some(message) if !message.is_empty() => message,
            // A proxy's page, perhaps. A little of it tells which.
            _ => String::from_utf8_lossy(body)
                .trim()
                .chars()
                .take(200)
                .collect(),
        };
        Self {
            verb,
            path: path.to_owned(),
            code: status.code,
            reason: status.reason.unwrap_or_default(),
            message,
            retry_after: status
                .details
                .and_then(|details| details.retry_after_seconds)
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.verb, self.path)?;
        match self.code {
            Some(code) => write!(f, "{code} {}", self.reason)?,
            None => f.write_str(&self.reason)?,
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// The part of `metav1.Status` that says what went wrong.
#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    details: Option<StatusDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusDetails {
    #[serde(default)]
    retry_after_seconds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, body: &str) -> ApiError {
        let status = StatusCode::from_u16(code).unwrap();
        ApiError::answer("get", "/x", status, None, body.as_bytes())
    }

    #[test]
    fn answers_by_class_and_category() {
        let cases = [
            (400, "", Class::Invalid, "invalid", false),
            (401, "", Class::Denied, "unauthorized", false),
            (
                403,
                r#"{"reason":"Forbidden"}"#,
                Class::Denied,
                "denied",
                false,
            ),
            (404, "", Class::NotFound, "not_found", false),
            (408, "", Class::Transient, "server_error", true),
            (
                409,
                r#"{"reason":"Conflict"}"#,
                Class::Conflict,
                "conflict",
                false,
            ),
            (
                409,
                r#"{"reason":"AlreadyExists"}"#,
                Class::AlreadyExists,
                "already_exists",
                false,
            ),
            (410, r#"{"reason":"Expired"}"#, Class::Gone, "gone", false),
            (413, "", Class::Invalid, "invalid", false),
            (415, "", Class::Invalid, "invalid", false),
            (
                422,
                r#"{"reason":"Invalid"}"#,
                Class::Invalid,
                "invalid",
                false,
            ),
            (429, "", Class::Transient, "throttled", false),
            (500, "", Class::Transient, "server_error", true),
            (502, "<html>", Class::Transient, "server_error", true),
            (503, "", Class::Transient, "server_error", false),
            (504, "", Class::Transient, "server_error", true),
            (302, "", Class::Invalid, "invalid", false),
        ];
        for (code, body, class, category, unknown) in cases {
            let error = answer(code, body);
            assert_eq!(
                (error.class(), error.category()),
                (class, category),
                "{error}"
            );
            assert_eq!(error.outcome_unknown(), unknown, "{error}");
        }
    }

    #[test]
    fn failures_without_an_answer_are_transient_but_a_write_may_have_happened() {
        let cases = [
            ("Timeout", Class::Transient, "timeout", true),
            ("Unreachable", Class::Transient, "unreachable", false),
            ("Broken", Class::Transient, "broken", true),
            ("Malformed", Class::Invalid, "malformed", true),
        ];
        for (reason, class, category, unknown) in cases {
            let error = ApiError::local("create", "/x", reason, "");
            assert_eq!(
                (error.class(), error.category()),
                (class, category),
                "{error}"
            );
            assert_eq!(error.outcome_unknown(), unknown, "{error}");
        }
    }

    #[test]
    fn the_servers_words_come_through() {
        let error = answer(
            429,
            r#"{"kind":"Status","code":429,"reason":"TooManyRequests","message":"slow down","details":{"retryAfterSeconds":7}}"#,
        );
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(error.to_string(), "get /x: 429 TooManyRequests: slow down");
        assert_eq!(
            answer(502, "<h1>bad</h1>\n").to_string(),
            "get /x: 502 Bad Gateway: <h1>bad</h1>"
        );
        assert_eq!(answer(503, &"x".repeat(999)).message.len(), 200);
    }
}
