use placement_api::api_type::known;
use placement_api::kinds::PatchOperation;
use serde_json::json;

use super::*;

fn raw(value: &Value) -> RawObject {
    RawObject::from_value(value).unwrap()
}

fn cleaned(value: &Value) -> Value {
    clean(&raw(value))
}

#[test]
fn what_the_hub_knows_does_not_travel() {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/y"], "selfLink": "/x",
            "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x"}],
            "labels": {"app": "web"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "deployment.kubernetes.io/revision": "4",
                "team": "shop",
            },
        },
        "spec": {"replicas": 6},
        "status": {"replicas": 6},
    });
    let expected = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "annotations": {"team": "shop"}},
        "spec": {"replicas": 6},
    });
    assert_eq!(cleaned(&object), expected);
}

#[test]
fn each_kind_leaves_behind_what_its_hub_filled_in() {
    let object = |api_version: &str, kind: &str, rest: Value| {
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "n"}});
        for (name, value) in rest.as_object().unwrap() {
            object[name] = value.clone();
        }
        object
    };
    let generated = json!({"controller-uid": "u", "batch.kubernetes.io/controller-uid": "u", "job-name": "x",
        "batch.kubernetes.io/job-name": "x", "app": "train"});
    let cases = [
        (
            object(
                "batch/v1",
                "Job",
                json!({"spec": {
                    "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}, "manualSelector": false,
                    "managedBy": "inhaul.dev/x", "ttlSecondsAfterFinished": 9, "parallelism": 2,
                    "template": {"metadata": {"labels": generated}},
                }}),
            ),
            json!({"spec": {"parallelism": 2, "template": {"metadata": {"labels": {"app": "train"}}}}}),
        ),
        (
            object(
                "batch/v1",
                "Job",
                json!({"spec": {
                    "selector": {"matchLabels": {"a": "b"}}, "manualSelector": true,
                    "template": {"metadata": {"labels": {"a": "b", "job-name": "mine"}}},
                }}),
            ),
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "manualSelector": true,
                "template": {"metadata": {"labels": {"a": "b", "job-name": "mine"}}}}}),
        ),
        (
            object(
                "v1",
                "Service",
                json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
                "healthCheckNodePort": 3, "ports": [{"port": 80, "nodePort": 30000}], "selector": {"a": "b"}}}),
            ),
            json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}),
        ),
        (
            object(
                "v1",
                "Service",
                json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}),
            ),
            json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}),
        ),
        (
            object(
                "v1",
                "ServiceAccount",
                json!({"secrets": [{"name": "t"}], "imagePullSecrets": [{"name": "p"}]}),
            ),
            json!({"imagePullSecrets": [{"name": "p"}]}),
        ),
        (
            object(
                "v1",
                "PersistentVolumeClaim",
                json!({"spec": {"volumeName": "pv", "storageClassName": "s"}}),
            ),
            json!({"spec": {"storageClassName": "s"}}),
        ),
        (
            object(
                "v1",
                "ConfigMap",
                json!({"data": {"a": "b"}, "binaryData": {"c": "ZA=="}, "immutable": true}),
            ),
            json!({"data": {"a": "b"}, "binaryData": {"c": "ZA=="}, "immutable": true}),
        ),
    ];
    for (before, rest) in cases {
        let kind = before["kind"].as_str().unwrap().to_owned();
        let expected = object(before["apiVersion"].as_str().unwrap(), &kind, rest);
        assert_eq!(cleaned(&before), expected);
    }
}

fn deployment() -> RawObject {
    raw(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "41"},
        "spec": {"replicas": 6, "template": {"spec": {"containers": [{"name": "c", "image": "a"}]}}},
    }))
}

fn config(data: &str) -> RawObject {
    raw(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "cfg", "namespace": "shop", "resourceVersion": "40"}, "data": {"a": data},
    }))
}

struct Parts {
    root: RawObject,
    config: RawObject,
    profile: Profile,
    overrides: Vec<Override>,
    apis: [ApiType; 2],
}

impl Parts {
    fn new() -> Self {
        Self {
            root: deployment(),
            config: config("1"),
            profile: Profile::builtin("apps", "Deployment").unwrap(),
            overrides: Vec::new(),
            apis: [known::DEPLOYMENT, known::CONFIG_MAP],
        }
    }

    fn order(&self) -> Order<'_> {
        Order {
            root: Some(Source {
                object: &self.root,
                api: &self.apis[0],
            }),
            workload: ObjectRef {
                kind: "Deployment".to_owned(),
                name: "web".to_owned(),
                ..ObjectRef::default()
            },
            dependencies: vec![Source {
                object: &self.config,
                api: &self.apis[1],
            }],
            secrets: Vec::new(),
            replicas: Some(2),
            profile: &self.profile,
            pod_sets: Vec::new(),
            domain: BTreeMap::new(),
            nodes: Vec::new(),
            replaces: None,
            failover: Failover::default(),
            interpretation: None,
            overrides: self.overrides.iter().collect(),
            epoch: 3,
            term: 2,
        }
    }

    fn spec(&self) -> AssignmentSpec {
        assignment(&self.order()).unwrap()
    }
}

#[test]
fn the_root_comes_last_with_its_share() {
    let spec = Parts::new().spec();
    let kinds: Vec<&str> = spec
        .manifests
        .iter()
        .map(|one| one.object["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["ConfigMap", "Deployment"]);
    assert_eq!(spec.manifests[1].object["spec"]["replicas"], 2);
    assert_eq!(
        (
            spec.manifests[1].plural.as_str(),
            spec.manifests[1].source_version
        ),
        ("deployments", 41)
    );
    assert_eq!(
        (spec.replicas, spec.epoch, spec.term, spec.state),
        (Some(2), 3, 2, AssignmentState::Active)
    );
}

#[test]
fn the_digest_follows_content_and_nothing_else() {
    let parts = Parts::new();
    let digest = parts.spec().digest;
    let mut later = parts.order();
    (later.epoch, later.term) = (9, 9);
    assert_eq!(
        assignment(&later).unwrap().digest,
        digest,
        "not who, not when"
    );
    let mut seen = vec![digest.clone()];
    let mut other = Parts::new();
    other.root.metadata.resource_version = "99".to_owned();
    other.config.metadata.resource_version = "98".to_owned();
    assert_eq!(other.spec().digest, digest, "not from which version");
    let mut changed = |spec: AssignmentSpec| {
        assert!(!seen.contains(&spec.digest), "{spec:?}");
        seen.push(spec.digest);
    };
    other.config = config("2");
    changed(other.spec());
    let mut order = parts.order();
    order.replicas = Some(3);
    changed(assignment(&order).unwrap());
    order.nodes = vec![NodeShare {
        pod_set: "main".to_owned(),
        name: "n".to_owned(),
        pods: 2,
    }];
    changed(assignment(&order).unwrap());
    order.secrets = vec![SecretRef {
        copy: "c".to_owned(),
        namespace: "shop".to_owned(),
        name: "s".to_owned(),
    }];
    changed(assignment(&order).unwrap());
    changed(tombstone(&parts.spec(), 3, 2));
}

#[test]
fn a_tombstone_names_the_same_workload_and_orders_nothing_else() {
    let live = Parts::new().spec();
    let spec = tombstone(&live, 1, 5);
    assert_eq!(
        (spec.state, spec.epoch, spec.term),
        (AssignmentState::Removed, 3, 5),
        "an epoch never falls"
    );
    assert_eq!(spec.workload, live.workload);
    assert!(spec.manifests.is_empty() && spec.secret_refs.is_empty());
}

#[test]
fn overrides_come_last_and_concern_the_root_unless_they_name_kinds() {
    let image = |resources: Vec<KindRef>, path: &str| Override {
        resources,
        patch: vec![PatchOperation {
            op: "replace".to_owned(),
            path: path.to_owned(),
            from: None,
            value: Some(json!("b")),
        }],
        ..Override::default()
    };
    let mut parts = Parts::new();
    parts.overrides = vec![image(Vec::new(), "/spec/template/spec/containers/0/image")];
    assert_eq!(
        parts.spec().manifests[1].object["spec"]["template"]["spec"]["containers"][0]["image"],
        "b"
    );
    let maps = vec![KindRef {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
    }];
    parts.overrides = vec![image(maps, "/data/a")];
    let spec = parts.spec();
    assert_eq!(spec.manifests[0].object["data"]["a"], "b");
    assert_eq!(
        spec.manifests[1].object["spec"]["template"]["spec"]["containers"][0]["image"],
        "a"
    );
    parts.overrides = vec![image(Vec::new(), "/spec/nothing/here")];
    let error = assignment(&parts.order()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("override 0 of the Placement does not fit Deployment/web: "),
        "{error}"
    );
}

#[test]
fn too_large_is_said_with_numbers() {
    let mut parts = Parts::new();
    parts.config = config(&"x".repeat(MAX_BYTES - 700));
    assert_eq!(parts.spec().manifests.len(), 2, "just fits");
    parts.config = config(&"x".repeat(MAX_BYTES + 100 * 1024));
    let error = assignment(&parts.order()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it and what travels with it are 612 KiB as JSON; at most 512 KiB fit an Assignment"
    );
}

#[test]
fn services_find_their_pods() {
    let service = |spec: Value| {
        raw(
            &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}),
        )
    };
    let pods: BTreeMap<String, String> = [("app", "web"), ("tier", "front")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    for (spec, expected) in [
        (json!({"selector": {"app": "web"}}), true),
        (json!({"selector": {"app": "web", "tier": "front"}}), true),
        (json!({"selector": {"app": "web", "tier": "back"}}), false),
        (json!({"selector": {}}), false),
        (json!({"selector": null}), false),
        (json!({}), false),
    ] {
        assert_eq!(serves(&service(spec.clone()), &pods), expected, "{spec}");
    }
}
