//! What a target costs and has beside its nodes: numbers that the platform owner sets, and that nobody measures.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::quantity::{Quantity, ResourceList, ResourceVector};
use placement_api::resources::{CPU, MEMORY};
use serde::{Deserialize, Serialize};

/// Bytes that one price of memory or storage is for.
const GIB: i128 = 1 << 30;
/// Millicores that one price of CPU is for.
const CORE: i128 = 1000;

/// Numbers of a target, or of the targets of a Location. `Default`: nothing is said, which counts as 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Price of an hour in millionths of the fleet's currency: of one CPU, of one GiB of memory or storage, of one device.
    pub cost: BTreeMap<String, i64>,
    /// Grams of CO2 per kWh.
    pub carbon: Option<i64>,
    /// Names of the data that is there.
    pub data: BTreeSet<String>,
}

impl Rates {
    /// Reads what is written; returns beside it what cannot be used and so counts as unset, by field.
    pub fn read(
        cost: &ResourceList,
        carbon: Option<i64>,
        data: &[String],
    ) -> (Self, Vec<(String, String)>) {
        let mut problems = Vec::new();
        let mut prices = BTreeMap::new();
        for (name, price) in cost {
            if price.is_negative() {
                let problem = format!("a price is not negative: {price}");
                problems.push((format!("cost[{name}]"), problem));
            } else {
                prices.insert(name.clone(), micros(*price));
            }
        }
        let rates = Self {
            cost: prices,
            carbon,
            data: data.iter().cloned().collect(),
        };
        (rates, problems)
    }

    /// What so many pods with these requests cost in an hour, in millionths.
    pub fn hourly(&self, requests: &ResourceVector, pods: i64) -> i64 {
        if self.cost.is_empty() {
            return 0;
        }
        let one = |(name, amount): (&str, i64)| {
            let price = self.cost.get(name).copied().unwrap_or(0);
            let each = i128::from(amount).saturating_mul(i128::from(price));
            each.saturating_mul(i128::from(pods)) / unit(name)
        };
        let sum = requests.iter().map(one).fold(0, i128::saturating_add);
        i64::try_from(sum).unwrap_or(i64::MAX)
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.cost.is_empty() && self.carbon.is_none() && self.data.is_empty()
    }

    /// Takes from `wider` what is not said here; data adds up.
    pub(super) fn complete(&mut self, wider: &Self) {
        for (name, price) in &wider.cost {
            self.cost.entry(name.clone()).or_insert(*price);
        }
        self.carbon = self.carbon.or(wider.carbon);
        self.data.extend(wider.data.iter().cloned());
    }
}

/// Base units of a resource that one price is for.
fn unit(name: &str) -> i128 {
    match name {
        CPU => CORE,
        MEMORY | "ephemeral-storage" => GIB,
        _ if name.starts_with("hugepages-") => GIB,
        _ => 1,
    }
}

fn micros(price: Quantity) -> i64 {
    price
        .checked_mul(1000)
        .map_or(i64::MAX, Quantity::milli_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(amounts: &[(&str, &str)]) -> ResourceList {
        let parse = |(name, text): &(&str, &str)| ((*name).to_owned(), text.parse().unwrap());
        amounts.iter().map(parse).collect()
    }

    #[test]
    fn an_hour_costs_what_is_asked_for() {
        let prices = list(&[
            ("nvidia.com/gpu", "2.10"),
            ("cpu", "0.03"),
            ("memory", "0.004"),
        ]);
        let (rates, problems) = Rates::read(&prices, None, &[]);
        assert!(problems.is_empty());
        for (asks, pods, micros) in [
            (list(&[("nvidia.com/gpu", "8")]), 2, 33_600_000),
            (list(&[("cpu", "500m")]), 1, 15_000),
            (list(&[("memory", "512Mi")]), 4, 8_000),
            (list(&[("pods", "1")]), 1, 0),
        ] {
            let asks = ResourceVector::from(&asks);
            assert_eq!(rates.hourly(&asks, pods), micros, "{asks:?}");
        }
    }

    #[test]
    fn a_negative_price_counts_as_unset_and_is_named() {
        let (rates, problems) = Rates::read(&list(&[("cpu", "-1"), ("memory", "1")]), None, &[]);
        assert_eq!(rates.cost.len(), 1);
        assert_eq!(problems[0].0, "cost[cpu]");
    }

    #[test]
    fn what_a_target_says_comes_before_what_its_location_says() {
        let read = |prices: &[(&str, &str)], carbon, data: &[&str]| {
            let data: Vec<String> = data.iter().map(|one| (*one).to_owned()).collect();
            Rates::read(&list(prices), carbon, &data).0
        };
        let mut own = read(&[("cpu", "1")], None, &["a"]);
        own.complete(&read(&[("cpu", "9"), ("memory", "2")], Some(70), &["b"]));
        assert_eq!(
            own,
            read(&[("cpu", "1"), ("memory", "2")], Some(70), &["a", "b"])
        );
    }
}
