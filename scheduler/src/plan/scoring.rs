//! What a Placement says of the choice among places that all could take a workload: dimensions in tiers, with weights inside a tier.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most that a weight may be.
const MOST: u32 = 1_000_000;

/// Something that speaks for one place rather than another. The order is that in which they count where a Placement says nothing; only
/// `BlastRadius` counts nowhere but where it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Dimension {
    /// How wide the domain is that holds the pods together, in levels, and how many domains of the level that was asked for it has.
    Topology,
    /// Taints that only prefer others, then what went wrong there lately.
    Faults,
    /// Copies that would still fit into the domain; fewer when packing, more when spreading.
    Occupancy,
    /// Named data that is not there.
    Locality,
    /// What its pods cost there in an hour.
    Cost,
    /// Grams of CO2 per kWh there.
    Carbon,
    /// Other workloads of the same queue on the target.
    BlastRadius,
}

impl Dimension {
    /// All, with the names by which Placements call them.
    pub const ALL: [(&'static str, Self); 7] = [
        ("topology", Self::Topology),
        ("faults", Self::Faults),
        ("occupancy", Self::Occupancy),
        ("locality", Self::Locality),
        ("cost", Self::Cost),
        ("carbon", Self::Carbon),
        ("blastRadius", Self::BlastRadius),
    ];
}

/// The tiers of a Placement. `Default`: none, so that the documented order holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scoring {
    tiers: Vec<Vec<(Dimension, u32)>>,
}

impl Scoring {
    /// Reads what is written.
    ///
    /// # Errors
    /// The place below `scoring` (`[1].cost`), and what is wrong there and how it would be right.
    pub fn read(written: &[BTreeMap<String, u32>]) -> Result<Self, (String, String)> {
        let mut tiers: Vec<Vec<(Dimension, u32)>> = Vec::new();
        for (index, tier) in written.iter().enumerate() {
            let wrong = |name: &str, what: String| (format!("[{index}]{name}"), what);
            if tier.is_empty() {
                return Err(wrong(
                    "",
                    "is empty; write for example {cost: 1}".to_owned(),
                ));
            }
            let mut weights = Vec::new();
            for (name, weight) in tier {
                let at = |what: String| wrong(&format!(".{name}"), what);
                let known = Dimension::ALL.iter().find(|(known, _)| known == name);
                let Some((_, dimension)) = known else {
                    let names: Vec<&str> = Dimension::ALL.iter().map(|(name, _)| *name).collect();
                    let list = names.join(", ");
                    return Err(at(format!("is no dimension; write one of {list}")));
                };
                if !(1..=MOST).contains(weight) {
                    return Err(at(format!(
                        "a weight is between 1 and {MOST}; leave out what is not to count"
                    )));
                }
                let before = tiers
                    .iter()
                    .position(|tier| tier.iter().any(|(other, _)| other == dimension));
                if let Some(before) = before {
                    return Err(at(format!("is in [{before}] already; name it once")));
                }
                weights.push((*dimension, *weight));
            }
            weights.sort_unstable();
            tiers.push(weights);
        }
        Ok(Self { tiers })
    }

    /// Whether the documented order holds.
    pub fn is_default(&self) -> bool {
        self.tiers.is_empty()
    }

    /// Whether it names a dimension.
    pub fn names(&self, dimension: Dimension) -> bool {
        let mut all = self.tiers.iter().flatten();
        all.any(|(named, _)| *named == dimension)
    }

    /// Dimensions and weights, tier by tier.
    pub(super) fn tiers(&self) -> &[Vec<(Dimension, u32)>] {
        &self.tiers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tiers: &[&[(&str, u32)]]) -> Result<Scoring, (String, String)> {
        let tier = |tier: &&[(&str, u32)]| {
            tier.iter()
                .map(|(name, weight)| ((*name).to_owned(), *weight))
                .collect()
        };
        Scoring::read(&tiers.iter().map(tier).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (tiers, at, what) in [
            (&[&[][..]][..], "[0]", "is empty"),
            (
                &[&[("cost", 1)], &[("costs", 1)]],
                "[1].costs",
                "is no dimension; write one of topology",
            ),
            (&[&[("cost", 0)]], "[0].cost", "between 1 and 1000000"),
            (
                &[&[("cost", 1)], &[("carbon", 1), ("cost", 2)]],
                "[1].cost",
                "is in [0] already",
            ),
        ] {
            let (field, message) = read(tiers).expect_err(at);
            assert_eq!(field, at);
            assert!(message.contains(what), "{message}");
        }
    }

    #[test]
    fn names_and_default() {
        let scoring = read(&[&[("occupancy", 1)], &[("cost", 2), ("carbon", 1)]]).expect("right");
        assert!(scoring.names(Dimension::Carbon) && !scoring.names(Dimension::Topology));
        assert!(!scoring.is_default() && Scoring::default().is_default());
    }
}
