//! Which pods the built-in kinds ask for.

use serde_json::Value;

use super::dependency::{Dependencies, Dependency};
use super::{Builtin, ProfileError, pointer};
use crate::demand::PodDemand;

/// Pods of one role of a workload; all of one shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSet {
    /// Name of the role, unique in the workload.
    pub name: String,
    /// Pods.
    pub count: u32,
    /// Pods from which on it may run; absent: all.
    pub min_count: Option<u32>,
    /// What one pod asks.
    pub pod: PodDemand,
    /// JSON pointer to the pod template in the object; absent: it has none.
    pub template_path: Option<String>,
}

/// What the planner needs to know of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkloadShape {
    /// Pods, by role.
    pub pod_sets: Vec<PodSet>,
    /// The user suspended it: it asks for nothing now.
    pub suspended: bool,
    /// Objects that it names, each once.
    pub dependencies: Vec<Dependency>,
    /// JSON pointer to the number of replicas, where the object has one.
    pub replicas_path: Option<String>,
    /// Its replicas may run in several targets.
    pub divisible: bool,
    /// Two copies may run for a while: a Deployment without volume claims.
    pub stateless: bool,
}

const REPLICAS: &str = "/spec/replicas";
const TEMPLATE: &str = "/spec/template";
const PARALLELISM: &str = "/parallelism";
const COMPLETIONS: &str = "/completions";

/// Collects pod sets and what their templates name.
struct Builder<'a> {
    object: &'a Value,
    shape: WorkloadShape,
    dependencies: Dependencies,
}

/// Reads an object of a built-in kind.
pub(crate) fn of_builtin(builtin: Builtin, object: &Value) -> Result<WorkloadShape, ProfileError> {
    let mut builder = Builder {
        object,
        shape: WorkloadShape::default(),
        dependencies: Dependencies::default(),
    };
    match builtin {
        Builtin::Deployment => builder.deployment()?,
        Builtin::StatefulSet => builder.stateful_set()?,
        Builtin::Job => builder.job()?,
        Builtin::JobSet => builder.job_set()?,
        Builtin::LeaderWorkerSet => builder.leader_worker_set()?,
        Builtin::Training { roles } => builder.training(roles)?,
        Builtin::Claim | Builtin::Plain => {}
    }
    builder.shape.dependencies = builder.dependencies.into_vec();
    Ok(builder.shape)
}

/// Writes a target's share into its copy.
pub(crate) fn set_replicas(builtin: Builtin, object: &mut Value, replicas: u32) {
    match builtin {
        Builtin::Deployment | Builtin::StatefulSet | Builtin::LeaderWorkerSet => {
            pointer::set(object, REPLICAS, replicas.into());
        }
        Builtin::Job => {
            let parallelism = pointer::at(object, "/spec/parallelism").and_then(Value::as_u64);
            let completions = pointer::at(object, "/spec/completions").and_then(Value::as_u64);
            // Where every pod is to complete, a share of the pods is a share of the completions.
            if completions.is_some() && completions == parallelism.or(Some(1)) {
                pointer::set(object, "/spec/completions", replicas.into());
            }
            pointer::set(object, "/spec/parallelism", replicas.into());
        }
        Builtin::JobSet | Builtin::Training { .. } | Builtin::Claim | Builtin::Plain => {}
    }
}

/// Reads the pod template at a pointer.
pub(crate) fn template<'a>(
    object: &'a Value,
    path: &str,
) -> Result<(&'a Value, PodDemand), ProfileError> {
    let template = pointer::at(object, path)
        .ok_or_else(|| ProfileError::object(path, "the pod template is missing"))?;
    let demand = PodDemand::from_template(template).map_err(|source| ProfileError::Template {
        field: path.to_owned(),
        source,
    })?;
    Ok((template, demand))
}

impl Builder<'_> {
    fn deployment(&mut self) -> Result<(), ProfileError> {
        let replicas = pointer::count(self.object, REPLICAS, 1)?;
        self.pods("pods", replicas, TEMPLATE.to_owned())?;
        self.shape.replicas_path = Some(REPLICAS.to_owned());
        self.shape.divisible = true;
        let volumes = pointer::list(self.object, "/spec/template/spec/volumes");
        self.shape.stateless = volumes
            .iter()
            .all(|volume| pointer::at(volume, "/persistentVolumeClaim").is_none());
        Ok(())
    }

    fn stateful_set(&mut self) -> Result<(), ProfileError> {
        let replicas = pointer::count(self.object, REPLICAS, 1)?;
        self.pods("pods", replicas, TEMPLATE.to_owned())?;
        self.shape.replicas_path = Some(REPLICAS.to_owned());
        let service = pointer::text(self.object, "/spec/serviceName");
        self.dependencies.add("", "Service", service, true);
        Ok(())
    }

    fn job(&mut self) -> Result<(), ProfileError> {
        let pods = job_pods(self.object, "/spec")?;
        self.pods("pods", pods, TEMPLATE.to_owned())?;
        self.shape.replicas_path = Some("/spec/parallelism".to_owned());
        self.shape.suspended = pointer::is_true(self.object, "/spec/suspend");
        // An index exists once, and completions that are shared by few pods cannot be cut in parts beforehand.
        let indexed = pointer::text(self.object, "/spec/completionMode") == "Indexed";
        let completions = pointer::at(self.object, "/spec/completions").and_then(Value::as_u64);
        let parallelism = pointer::count(self.object, "/spec/parallelism", 1)?;
        self.shape.divisible =
            !indexed && completions.is_none_or(|all| all == u64::from(parallelism));
        Ok(())
    }

    fn job_set(&mut self) -> Result<(), ProfileError> {
        self.shape.suspended = pointer::is_true(self.object, "/spec/suspend");
        let jobs = pointer::list(self.object, "/spec/replicatedJobs");
        for (index, job) in jobs.iter().enumerate() {
            let path = format!("/spec/replicatedJobs/{index}");
            let replicas = pointer::count(self.object, &format!("{path}/replicas"), 1)?;
            let pods = job_pods(self.object, &format!("{path}/template/spec"))?;
            let name = match pointer::text(job, "/name") {
                "" => format!("job-{index}"),
                name => name.to_owned(),
            };
            let template = format!("{path}/template/spec/template");
            self.pods(&name, replicas.saturating_mul(pods), template)?;
        }
        Ok(())
    }

    fn leader_worker_set(&mut self) -> Result<(), ProfileError> {
        let groups = pointer::count(self.object, REPLICAS, 1)?;
        let size = pointer::count(self.object, "/spec/leaderWorkerTemplate/size", 1)?;
        let leader = "/spec/leaderWorkerTemplate/leaderTemplate";
        let worker = "/spec/leaderWorkerTemplate/workerTemplate".to_owned();
        self.shape.replicas_path = Some(REPLICAS.to_owned());
        if pointer::at(self.object, leader).is_none() {
            return self.pods("worker", groups.saturating_mul(size), worker);
        }
        self.pods("leader", groups, leader.to_owned())?;
        self.pods(
            "worker",
            groups.saturating_mul(size.saturating_sub(1)),
            worker,
        )
    }

    fn training(&mut self, roles: &str) -> Result<(), ProfileError> {
        self.shape.suspended = pointer::is_true(self.object, "/spec/runPolicy/suspend");
        let Some(map) = pointer::at(self.object, roles).and_then(Value::as_object) else {
            return Err(ProfileError::object(roles, "the roles are missing"));
        };
        for role in map.keys() {
            let path = format!("{roles}/{role}");
            let replicas = pointer::count(self.object, &format!("{path}/replicas"), 1)?;
            self.pods(&role.to_lowercase(), replicas, format!("{path}/template"))?;
        }
        Ok(())
    }

    fn pods(&mut self, name: &str, count: u32, path: String) -> Result<(), ProfileError> {
        let (template, pod) = template(self.object, &path)?;
        self.dependencies.add_template(template);
        self.shape.pod_sets.push(PodSet {
            name: name.to_owned(),
            count,
            min_count: None,
            pod,
            template_path: Some(path),
        });
        Ok(())
    }
}

/// Pods of a Job that run at once.
fn job_pods(object: &Value, spec: &str) -> Result<u32, ProfileError> {
    let parallelism = pointer::count(object, &format!("{spec}{PARALLELISM}"), 1)?;
    let completions = pointer::count(object, &format!("{spec}{COMPLETIONS}"), u32::MAX)?;
    Ok(parallelism.min(completions))
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "json! literals read better by value"
)]
mod tests {
    use serde_json::json;

    use super::super::Profile;
    use super::*;

    fn pod(cpu: &str) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}})
    }

    fn shape(group: &str, kind: &str, object: Value) -> WorkloadShape {
        let profile = Profile::builtin(group, kind).expect("built in");
        profile.shape(&object).expect("shape")
    }

    /// `name×count@template` of every pod set.
    fn sets(shape: &WorkloadShape) -> Vec<String> {
        let text = |set: &PodSet| {
            let path = set.template_path.as_deref().unwrap_or_default();
            format!(
                "{}×{} {}@{path}",
                set.name, set.count, set.pod.requests["cpu"]
            )
        };
        shape.pod_sets.iter().map(text).collect()
    }

    #[test]
    fn built_in_kinds() {
        for (group, kind, spec, expected) in [
            (
                "apps",
                "Deployment",
                json!({"template": pod("1")}),
                vec!["pods×1 1@/spec/template"],
            ),
            (
                "apps",
                "Deployment",
                json!({"replicas": 0, "template": pod("1")}),
                vec!["pods×0 1@/spec/template"],
            ),
            (
                "apps",
                "StatefulSet",
                json!({"replicas": 3, "template": pod("1")}),
                vec!["pods×3 1@/spec/template"],
            ),
            (
                "batch",
                "Job",
                json!({"template": pod("1")}),
                vec!["pods×1 1@/spec/template"],
            ),
            (
                "batch",
                "Job",
                json!({"parallelism": 8, "completions": 3, "template": pod("1")}),
                vec!["pods×3 1@/spec/template"],
            ),
            (
                "jobset.x-k8s.io",
                "JobSet",
                json!({"replicatedJobs": [
                    {"name": "driver", "template": {"spec": {"template": pod("1")}}},
                    {"name": "workers", "replicas": 2, "template": {"spec": {"parallelism": 4, "completions": 4, "template": pod("8")}}}]}),
                vec![
                    "driver×1 1@/spec/replicatedJobs/0/template/spec/template",
                    "workers×8 8@/spec/replicatedJobs/1/template/spec/template",
                ],
            ),
            (
                "leaderworkerset.x-k8s.io",
                "LeaderWorkerSet",
                json!({"replicas": 2, "leaderWorkerTemplate": {"size": 4, "leaderTemplate": pod("1"), "workerTemplate": pod("8")}}),
                vec![
                    "leader×2 1@/spec/leaderWorkerTemplate/leaderTemplate",
                    "worker×6 8@/spec/leaderWorkerTemplate/workerTemplate",
                ],
            ),
            (
                "leaderworkerset.x-k8s.io",
                "LeaderWorkerSet",
                json!({"replicas": 2, "leaderWorkerTemplate": {"size": 4, "workerTemplate": pod("8")}}),
                vec!["worker×8 8@/spec/leaderWorkerTemplate/workerTemplate"],
            ),
            (
                "kubeflow.org",
                "PyTorchJob",
                json!({"pytorchReplicaSpecs": {"Master": {"template": pod("1")}, "Worker": {"replicas": 3, "template": pod("8")}}}),
                vec![
                    "master×1 1@/spec/pytorchReplicaSpecs/Master/template",
                    "worker×3 8@/spec/pytorchReplicaSpecs/Worker/template",
                ],
            ),
        ] {
            let object = json!({"spec": spec});
            assert_eq!(sets(&shape(group, kind, object)), expected, "{kind}");
        }
    }

    #[test]
    fn not_placed() {
        for (group, kind) in [
            ("apps", "DaemonSet"),
            ("apps", "ReplicaSet"),
            ("", "Pod"),
            ("batch", "CronJob"),
            ("x", "Job"),
        ] {
            assert!(Profile::builtin(group, kind).is_none(), "{kind}");
        }
    }

    #[test]
    fn properties() {
        let deployment = |volumes: Value| json!({"spec": {"template": {"spec": {"containers": [], "volumes": volumes}}}});
        let plain = shape(
            "apps",
            "Deployment",
            deployment(json!([{"configMap": {"name": "web"}}])),
        );
        assert!(plain.divisible && plain.stateless && !plain.suspended);
        assert_eq!(plain.dependencies[0].name, "web");
        let claimed = shape(
            "apps",
            "Deployment",
            deployment(json!([{"persistentVolumeClaim": {"claimName": "d"}}])),
        );
        assert!(claimed.divisible && !claimed.stateless);

        let set = shape(
            "apps",
            "StatefulSet",
            json!({"spec": {"serviceName": "db", "template": pod("1")}}),
        );
        assert!(!set.divisible && !set.stateless);
        assert_eq!(
            (
                set.dependencies[0].kind.as_str(),
                set.dependencies[0].name.as_str()
            ),
            ("Service", "db")
        );

        let job = |spec: Value| shape("batch", "Job", json!({"spec": spec}));
        assert!(job(json!({"suspend": true, "template": pod("1")})).suspended);
        assert!(job(json!({"parallelism": 4, "template": pod("1")})).divisible);
        assert!(job(json!({"parallelism": 4, "completions": 4, "template": pod("1")})).divisible);
        assert!(!job(json!({"parallelism": 4, "completions": 9, "template": pod("1")})).divisible);
        assert!(!job(json!({"parallelism": 4, "completions": 4, "completionMode": "Indexed", "template": pod("1")})).divisible);
    }

    #[test]
    fn errors_name_the_field() {
        for (kind, spec, message) in [
            (
                "Deployment",
                json!({}),
                "/spec/template: the pod template is missing",
            ),
            (
                "Deployment",
                json!({"replicas": -1, "template": pod("1")}),
                "/spec/replicas: -1 is not a count",
            ),
            (
                "StatefulSet",
                json!({"template": {}}),
                "/spec/template: not a pod template: spec is missing",
            ),
        ] {
            let profile = Profile::builtin("apps", kind).expect("built in");
            let error = profile.shape(&json!({"spec": spec})).expect_err(kind);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn shares_of_replicas() {
        for (kind, spec, expected) in [
            ("Deployment", json!({}), json!({"replicas": 2})),
            (
                "StatefulSet",
                json!({"replicas": 5}),
                json!({"replicas": 2}),
            ),
            ("Job", json!({"parallelism": 5}), json!({"parallelism": 2})),
            (
                "Job",
                json!({"parallelism": 5, "completions": 5}),
                json!({"parallelism": 2, "completions": 2}),
            ),
            (
                "Job",
                json!({"parallelism": 5, "completions": 5, "completionMode": "Indexed"}),
                json!({"parallelism": 2, "completions": 2, "completionMode": "Indexed"}),
            ),
            (
                "Job",
                json!({"parallelism": 5, "completions": 9}),
                json!({"parallelism": 2, "completions": 9}),
            ),
        ] {
            let group = if kind == "Job" { "batch" } else { "apps" };
            let mut object = json!({"spec": spec});
            Profile::builtin(group, kind)
                .expect("built in")
                .set_replicas(&mut object, 2);
            assert_eq!(object, json!({"spec": expected}), "{kind}");
        }
    }
}
