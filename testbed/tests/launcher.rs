//! The launcher on real control planes: what it starts works, comes back after faults, and leaves no process behind, however
//! its own processes end.
#![expect(
    clippy::unwrap_used,
    reason = "a test; its helpers are outside of #[test]"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use testbed::{
    cluster::{Cluster, Component, set_child_exec},
    fleet::{Fleet, FleetSpec},
};

const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

/// How long anything here may take on a machine that does much else.
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn a_fleet_runs_pods_survives_a_killed_api_server_and_leaves_nothing() {
    set_child_exec(TESTBED);
    let fleet = Fleet::start(FleetSpec::new(1).unwrap()).unwrap();
    let member = fleet.member("member1");

    apply(member, DEPLOYMENT);
    kubectl(
        member,
        &["rollout", "status", "deployment/web", "--timeout=120s"],
    );

    member.kill(Component::Apiserver).unwrap();
    assert!(
        !member
            .kubectl()
            .args(["get", "--raw", "/readyz"])
            .output()
            .unwrap()
            .status
            .success()
    );
    member.restart(Component::Apiserver).unwrap();
    kubectl(member, &["scale", "deployment/web", "--replicas=5"]);
    kubectl(
        member,
        &["rollout", "status", "deployment/web", "--timeout=120s"],
    );

    // The store, the controllers and the nodes come back too.
    for component in [
        Component::Etcd,
        Component::ControllerManager,
        Component::Scheduler,
        Component::Kwok,
    ] {
        member.restart(component).unwrap();
    }
    kubectl(member, &["scale", "deployment/web", "--replicas=2"]);
    kubectl(member, &["rollout", "restart", "deployment/web"]);
    kubectl(
        member,
        &["rollout", "status", "deployment/web", "--timeout=120s"],
    );

    member.pause(Component::Apiserver).unwrap();
    assert!(
        !member
            .kubectl()
            .args(["get", "--raw", "/readyz", "--request-timeout=2s"])
            .output()
            .unwrap()
            .status
            .success()
    );
    member.resume(Component::Apiserver).unwrap();
    member.wait_ready().unwrap();

    // All 32 GPUs of the member at once.
    apply(member, &gpu_job("fits", 4));
    kubectl(
        member,
        &[
            "wait",
            "--for=condition=complete",
            "job/fits",
            "--timeout=120s",
        ],
    );

    // A Job runs as long as its annotation says, and fails when it shall.
    apply(member, FAILING_JOB);
    kubectl(
        member,
        &[
            "wait",
            "--for=condition=failed",
            "job/fails",
            "--timeout=120s",
        ],
    );
    let code = kubectl(
        member,
        &[
            "get",
            "pod",
            "-l",
            "job-name=fails",
            "-o",
            "jsonpath={.items[0].status.containerStatuses[0].state.terminated.exitCode}",
        ],
    );
    assert_eq!(code, "7");

    // The hub takes a Deployment and makes nothing of it.
    apply(fleet.hub(), DEPLOYMENT);
    let dir = fleet.dir().to_owned();
    assert_eq!(
        kubectl(
            fleet.hub(),
            &["get", "replicasets,pods", "-A", "-o", "name"]
        ),
        ""
    );

    // Roles count: a user without any may not read, and its certificate is known.
    let nobody = member.kubeconfig_for("nobody", &["nothing"]).unwrap();
    let refused = member
        .kubectl()
        .arg("--kubeconfig")
        .arg(nobody)
        .args(["get", "pods"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("User \"nobody\" cannot list"),
        "{refused:?}"
    );

    assert_eq!(processes_of(&dir).len(), 3 + 5);
    drop(fleet);
    assert_eq!(processes_of(&dir), Vec::<u32>::new());
    assert!(!dir.exists());
}

#[test]
fn a_stopped_cluster_keeps_its_objects() {
    set_child_exec(TESTBED);
    let fleet = Fleet::start(FleetSpec::new(0).unwrap()).unwrap();
    kubectl(fleet.hub(), &["create", "namespace", "kept"]);
    fleet.hub().stop().unwrap();
    assert_eq!(processes_of(fleet.dir()), Vec::<u32>::new());
    fleet.hub().start_again().unwrap();
    kubectl(fleet.hub(), &["get", "namespace", "kept"]);
}

#[test]
fn no_process_is_left_when_the_supervisor_or_up_is_killed() {
    let state = tempfile::tempdir().unwrap();
    let _down = Down(state.path());

    // `up` killed before anything is up: as with Ctrl-C, nobody wanted it.
    let mut up = testbed(state.path(), &["up", "--members", "1"]);
    until("its first program", || {
        !processes_of(state.path()).is_empty()
    });
    up.kill().unwrap();
    up.wait().unwrap();
    until("all to end with `up`", || {
        processes_of(state.path()).is_empty()
    });

    // Up, and then its supervisor killed. Two of them do not disturb each other.
    let mut ups = ["one", "two"].map(|name| {
        (
            name,
            testbed(state.path(), &["up", "--members", "0", "--name", name]),
        )
    });
    for (name, up) in &mut ups {
        assert!(up.wait().unwrap().success(), "{name}: {}", output(up));
    }
    let dir = |name: &str| state.path().join("inhaul/testbed").join(name);
    let again = testbed(state.path(), &["up", "--name", "one"])
        .wait_with_output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("is up already"),
        "{again:?}"
    );
    let supervisor = std::fs::read_to_string(dir("one").join("supervisor.pid")).unwrap();
    assert!(
        Command::new("kill")
            .args(["-9", &supervisor])
            .status()
            .unwrap()
            .success()
    );
    until("the programs of one to end with their supervisor", || {
        processes_of(&dir("one")).is_empty()
    });
    assert!(processes_of(&dir("two")).len() > 3, "two goes on");

    for (name, message) in [
        ("one", "did not run any more"),
        ("two", "is down"),
        ("two", "There is no testbed two"),
    ] {
        let down = testbed(state.path(), &["down", "--name", name])
            .wait_with_output()
            .unwrap();
        assert!(
            down.status.success() && String::from_utf8_lossy(&down.stdout).contains(message),
            "{down:?}"
        );
        assert!(!dir(name).exists());
    }
    assert_eq!(processes_of(state.path()), Vec::<u32>::new());
}

const DEPLOYMENT: &str = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": {
    "replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
    "containers": [{"name": "web", "image": "web", "resources": {"requests": {"cpu": "1"}}}]}}}}"#;

const FAILING_JOB: &str = r#"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "fails", "namespace": "default"}, "spec": {
    "backoffLimit": 0, "template": {"metadata": {"annotations": {"testbed.inhaul.dev/run-for": "1s",
    "testbed.inhaul.dev/fail": "true", "testbed.inhaul.dev/exit-code": "7"}}, "spec": {"restartPolicy": "Never",
    "containers": [{"name": "c", "image": "c"}]}}}}"#;

fn gpu_job(name: &str, pods: u32) -> String {
    format!(
        r#"{{"apiVersion": "batch/v1", "kind": "Job", "metadata": {{"name": "{name}", "namespace": "default"}}, "spec": {{
        "parallelism": {pods}, "completions": {pods}, "template": {{"metadata": {{"annotations": {{"testbed.inhaul.dev/run-for": "1s"}}}},
        "spec": {{"restartPolicy": "Never", "nodeSelector": {{"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
        "containers": [{{"name": "c", "image": "c", "resources": {{"limits": {{"nvidia.com/gpu": 8}}}}}}]}}}}}}}}"#
    )
}

fn apply(cluster: &Cluster, object: &str) {
    let mut child = cluster
        .kubectl()
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(object.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success(), "{object}");
}

fn kubectl(cluster: &Cluster, args: &[&str]) -> String {
    let output = cluster.kubectl().args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn testbed(state: &Path, args: &[&str]) -> Child {
    Command::new(TESTBED)
        .args(args)
        .env("XDG_STATE_HOME", state)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Ends what a failed test has up.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        for name in ["default", "one", "two"] {
            let _ = testbed(self.0, &["down", "--name", name]).wait();
        }
    }
}

fn output(child: &mut Child) -> String {
    BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .collect()
}

/// The processes that name a folder on their command line.
fn processes_of(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().unwrap();
    let ids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        std::fs::read(format!("/proc/{id}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(dir))
    })
    .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the period of a poll with a deadline"
)]
fn until(what: &str, mut look: impl FnMut() -> bool) {
    let started = Instant::now();
    while !look() {
        assert!(started.elapsed() < LIMIT, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(50));
    }
}
