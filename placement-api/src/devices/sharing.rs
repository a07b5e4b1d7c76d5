//! What device plugins make of physical devices: whole ones, MIG partitions, or several that share one in turns or by MPS. The
//! labels are those of NVIDIA's GPU feature discovery.

use crate::selector::Labels;

/// GPU slices of a GPU that can be cut with MIG (A100, H100, B200): seven.
const SLICES: i64 = 7;

/// Parts in which devices are counted, so that a seventh, a quarter or a tenth of one comes out whole: all of 1 to 16 divide it.
pub const PARTS: i64 = 720_720;

/// How the devices of a resource come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sharing {
    /// Each is one physical device.
    Whole,
    /// Partitions with memory and compute of their own.
    Mig,
    /// Several take turns on one.
    TimeSliced,
    /// Several run on one at once.
    Mps,
}

impl Sharing {
    /// The word in an Inventory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "Whole",
            Self::Mig => "MIG",
            Self::TimeSliced => "TimeSliced",
            Self::Mps => "MPS",
        }
    }
}

/// What one unit of a resource is of a physical device: `parts / of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How it comes about.
    pub sharing: Sharing,
    /// Numerator.
    pub parts: i64,
    /// Denominator, at least 1.
    pub of: i64,
}

impl Share {
    /// What so many units are, in [`PARTS`] of a device, rounded up.
    pub fn in_parts(&self, units: i64) -> i64 {
        let all = i128::from(units) * i128::from(self.parts) * i128::from(PARTS);
        let of = i128::from(self.of.max(1));
        i64::try_from((all + of - 1) / of).unwrap_or(i64::MAX)
    }

    /// Physical devices behind so many units, those that are used in part included.
    pub fn physical(&self, units: i64) -> i64 {
        let parts = units.saturating_mul(self.parts);
        parts / self.of + i64::from(parts % self.of != 0)
    }
}

/// What one unit of this resource is on a node with these labels.
pub fn share(resource: &str, labels: &Labels) -> Share {
    let (vendor, name) = resource.split_once('/').unwrap_or_default();
    let label = |name: &str| labels.get(&format!("{vendor}/{name}")).map(String::as_str);
    let product = label("gpu.product").unwrap_or_default();
    let mixed = name
        .strip_prefix("mig-")
        .map(|profile| profile.trim_end_matches(".shared"));
    let single = || {
        let (_, profile) = product.split_once("-MIG-")?;
        Some(profile.trim_end_matches("-SHARED"))
    };
    let profile = mixed.or_else(single);
    // The labels of a partition's resource are its own; `gpu` has the node's.
    let prefix = mixed.map_or_else(|| "gpu".to_owned(), |profile| format!("mig-{profile}"));
    let strategy =
        label(&format!("{prefix}.sharing-strategy")).or_else(|| label("gpu.sharing-strategy"));
    let replicas = label(&format!("{prefix}.replicas")).and_then(|text| text.parse().ok());
    let replicas: i64 = replicas.filter(|count| *count > 1).unwrap_or(1);
    let shared = match strategy {
        Some("time-slicing") => Sharing::TimeSliced,
        Some("mps") => Sharing::Mps,
        _ if replicas > 1 || name.ends_with(".shared") => Sharing::TimeSliced,
        _ => Sharing::Whole,
    };
    let (parts, of) = profile
        .and_then(slices)
        .map_or((1, 1), |slices| (slices, SLICES));
    let sharing = match shared {
        Sharing::Whole if profile.is_some() => Sharing::Mig,
        other => other,
    };
    Share {
        sharing,
        parts,
        of: of * replicas,
    }
}

/// The resource that counts the physical devices behind those of this one: `nvidia.com/gpu` for `nvidia.com/mig-1g.10gb`.
pub fn physical_resource(resource: &str) -> String {
    let whole = resource.trim_end_matches(".shared");
    match whole.split_once('/') {
        Some((vendor, name)) if name.starts_with("mig-") => format!("{vendor}/gpu"),
        _ => whole.to_owned(),
    }
}

/// The resource that counts the physical devices of a driver: `nvidia.com/gpu` for `gpu.nvidia.com`, so that a quota holds for
/// both ways to ask.
pub fn resource_of_driver(driver: &str) -> String {
    match driver.split_once('.') {
        Some((kind, vendor)) if vendor.contains('.') => format!("{vendor}/{kind}"),
        _ => driver.to_owned(),
    }
}

/// The product of the physical devices, from what feature discovery calls shares (`-SHARED`) and partitions (`-MIG-1g.10gb`) of
/// them, or from a driver, which writes it with spaces.
pub fn physical_product(product: &str) -> String {
    let whole = product
        .split_once("-MIG-")
        .map_or(product, |(whole, _)| whole);
    whole.trim_end_matches("-SHARED").replace(' ', "-")
}

/// GPU slices of a profile: 3 for `3g.40gb`, 1 for `1g.10gb+me`; a part of the compute of a partition (`1c.2g.20gb`) counts as all of it.
fn slices(profile: &str) -> Option<i64> {
    let part = profile.split('.').find(|part| part.ends_with('g'))?;
    let slices: i64 = part.trim_end_matches('g').parse().ok()?;
    (1..=SLICES).contains(&slices).then_some(slices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_it() {
        for (resource, physical) in [
            ("nvidia.com/gpu", "nvidia.com/gpu"),
            ("nvidia.com/mig-1g.10gb", "nvidia.com/gpu"),
            ("nvidia.com/mig-1g.10gb.shared", "nvidia.com/gpu"),
            ("nvidia.com/gpu.shared", "nvidia.com/gpu"),
            ("google.com/tpu", "google.com/tpu"),
            ("gpu", "gpu"),
        ] {
            assert_eq!(physical_resource(resource), physical);
        }
        for (driver, resource) in [
            ("gpu.nvidia.com", "nvidia.com/gpu"),
            ("gpu.example.com", "example.com/gpu"),
            ("dra.net", "dra.net"),
            ("gpus", "gpus"),
        ] {
            assert_eq!(resource_of_driver(driver), resource);
        }
        for (product, physical) in [
            ("NVIDIA-A30", "NVIDIA-A30"),
            ("NVIDIA-A30-SHARED", "NVIDIA-A30"),
            ("NVIDIA-A30-MIG-1g.6gb", "NVIDIA-A30"),
            ("NVIDIA-A30-MIG-1g.6gb-SHARED", "NVIDIA-A30"),
            ("NVIDIA H100 80GB HBM3", "NVIDIA-H100-80GB-HBM3"),
        ] {
            assert_eq!(physical_product(product), physical);
        }
        let labels = Labels::new();
        let slice = share("nvidia.com/mig-3g.40gb", &labels);
        assert_eq!(slice.in_parts(7), 3 * PARTS);
        assert_eq!(share("nvidia.com/gpu", &labels).in_parts(2), 2 * PARTS);
    }

    #[test]
    fn what_a_unit_is_of_a_gpu() {
        let h100 = "NVIDIA-H100-80GB-HBM3";
        for (resource, product, labels, expected) in [
            ("nvidia.com/gpu", h100, vec![], (Sharing::Whole, 1, 1)),
            (
                "nvidia.com/gpu",
                h100,
                vec![("gpu.replicas", "1"), ("gpu.sharing-strategy", "none")],
                (Sharing::Whole, 1, 1),
            ),
            (
                "nvidia.com/gpu",
                "L4-SHARED",
                vec![
                    ("gpu.replicas", "4"),
                    ("gpu.sharing-strategy", "time-slicing"),
                ],
                (Sharing::TimeSliced, 1, 4),
            ),
            (
                "nvidia.com/gpu.shared",
                "L4",
                vec![("gpu.replicas", "4"), ("gpu.sharing-strategy", "mps")],
                (Sharing::Mps, 1, 4),
            ),
            // Sharing was switched off for the resource: 0 is what GFD writes then.
            (
                "nvidia.com/gpu",
                h100,
                vec![("gpu.replicas", "0")],
                (Sharing::Whole, 1, 1),
            ),
            (
                "nvidia.com/mig-1g.10gb",
                h100,
                vec![("mig.strategy", "mixed")],
                (Sharing::Mig, 1, 7),
            ),
            ("nvidia.com/mig-3g.40gb", h100, vec![], (Sharing::Mig, 3, 7)),
            (
                "nvidia.com/mig-1g.10gb+me",
                h100,
                vec![],
                (Sharing::Mig, 1, 7),
            ),
            (
                "nvidia.com/mig-1g.10gb.shared",
                h100,
                vec![
                    ("mig-1g.10gb.replicas", "2"),
                    ("mig-1g.10gb.sharing-strategy", "time-slicing"),
                ],
                (Sharing::TimeSliced, 1, 14),
            ),
            (
                "nvidia.com/gpu",
                "NVIDIA-H100-80GB-HBM3-MIG-2g.20gb",
                vec![("mig.strategy", "single")],
                (Sharing::Mig, 2, 7),
            ),
            (
                "nvidia.com/gpu",
                "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb-SHARED",
                vec![
                    ("gpu.replicas", "2"),
                    ("gpu.sharing-strategy", "time-slicing"),
                ],
                (Sharing::TimeSliced, 1, 14),
            ),
            ("amd.com/gpu", "", vec![], (Sharing::Whole, 1, 1)),
        ] {
            let mut all: Labels = labels
                .iter()
                .map(|(k, v)| (format!("nvidia.com/{k}"), (*v).to_owned()))
                .collect();
            all.insert("nvidia.com/gpu.product".to_owned(), product.to_owned());
            let got = share(resource, &all);
            assert_eq!(
                (got.sharing, got.parts, got.of),
                expected,
                "{resource} {product}"
            );
        }
    }

    #[test]
    fn physical_devices_are_whole() {
        let seventh = Share {
            sharing: Sharing::Mig,
            parts: 1,
            of: 7,
        };
        for (units, physical) in [(0, 0), (1, 1), (7, 1), (8, 2), (14, 2)] {
            assert_eq!(seventh.physical(units), physical);
        }
    }
}
