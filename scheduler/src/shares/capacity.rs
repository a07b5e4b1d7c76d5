//! What there is to divide, and how large a share of it something is.
//!
//! The fairness vector is {normalised GPU, GPU memory, CPU, memory}. The normalised GPU of a device is the throughput of its
//! product; devices of which no product is asked weigh as the average of the fleet, so all of them together are a share of 1.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use placement_api::quantity::ResourceVector;

use super::dims::{CPU_DIM, Dims, MEMORY_DIM};
use super::wide::cmp_ratios;

/// What is to be divided: all of the Ready targets, and what runs on Cordoned ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// By resource, in base units. What is not named here is not divided: nobody is above or below in it.
    pub resources: ResourceVector,
    /// Accelerators by product.
    pub products: BTreeMap<String, ProductCapacity>,
}

/// The devices of one accelerator product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductCapacity {
    /// The resource that counts them, `nvidia.com/gpu`. Its capacity includes them.
    pub resource: String,
    /// Devices.
    pub devices: i64,
    /// Throughput in thousandths, relative to other products (`FleetPolicy.spec.accelerators`); 1000 where nothing is said.
    pub throughput: i64,
    /// Memory of one device in MiB; 0: unknown.
    pub memory_mib: i64,
}

/// One entry of the fairness vector: a weighted sum of amounts, and what the whole fleet has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Measure {
    /// Dimensions of which one must not be used up for it to count.
    depends_on: Vec<usize>,
    terms: Vec<(usize, i128)>,
    whole: u128,
}

/// The fairness vector with its denominators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Measures {
    all: Vec<Measure>,
    capacity: Vec<i128>,
}

/// An exact share: `part` of `whole`, of the dimension that `by` numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion {
    pub(super) part: u128,
    pub(super) whole: u128,
    by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Measure(usize),
    Dim(usize),
}

impl Portion {
    /// Compares two shares.
    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        cmp_ratios(self.part, self.whole, other.part, other.whole)
    }
}

/// Weights of devices are averages: in so many parts of a thousandth.
const FINER: i128 = 1 << 10;

impl Measures {
    /// The fairness vector over this capacity. `dims` gets to know its names.
    pub(super) fn new(capacity: &Capacity, dims: &mut Dims) -> Self {
        for (product, one) in &capacity.products {
            dims.set_resource(product, &one.resource);
        }
        let mut amounts: BTreeMap<usize, i128> = BTreeMap::new();
        for (name, amount) in capacity.resources.iter() {
            let dim = dims.resource(name);
            amounts.insert(dim, i128::from(amount.max(0)) * dims.get(dim).grain);
        }
        for (product, one) in &capacity.products {
            let dim = dims.product(product, &one.resource);
            let grains = i128::from(one.devices.max(0)) * dims.get(dim).grain;
            amounts.insert(dim, grains);
        }
        let mut row = vec![0; dims.len()];
        for (dim, amount) in amounts {
            row[dim] = amount;
        }
        let devices: Vec<_> = capacity
            .products
            .iter()
            .map(|(name, one)| {
                let dim = dims.product(name, &one.resource);
                (dim, one)
            })
            .collect();
        let throughput = |one: &ProductCapacity| i128::from(one.throughput.max(1));
        let memory = |one: &ProductCapacity| i128::from(one.memory_mib.max(0));
        let mut all = vec![
            weighted(dims, &row, &devices, 1000, throughput),
            weighted(dims, &row, &devices, 0, memory),
        ];
        all.extend([CPU_DIM, MEMORY_DIM].map(|dim| Measure {
            depends_on: vec![dim],
            terms: vec![(dim, 1)],
            whole: row[dim].unsigned_abs(),
        }));
        all.retain(|measure| measure.whole > 0);
        Self { all, capacity: row }
    }

    /// What there is, by dimension; zero is not divided.
    pub(super) fn capacity(&self, dim: usize) -> i128 {
        self.capacity.get(dim).copied().unwrap_or(0)
    }

    /// The largest share that these amounts are of anything in the fairness vector that `counts` (a dimension is dropped when
    /// it is used up); of any other resource where they have nothing of the vector. `None`: of nothing.
    pub(super) fn dominant(&self, row: &[i128], counts: impl Fn(usize) -> bool) -> Option<Portion> {
        let measured = self
            .all
            .iter()
            .enumerate()
            .filter(|(_, measure)| measure.depends_on.iter().any(|dim| counts(*dim)))
            .map(|(number, measure)| Portion {
                part: measure.of(row),
                whole: measure.whole,
                by: By::Measure(number),
            });
        largest(measured).or_else(|| {
            let dims = row
                .iter()
                .enumerate()
                .filter(|(dim, _)| self.capacity(*dim) > 0 && counts(*dim));
            largest(dims.map(|(dim, amount)| Portion {
                part: amount.max(&0).unsigned_abs(),
                whole: self.capacity(dim).unsigned_abs(),
                by: By::Dim(dim),
            }))
        })
    }

    /// How much of the same dimension as `portion` these amounts have.
    pub(super) fn part(&self, row: &[i128], portion: &Portion) -> u128 {
        match portion.by {
            By::Measure(number) => self.all[number].of(row),
            By::Dim(dim) => row[dim].max(0).unsigned_abs(),
        }
    }
}

impl Measure {
    fn of(&self, row: &[i128]) -> u128 {
        let sum: i128 = self
            .terms
            .iter()
            .map(|(dim, weight)| row[*dim] * weight)
            .sum();
        sum.max(0).unsigned_abs()
    }
}

/// The first of the largest that is not zero.
fn largest(portions: impl Iterator<Item = Portion>) -> Option<Portion> {
    let mut best: Option<Portion> = None;
    for portion in portions.filter(|portion| portion.part > 0) {
        if best.is_none_or(|best| portion.cmp(&best).is_gt()) {
            best = Some(portion);
        }
    }
    best
}

/// Devices, each by the weight of its product; those without a product by `otherwise` in sums of the fleet, and by the average
/// of their resource where no product is asked.
fn weighted(
    dims: &Dims,
    capacity: &[i128],
    devices: &[(usize, &ProductCapacity)],
    otherwise: i128,
    weight: impl Fn(&ProductCapacity) -> i128,
) -> Measure {
    let mut terms: BTreeMap<usize, i128> = BTreeMap::new();
    let mut whole = 0;
    let gpus: Vec<usize> = dims
        .iter()
        .filter(|(dim, one)| {
            one.of.is_none()
                && (one.name.ends_with("/gpu")
                    || devices
                        .iter()
                        .any(|(product, _)| dims.get(*product).of == Some(*dim)))
        })
        .map(|(dim, _)| dim)
        .collect();
    for gpu in gpus.iter().copied().filter(|gpu| capacity[*gpu] > 0) {
        let mine = || {
            devices
                .iter()
                .filter(|(dim, _)| dims.get(*dim).of == Some(gpu))
        };
        let grain = dims.get(gpu).grain;
        let (have, known): (i128, i128) = (
            capacity[gpu] / grain,
            mine().map(|(dim, _)| capacity[*dim] / grain).sum(),
        );
        let total: i128 = mine()
            .map(|(dim, one)| capacity[*dim] / grain * weight(one))
            .sum::<i128>()
            + (have - known).max(0) * otherwise;
        let average = total * FINER / have.max(1);
        terms.insert(gpu, average);
        for (dim, one) in mine() {
            terms.insert(*dim, weight(one) * FINER - average);
        }
        whole += average * capacity[gpu];
    }
    Measure {
        depends_on: gpus,
        terms: terms
            .into_iter()
            .filter(|(_, weight)| *weight != 0)
            .collect(),
        whole: whole.max(0).unsigned_abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(devices: i64, throughput: i64, memory_mib: i64) -> ProductCapacity {
        ProductCapacity {
            resource: "nvidia.com/gpu".to_owned(),
            devices,
            throughput,
            memory_mib,
        }
    }

    #[test]
    fn a_fast_device_is_a_larger_share() {
        let capacity = Capacity {
            resources: [
                ("nvidia.com/gpu".to_owned(), 16),
                ("cpu".to_owned(), 64_000),
            ]
            .into_iter()
            .collect(),
            products: BTreeMap::from([
                ("H100".to_owned(), product(8, 3000, 80_000)),
                ("A100".to_owned(), product(8, 1000, 80_000)),
            ]),
        };
        let mut dims = Dims::default();
        let measures = Measures::new(&capacity, &mut dims);
        let mut share = |gpus: i64, product: Option<&str>, cpu: i64| {
            let vector: ResourceVector =
                [("nvidia.com/gpu".to_owned(), gpus), ("cpu".to_owned(), cpu)]
                    .into_iter()
                    .collect();
            let products = product
                .map(|name| (name.to_owned(), gpus))
                .into_iter()
                .collect();
            let ask = dims.ask(&vector, &crate::shares::Devices::whole(&products));
            let mut row = vec![0; dims.len()];
            for (dim, amount) in &ask.0 {
                row[*dim] = *amount;
            }
            let portion = measures.dominant(&row, |_| true).expect("something");
            // In 64ths.
            portion.part * 64 / portion.whole
        };
        // 8 H100 are 24 of 32 normalised GPUs, 8 A100 a quarter, though half of the memory.
        assert_eq!(share(8, Some("H100"), 0), 48);
        assert_eq!(share(8, Some("A100"), 0), 32);
        assert_eq!(share(8, None, 0), 32);
        assert_eq!(share(1, None, 48_000), 48);
        assert_eq!(share(16, None, 0), 64);
    }
}
