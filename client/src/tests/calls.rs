use std::time::Duration;

use kube::Config;
use kube::config::AuthInfo;
use placement_api::api_type::{ObjectKey, known};
use placement_api::raw::RawObject;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::mock::{Http, Mock, Then, Wire, connect, connect_as, cut, json, lines, retry_after};
use crate::{Class, DeletePreconditions, Deleted, Propagation};

fn pod() -> ObjectKey {
    ObjectKey::new("a", "p")
}

#[tokio::test]
async fn a_missing_object_is_none_and_a_present_one_is_read() {
    let mock = Mock::start(Http::One, |_, seen| {
        if seen.has("/pods/p") {
            json(200, r#"{"metadata":{"name":"p","namespace":"a"}}"#)
        } else {
            json(404, r#"{"reason":"NotFound"}"#)
        }
    })
    .await;
    let connection = connect(&mock.url, Http::One).await;
    let found: RawObject = connection.get(&known::POD, &pod()).await.unwrap().unwrap();
    assert_eq!((found.key(), found.kind.as_str()), (pod(), "Pod"));
    let missing = connection.get::<Value>(&known::SECRET, &pod()).await;
    assert!(missing.unwrap().is_none());
    assert_eq!(
        mock.lines(),
        [
            "GET /api/v1/namespaces/a/pods/p",
            "GET /api/v1/namespaces/a/secrets/p"
        ]
    );
    assert_eq!((connection.reads(), connection.writes()), (2, 0));
}

#[tokio::test]
async fn reads_are_tried_again_while_there_is_time() {
    let mock = Mock::start(Http::One, |number, _| match number {
        0 => retry_after(429, 1),
        1 => json(503, ""),
        2 => cut(),
        _ => json(200, "{}"),
    })
    .await;
    let connection = connect(&mock.url, Http::One).await;
    assert!(
        connection
            .get::<Value>(&known::POD, &pod())
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(mock.lines().len(), 4);
}

#[tokio::test]
async fn a_wait_that_the_deadline_does_not_allow_is_not_begun() {
    let mock = Mock::start(Http::One, |_, _| retry_after(429, 60)).await;
    let connection = connect(&mock.url, Http::One).await;
    let error = connection
        .get::<Value>(&known::POD, &pod())
        .await
        .unwrap_err();
    assert_eq!(
        (error.class(), error.category()),
        (Class::Transient, "throttled")
    );
    assert_eq!(error.retry_after, Some(Duration::from_mins(1)));
    assert_eq!(mock.lines().len(), 1);
}

#[tokio::test]
async fn refusals_are_not_tried_again() {
    for (code, class) in [
        (400, Class::Invalid),
        (401, Class::Denied),
        (403, Class::Denied),
        (410, Class::Gone),
    ] {
        let mock = Mock::start(Http::One, move |_, _| json(code, "")).await;
        let connection = connect(&mock.url, Http::One).await;
        let error = connection
            .get::<Value>(&known::POD, &pod())
            .await
            .unwrap_err();
        assert_eq!((error.class(), mock.lines().len()), (class, 1), "{error}");
    }
}

#[tokio::test]
async fn writes_are_sent_once_whatever_comes_of_it() {
    let mock = Mock::start(Http::One, |_, seen| match seen.body.as_str() {
        r#""busy""# => retry_after(429, 0),
        r#""down""# => json(503, ""),
        r#""late""# => json(504, ""),
        _ => cut(),
    })
    .await;
    let connection = connect(&mock.url, Http::One).await;
    let cases = [
        ("busy", false),
        ("down", false),
        ("late", true),
        ("cut", true),
    ];
    for (sent, (body, outcome_unknown)) in cases.into_iter().enumerate() {
        let error = connection
            .create::<_, Value>(&known::POD, "a", &body, "m")
            .await
            .unwrap_err();
        assert_eq!(error.class(), Class::Transient, "{error}");
        assert_eq!(error.outcome_unknown(), outcome_unknown, "{error}");
        assert_eq!(
            (mock.lines().len(), connection.writes()),
            (sent + 1, sent as u64 + 1),
            "{error}"
        );
    }
    assert_eq!(connection.reads(), 0);
}

#[tokio::test]
async fn nobody_there_is_known_to_have_changed_nothing() {
    // A port that was free a moment ago.
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let connection = connect(&url, Http::One).await;
    let error = connection
        .create::<_, Value>(&known::POD, "a", &json!({}), "m")
        .await
        .unwrap_err();
    assert_eq!(
        (error.category(), error.outcome_unknown()),
        ("unreachable", false),
        "{error}"
    );
}

#[tokio::test]
async fn the_deadline_ends_an_answer_that_does_not() {
    let mock = Mock::start(Http::One, |_, _| lines(&["{"], Then::Silence)).await;
    let connection = connect(&mock.url, Http::One)
        .await
        .with_deadline(Duration::from_millis(200));
    let error = connection
        .get::<Value>(&known::POD, &pod())
        .await
        .unwrap_err();
    assert_eq!(
        (error.category(), error.class()),
        ("timeout", Class::Transient),
        "{error}"
    );
}

#[tokio::test]
async fn lists_come_in_pages_and_with_types() {
    let mock = Mock::start(Http::One, |_, seen| {
        let (name, next) = if seen.has("continue=two") {
            ("c", "")
        } else if seen.has("continue=one") {
            ("b", "two")
        } else {
            ("a", "one")
        };
        json(
            200,
            &json!({"metadata": {"resourceVersion": "7", "continue": next}, "items": [{"metadata": {"name": name}}]}).to_string(),
        )
    })
    .await;
    let connection = connect(&mock.url, Http::One).await;
    let pods: Vec<RawObject> = connection
        .list(&known::JOB, Some("x"), Some("k=v"))
        .await
        .unwrap();
    let names: Vec<_> = pods
        .iter()
        .map(|pod| {
            (
                pod.metadata.name.as_str(),
                pod.api_version.as_str(),
                pod.kind.as_str(),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            ("a", "batch/v1", "Job"),
            ("b", "batch/v1", "Job"),
            ("c", "batch/v1", "Job")
        ]
    );
    let start = "GET /apis/batch/v1/namespaces/x/jobs?labelSelector=k%3Dv&limit=500";
    assert_eq!(
        mock.lines(),
        [
            start.to_owned(),
            format!("{start}&continue=one"),
            format!("{start}&continue=two")
        ]
    );
}

#[tokio::test]
async fn a_list_whose_snapshot_expires_begins_again_in_one_piece() {
    let mock = Mock::start(Http::One, |_, seen| {
        let object = |name: &str| json!({"metadata": {"name": name}});
        if seen.has("continue=") {
            json(410, r#"{"reason":"Expired"}"#)
        } else if seen.has("limit=") {
            json(
                200,
                &json!({"metadata": {"continue": "old"}, "items": [object("a")]}).to_string(),
            )
        } else {
            json(
                200,
                &json!({"metadata": {}, "items": [object("a"), object("b")]}).to_string(),
            )
        }
    })
    .await;
    let connection = connect(&mock.url, Http::One).await;
    let pods: Vec<RawObject> = connection.list(&known::POD, None, None).await.unwrap();
    assert_eq!(pods.len(), 2);
    let empty = Mock::start(Http::One, |_, _| {
        json(200, r#"{"metadata":{},"items":null}"#)
    })
    .await;
    let connection = connect(&empty.url, Http::One).await;
    assert!(
        connection
            .list::<Value>(&known::POD, None, None)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn each_write_says_what_it_is() {
    let mock = Mock::start(Http::One, |_, _| json(200, "{}")).await;
    let connection = connect(&mock.url, Http::One).await;
    let (key, body) = (pod(), json!({"a": 1}));
    let _: Value = connection
        .create(&known::POD, "a", &body, "m")
        .await
        .unwrap();
    let _: Value = connection.replace(&known::POD, &key, &body).await.unwrap();
    let _: Value = connection
        .replace_subresource(&known::POD, &key, "status", &body, "m")
        .await
        .unwrap();
    let _: Value = connection
        .apply(&known::POD, &key, &body, "m", true)
        .await
        .unwrap();
    let _: Value = connection
        .apply_subresource(&known::POD, &key, "status", &body, "m", false)
        .await
        .unwrap();
    let _: Value = connection
        .merge_patch(&known::POD, &key, Some("status"), &body, "m")
        .await
        .unwrap();
    let _: Value = connection
        .json_patch(&known::POD, &key, None, &json!([]), "m")
        .await
        .unwrap();
    let _: Value = connection
        .strategic_patch(&known::POD, &key, None, &body, "m")
        .await
        .unwrap();
    let _: Value = connection
        .create_subresource(&known::SERVICE_ACCOUNT, &key, "token", &body)
        .await
        .unwrap();
    let sent: Vec<_> = mock
        .seen()
        .into_iter()
        .map(|seen| {
            format!(
                "{} {}",
                seen.line.replace("/api/v1/namespaces/a/", ""),
                seen.content_type
            )
        })
        .collect();
    assert_eq!(
        sent,
        [
            "POST pods?fieldManager=m application/json",
            "PUT pods/p application/json",
            "PUT pods/p/status?fieldManager=m application/json",
            "PATCH pods/p?fieldManager=m&force=true application/apply-patch+yaml",
            "PATCH pods/p/status?fieldManager=m application/apply-patch+yaml",
            "PATCH pods/p/status?fieldManager=m application/merge-patch+json",
            "PATCH pods/p?fieldManager=m application/json-patch+json",
            "PATCH pods/p?fieldManager=m application/strategic-merge-patch+json",
            "POST serviceaccounts/p/token application/json",
        ]
    );
    assert_eq!(connection.writes(), 9);
}

#[tokio::test]
async fn deletions_tell_gone_from_going() {
    let cases = [
        (
            200,
            r#"{"kind":"Status","status":"Success"}"#,
            Ok(Deleted::Gone),
        ),
        (
            200,
            r#"{"kind":"Pod","metadata":{"name":"p"}}"#,
            Ok(Deleted::Gone),
        ),
        (
            202,
            r#"{"kind":"Pod","metadata":{"name":"p","deletionTimestamp":"2026-01-01T00:00:00Z"}}"#,
            Ok(Deleted::Deleting),
        ),
        (404, r#"{"reason":"NotFound"}"#, Ok(Deleted::Gone)),
        (409, r#"{"reason":"Conflict"}"#, Err(Class::Conflict)),
    ];
    for (code, answer, expected) in cases {
        let mock = Mock::start(Http::One, move |_, _| json(code, answer)).await;
        let connection = connect(&mock.url, Http::One).await;
        let preconditions = DeletePreconditions::uid("u-1");
        let deleted = connection
            .delete(&known::POD, &pod(), preconditions, Propagation::Foreground)
            .await;
        assert_eq!(
            deleted.map_err(|error| error.class()),
            expected,
            "{code} {answer}"
        );
        let sent = &mock.seen()[0];
        assert_eq!(sent.line, "DELETE /api/v1/namespaces/a/pods/p");
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        assert_eq!(
            body,
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground", "preconditions": {"uid": "u-1"}})
        );
    }
}

#[tokio::test]
async fn no_more_calls_are_under_way_than_allowed_and_urgent_ones_do_not_wait() {
    let mock = Mock::start(Http::Two, |_, _| lines(&[], Then::Silence)).await;
    let connection = connect_as(Config::new(mock.url.parse().unwrap()), Http::Two, 3).await;
    let urgent = connection.urgent();
    let calls = futures::future::join_all((0..20).map(|_| connection.raw_get("/x")));
    let (outcomes, heartbeat) = tokio::join!(calls, urgent.raw_get("/heartbeat"));
    assert_eq!(heartbeat.unwrap_err().category(), "timeout");
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().category(), "timeout");
    }
    let mut seen = mock.lines();
    seen.sort();
    assert_eq!(seen, ["GET /heartbeat", "GET /x", "GET /x", "GET /x"]);
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let mock = Mock::start(Http::One, |_, _| {
        json(200, r#"{"data":{"password":"aHVudGVyMg=="}}"#)
    })
    .await;
    let mut config = Config::new(mock.url.parse().unwrap());
    config.auth_info = AuthInfo {
        token: Some("s3cret".to_owned().into()),
        ..AuthInfo::default()
    };
    let connection = connect_as(config, Http::One, 4).await;
    let error = connection
        .get::<Vec<u8>>(&known::SECRET, &pod())
        .await
        .unwrap_err();
    assert_eq!(error.category(), "malformed");
    let seen = &mock.seen()[0];
    assert_eq!(seen.authorization, "Bearer s3cret");
    assert!(
        seen.user_agent.starts_with("inhaul/"),
        "{}",
        seen.user_agent
    );
    let shown = format!("{error} {error:?}");
    assert!(
        !shown.contains("s3cret") && !shown.contains("aHVudGVy"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_base_path_stays_in_front() {
    let mock = Mock::start(Http::One, |_, _| json(200, r#"{"gitVersion":"v1.36.3"}"#)).await;
    let connection = connect(&format!("{}/clusters/root:a/", mock.url), Http::One).await;
    assert_eq!(connection.version().await.unwrap(), "v1.36.3");
    assert_eq!(mock.lines(), ["GET /clusters/root:a/version"]);
    assert_eq!(
        connection.server_url(),
        format!("{}/clusters/root:a", mock.url)
    );
}

#[tokio::test]
async fn requests_are_counted_by_verb_kind_and_result() {
    let mock = Mock::start(Http::One, |_, seen| {
        json(if seen.has("POST") { 409 } else { 200 }, "{}")
    })
    .await;
    let connection = connect(&mock.url, Http::One).await;
    let mut registry = Registry::default();
    connection.register(&mut registry, "hub");
    let _ = connection.get::<Value>(&known::POD, &pod()).await;
    let _ = connection
        .create::<_, Value>(&known::JOB, "a", &json!({}), "m")
        .await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"api_requests_total{server="hub",verb="get",resource="pods",code="2xx"} 1"#,
        r#"api_requests_total{server="hub",verb="create",resource="jobs",code="4xx"} 1"#,
        r#"api_request_seconds_count{server="hub",verb="create"} 1"#,
        r#"api_requests_in_flight{server="hub"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel_to_the_server() {
    let mock = Mock::start(Http::One, |_, _| json(200, r#"{"gitVersion":"v1"}"#)).await;
    let proxy = Wire::proxy_to(&mock.url).await;
    // A name that only the proxy can make sense of.
    let mut config = Config::new("http://hub.invalid:6443".parse().unwrap());
    config.proxy_url = Some(proxy.url.parse().unwrap());
    let connection = connect_as(config, Http::One, 4).await;
    assert_eq!(connection.version().await.unwrap(), "v1");
    assert!(
        proxy
            .asked()
            .starts_with("CONNECT hub.invalid:6443 HTTP/1.1\r\n"),
        "{}",
        proxy.asked()
    );
}
