//! The command lines of a cluster's programs. Plain data in, plain data out; what each flag is for stands beside it.

use std::path::Path;

use super::{Component, Role, pki::Pki};

/// What the command lines are made of.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub(super) role: Role,
    pub(super) dir: &'a Path,
    pub(super) pki: &'a Pki,
    pub(super) ports: Ports,
    /// Third part of the address ranges, so that those of clusters side by side differ.
    pub(super) index: u8,
}

/// The ports of one cluster, all on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) api: u16,
    pub(super) etcd: u16,
    pub(super) etcd_peer: u16,
    pub(super) kubelet: u16,
}

/// The hub's controllers: what keeps an API server's own objects in order, and nothing that would make pods.
const HUB_CONTROLLERS: [&str; 10] = [
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-cleaner-controller",
    "ttl-after-finished-controller",
    // Without it the aggregated roles (view, edit, admin) stay empty.
    "clusterrole-aggregation-controller",
];

impl Layout<'_> {
    /// The command line of a program, without the program.
    pub(super) fn of(&self, component: Component) -> Vec<String> {
        match component {
            Component::Etcd => self.etcd(),
            Component::Apiserver => self.apiserver(),
            Component::ControllerManager => self.controller_manager(),
            Component::Scheduler => self.scheduler(),
            Component::Kwok => self.kwok(),
        }
    }

    fn etcd(&self) -> Vec<String> {
        let client = format!("https://127.0.0.1:{}", self.ports.etcd);
        let peer = format!("https://127.0.0.1:{}", self.ports.etcd_peer);
        let mut args = vec![
            "--name=testbed".to_owned(),
            format!("--data-dir={}", self.dir.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=testbed={peer}"),
            // The data need not survive the machine.
            "--unsafe-no-fsync=true".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        for peer in ["", "peer-"] {
            args.push(format!("--{peer}cert-file={}", self.pem("etcd", "crt")));
            args.push(format!("--{peer}key-file={}", self.pem("etcd", "key")));
            args.push(format!(
                "--{peer}trusted-ca-file={}",
                self.pem("etcd-ca", "crt")
            ));
            args.push(format!("--{peer}client-cert-auth=true"));
        }
        args
    }

    fn apiserver(&self) -> Vec<String> {
        vec![
            format!("--etcd-servers=https://127.0.0.1:{}", self.ports.etcd),
            format!("--etcd-cafile={}", self.pem("etcd-ca", "crt")),
            format!("--etcd-certfile={}", self.pem("etcd-client", "crt")),
            format!("--etcd-keyfile={}", self.pem("etcd-client", "key")),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.ports.api),
            // Endpoints may not hold a loopback address.
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--tls-cert-file={}", self.pem("apiserver", "crt")),
            format!("--tls-private-key-file={}", self.pem("apiserver", "key")),
            format!("--client-ca-file={}", self.pem("ca", "crt")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={}", self.pem("sa", "pub")),
            format!(
                "--service-account-signing-key-file={}",
                self.pem("sa", "key")
            ),
            format!(
                "--service-cluster-ip-range=10.{}.0.0/16",
                self.service_range()
            ),
            format!(
                "--kubelet-client-certificate={}",
                self.pem("apiserver-kubelet-client", "crt")
            ),
            format!(
                "--kubelet-client-key={}",
                self.pem("apiserver-kubelet-client", "key")
            ),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!(
                "--requestheader-client-ca-file={}",
                self.pem("front-proxy-ca", "crt")
            ),
            "--requestheader-allowed-names=front-proxy-client".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            format!(
                "--proxy-client-cert-file={}",
                self.pem("front-proxy-client", "crt")
            ),
            format!(
                "--proxy-client-key-file={}",
                self.pem("front-proxy-client", "key")
            ),
            "--profiling=false".to_owned(),
        ]
    }

    fn controller_manager(&self) -> Vec<String> {
        let mut args = self.controller("controller-manager");
        args.extend([
            "--use-service-account-credentials=true".to_owned(),
            format!(
                "--service-account-private-key-file={}",
                self.pem("sa", "key")
            ),
            format!("--root-ca-file={}", self.pem("ca", "crt")),
            format!("--cluster-signing-cert-file={}", self.pem("ca", "crt")),
            format!("--cluster-signing-key-file={}", self.pem("ca", "key")),
        ]);
        if self.role == Role::Hub {
            args.push(format!("--controllers={}", HUB_CONTROLLERS.join(",")));
        }
        args
    }

    fn scheduler(&self) -> Vec<String> {
        self.controller("scheduler")
    }

    fn controller(&self, kubeconfig: &str) -> Vec<String> {
        vec![
            format!(
                "--kubeconfig={}",
                self.dir.join(format!("{kubeconfig}.kubeconfig")).display()
            ),
            // They serve nothing: nobody reads their metrics, and a port less is a port that nobody can take.
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
            // The default, 20 requests a second, more than doubles the time until a new cluster is usable.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            "--profiling=false".to_owned(),
        ]
    }

    fn kwok(&self) -> Vec<String> {
        vec![
            format!(
                "--kubeconfig={}",
                self.dir.join("kwok.kubeconfig").display()
            ),
            format!("--config={}", self.dir.join("kwok.yaml").display()),
            "--manage-all-nodes=true".to_owned(),
            "--node-ip=127.0.0.1".to_owned(),
            format!("--node-port={}", self.ports.kubelet),
            format!("--server-address=127.0.0.1:{}", self.ports.kubelet),
            format!("--tls-cert-file={}", self.pem("apiserver", "crt")),
            format!("--tls-private-key-file={}", self.pem("apiserver", "key")),
            format!("--cidr=10.{}.0.1/16", 128 + self.service_range() % 128),
            "--node-lease-duration-seconds=40".to_owned(),
            "--v=WARN".to_owned(),
        ]
    }

    fn pem(&self, name: &str, kind: &str) -> String {
        self.pki.file(name, kind).display().to_string()
    }

    /// Second part of the range of service addresses.
    fn service_range(&self) -> u8 {
        self.index % 128
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn with_layout(role: Role, look: impl Fn(&Layout<'_>)) {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::create(dir.path(), Ipv4Addr::new(10, 3, 0, 1)).unwrap();
        let ports = Ports {
            api: 1001,
            etcd: 1002,
            etcd_peer: 1003,
            kubelet: 1004,
        };
        look(&Layout {
            role,
            dir: dir.path(),
            pki: &pki,
            ports,
            index: 3,
        });
    }

    #[test]
    fn nobody_listens_beyond_loopback_and_nothing_is_plain() {
        with_layout(Role::Member, |layout| {
            for component in Component::ALL {
                let line = layout.of(component).join(" ");
                assert!(
                    !line.contains("0.0.0.0") && !line.contains("http://"),
                    "{component}: {line}"
                );
            }
            assert!(
                layout
                    .of(Component::Apiserver)
                    .contains(&"--bind-address=127.0.0.1".to_owned())
            );
            assert!(
                layout
                    .of(Component::Apiserver)
                    .contains(&"--authorization-mode=Node,RBAC".to_owned())
            );
        });
    }

    #[test]
    fn a_hub_has_no_controller_that_makes_pods() {
        with_layout(Role::Hub, |layout| {
            let line = layout.of(Component::ControllerManager).join(" ");
            let list = line.split("--controllers=").nth(1).unwrap();
            for controller in [
                "deployment",
                "replicaset",
                "job-",
                "statefulset",
                "daemonset",
                "cronjob",
                "node-lifecycle",
                "*",
            ] {
                assert!(!list.contains(controller), "{controller} in {list}");
            }
        });
        with_layout(Role::Member, |layout| {
            assert!(
                !layout
                    .of(Component::ControllerManager)
                    .join(" ")
                    .contains("--controllers")
            );
        });
    }
}
