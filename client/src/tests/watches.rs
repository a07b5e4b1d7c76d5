use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Config;
use placement_api::api_type::known;
use tokio::time::timeout;

use crate::mock::{Answer, Http, Mock, Seen, Then, Wire, connect, connect_as, cut, json, lines};
use crate::{WatchEvent, WatchScope};

/// An event of a watch as text: type, name and resource version.
fn event(kind: &str, name: &str, version: u32) -> String {
    format!(
        r#"{{"type":"{kind}","object":{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{name}","resourceVersion":"{version}"}}}}}}"#
    )
}

fn bookmark(version: u32) -> String {
    format!(
        r#"{{"type":"BOOKMARK","object":{{"kind":"Pod","metadata":{{"resourceVersion":"{version}"}}}}}}"#
    )
}

fn listed(version: u32) -> String {
    format!(
        r#"{{"type":"BOOKMARK","object":{{"kind":"Pod","metadata":{{"resourceVersion":"{version}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#
    )
}

fn expired() -> String {
    r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#.to_owned()
}

fn send(texts: &[String], then: Then) -> Answer {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    lines(&texts, then)
}

fn is_streaming_list(seen: &Seen) -> bool {
    seen.has("sendInitialEvents=true")
}

fn resumes_at(seen: &Seen, version: u32) -> bool {
    seen.has("watch=true") && seen.has(&format!("resourceVersion={version}&"))
}

/// An event in short, for comparing.
fn short(event: &WatchEvent) -> String {
    match event {
        WatchEvent::Restarted => "restarted".to_owned(),
        WatchEvent::Applied(object) => format!(
            "+{}@{}",
            object.metadata.name, object.metadata.resource_version
        ),
        WatchEvent::Deleted(object) => format!("-{}", object.metadata.name),
        WatchEvent::Synced => "synced".to_owned(),
        WatchEvent::Error(error) => format!("error {}", error.category()),
    }
}

/// The next events; fails when they do not come, far beyond any wait that is meant.
async fn next(stream: &mut BoxStream<'static, WatchEvent>, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    while events.len() < count {
        let event = timeout(Duration::from_secs(30), stream.next()).await;
        let event = event.unwrap_or_else(|_| panic!("nothing comes after {events:?}"));
        events.push(short(&event.unwrap()));
    }
    events
}

/// What a watch of pods tells first, from a server that answers like this.
async fn told(
    count: usize,
    answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
) -> (Vec<String>, Vec<String>) {
    let mock = Mock::start(Http::One, answer).await;
    let connection = connect(&mock.url, Http::One).await;
    let mut stream = connection.watch(&known::POD, WatchScope::namespace("n"));
    let told = next(&mut stream, count).await;
    (told, mock.lines())
}

#[tokio::test]
async fn lists_by_stream_and_follows() {
    let (told, requests) = told(6, |_, _| {
        send(
            &[
                event("ADDED", "a", 1),
                event("ADDED", "b", 2),
                listed(5),
                event("MODIFIED", "a", 6),
                event("DELETED", "b", 7),
            ],
            Then::Silence,
        )
    })
    .await;
    assert_eq!(told, ["restarted", "+a@1", "+b@2", "synced", "+a@6", "-b"]);
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with(
        "GET /api/v1/namespaces/n/pods?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
    ));
    assert!(
        requests[0].contains("allowWatchBookmarks=true&timeoutSeconds=2"),
        "{}",
        requests[0]
    );
}

#[tokio::test]
async fn resumes_at_the_last_version_that_came() {
    // A clean end after an event, a clean end after a bookmark, a cut.
    let (told, requests) = told(7, |number, seen| match number {
        0 => send(&[listed(5), event("ADDED", "a", 6)], Then::End),
        1 if resumes_at(seen, 6) => send(&[event("MODIFIED", "a", 7), bookmark(9)], Then::End),
        2 | 3 if resumes_at(seen, 9) => cut(),
        4 if resumes_at(seen, 9) => send(&[event("DELETED", "a", 10)], Then::Silence),
        _ => json(400, ""),
    })
    .await;
    assert_eq!(
        told,
        [
            "restarted",
            "synced",
            "+a@6",
            "+a@7",
            "error broken",
            "error broken",
            "-a"
        ]
    );
    assert_eq!(requests.len(), 5);
}

#[tokio::test]
async fn an_event_that_was_cut_in_two_is_fetched_again() {
    let (told, _) = told(4, |number, seen| match number {
        0 => {
            let whole = event("ADDED", "a", 6);
            let mut answer = send(&[listed(5), whole[..20].to_owned()], Then::End);
            // The same without the last line end.
            let text = format!("{}\n{}", listed(5), &whole[..20]);
            *answer.body_mut() = json(200, &text).into_body();
            answer
        }
        _ if resumes_at(seen, 5) => send(&[event("ADDED", "a", 6)], Then::Silence),
        _ => json(400, ""),
    })
    .await;
    assert_eq!(told, ["restarted", "synced", "error broken", "+a@6"]);
}

#[tokio::test]
async fn lists_by_pages_where_streams_are_refused() {
    let (told, requests) = told(5, |_, seen| {
        if is_streaming_list(seen) {
            json(422, r#"{"reason":"Invalid","message":"sendInitialEvents is forbidden"}"#)
        } else if seen.has("continue=next") {
            json(200, r#"{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"b","resourceVersion":"2"}}]}"#)
        } else if seen.has("limit=") {
            json(
                200,
                r#"{"metadata":{"resourceVersion":"5","continue":"next"},"items":[{"metadata":{"name":"a","resourceVersion":"1"}}]}"#,
            )
        } else if resumes_at(seen, 5) {
            send(&[event("MODIFIED", "a", 6)], Then::Silence)
        } else {
            json(500, "")
        }
    })
    .await;
    assert_eq!(told, ["restarted", "+a@1", "+b@2", "synced", "+a@6"]);
    assert_eq!(requests.len(), 4);
}

#[tokio::test]
async fn a_version_that_is_too_old_means_a_new_list() {
    // Once told within the watch, once as the answer to its opening.
    let (told, _) = told(10, |number, seen| match number {
        0 => send(
            &[event("ADDED", "a", 1), listed(5), expired()],
            Then::Silence,
        ),
        1 if is_streaming_list(seen) => send(&[event("ADDED", "b", 6), listed(7)], Then::End),
        2 if resumes_at(seen, 7) => json(410, r#"{"reason":"Gone"}"#),
        3 if is_streaming_list(seen) => send(&[listed(9)], Then::Silence),
        _ => json(500, ""),
    })
    .await;
    assert_eq!(
        told,
        [
            "restarted",
            "+a@1",
            "synced",
            "error gone",
            "restarted",
            "+b@6",
            "synced",
            "error gone",
            "restarted",
            "synced"
        ]
    );
}

#[tokio::test]
async fn garbage_loses_no_other_event_and_is_made_up_for_by_a_list() {
    let (told, requests) = told(10, |number, seen| match number {
        0 => send(
            &[
                listed(5),
                "<html>".to_owned(),
                event("ADDED", "a", 6),
                r#"{"type":"ADDED","object":{"metadata":{"name":"b","labels":{"x":1}}}}"#
                    .to_owned(),
                r#"{"type":"NOVEL","object":{"metadata":{"name":"c"}}}"#.to_owned(),
                event("ADDED", "d", 9),
            ],
            Then::End,
        ),
        _ if is_streaming_list(seen) => send(&[event("ADDED", "a", 6), listed(9)], Then::Silence),
        _ => json(500, ""),
    })
    .await;
    assert_eq!(
        told,
        [
            "restarted",
            "synced",
            "error malformed",
            "+a@6",
            "error malformed",
            "error malformed",
            "+d@9",
            "restarted",
            "+a@6",
            "synced"
        ]
    );
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn an_unreadable_list_is_never_called_complete() {
    let (told, _) = told(6, |number, _| match number {
        0 => send(
            &["{}".to_owned(), event("ADDED", "a", 1), listed(5)],
            Then::Silence,
        ),
        _ => send(&[listed(5)], Then::Silence),
    })
    .await;
    assert_eq!(
        told,
        [
            "restarted",
            "error malformed",
            "+a@1",
            "error broken",
            "restarted",
            "synced"
        ]
    );
}

#[tokio::test]
async fn a_list_that_ends_early_begins_again() {
    let (told, _) = told(6, |number, _| match number {
        0 => send(&[event("ADDED", "a", 1)], Then::End),
        _ => send(&[event("ADDED", "a", 1), listed(5)], Then::Silence),
    })
    .await;
    assert_eq!(
        told,
        [
            "restarted",
            "+a@1",
            "error broken",
            "restarted",
            "+a@1",
            "synced"
        ]
    );
}

#[tokio::test]
async fn a_stream_that_stalls_within_the_list_is_replaced_by_pages() {
    let (told, _) = told(6, |_, seen| {
        if is_streaming_list(seen) {
            send(&[event("ADDED", "a", 1)], Then::Silence)
        } else if seen.has("limit=") {
            json(200, r#"{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a","resourceVersion":"1"}}]}"#)
        } else {
            json(500, "")
        }
    })
    .await;
    assert_eq!(
        told,
        [
            "restarted",
            "+a@1",
            "error timeout",
            "restarted",
            "+a@1",
            "synced"
        ]
    );
}

#[tokio::test]
async fn refusals_are_told_and_the_watch_goes_on_when_they_pass() {
    for (code, category) in [
        (401, "unauthorized"),
        (403, "denied"),
        (404, "not_found"),
        (429, "throttled"),
        (503, "server_error"),
    ] {
        let (told, requests) = told(3, move |number, _| match number {
            0 => json(code, ""),
            _ => send(&[listed(5)], Then::Silence),
        })
        .await;
        assert_eq!(
            told,
            [
                format!("error {category}"),
                "restarted".to_owned(),
                "synced".to_owned()
            ]
        );
        assert_eq!(requests.len(), 2);
    }
}

#[tokio::test]
async fn a_kind_that_goes_is_listed_anew_when_it_is_back() {
    let (told, _) = told(5, |number, seen| match number {
        0 => send(&[listed(5)], Then::End),
        1 if resumes_at(seen, 5) => json(404, ""),
        _ if is_streaming_list(seen) => send(&[listed(3)], Then::Silence),
        _ => json(500, ""),
    })
    .await;
    assert_eq!(
        told,
        [
            "restarted",
            "synced",
            "error not_found",
            "restarted",
            "synced"
        ]
    );
}

#[tokio::test]
async fn twenty_watches_and_a_call_share_one_connection() {
    let mock = Mock::start(Http::Two, |_, seen| {
        if seen.has("watch=true") {
            send(&[listed(5)], Then::Silence)
        } else {
            json(200, "{}")
        }
    })
    .await;
    let connection = connect(&mock.url, Http::Two).await;
    let mut watches: Vec<_> = (0..20)
        .map(|_| connection.watch(&known::POD, WatchScope::all()))
        .collect();
    for watch in &mut watches {
        assert_eq!(next(watch, 2).await, ["restarted", "synced"]);
    }
    connection.raw_get("/x").await.unwrap();
    assert_eq!((mock.lines().len(), mock.connections()), (21, 1));
}

#[tokio::test]
async fn calls_have_room_beside_any_number_of_watches() {
    let mock = Mock::start(Http::Two, |_, seen| {
        if seen.has("watch=true") {
            send(&[listed(5)], Then::Silence)
        } else {
            json(200, "{}")
        }
    })
    .await;
    // With few and with so many calls at once that they get a connection of their own.
    for (max_in_flight, connections) in [(40, 4), (80, 4 + 5)] {
        let connection = connect_as(
            Config::new(mock.url.parse().unwrap()),
            Http::Two,
            max_in_flight,
        )
        .await;
        let mut watches: Vec<_> = (0..150)
            .map(|_| connection.watch(&known::POD, WatchScope::all()))
            .collect();
        for watch in &mut watches {
            assert_eq!(next(watch, 2).await, ["restarted", "synced"]);
        }
        let calls = (0..100).map(|_| connection.raw_get("/x"));
        assert!(
            futures::future::join_all(calls)
                .await
                .iter()
                .all(Result::is_ok)
        );
        assert_eq!(mock.connections(), connections);
        drop(watches);
        // Their places are free again.
        let mut watch = connection.watch(&known::POD, WatchScope::all());
        assert_eq!(next(&mut watch, 2).await, ["restarted", "synced"]);
        assert_eq!(mock.connections(), connections);
    }
}

#[tokio::test]
async fn a_connection_that_went_silent_is_noticed_and_replaced() {
    let silent = Arc::new(AtomicBool::new(false));
    let (before, mock_silent) = (silent.clone(), silent);
    let mock = Mock::start(Http::Two, move |_, seen| {
        if !mock_silent.load(Ordering::SeqCst) {
            send(&[listed(5)], Then::Silence)
        } else if resumes_at(seen, 5) {
            send(&[event("ADDED", "a", 6)], Then::Silence)
        } else {
            json(500, "")
        }
    })
    .await;
    let wire = Wire::to(&mock.url).await;
    let connection = connect(&wire.url, Http::Two).await;
    let mut watch = connection.watch(&known::POD, WatchScope::all());
    assert_eq!(next(&mut watch, 2).await, ["restarted", "synced"]);
    before.store(true, Ordering::SeqCst);
    wire.freeze();
    // Nothing closes anything; only the unanswered ping tells.
    assert_eq!(next(&mut watch, 2).await, ["error broken", "+a@6"]);
}
