//! GPUs of a node as NVIDIA's device plugin (resources) and GPU feature discovery (labels) show them.
//! Source of names: <https://github.com/NVIDIA/k8s-device-plugin/blob/main/docs/gpu-feature-discovery/README.md>.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The GPUs of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// As GFD writes it: `NVIDIA-H100-80GB-HBM3`.
    pub product: String,
    /// MiB of one GPU.
    pub memory: u32,
    /// GPUs in the node.
    pub count: u32,
    /// Partitions, where the GPUs are cut with MIG.
    #[serde(default)]
    pub mig: Option<Mig>,
    /// How several pods share one GPU.
    #[serde(default)]
    pub sharing: Option<Sharing>,
    /// `nvidia.com/gpu.family`: hopper, ampere …
    #[serde(default)]
    pub family: Option<String>,
}

/// GPUs cut into partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mig {
    /// What the device plugin makes of them.
    pub strategy: MigStrategy,
    /// Partitions of each profile in one GPU: `{1g.10gb: 7}`.
    pub profiles: BTreeMap<String, u32>,
}

/// The device plugin's MIG strategies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MigStrategy {
    /// Partitions are `nvidia.com/gpu`; one profile in the node.
    Single,
    /// Partitions are `nvidia.com/mig-<profile>`.
    Mixed,
}

/// One GPU for several pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharing {
    /// In time, or with MPS.
    pub strategy: SharingStrategy,
    /// Pods on one GPU.
    pub replicas: u32,
    /// The resource is called `….shared` (`renameByDefault`).
    #[serde(default)]
    pub rename: bool,
}

/// The device plugin's ways of sharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharingStrategy {
    /// Pods take turns.
    TimeSlicing,
    /// Pods run at once, through NVIDIA's Multi-Process Service.
    Mps,
}

impl Gpu {
    /// The extended resources of a node.
    pub(super) fn resources(&self) -> BTreeMap<String, u32> {
        let replicas = self.sharing.map_or(1, |sharing| sharing.replicas);
        let renamed = self.sharing.is_some_and(|sharing| sharing.rename);
        let suffix = if renamed { ".shared" } else { "" };
        let whole = |number: u32| BTreeMap::from([(format!("nvidia.com/gpu{suffix}"), number)]);
        match &self.mig {
            None => whole(self.count * replicas),
            Some(mig) if mig.strategy == MigStrategy::Single => {
                whole(self.count * mig.profiles.values().sum::<u32>() * replicas)
            }
            Some(mig) => {
                let partition = |(profile, number): (&String, &u32)| {
                    (
                        format!("nvidia.com/mig-{profile}{suffix}"),
                        self.count * number * replicas,
                    )
                };
                mig.profiles.iter().map(partition).collect()
            }
        }
    }

    /// GFD's labels of a node.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let single = self
            .mig
            .as_ref()
            .filter(|mig| mig.strategy == MigStrategy::Single);
        let profile = single.and_then(|mig| mig.profiles.iter().next());
        let (mut product, mut count) = (self.product.clone(), self.count);
        if let Some((profile, number)) = profile {
            product = format!("{product}-MIG-{profile}");
            count *= number;
        }
        let (replicas, strategy) = match self.sharing {
            None => (1, "none"),
            Some(sharing) => {
                // GFD's mark of a GPU that is not a pod's own, where its resource does not say so.
                if !sharing.rename {
                    product.push_str("-SHARED");
                }
                (
                    sharing.replicas,
                    if sharing.strategy == SharingStrategy::Mps {
                        "mps"
                    } else {
                        "time-slicing"
                    },
                )
            }
        };
        let mig = self.mig.as_ref().map(|mig| {
            if mig.strategy == MigStrategy::Single {
                "single"
            } else {
                "mixed"
            }
        });
        let family = self
            .family
            .clone()
            .unwrap_or_else(|| family(&self.product).to_owned());
        let mut labels = BTreeMap::from(
            [
                ("present", "true".to_owned()),
                ("product", product),
                ("memory", self.memory.to_string()),
                ("count", count.to_string()),
                ("replicas", replicas.to_string()),
                ("sharing-strategy", strategy.to_owned()),
                ("family", family),
                ("machine", "testbed".to_owned()),
            ]
            .map(|(key, value)| (format!("nvidia.com/gpu.{key}"), value)),
        );
        let capable = matches!(
            labels["nvidia.com/gpu.family"].as_str(),
            "ampere" | "hopper" | "blackwell"
        );
        labels.insert("nvidia.com/mig.capable".to_owned(), capable.to_string());
        labels.insert(
            "nvidia.com/mig.strategy".to_owned(),
            mig.unwrap_or("none").to_owned(),
        );
        for (profile, number) in self
            .mig
            .iter()
            .filter(|mig| mig.strategy == MigStrategy::Mixed)
            .flat_map(|mig| &mig.profiles)
        {
            labels.insert(
                format!("nvidia.com/mig-{profile}.count"),
                (self.count * number).to_string(),
            );
        }
        labels
    }

    /// `NVIDIA-H100-80GB-HBM3` → `H100`.
    pub(super) fn short_product(&self) -> &str {
        self.product
            .split('-')
            .find(|word| !matches!(*word, "NVIDIA" | "Tesla"))
            .unwrap_or(&self.product)
    }
}

fn family(product: &str) -> &'static str {
    let families = [
        ("B200", "blackwell"),
        ("B300", "blackwell"),
        ("H100", "hopper"),
        ("H200", "hopper"),
        ("A100", "ampere"),
        ("A30", "ampere"),
    ];
    families
        .iter()
        .find(|(name, _)| product.contains(name))
        .map_or("unknown", |(_, family)| family)
}

/// A UUID that is always the same for a name: the NVLink domain of a pool.
pub(super) fn domain_uuid(name: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let hex = format!(
        "{:032x}",
        u128::from_be_bytes(std::array::from_fn(|i| digest[i]))
    );
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
