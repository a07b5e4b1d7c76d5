use placement_api::api_type::{ApiType, GroupKind};

use crate::mock::{Http, Mock, connect, json};
use crate::{Discovery, ServedApi};

fn served(api: ApiType, preferred: bool) -> ServedApi {
    ServedApi {
        api,
        verbs: vec!["get".into(), "list".into()],
        subresources: vec!["status".into()],
        short_names: vec!["w".into()],
        preferred,
    }
}

fn expected() -> Discovery {
    Discovery {
        apis: vec![
            served(ApiType::new("", "v1", "Pod", "pods", true), true),
            served(
                ApiType::new("x.dev", "v2", "Widget", "widgets", false),
                true,
            ),
            served(
                ApiType::new("x.dev", "v1", "Widget", "widgets", false),
                false,
            ),
        ],
        unavailable: vec!["away.dev/v1".into()],
    }
}

fn check(found: &Discovery) {
    assert_eq!(*found, expected());
    let widget = GroupKind::new("x.dev", "Widget");
    assert_eq!(found.find(&widget).unwrap().api.version, "v2");
    assert_eq!(
        found
            .find_version("x.dev/v1", "Widget")
            .unwrap()
            .api
            .version,
        "v1"
    );
    assert!(found.find(&GroupKind::new("", "Widget")).is_none());
    assert!(found.find_version("v1", "Pod").unwrap().can("list"));
    assert!(!found.find_version("v1", "Pod").unwrap().can("watch"));
}

#[tokio::test]
async fn aggregated() {
    let mock = Mock::start(Http::One, |_, seen| {
        let resource = |plural: &str, kind: &str, scope: &str| {
            format!(
                r#"{{"resource":"{plural}","responseKind":{{"group":"","version":"","kind":"{kind}"}},"scope":"{scope}",
                "verbs":["get","list"],"shortNames":["w"],"subresources":[{{"subresource":"status","verbs":["get"]}}]}}"#
            )
        };
        let list = |items: &str| json(200, &format!(r#"{{"kind":"APIGroupDiscoveryList","items":[{items}]}}"#));
        if seen.has("GET /apis") {
            let widget = resource("widgets", "Widget", "Cluster");
            list(&format!(
                r#"{{"metadata":{{"name":"x.dev"}},"versions":[{{"version":"v2","freshness":"Current","resources":[{widget}]}},
                   {{"version":"v1","freshness":"Current","resources":[{widget}]}}]}},
                   {{"metadata":{{"name":"away.dev"}},"versions":[{{"version":"v1","freshness":"Stale"}}]}}"#
            ))
        } else {
            let pod = resource("pods", "Pod", "Namespaced");
            list(&format!(r#"{{"metadata":{{"creationTimestamp":null}},"versions":[{{"version":"v1","resources":[{pod}]}}]}}"#))
        }
    })
    .await;
    let connection = connect(&mock.url, Http::One).await;
    check(&connection.discover().await.unwrap());
    assert_eq!(mock.lines(), ["GET /api", "GET /apis"]);
}

#[tokio::test]
async fn one_by_one() {
    let mock = Mock::start(Http::One, |_, seen| {
        let list = |plural: &str, kind: &str, namespaced: bool| {
            json(
                200,
                &format!(
                    r#"{{"kind":"APIResourceList","resources":[
                    {{"name":"{plural}","kind":"{kind}","namespaced":{namespaced},"verbs":["get","list"],"shortNames":["w"]}},
                    {{"name":"{plural}/status","kind":"{kind}","namespaced":{namespaced},"verbs":["get"]}}]}}"#
                ),
            )
        };
        match seen.line.as_str() {
            "GET /api" => json(200, r#"{"kind":"APIVersions","versions":["v1"]}"#),
            "GET /api/v1" => list("pods", "Pod", true),
            "GET /apis" => json(
                200,
                r#"{"kind":"APIGroupList","groups":[
                {"name":"x.dev","versions":[{"groupVersion":"x.dev/v1","version":"v1"},{"groupVersion":"x.dev/v2","version":"v2"}],
                 "preferredVersion":{"groupVersion":"x.dev/v2","version":"v2"}},
                {"name":"away.dev","versions":[{"groupVersion":"away.dev/v1","version":"v1"}]}]}"#,
            ),
            "GET /apis/x.dev/v1" | "GET /apis/x.dev/v2" => list("widgets", "Widget", false),
            _ => json(404, ""),
        }
    })
    .await;
    let connection = connect(&mock.url, Http::One).await;
    check(&connection.discover().await.unwrap());
}
