use placement_api::kinds::PatchOperation;
use serde_json::{Value, json};

use super::*;

fn rule(name: &str, spec: Value) -> Rule {
    rule_of(name, "2026-01-01T00:00:00Z", spec)
}

fn rule_of(name: &str, created: &str, spec: Value) -> Rule {
    Rule::new(name, created, serde_json::from_value(spec).unwrap()).unwrap()
}

fn object(kind: &str, namespace: &str, labels: Value) -> RawObject {
    let api_version = match kind {
        "Deployment" => "apps/v1",
        "Job" => "batch/v1",
        _ => "v1",
    };
    RawObject::from_value(&json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {"name": "x", "namespace": namespace, "labels": labels},
    }))
    .unwrap()
}

fn kind_of(object: &RawObject) -> Kind {
    Kind {
        name: object.group_kind(),
        has_pods: matches!(object.kind.as_str(), "Deployment" | "Job"),
    }
}

fn shop() -> Labels {
    [("team".to_owned(), "shop".to_owned())].into()
}

fn selected(rules: &[Rule], object: &RawObject) -> Option<Selection> {
    let labels = shop();
    let namespace = (!object.metadata.namespace.is_empty()).then_some(&labels);
    select(rules, object, namespace, &kind_of(object))
}

#[test]
fn all_that_is_written_must_hold_and_what_is_absent_does_not_restrict() {
    let web = json!({"app": "web"});
    let cases = [
        (json!({}), "Deployment", "shop", true),
        (json!({}), "ConfigMap", "shop", false),
        (
            json!({"resources": [{"group": "", "kind": "ConfigMap"}]}),
            "ConfigMap",
            "shop",
            true,
        ),
        (
            json!({"resources": [{"group": "", "kind": "ConfigMap"}]}),
            "Deployment",
            "shop",
            false,
        ),
        (
            json!({"resources": [{"group": "apps", "kind": "*"}]}),
            "Deployment",
            "shop",
            true,
        ),
        (
            json!({"resources": [{"group": "apps", "kind": "*"}]}),
            "Job",
            "shop",
            false,
        ),
        (
            json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}}),
            "Job",
            "shop",
            true,
        ),
        (
            json!({"namespaceSelector": {"matchLabels": {"team": "ml"}}}),
            "Job",
            "shop",
            false,
        ),
        (json!({"namespaceSelector": {}}), "Job", "shop", true),
        (
            json!({"objectSelector": {"matchLabels": {"app": "web"}}}),
            "Job",
            "shop",
            true,
        ),
        (
            json!({"objectSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}}),
            "Job",
            "shop",
            false,
        ),
        (
            json!({"resources": [{"group": "", "kind": "Thing"}]}),
            "Thing",
            "",
            true,
        ),
        (
            json!({"resources": [{"group": "", "kind": "Thing"}], "namespaceSelector": {}}),
            "Thing",
            "",
            false,
        ),
    ];
    for (spec, kind, namespace, expected) in cases {
        let rules = [rule("p", spec.clone())];
        let object = object(kind, namespace, web.clone());
        assert_eq!(
            selected(&rules, &object).is_some(),
            expected,
            "{spec} {kind} in {namespace:?}"
        );
    }
}

#[test]
fn of_several_the_first_in_order_wins() {
    let all = json!({});
    let narrow = json!({"objectSelector": {}});
    let cases = [
        (vec![rule("b", all.clone()), rule("a", all.clone())], "a"),
        (vec![rule("a", all.clone()), rule("b", narrow.clone())], "b"),
        (
            vec![
                rule("a", json!({"precedence": 5})),
                rule("b", narrow.clone()),
            ],
            "a",
        ),
        (
            vec![rule("a", json!({"precedence": -1})), rule("b", all.clone())],
            "b",
        ),
        (
            vec![
                rule_of("a", "2026-02-01T00:00:00Z", all.clone()),
                rule_of("b", "2026-01-01T00:00:00Z", all.clone()),
            ],
            "b",
        ),
        (
            vec![
                rule("a", json!({"objectSelector": {}, "namespaceSelector": {}})),
                rule(
                    "b",
                    json!({"objectSelector": {}, "namespaceSelector": {}, "resources": [{"group": "batch", "kind": "Job"}]}),
                ),
            ],
            "b",
        ),
    ];
    let job = object("Job", "shop", json!({}));
    for (mut rules, winner) in cases {
        let losers: Vec<String> = rules
            .iter()
            .map(|rule| rule.name.clone())
            .filter(|name| name != winner)
            .collect();
        for _ in 0..2 {
            sort(&mut rules);
            let found = selected(&rules, &job).unwrap();
            assert_eq!((found.placement.as_str(), &found.also), (winner, &losers));
            rules.reverse();
        }
    }
}

#[test]
fn some_objects_are_never_selected() {
    let everything =
        |kind: &str, group: &str| rule("p", json!({"resources": [{"group": group, "kind": kind}]}));
    let secret = |kind: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "shop"}, "type": kind});
    let named = |kind: &str, namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    let owned = |controller: bool| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "namespace": "shop", "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "u", "controller": controller}]}})
    };
    let definition = |name: &str| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}});
    for (value, expected) in [
        (owned(true), false),
        (owned(false), true),
        (named("ConfigMap", "shop", "kube-root-ca.crt"), false),
        (named("ConfigMap", "shop", "mine"), true),
        (named("ServiceAccount", "shop", "default"), false),
        (named("Service", "default", "kubernetes"), false),
        (named("Service", "shop", "kubernetes"), true),
        (named("ConfigMap", "kube-system", "mine"), false),
        (named("ConfigMap", "inhaul-system", "mine"), false),
        (named("ConfigMap", "inhaul-target-eu", "mine"), false),
        (secret("kubernetes.io/service-account-token"), false),
        (secret("helm.sh/release.v1"), false),
        (secret("Opaque"), true),
        (definition("workloads.inhaul.dev"), false),
        (definition("models.training.faros.sh"), true),
        (definition("boats.test.inhaul.dev"), true),
    ] {
        let object = RawObject::from_value(&value).unwrap();
        let kind = object.group_kind();
        let found = selected(&[everything(&kind.kind, &kind.group)], &object);
        assert_eq!(found.is_some(), expected, "{value}");
    }
}

#[test]
fn a_wrong_field_is_named() {
    let broken = |spec: PlacementSpec| Rule::new("p", "", spec).unwrap_err();
    let read = |value: Value| serde_json::from_value::<PlacementSpec>(value).unwrap();
    let operator = json!({"matchExpressions": [{"key": "a", "operator": "Is", "values": ["b"]}]});
    for (spec, start) in [
        (
            read(json!({"objectSelector": operator})),
            "spec.objectSelector",
        ),
        (
            read(json!({"namespaceSelector": {"matchLabels": {"a b": "c"}}})),
            "spec.namespaceSelector",
        ),
        (
            read(json!({"failover": {"mode": "Overlap", "after": "soon"}})),
            "spec.failover.after",
        ),
        (
            read(json!({"topology": {"level": "l", "relaxAfter": "5"}})),
            "spec.topology.relaxAfter",
        ),
        (
            read(json!({"overrides": [{"patch": [{"op": "swap", "path": "/a"}]}]})),
            "spec.overrides[0].patch[0]",
        ),
    ] {
        let error = broken(spec);
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn overrides_go_by_the_labels_of_the_target() {
    let rule = rule(
        "p",
        json!({"overrides": [
            {"targetSelector": {"matchLabels": {"region": "eu"}}, "patch": [{"op": "remove", "path": "/a"}]},
            {"patch": [{"op": "remove", "path": "/b"}]},
        ]}),
    );
    let paths = |region: &str| -> Vec<String> {
        let labels = [("region".to_owned(), region.to_owned())].into();
        let found = rule.overrides_for(&labels);
        found
            .iter()
            .flat_map(|one| &one.patch)
            .map(|one: &PatchOperation| one.path.clone())
            .collect()
    };
    assert_eq!(paths("eu"), ["/a", "/b"]);
    assert_eq!(paths("us"), ["/b"]);
}
