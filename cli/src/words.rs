//! Amounts, times and products in the words that people use.

use std::collections::BTreeMap;

use jiff::Timestamp;
use placement_api::devices::class_of_resource;
use placement_api::kinds::DeviceSummary;
use placement_api::quantity::{Quantity, ResourceList};

/// A time span as kubectl writes it: two units at most, fewer the longer it is.
pub(crate) fn span(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let two = |big: i64, big_name: &str, small: i64, small_name: &str| {
        let (whole, rest) = (seconds / big, seconds % big / small);
        if rest == 0 {
            format!("{whole}{big_name}")
        } else {
            format!("{whole}{big_name}{rest}{small_name}")
        }
    };
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        _ => two(365 * DAY, "y", DAY, "d"),
    }
}

/// Time since then; `–` where it is not known.
pub(crate) fn since(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(
        || "–".to_owned(),
        |then| span(now.as_second() - then.as_second()),
    )
}

/// Time since a time that was written as RFC 3339.
pub(crate) fn since_text(then: &str, now: Timestamp) -> String {
    since(then.parse().ok(), now)
}

/// `1 node`, `2 nodes`.
pub(crate) fn count(n: i64, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else if let Some(stem) = what.strip_suffix("ss") {
        format!("{n} {stem}sses")
    } else {
        format!("{n} {what}s")
    }
}

/// `1st`, `2nd`, `3rd`, `11th`.
pub(crate) fn ordinal(n: usize) -> String {
    let ending = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

/// The word that people use for a product: `NVIDIA-H100-80GB-HBM3` is an H100.
pub(crate) fn product(name: &str) -> &str {
    let trimmed = name.strip_prefix("NVIDIA-").unwrap_or(name);
    let is_model = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.ends_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
            && part.chars().any(|c| c.is_ascii_digit())
    };
    trimmed.split(['-', ' ']).find(is_model).unwrap_or(trimmed)
}

/// The last part of a resource's name: `nvidia.com/gpu` is a gpu.
fn resource_word(name: &str) -> &str {
    let name = class_of_resource(name).unwrap_or(name);
    name.rsplit_once('/').map_or(name, |(_, word)| word)
}

/// Accelerators, product by product: `32 H100, 8 A100 (MIG)`; `0` where there are none.
pub(crate) fn devices(devices: &[DeviceSummary]) -> String {
    let parts = by_product(devices, |d| d.total);
    if parts.is_empty() {
        "0".to_owned()
    } else {
        parts.join(", ")
    }
}

/// Free accelerators; the products are named where there are several.
pub(crate) fn free_devices(devices: &[DeviceSummary]) -> String {
    let parts = by_product(devices, |d| d.free);
    match parts.as_slice() {
        [] => "–".to_owned(),
        [_] => devices.iter().map(|d| d.free).sum::<i64>().to_string(),
        _ => parts.join(", "),
    }
}

fn by_product(devices: &[DeviceSummary], amount: impl Fn(&DeviceSummary) -> i64) -> Vec<String> {
    let mut sums: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for device in devices {
        let word = if device.product.is_empty() {
            resource_word(&device.resource)
        } else {
            product(&device.product)
        };
        let sharing = if device.sharing == "Whole" {
            ""
        } else {
            device.sharing.as_str()
        };
        *sums.entry((word, sharing)).or_default() += amount(device);
    }
    sums.into_iter()
        .map(|((word, sharing), n)| {
            if sharing.is_empty() {
                format!("{n} {word}")
            } else {
                format!("{n} {word} ({sharing})")
            }
        })
        .collect()
}

/// What one pod asks: accelerators first, then cpu and memory, then the rest; empty where it asks nothing.
pub(crate) fn requests(list: &ResourceList) -> String {
    let rank = |name: &str| match name {
        "cpu" => 1,
        "memory" => 2,
        _ if name.contains('/') => 0,
        _ => 3,
    };
    let mut names: Vec<&String> = list.keys().filter(|name| name.as_str() != "pods").collect();
    names.sort_by_key(|name| (rank(name), (*name).clone()));
    let words: Vec<String> = names
        .into_iter()
        .filter_map(|name| {
            list.get(name)
                .filter(|q| !q.is_zero())
                .map(|q| format!("{q} {}", class_of_resource(name).unwrap_or(name)))
        })
        .collect();
    words.join(", ")
}

/// The same with the short name of the resource that everyone means: `4 gpu, 8 cpu`.
pub(crate) fn gpus(list: &ResourceList) -> String {
    requests(list).replace("nvidia.com/gpu", "gpu")
}

/// Free of total, for one resource; memory in the largest binary unit that keeps three digits.
pub(crate) fn amount(name: &str, quantity: Quantity) -> String {
    const GIB: f64 = 1_073_741_824.0;
    match name {
        "memory" | "ephemeral-storage" => {
            let gib = quantity.as_f64() / GIB;
            if gib >= 10_000.0 {
                format!("{:.1}Ti", gib / 1024.0)
            } else {
                format!("{gib:.0}Gi")
            }
        }
        "cpu" => {
            let cores = quantity.as_f64();
            if cores >= 100.0 || cores.fract() == 0.0 {
                format!("{cores:.0}")
            } else {
                format!("{cores:.1}")
            }
        }
        _ => quantity.to_string(),
    }
}

/// Levels of a domain in the words of their labels' last parts: `rack r2, zone a`.
pub(crate) fn domain(labels: &BTreeMap<String, String>) -> String {
    let mut parts: Vec<(usize, String)> = labels
        .iter()
        .map(|(key, value)| {
            let word = key.rsplit_once('/').map_or(key.as_str(), |(_, word)| word);
            let word = word.rsplit_once('.').map_or(word, |(_, last)| last);
            // Narrow first: that is what people look for.
            let rank = ["clique", "rack", "zone", "region"]
                .iter()
                .position(|l| *l == word)
                .unwrap_or(2);
            (rank, format!("{word} {value}"))
        })
        .collect();
    parts.sort();
    parts
        .into_iter()
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_kubectls() {
        for (seconds, text) in [
            (-3, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (252, "4m12s"),
            (3600, "60m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (86_400, "24h"),
            (432_000, "5d"),
            (435_600, "5d1h"),
            (864_000, "10d"),
            (63_072_000, "2y"),
        ] {
            assert_eq!(span(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn products_by_their_model() {
        for (name, word) in [
            ("NVIDIA-H100-80GB-HBM3", "H100"),
            ("NVIDIA-A100-SXM4-80GB", "A100"),
            ("Tesla-T4", "T4"),
            ("NVIDIA-GB200", "GB200"),
            ("MI300X", "MI300X"),
            ("NVIDIA-Graphics", "Graphics"),
            ("H100", "H100"),
        ] {
            assert_eq!(product(name), word, "{name}");
        }
    }

    fn device(product: &str, sharing: &str, total: i64, free: i64) -> DeviceSummary {
        DeviceSummary {
            resource: "nvidia.com/gpu".into(),
            product: product.into(),
            sharing: sharing.into(),
            total,
            free,
            physical: None,
        }
    }

    #[test]
    fn devices_are_summed_by_product() {
        let h100 = device("NVIDIA-H100-80GB-HBM3", "Whole", 16, 4);
        let a100 = device("NVIDIA-A100-SXM4-80GB", "MIG", 8, 1);
        assert_eq!(
            devices(&[h100.clone(), h100.clone(), a100.clone()]),
            "8 A100 (MIG), 32 H100"
        );
        assert_eq!(free_devices(&[h100.clone(), h100.clone()]), "8");
        assert_eq!(free_devices(&[h100, a100]), "1 A100 (MIG), 4 H100");
        assert_eq!(devices(&[device("", "Whole", 2, 2)]), "2 gpu");
        assert_eq!(
            (devices(&[]).as_str(), free_devices(&[]).as_str()),
            ("0", "–")
        );
    }

    #[test]
    fn accelerators_come_first_in_requests() {
        let list: ResourceList = [
            ("cpu", "4"),
            ("memory", "32Gi"),
            ("nvidia.com/gpu", "1"),
            ("pods", "1"),
            ("x", "0"),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), Quantity::parse(v).unwrap()))
        .collect();
        assert_eq!(requests(&list), "1 nvidia.com/gpu, 4 cpu, 32Gi memory");
        assert_eq!(requests(&ResourceList::new()), "");
    }

    #[test]
    fn domains_narrow_first() {
        let labels = [
            ("topology.kubernetes.io/zone", "a"),
            ("topology.kubernetes.io/rack", "r2"),
            ("nvidia.com/gpu.clique", "c0"),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
        assert_eq!(domain(&labels), "clique c0, rack r2, zone a");
    }

    #[test]
    fn plurals() {
        assert_eq!(count(1, "node"), "1 node");
        assert_eq!(count(3, "node class"), "3 node classes");
        assert_eq!(count(0, "GPU"), "0 GPUs");
    }
}
