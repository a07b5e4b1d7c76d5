//! A compiled KindProfile.

use std::collections::BTreeSet;

use serde_json::Value;

use super::dependency::Dependencies;
use super::expression::{Expression, Scope};
use super::health::{self, Health, HealthState};
use super::spec::{self, DeclaredPods, ProfileFields};
use super::{PodSet, ProfileError, WorkloadShape, pointer, shape};
use crate::demand::PodDemand;
use crate::quantity::ResourceList;

/// A compiled KindProfile.
#[derive(Clone, Debug)]
pub(crate) struct Custom {
    pods: Vec<Pods>,
    dependencies: Vec<Named>,
    replicas: Option<String>,
    suspend: Option<String>,
    healthy: Option<Expression>,
    finished: Option<Expression>,
    succeeded: Option<Expression>,
    status: Vec<String>,
    stateless: bool,
}

#[derive(Clone, Debug)]
struct Pods {
    name: String,
    count: Option<Expression>,
    min_count: Option<Expression>,
    /// Requests, and limits where a request is missing.
    requests: ResourceList,
    template: Option<String>,
}

#[derive(Clone, Debug)]
struct Named {
    group: String,
    kind: String,
    name: Expression,
    optional: bool,
}

impl Custom {
    pub(crate) fn compile(spec: &ProfileFields) -> Result<Self, ProfileError> {
        if spec.kind.is_empty() {
            return Err(ProfileError::profile("spec.kind", "a kind is missing"));
        }
        for (field, path) in [
            ("spec.replicas", &spec.replicas),
            ("spec.suspend", &spec.suspend),
        ] {
            check_pointer(field, path.as_deref())?;
        }
        for (index, path) in spec.status.iter().enumerate() {
            check_pointer(&format!("spec.status[{index}]"), Some(path))?;
        }
        let optional = |field: &str, source: &Option<String>| {
            let source = source.as_deref();
            source
                .map(|source| Expression::compile(field, source))
                .transpose()
        };
        let mut names = BTreeSet::new();
        let mut pods = Vec::new();
        for (index, declared) in spec.demand.iter().enumerate() {
            let field = format!("spec.demand[{index}]");
            if declared.name.is_empty() || !names.insert(&declared.name) {
                let message = format!("{:?} is empty or the name of another role", declared.name);
                return Err(ProfileError::profile(format!("{field}.name"), message));
            }
            check_pointer(&format!("{field}.template"), declared.template.as_deref())?;
            pods.push(Pods {
                name: declared.name.clone(),
                count: optional(&format!("{field}.count"), &declared.count)?,
                min_count: optional(&format!("{field}.minCount"), &declared.min_count)?,
                requests: requests(&field, declared)?,
                template: declared.template.clone(),
            });
        }
        let mut dependencies = Vec::new();
        for (index, declared) in spec.dependencies.iter().enumerate() {
            let field = format!("spec.dependencies[{index}]");
            if declared.kind.is_empty() {
                return Err(ProfileError::profile(
                    format!("{field}.kind"),
                    "a kind is missing",
                ));
            }
            dependencies.push(Named {
                group: declared.group.clone(),
                kind: declared.kind.clone(),
                name: Expression::compile(&format!("{field}.name"), &declared.name)?,
                optional: declared.optional,
            });
        }
        Ok(Self {
            pods,
            dependencies,
            replicas: spec.replicas.clone(),
            suspend: spec.suspend.clone(),
            healthy: optional("spec.healthy", &spec.healthy)?,
            finished: optional("spec.finished", &spec.finished)?,
            succeeded: optional("spec.succeeded", &spec.succeeded)?,
            status: spec.status.clone(),
            stateless: spec.stateless,
        })
    }

    pub(crate) fn has_pods(&self) -> bool {
        !self.pods.is_empty()
    }

    pub(crate) fn shape(&self, object: &Value) -> Result<WorkloadShape, ProfileError> {
        let scope = Scope::new(object);
        let mut found = Dependencies::default();
        let mut pod_sets = Vec::new();
        for pods in &self.pods {
            let pod = match &pods.template {
                Some(path) => {
                    let (template, mut pod) = shape::template(object, path)?;
                    found.add_template(template);
                    pod.requests.extend(pods.requests.clone());
                    pod
                }
                None => PodDemand::of(pods.requests.clone()),
            };
            pod_sets.push(PodSet {
                name: pods.name.clone(),
                count: self.count(pods, object, &scope)?,
                min_count: pods
                    .min_count
                    .as_ref()
                    .map(|least| least.count(&scope))
                    .transpose()?,
                pod,
                template_path: pods.template.clone(),
            });
        }
        for named in &self.dependencies {
            for name in named.name.names(&scope)? {
                found.add(&named.group, &named.kind, &name, named.optional);
            }
        }
        let suspended = |path: &String| pointer::is_true(object, path);
        Ok(WorkloadShape {
            divisible: self.replicas.is_some() && pod_sets.len() == 1,
            pod_sets,
            suspended: self.suspend.as_ref().is_some_and(suspended),
            dependencies: found.into_vec(),
            replicas_path: self.replicas.clone(),
            stateless: self.stateless,
        })
    }

    pub(crate) fn health(&self, object: &Value) -> Health {
        let scope = Scope::new(object);
        self.judge(object, &scope).unwrap_or_else(|error| Health {
            state: HealthState::Unknown,
            message: error.to_string(),
        })
    }

    pub(crate) fn status_paths(&self) -> Vec<String> {
        if self.status.is_empty() {
            vec![spec::STATUS.to_owned()]
        } else {
            self.status.clone()
        }
    }

    pub(crate) fn set_replicas(&self, object: &mut Value, replicas: u32) {
        if let Some(path) = &self.replicas {
            pointer::set(object, path, replicas.into());
        }
    }

    fn count(&self, pods: &Pods, object: &Value, scope: &Scope) -> Result<u32, ProfileError> {
        match (&pods.count, &self.replicas) {
            (Some(count), _) => count.count(scope),
            (None, Some(path)) => pointer::count(object, path, 1),
            (None, None) => Ok(1),
        }
    }

    fn judge(&self, object: &Value, scope: &Scope) -> Result<Health, ProfileError> {
        let healthy = || {
            let healthy = self.healthy.as_ref();
            healthy.map(|healthy| healthy.holds(scope)).transpose()
        };
        let message = health::message(object);
        if let Some(finished) = &self.finished
            && finished.holds(scope)?
        {
            let succeeded = match &self.succeeded {
                Some(succeeded) => succeeded.holds(scope)?,
                None => match healthy()? {
                    Some(healthy) => healthy,
                    None => health::generic(object).state != HealthState::Failed,
                },
            };
            let state = HealthState::Finished { succeeded };
            return Ok(Health { state, message });
        }
        Ok(match healthy()? {
            Some(true) => Health::healthy(),
            Some(false) if message.is_empty() => Health::progressing("not healthy yet"),
            Some(false) => Health::progressing(message),
            None => health::generic(object),
        })
    }
}

fn requests(field: &str, declared: &DeclaredPods) -> Result<ResourceList, ProfileError> {
    for (list, amounts) in [
        ("requests", &declared.requests),
        ("limits", &declared.limits),
    ] {
        if let Some((name, _)) = amounts.iter().find(|(_, amount)| amount.is_negative()) {
            let field = format!("{field}.{list}[{name}]");
            return Err(ProfileError::profile(field, "an amount below zero"));
        }
    }
    let mut requests = declared.limits.clone();
    requests.extend(declared.requests.clone());
    Ok(requests)
}

fn check_pointer(field: &str, path: Option<&str>) -> Result<(), ProfileError> {
    match path {
        Some(path) if !pointer::is_valid(path) => {
            let message = format!("{path:?} is not a JSON pointer such as /spec/replicas");
            Err(ProfileError::profile(field, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Profile;
    use super::*;

    fn fields(json: Value) -> ProfileFields {
        serde_json::from_value(json).expect("fields")
    }

    fn profile(json: Value) -> Profile {
        Profile::from_spec(&fields(json)).expect("profile")
    }

    /// The example of `objects.yaml`.
    fn model() -> Profile {
        profile(json!({
            "group": "training.faros.sh", "kind": "Model",
            "demand": [{"name": "trainer", "count": "object.spec.nProcPerNode", "requests": {"nvidia.com/gpu": "1", "cpu": "4", "memory": "32Gi"}}],
            "dependencies": [{"kind": "ConfigMap", "name": "object.spec.script"}],
            "suspend": "/spec/suspend",
            "healthy": "object.status.phase in ['Running', 'Succeeded']",
            "finished": "object.status.phase in ['Succeeded', 'Failed']",
            "status": ["/status"]}))
    }

    #[test]
    fn reads_the_model_of_the_talk() {
        let object = json!({"spec": {"nProcPerNode": 8, "script": "train-llama", "suspend": true}});
        let shape = model().shape(&object).expect("shape");
        let [set] = shape.pod_sets.as_slice() else {
            panic!("one set")
        };
        assert_eq!(
            (set.name.as_str(), set.count, set.min_count),
            ("trainer", 8, None)
        );
        assert_eq!(set.pod.requests["nvidia.com/gpu"].value(), 1);
        assert_eq!(set.template_path, None);
        assert_eq!(shape.dependencies[0].name, "train-llama");
        assert!(shape.suspended && !shape.divisible && !shape.stateless);
        assert!(model().has_pods());
        assert_eq!(model().status_paths(), ["/status"]);
        let error = model()
            .shape(&json!({"spec": {}}))
            .expect_err("no count")
            .to_string();
        assert_eq!(
            error,
            "spec.demand[0].count: the object has no field \"nProcPerNode\""
        );
    }

    #[test]
    fn judges_the_model_of_the_talk() {
        for (status, state) in [
            (json!(null), HealthState::Progressing),
            (json!({"phase": "Pending"}), HealthState::Progressing),
            (json!({"phase": "Running"}), HealthState::Healthy),
            (
                json!({"phase": "Succeeded"}),
                HealthState::Finished { succeeded: true },
            ),
            (
                json!({"phase": "Failed"}),
                HealthState::Finished { succeeded: false },
            ),
        ] {
            let object = json!({"spec": {}, "status": status});
            assert_eq!(model().health(&object).state, state, "{status}");
        }
        assert_eq!(
            model().health(&json!({"spec": {}})).state,
            HealthState::Progressing
        );
    }

    #[test]
    fn the_agent_judges_alike() {
        let written = fields(
            json!({"kind": "Model", "healthy": "object.status.ok", "finished": "object.status.done", "succeeded": "object.status.good"}),
        );
        let interpretation = (&written).into();
        let agent = Profile::for_agent("g", "Model", Some(&interpretation)).expect("profile");
        let object = json!({"status": {"ok": false, "done": true, "good": true}});
        assert_eq!(
            agent.health(&object).state,
            HealthState::Finished { succeeded: true }
        );
        assert_eq!(
            agent.health(&json!({"status": {"ok": 3}})).state,
            HealthState::Unknown
        );
        let job = Profile::for_agent("batch", "Job", None).expect("profile");
        assert!(job.has_pods());
    }

    #[test]
    fn templates_replicas_and_lists() {
        let server = profile(json!({
            "group": "x", "kind": "Server", "replicas": "/spec/size", "stateless": true,
            "demand": [{"name": "web", "template": "/spec/pod", "minCount": "1", "limits": {"nvidia.com/gpu": 1}}],
            "dependencies": [{"kind": "Secret", "name": "object.spec.secrets", "optional": true}]}));
        let mut object = json!({"spec": {"size": 3, "secrets": ["a", "b"], "pod": {"spec": {
            "containers": [{"envFrom": [{"configMapRef": {"name": "env"}}], "resources": {"requests": {"cpu": 1}}}]}}}});
        let shape = server.shape(&object).expect("shape");
        assert_eq!(
            (shape.pod_sets[0].count, shape.pod_sets[0].min_count),
            (3, Some(1))
        );
        assert_eq!(shape.pod_sets[0].pod.requests.len(), 2);
        assert_eq!(
            shape.pod_sets[0].template_path.as_deref(),
            Some("/spec/pod")
        );
        let names: Vec<_> = shape
            .dependencies
            .iter()
            .map(|d| (d.name.as_str(), d.optional))
            .collect();
        assert_eq!(names, [("env", false), ("a", true), ("b", true)]);
        assert!(shape.divisible && shape.stateless);
        server.set_replicas(&mut object, 1);
        assert_eq!(object["spec"]["size"], 1);
    }

    #[test]
    fn errors_name_the_field() {
        for (spec, message) in [
            (json!({"kind": ""}), "spec.kind: a kind is missing"),
            (
                json!({"kind": "K", "healthy": "object.("}),
                "spec.healthy: ",
            ),
            (
                json!({"kind": "K", "finished": "x"}),
                "spec.finished: unknown variable \"x\"",
            ),
            (
                json!({"kind": "K", "replicas": "spec.n"}),
                "spec.replicas: \"spec.n\" is not a JSON pointer",
            ),
            (
                json!({"kind": "K", "status": ["/status", ""]}),
                "spec.status[1]: \"\" is not a JSON pointer",
            ),
            (
                json!({"kind": "K", "demand": [{"name": "a"}, {"name": "a"}]}),
                "spec.demand[1].name: \"a\" is",
            ),
            (
                json!({"kind": "K", "demand": [{"name": "a", "count": "1 +"}]}),
                "spec.demand[0].count: ",
            ),
            (
                json!({"kind": "K", "demand": [{"name": "a", "requests": {"cpu": "-1"}}]}),
                "spec.demand[0].requests[cpu]: ",
            ),
            (
                json!({"kind": "K", "dependencies": [{"kind": "ConfigMap", "name": ""}]}),
                "spec.dependencies[0].name: ",
            ),
        ] {
            let error = Profile::from_spec(&fields(spec))
                .expect_err(message)
                .to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
