use placement_api::api_type::known;
use serde_json::json;

use super::*;

fn raw(value: &Value) -> RawObject {
    RawObject::from_value(value).unwrap()
}

fn deployment(replicas: u32, labels: Value, pod: Value) -> RawObject {
    raw(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "labels": labels, "creationTimestamp": "1970-01-01T00:00:05Z"},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}},
    }))
}

fn pod() -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]})
}

struct World {
    rule: Rule,
    queues: BTreeMap<String, Option<LabelSelector>>,
    unusable: BTreeMap<String, String>,
    priorities: BTreeMap<String, i32>,
    namespace: Labels,
    claims: BTreeMap<String, Value>,
}

impl World {
    fn new(placement: Value) -> Self {
        Self {
            rule: Rule::new("p", "", serde_json::from_value(placement).unwrap()).unwrap(),
            queues: BTreeMap::new(),
            unusable: BTreeMap::new(),
            priorities: [("high".to_owned(), 100)].into(),
            namespace: [("team".to_owned(), "shop".to_owned())].into(),
            claims: BTreeMap::new(),
        }
    }

    fn ask(&self, object: &RawObject, api: &ApiType) -> Ask {
        let profile = Profile::builtin(&api.group, &api.kind).unwrap();
        let selection = Selection {
            placement: "p".to_owned(),
            also: vec!["q".to_owned()],
        };
        let around = Surroundings {
            profile: &profile,
            placement: Some((&self.rule, &selection)),
            queues: &self.queues,
            unusable: &self.unusable,
            priorities: &self.priorities,
            namespace: &self.namespace,
            claims: Claims(&|kind, name| self.claims.get(&format!("{kind}/{name}")).cloned()),
        };
        ask(object, api, &around).unwrap()
    }

    fn deployment(&self, object: &RawObject) -> Ask {
        self.ask(object, &known::DEPLOYMENT)
    }
}

#[test]
fn a_deployment_is_divided_and_may_overlap() {
    let asked = World::new(json!({})).deployment(&deployment(6, json!({}), pod()));
    let request = &asked.request;
    assert_eq!(request.strategy, Strategy::Divide);
    assert_eq!(
        (request.failover.mode, request.failover.after_ms),
        (FailoverMode::Overlap, 300_000)
    );
    assert_eq!(request.submitted_ms, 5_000);
    assert!(request.kinds.contains("apps/v1/Deployment"));
    assert_eq!(
        (asked.spec.wants.as_str(), asked.spec.queue.as_str()),
        ("6 replicas", "default")
    );
    assert_eq!(asked.spec.also_selected_by, ["q"]);
    assert_eq!(asked.pod_labels[0]["app"], "web");
    assert!(asked.scalable && !asked.finished);
    assert_eq!(
        asked.templates.values().collect::<Vec<_>>(),
        ["/spec/template"]
    );
}

#[test]
fn a_job_is_a_gang_that_runs_once() {
    let job = raw(&json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train", "namespace": "ml"},
        "spec": {"parallelism": 2, "completions": 2, "template": {"spec": {"priorityClassName": "high", "containers": [
            {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "8"}}, "envFrom": [{"secretRef": {"name": "s"}}]}]}}},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]},
    }));
    let world = World::new(
        json!({"topology": {"level": "topology.kubernetes.io/rack", "relaxAfter": "10m"}}),
    );
    let asked = world.ask(&job, &known::JOB);
    let failover = asked.request.failover.mode;
    assert_eq!(failover, FailoverMode::Never);
    assert_eq!(
        asked.spec.failover,
        Failover {
            mode: Some(FailoverMode::Never),
            after: None
        }
    );
    assert_eq!(asked.request.priority, 100);
    assert_eq!(
        asked.request.topology.unwrap().relax_after_ms,
        Some(600_000)
    );
    assert!(
        asked.spec.wants.ends_with("2×8 gpu, one rack"),
        "{}",
        asked.spec.wants
    );
    assert!(asked.request.kinds.contains("v1/Secret"));
    assert!(asked.finished, "by its own status");
}

#[test]
fn what_has_no_pods_goes_everywhere() {
    let map = raw(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "shop"}}),
    );
    let asked = World::new(json!({"strategy": "Gang"})).ask(&map, &known::CONFIG_MAP);
    assert_eq!(asked.request.strategy, Strategy::Duplicate);
    assert!(asked.request.pod_sets.is_empty() && !asked.scalable);
}

#[test]
fn queues() {
    let team = |team: &str| Some(LabelSelector::label("team", team));
    let cases: [(&str, Value, &str, Option<Reason>); 8] = [
        ("", json!({}), "shop-queue", None),
        ("", json!({"queue": "open"}), "open", None),
        (
            "",
            json!({"queue": "no-such-queue"}),
            "no-such-queue",
            Some(Reason::UnknownQueue),
        ),
        ("open", json!({"queue": "no-such-queue"}), "open", None),
        ("broken", json!({}), "broken", Some(Reason::UnknownQueue)),
        ("default", json!({}), "default", None),
        ("nope", json!({}), "nope", Some(Reason::UnknownQueue)),
        (
            "ml-queue",
            json!({}),
            "ml-queue",
            Some(Reason::QueueNotAllowed),
        ),
    ];
    for (label, placement, queue, blocked) in cases {
        let mut world = World::new(placement);
        world.queues = [
            ("a-broken-one".to_owned(), team("shop")),
            ("broken".to_owned(), None),
            ("ml-queue".to_owned(), team("ml")),
            ("open".to_owned(), None),
            ("shop-queue".to_owned(), team("shop")),
        ]
        .into();
        world.unusable = ["a-broken-one", "broken"]
            .map(|name| (name.to_owned(), "spec.parent: …".to_owned()))
            .into();
        let labels = if label.is_empty() {
            json!({})
        } else {
            json!({QUEUE_LABEL: label})
        };
        let asked = world.deployment(&deployment(1, labels, pod()));
        let found = asked.request.blocked.map(|(reason, _)| reason);
        assert_eq!(
            (asked.spec.queue.as_str(), found),
            (queue, blocked),
            "{label:?}"
        );
    }
}

#[test]
fn failover_as_written_or_by_kind() {
    let mut claims = pod();
    claims["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    for (placement, pod, mode, after) in [
        (json!({}), pod(), FailoverMode::Overlap, Some("5m")),
        (json!({}), claims.clone(), FailoverMode::Never, None),
        (
            json!({"failover": {"after": "3s"}}),
            pod(),
            FailoverMode::Overlap,
            Some("3s"),
        ),
        (
            json!({"failover": {"mode": "Never", "after": "3s"}}),
            pod(),
            FailoverMode::Never,
            None,
        ),
        (
            json!({"failover": {"mode": "Fenced"}}),
            pod(),
            FailoverMode::Fenced,
            Some("15m"),
        ),
        (
            json!({"failover": {"mode": "Overlap"}}),
            claims,
            FailoverMode::Overlap,
            Some("5m"),
        ),
    ] {
        let asked = World::new(placement.clone()).deployment(&deployment(1, json!({}), pod));
        assert_eq!(
            (
                asked.spec.failover.mode,
                asked.spec.failover.after.as_deref()
            ),
            (Some(mode), after),
            "{placement}"
        );
    }
}

#[test]
fn an_unreadable_object_names_its_field() {
    let object = deployment(
        1,
        json!({}),
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "a lot"}}}]}),
    );
    let profile = Profile::builtin("apps", "Deployment").unwrap();
    let around = Surroundings {
        profile: &profile,
        placement: None,
        queues: &BTreeMap::new(),
        unusable: &BTreeMap::new(),
        priorities: &BTreeMap::new(),
        namespace: &Labels::new(),
        claims: Claims::NONE,
    };
    let error = ask(&object, &known::DEPLOYMENT, &around).unwrap_err();
    assert!(error.to_string().contains("template"), "{error}");
}

#[test]
fn wants_in_words() {
    let set = |name: &str, count: u32, gpus: i64| PodSet {
        name: name.to_owned(),
        count,
        pod: placement_api::demand::PodDemand::of(if gpus == 0 {
            BTreeMap::new()
        } else {
            [("nvidia.com/gpu".to_owned(), Quantity::from_units(gpus))].into()
        }),
        ..PodSet::default()
    };
    let shape = |sets: Vec<PodSet>, divisible: bool| WorkloadShape {
        pod_sets: sets,
        divisible,
        ..WorkloadShape::default()
    };
    let rack = |mode| Closeness {
        level: "topology.kubernetes.io/rack".to_owned(),
        mode,
        relax_after_ms: None,
    };
    for (shape, strategy, topology, expected) in [
        (
            shape(vec![set("main", 6, 0)], true),
            Strategy::Divide,
            None,
            "6 replicas",
        ),
        (
            shape(vec![set("main", 1, 0)], true),
            Strategy::Divide,
            None,
            "1 replica",
        ),
        (
            shape(vec![set("main", 6, 1)], true),
            Strategy::Divide,
            None,
            "6 replicas × 1 gpu",
        ),
        (
            shape(vec![set("main", 2, 8)], false),
            Strategy::Gang,
            Some(rack(TopologyMode::Required)),
            "2×8 gpu, one rack",
        ),
        (
            shape(vec![set("main", 4, 1)], false),
            Strategy::Gang,
            Some(rack(TopologyMode::Preferred)),
            "4 gpu, one rack if it can be",
        ),
        (
            shape(vec![set("main", 3, 0)], false),
            Strategy::Duplicate,
            None,
            "3 pods in each target",
        ),
        (
            shape(vec![set("launcher", 1, 0), set("worker", 4, 8)], false),
            Strategy::Gang,
            None,
            "launcher 1 pod + worker 4×8 gpu",
        ),
        (
            shape(vec![], false),
            Strategy::Duplicate,
            None,
            "one copy per target",
        ),
    ] {
        assert_eq!(wants(&shape, strategy, topology.as_ref()), expected);
    }
}

#[test]
fn levels_in_words() {
    for (level, word) in [
        ("topology.kubernetes.io/rack", "rack"),
        ("nvidia.com/gpu.clique", "clique"),
        ("kubernetes.io/hostname", "node"),
        ("rack", "rack"),
    ] {
        assert_eq!(level_word(level), word);
    }
}

fn with_claim(source: &str, name: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"claims": [{"name": "gpu"}]}}], "resourceClaims": [{"name": "gpu", source: name}]})
}

fn exactly(class: &str, fields: &Value) -> Value {
    let mut exactly = json!({"deviceClassName": class});
    exactly
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    json!({"devices": {"requests": [{"name": "r", "exactly": exactly}]}})
}

#[test]
fn claims_are_read_from_their_templates() {
    let mut world = World::new(json!({}));
    let object = deployment(
        2,
        json!({}),
        with_claim("resourceClaimTemplateName", "two-gpus"),
    );
    let asked = world.deployment(&object);
    let (reason, message) = asked.request.blocked.expect("the template is not there");
    assert_eq!(reason, Reason::Impossible);
    assert_eq!(message, "its ResourceClaimTemplate two-gpus is not there");
    assert!(
        asked
            .dependencies
            .iter()
            .any(|one| one.kind == "ResourceClaimTemplate"),
        "it is looked at again when it comes"
    );
    let template = json!({"spec": {"spec": exactly("gpu.nvidia.com", &json!({"count": 2}))}});
    world
        .claims
        .insert("ResourceClaimTemplate/two-gpus".to_owned(), template);
    let asked = world.deployment(&object);
    assert_eq!(asked.request.blocked, None);
    let set = &asked.request.pod_sets[0];
    assert_eq!(
        (
            set.claims.len(),
            set.requests
                .get("gpu.nvidia.com.deviceclass.resource.k8s.io/devices")
        ),
        (1, 2)
    );
    assert_eq!(asked.request.strategy, Strategy::Divide);
    assert!(
        asked
            .request
            .kinds
            .contains("resource.k8s.io/v1/ResourceClaimTemplate")
    );
    assert_eq!(asked.spec.wants, "2 replicas × 2 gpu.nvidia.com");
}

#[test]
fn who_shares_a_claim_is_on_one_node() {
    let mut world = World::new(json!({"topology": {"level": "rack", "mode": "Preferred"}}));
    world.claims.insert(
        "ResourceClaim/one".to_owned(),
        json!({"spec": exactly("gpu", &json!({}))}),
    );
    let asked = world.deployment(&deployment(
        3,
        json!({}),
        with_claim("resourceClaimName", "one"),
    ));
    let topology = asked.request.topology.expect("a topology");
    assert_eq!(
        (topology.level.as_str(), topology.mode),
        ("kubernetes.io/hostname", TopologyMode::Required)
    );
    assert_eq!(asked.request.strategy, Strategy::Gang);
    let set = &asked.request.pod_sets[0];
    assert_eq!(set.claims[0].shared.as_deref(), Some("shop/one"));
    assert_eq!(
        set.requests.get("gpu.deviceclass.resource.k8s.io/devices"),
        0,
        "not each of them"
    );
}

#[test]
fn what_cannot_be_told_of_claims_waits_with_its_name() {
    for (spec, message) in [
        (
            exactly("gpu", &json!({"adminAccess": true})),
            "ResourceClaimTemplate t: devices.requests[0].exactly.adminAccess: access to devices of others is not supported",
        ),
        (
            exactly(
                "gpu",
                &json!({"selectors": [{"cel": {"expression": "device.attributes['d'].name.split('-')[0] == 'a'"}}]}),
            ),
            "ResourceClaimTemplate t: the selector \"device.attributes['d'].name.split('-')[0] == 'a'\" cannot be evaluated: function \"split\" is not supported",
        ),
    ] {
        let mut world = World::new(json!({}));
        world.claims.insert(
            "ResourceClaimTemplate/t".to_owned(),
            json!({"spec": {"spec": spec}}),
        );
        let asked = world.deployment(&deployment(
            1,
            json!({}),
            with_claim("resourceClaimTemplateName", "t"),
        ));
        assert_eq!(
            asked.request.blocked,
            Some((Reason::Impossible, message.to_owned()))
        );
    }
}
