//! Sums and comparisons of named amounts: [`ResourceList`] as people write them, [`ResourceVector`] as the planner
//! counts them (integers in base units: millicores for `cpu`, whole units rounded up for everything else).

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::quantity::Quantity;

/// The resource that is counted in thousandths.
pub const CPU: &str = "cpu";
/// Bytes of memory.
pub const MEMORY: &str = "memory";
/// Slots for pods on a node.
pub const PODS: &str = "pods";

/// Amounts by resource name, as in a container's `requests`.
pub type ResourceList = BTreeMap<String, Quantity>;

/// Adds every amount of `more` to `sum`.
pub fn add(sum: &mut ResourceList, more: &ResourceList) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*amount);
    }
}

/// Raises every amount of `sum` to at least that of `other`.
pub fn raise_to(sum: &mut ResourceList, other: &ResourceList) {
    for (name, amount) in other {
        let entry = sum.entry(name.clone()).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

/// `from` less `what`, never below zero; names that only `what` has are left out.
pub fn sub_saturating(from: &ResourceList, what: &ResourceList) -> ResourceList {
    from.iter()
        .map(|(name, amount)| {
            let less = what.get(name).copied().unwrap_or_default();
            let rest = amount.saturating_sub(less);
            (
                name.clone(),
                if rest.is_negative() {
                    Quantity::ZERO
                } else {
                    rest
                },
            )
        })
        .collect()
}

/// Whether `free` holds all of `need`; what is not in `free` is zero.
pub fn fits(need: &ResourceList, free: &ResourceList) -> bool {
    need.iter()
        .all(|(name, amount)| *amount <= free.get(name).copied().unwrap_or_default())
}

/// Every amount `count` times.
pub fn scale(list: &ResourceList, count: u32) -> ResourceList {
    list.iter()
        .map(|(name, amount)| (name.clone(), amount.saturating_mul(i64::from(count))))
        .collect()
}

/// Amounts in base units. Absent and zero are the same, so zeros are not kept and equality is by amount.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(from = "BTreeMap<String, i64>")]
#[schemars(with = "BTreeMap<String, i64>")]
pub struct ResourceVector(
    /// By name. There are few and millions of vectors: a sorted list takes a fifth of a tree, and copies share the names.
    Vec<(Arc<str>, i64)>,
);

/// The planner's word for a [`ResourceVector`].
pub type Amounts = ResourceVector;

impl ResourceVector {
    /// Nothing of anything.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Base units of a quantity of this resource.
    pub fn base_units(name: &str, amount: Quantity) -> i64 {
        if name == CPU {
            amount.milli_value()
        } else {
            amount.value()
        }
    }

    /// The amount of one resource in base units, zero where absent.
    pub fn get(&self, name: &str) -> i64 {
        self.find(name).map_or(0, |at| self.0[at].1)
    }

    /// Sets one amount in base units.
    pub fn set(&mut self, name: &str, amount: i64) {
        match self.find(name) {
            Ok(at) if amount == 0 => drop(self.0.remove(at)),
            Ok(at) => self.0[at].1 = amount,
            Err(_) if amount == 0 => {}
            Err(at) => self.0.insert(at, (Arc::from(name), amount)),
        }
    }

    /// Names and non-zero amounts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (&**name, *amount))
    }

    /// Whether every amount is zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any amount is below zero.
    pub fn has_negative(&self) -> bool {
        self.0.iter().any(|(_, amount)| *amount < 0)
    }

    /// Adds all amounts; stops at the limits of `i64`.
    pub fn add(&mut self, more: &Self) {
        self.zip(more, i64::saturating_add);
    }

    /// Subtracts all amounts; may go below zero.
    pub fn sub(&mut self, less: &Self) {
        self.zip(less, i64::saturating_sub);
    }

    /// Raises every amount to at least that of `other`.
    pub fn raise_to(&mut self, other: &Self) {
        self.zip(other, i64::max);
    }

    /// The difference, never below zero.
    #[must_use]
    pub fn minus(&self, less: &Self) -> Self {
        let mut rest = self.clone();
        for (name, amount) in &mut rest.0 {
            *amount = amount.saturating_sub(less.get(name)).max(0);
        }
        rest.0.retain(|(_, amount)| *amount != 0);
        rest
    }

    /// Every amount `count` times.
    #[must_use]
    pub fn times(&self, count: u32) -> Self {
        let mut product = self.clone();
        for (_, amount) in &mut product.0 {
            *amount = amount.saturating_mul(i64::from(count));
        }
        product.0.retain(|(_, amount)| *amount != 0);
        product
    }

    /// Whether `free` holds all of this. What is not asked never hinders, however negative it is.
    pub fn fits(&self, free: &Self) -> bool {
        self.first_missing(free).is_none()
    }

    /// The first resource, by name, of which `free` has too little.
    pub fn first_missing(&self, free: &Self) -> Option<&str> {
        self.iter()
            .find(|(name, amount)| *amount > 0 && *amount > free.get(name))
            .map(|(name, _)| name)
    }

    /// How many copies of this `free` holds; `u32::MAX` where this asks for nothing.
    pub fn copies_in(&self, free: &Self) -> u32 {
        self.iter()
            .filter(|(_, amount)| *amount > 0)
            .map(|(name, amount)| (free.get(name) / amount).max(0))
            .min()
            .map_or(u32::MAX, |copies| u32::try_from(copies).unwrap_or(u32::MAX))
    }

    /// As people read it: `cpu` in cores, memory, storage and huge pages in `Gi`.
    pub fn to_list(&self) -> ResourceList {
        self.iter()
            .map(|(name, amount)| {
                let binary =
                    name == MEMORY || name.ends_with("storage") || name.starts_with("hugepages-");
                let quantity = if name == CPU {
                    Quantity::from_milli(amount)
                } else if binary {
                    Quantity::from_bytes(amount)
                } else {
                    Quantity::from_units(amount)
                };
                (name.to_owned(), quantity)
            })
            .collect()
    }

    /// The position of a name, or where it would be.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(have, _)| (**have).cmp(name))
    }

    fn zip(&mut self, other: &Self, combine: impl Fn(i64, i64) -> i64) {
        for (name, amount) in other.iter() {
            let combined = combine(self.get(name), amount);
            self.set(name, combined);
        }
    }
}

impl FromIterator<(String, i64)> for ResourceVector {
    fn from_iter<I: IntoIterator<Item = (String, i64)>>(amounts: I) -> Self {
        let named = amounts.into_iter().filter(|(_, amount)| *amount != 0);
        let mut list: Vec<(Arc<str>, i64)> = named
            .map(|(name, amount)| (Arc::from(name), amount))
            .collect();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        // Of two amounts of one name the last.
        list.dedup_by(|next, kept| {
            let again = next.0 == kept.0;
            if again {
                kept.1 = next.1;
            }
            again
        });
        list.shrink_to_fit();
        Self(list)
    }
}

impl Serialize for ResourceVector {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

impl From<BTreeMap<String, i64>> for ResourceVector {
    fn from(amounts: BTreeMap<String, i64>) -> Self {
        amounts.into_iter().collect()
    }
}

impl From<&ResourceList> for ResourceVector {
    fn from(list: &ResourceList) -> Self {
        list.iter()
            .map(|(name, amount)| (name.clone(), Self::base_units(name, *amount)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(pairs: &[(&str, &str)]) -> ResourceList {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.parse().expect(text)))
            .collect()
    }

    #[test]
    fn lists() {
        let mut sum = list(&[("cpu", "500m")]);
        add(&mut sum, &list(&[("cpu", "250m"), ("memory", "1Gi")]));
        assert_eq!(sum, list(&[("cpu", "750m"), ("memory", "1Gi")]));
        raise_to(&mut sum, &list(&[("cpu", "1"), ("memory", "1Mi")]));
        assert_eq!(sum, list(&[("cpu", "1"), ("memory", "1Gi")]));
        assert_eq!(
            sub_saturating(&sum, &list(&[("cpu", "2"), ("gpu", "1")])),
            list(&[("cpu", "0"), ("memory", "1Gi")])
        );
        assert!(fits(&list(&[("cpu", "1"), ("gpu", "0")]), &sum));
        assert!(!fits(&list(&[("gpu", "1")]), &sum));
        assert_eq!(scale(&sum, 3), list(&[("cpu", "3"), ("memory", "3Gi")]));
    }

    #[test]
    fn base_units_are_milli_cpu_and_whole_rest() {
        let vector = ResourceVector::from(&list(&[
            ("cpu", "1500m"),
            ("memory", "1.5Ki"),
            ("nvidia.com/gpu", "2"),
            ("ephemeral-storage", "1m"),
            ("nothing", "0"),
        ]));
        let amounts: Vec<_> = vector.iter().collect();
        assert_eq!(
            amounts,
            [
                ("cpu", 1500),
                ("ephemeral-storage", 1),
                ("memory", 1536),
                ("nvidia.com/gpu", 2)
            ]
        );
    }

    #[test]
    fn names_in_any_order_and_the_last_of_two_amounts() {
        let pairs = [("b", 1), ("c", 4), ("a", 2), ("b", 3), ("c", 0)];
        let named = |(name, amount): &(&str, i64)| ((*name).to_owned(), *amount);
        let mut vector: ResourceVector = pairs.iter().map(named).collect();
        assert_eq!(
            vector.iter().collect::<Vec<_>>(),
            [("a", 2), ("b", 3), ("c", 4)]
        );
        vector.set("b", 0);
        vector.set("aa", 5);
        let text = serde_json::to_string(&vector).expect("text");
        assert_eq!(text, r#"{"a":2,"aa":5,"c":4}"#);
        assert_eq!(
            serde_json::from_str::<ResourceVector>(&text).expect("vector"),
            vector
        );
    }

    #[test]
    fn copies() {
        let v = |pairs| ResourceVector::from(&list(pairs));
        for (need, free, copies) in [
            (v(&[("cpu", "1")]), v(&[("cpu", "3500m")]), 3),
            (
                v(&[("cpu", "1"), ("gpu", "2")]),
                v(&[("cpu", "9"), ("gpu", "5")]),
                2,
            ),
            (v(&[("gpu", "1")]), v(&[("cpu", "9")]), 0),
            (v(&[("cpu", "1")]), v(&[("cpu", "-3")]), 0),
            (v(&[]), v(&[]), u32::MAX),
            (v(&[("cpu", "0")]), v(&[]), u32::MAX),
        ] {
            assert_eq!(need.copies_in(&free), copies, "{need:?} in {free:?}");
            assert_eq!(need.fits(&free), copies > 0);
        }
        assert_eq!(v(&[("gpu", "1")]).first_missing(&v(&[])), Some("gpu"));
    }

    proptest! {
        #[test]
        fn copies_fit_and_one_more_does_not(
            need in prop::collection::btree_map("[abc]", 1_i64..100, 1..3),
            free in prop::collection::btree_map("[abc]", -5_i64..10_000, 0..3),
        ) {
            let (need, free) = (ResourceVector::from(need), ResourceVector::from(free));
            let copies = need.copies_in(&free);
            prop_assert!(copies == 0 || need.times(copies).fits(&free));
            prop_assert!(!need.times(copies + 1).fits(&free));
        }

        #[test]
        fn add_then_sub_is_the_same(
            a in prop::collection::btree_map("[abc]", -9_i64..9, 0..3),
            b in prop::collection::btree_map("[abc]", -9_i64..9, 0..3),
        ) {
            let (a, b) = (ResourceVector::from(a), ResourceVector::from(b));
            let mut sum = a.clone();
            sum.add(&b);
            sum.sub(&b);
            prop_assert_eq!(sum, a);
        }
    }
}
