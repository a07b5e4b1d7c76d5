//! What shares are counted in: resources, and devices by product. Each is a dimension with a number; amounts are integers in
//! *grains*, a fraction of the base unit that is fine enough that the usual splits come out whole.
//!
//! | dimension | base unit | grains in it | close enough |
//! |---|---|---|---|
//! | devices, whatever else | one | 720,720 (all of 1 to 16 divide it) | 720 grains: 0.001 |
//! | `cpu` | millicore | 720 | 720 grains: 1 m |
//! | `memory`, storage, huge pages | byte | 1 | 4 KiB |
//!
//! A million nodes with 2 TiB and 16 devices each are 2⁶¹ and 2⁴⁴ grains: sums stay far below 2¹²⁷, and products of two are
//! compared and divided with 256 bits (`wide`).

use std::collections::BTreeMap;

use placement_api::devices::PARTS;
use placement_api::quantity::{Quantity, ResourceList, ResourceVector};
use placement_api::resources::{CPU, MEMORY};

/// Number of the dimension `cpu`.
pub(super) const CPU_DIM: usize = 0;
/// Number of the dimension `memory`.
pub(super) const MEMORY_DIM: usize = 1;
/// The resource of a product whose nodes have not been seen yet.
pub(super) const DEFAULT_DEVICE: &str = "nvidia.com/gpu";

/// An amount without limit, in grains.
pub(super) const UNLIMITED: i128 = i128::MAX / 4;

/// What is asked, used, or given: positive amounts by dimension. Made by [`Shares::ask`](super::Shares::ask).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask(pub(super) Vec<(usize, i128)>);

/// Physical devices, in [`PARTS`] of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// By resource: this counts, and not what the amounts beside it say of the same resource.
    pub resources: BTreeMap<String, i64>,
    /// Those of them of which the product is known.
    pub products: BTreeMap<String, i64>,
}

impl Devices {
    /// Whole devices by product; their resource is counted by the amounts beside it.
    pub fn whole(products: &BTreeMap<String, i64>) -> Self {
        let parts = |devices: &i64| devices.saturating_mul(PARTS);
        Self {
            resources: BTreeMap::new(),
            products: products
                .iter()
                .map(|(name, devices)| (name.clone(), parts(devices)))
                .collect(),
        }
    }

    /// Of each resource and product that both have, the less.
    #[must_use]
    pub fn lower(&self, other: &Self) -> Self {
        let lower = |a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>| {
            let both = a
                .iter()
                .filter_map(|(name, a)| Some((name, a, b.get(name)?)));
            both.map(|(name, a, b)| (name.clone(), *a.min(b))).collect()
        };
        Self {
            resources: lower(&self.resources, &other.resources),
            products: lower(&self.products, &other.products),
        }
    }

    /// Adds another so many times.
    pub fn add(&mut self, other: &Self, times: i64) {
        let add = |sums: &mut BTreeMap<String, i64>, more: &BTreeMap<String, i64>| {
            for (name, parts) in more {
                let sum = sums.entry(name.clone()).or_default();
                *sum = sum.saturating_add(parts.saturating_mul(times));
            }
        };
        add(&mut self.resources, &other.resources);
        add(&mut self.products, &other.products);
    }
}

/// Base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Thousandths of a core.
    Thousandth,
    /// Bytes.
    Byte,
    /// Whole devices.
    Whole,
}

/// The dimensions that were ever named. Numbers are given in the order of appearance and never change.
#[derive(Clone, Debug)]
pub(super) struct Dims {
    all: Vec<Dim>,
    resources: BTreeMap<String, usize>,
    products: BTreeMap<String, usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Dim {
    /// Name of the resource or the product.
    pub(super) name: String,
    /// A product: the dimension of its resource, which counts its devices too.
    pub(super) of: Option<usize>,
    /// Grains in a base unit.
    pub(super) grain: i128,
    /// Grains by which a comparison may be off.
    pub(super) slack: i128,
}

impl Dim {
    /// In what people count it.
    pub(super) fn unit(&self) -> Unit {
        match self.grain {
            1 => Unit::Byte,
            720 => Unit::Thousandth,
            _ => Unit::Whole,
        }
    }

    /// Whether it counts devices.
    pub(super) fn is_device(&self) -> bool {
        self.grain == i128::from(PARTS)
    }
}

impl Ask {
    /// So many times.
    #[must_use]
    pub fn times(&self, count: i64) -> Self {
        let count = i128::from(count.max(0));
        if count == 0 {
            return Self::default();
        }
        Self(
            self.0
                .iter()
                .map(|(dim, amount)| (*dim, amount * count))
                .collect(),
        )
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.0.clone();
        for (dim, amount) in &other.0 {
            match sum.binary_search_by_key(dim, |(have, _)| *have) {
                Ok(at) => sum[at].1 += amount,
                Err(at) => sum.insert(at, (*dim, *amount)),
            }
        }
        Self(sum)
    }

    /// What is left of it without another; never less than nothing.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        let left = |(dim, amount): &(usize, i128)| {
            let gone = other.0.binary_search_by_key(dim, |(have, _)| *have);
            (*dim, amount - gone.map_or(0, |at| other.0[at].1))
        };
        let left = self.0.iter().map(left);
        Self(left.filter(|(_, amount)| *amount > 0).collect())
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Dims {
    fn default() -> Self {
        let mut new = Self {
            all: Vec::new(),
            resources: BTreeMap::new(),
            products: BTreeMap::new(),
        };
        new.resource(CPU);
        new.resource(MEMORY);
        new
    }
}

impl Dims {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// One of them.
    pub(super) fn get(&self, dim: usize) -> &Dim {
        &self.all[dim]
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Dim)> {
        self.all.iter().enumerate()
    }

    /// The number of a resource; a new one gets the next.
    pub(super) fn resource(&mut self, name: &str) -> usize {
        if let Some(dim) = self.resources.get(name) {
            return *dim;
        }
        let (grain, slack) = match name {
            CPU => (720, 720),
            _ if in_bytes(name) => (1, 4096),
            _ => (i128::from(PARTS), 720),
        };
        self.resources.insert(name.to_owned(), self.all.len());
        self.all.push(Dim {
            name: name.to_owned(),
            of: None,
            grain,
            slack,
        });
        self.all.len() - 1
    }

    /// The number of a product; a new one gets the next, as devices of this resource.
    pub(super) fn product(&mut self, name: &str, resource: &str) -> usize {
        if let Some(dim) = self.products.get(name) {
            return *dim;
        }
        let of = self.resource(resource);
        let Dim { grain, slack, .. } = self.all[of];
        self.products.insert(name.to_owned(), self.all.len());
        self.all.push(Dim {
            name: name.to_owned(),
            of: Some(of),
            grain,
            slack,
        });
        self.all.len() - 1
    }

    /// The number of a product, if it was ever named.
    pub(super) fn known_product(&self, name: &str) -> Option<usize> {
        self.products.get(name).copied()
    }

    /// The devices of a product are counted by this resource. Returns whether that is news.
    pub(super) fn set_resource(&mut self, product: &str, resource: &str) -> bool {
        let dim = self.product(product, resource);
        let of = self.resource(resource);
        let news = self.all[dim].of != Some(of);
        self.all[dim].of = Some(of);
        news
    }

    /// Amounts by name as an [`Ask`]; the devices of a product are part of those of its resource.
    pub(super) fn ask(&mut self, amounts: &ResourceVector, devices: &Devices) -> Ask {
        let mut ask: BTreeMap<usize, i128> = BTreeMap::new();
        for (name, amount) in amounts.iter().filter(|(_, amount)| *amount > 0) {
            let dim = self.resource(name);
            ask.insert(dim, i128::from(amount) * self.all[dim].grain);
        }
        for (name, parts) in devices.resources.iter().filter(|(_, parts)| **parts > 0) {
            let dim = self.resource(name);
            let grain = self.all[dim].grain;
            ask.insert(dim, i128::from(*parts) * grain / i128::from(PARTS));
        }
        let mut by_resource: BTreeMap<usize, i128> = BTreeMap::new();
        for (name, parts) in devices.products.iter().filter(|(_, parts)| **parts > 0) {
            let dim = self.product(name, DEFAULT_DEVICE);
            let grains = i128::from(*parts) * self.all[dim].grain / i128::from(PARTS);
            ask.insert(dim, grains);
            if let Some(of) = self.all[dim].of {
                *by_resource.entry(of).or_default() += grains;
            }
        }
        for (of, grains) in by_resource {
            let all = ask.entry(of).or_default();
            *all = grains.max(*all);
        }
        Ask(ask.into_iter().collect())
    }

    /// Grains back to base units and names: resources, and products. Rounded to the nearest below, what is close enough up.
    pub(super) fn name(&self, row: &[i128]) -> Named {
        let mut named = Named::default();
        for (dim, grains) in row.iter().enumerate().filter(|(_, grains)| **grains > 0) {
            let one = &self.all[dim];
            let thousandths = (grains + one.slack.min(one.grain / 1000)) * 1000 / one.grain;
            let thousandths = i64::try_from(thousandths).unwrap_or(i64::MAX);
            let map = if one.of.is_some() {
                &mut named.products
            } else {
                &mut named.resources
            };
            map.insert(one.name.clone(), thousandths);
        }
        named
    }

    /// An amount as people read it, with its unit.
    pub(super) fn show(&self, dim: usize, grains: i128) -> String {
        let one = &self.all[dim];
        let thousandths = (grains + one.slack.min(one.grain / 1000)) * 1000 / one.grain;
        let thousandths = i64::try_from(thousandths).unwrap_or(i64::MAX);
        show(&one.name, thousandths)
    }
}

/// Amounts by name, in thousandths of the base unit: what a queue is entitled to need not be whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// By resource.
    pub resources: BTreeMap<String, i64>,
    /// Devices by product.
    pub products: BTreeMap<String, i64>,
}

impl Named {
    /// The resources as a list of quantities; devices may have a fraction.
    pub fn to_list(&self) -> ResourceList {
        let whole: ResourceVector = self
            .resources
            .iter()
            .filter(|(name, _)| !is_device(name))
            .map(|(name, amount)| (name.clone(), amount / 1000))
            .collect();
        let mut list = whole.to_list();
        let devices = self.resources.iter().filter(|(name, _)| is_device(name));
        list.extend(devices.map(|(name, amount)| (name.clone(), Quantity::from_milli(*amount))));
        list
    }
}

/// Whether amounts of a resource are counts.
fn is_device(name: &str) -> bool {
    name != CPU && !in_bytes(name)
}

fn in_bytes(name: &str) -> bool {
    name == MEMORY || name.ends_with("storage") || name.starts_with("hugepages-")
}

/// Thousandths of a base unit as people read them: `12 nvidia.com/gpu`, `1.5 cpu`, `20Gi memory`.
pub(super) fn show(name: &str, thousandths: i64) -> String {
    let whole = thousandths / 1000;
    let quantity = match name {
        CPU => Quantity::from_milli(whole),
        _ if in_bytes(name) => {
            let mebibytes = whole - whole % (1 << 20);
            Quantity::from_bytes(if mebibytes > 0 { mebibytes } else { whole })
        }
        _ => return format!("{} {name}", decimal(thousandths)),
    };
    if name == CPU && whole % 1000 != 0 {
        return format!("{} {name}", decimal(whole));
    }
    format!("{quantity} {name}")
}

/// Thousandths as a decimal number without needless digits.
fn decimal(thousandths: i64) -> String {
    let (whole, rest) = (thousandths / 1000, thousandths % 1000);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:03}")
        .trim_end_matches('0')
        .to_owned()
}

/// One row of amounts for each queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    width: usize,
    cells: Vec<i128>,
}

impl Table {
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self {
            width,
            cells: vec![0; rows * width],
        }
    }

    pub(super) fn row(&self, row: usize) -> &[i128] {
        &self.cells[row * self.width..(row + 1) * self.width]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [i128] {
        &mut self.cells[row * self.width..(row + 1) * self.width]
    }

    pub(super) fn rows(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(0)
    }

    /// The same with more dimensions.
    pub(super) fn widen(&mut self, width: usize) {
        if width == self.width {
            return;
        }
        let mut wider = Self::new(self.rows(), width);
        for row in 0..self.rows() {
            wider.row_mut(row)[..self.width].copy_from_slice(self.row(row));
        }
        *self = wider;
    }

    pub(super) fn add(&mut self, row: usize, ask: &Ask, sign: i128) {
        let cells = self.row_mut(row);
        for (dim, amount) in &ask.0 {
            cells[*dim] += sign * amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_part_of_their_resource() {
        let mut dims = Dims::default();
        let vector: ResourceVector = [("nvidia.com/gpu".to_owned(), 4)].into_iter().collect();
        let devices = Devices::whole(&BTreeMap::from([("H100".to_owned(), 4)]));
        let bound = dims.ask(&vector, &devices);
        let only = dims.ask(&ResourceVector::new(), &devices);
        assert_eq!(bound, only);
        assert_eq!(bound.0.len(), 2);
        assert_eq!(bound.times(2), bound.plus(&bound));
        assert!(bound.times(0).is_empty());
    }

    #[test]
    fn of_a_shared_device_the_part_counts_and_not_the_name() {
        let mut dims = Dims::default();
        let vector: ResourceVector = [("nvidia.com/gpu".to_owned(), 1)].into_iter().collect();
        let quarter = Devices {
            resources: BTreeMap::from([("nvidia.com/gpu".to_owned(), PARTS / 4)]),
            products: BTreeMap::from([("L4".to_owned(), PARTS / 4)]),
        };
        let ask = dims.ask(&vector, &quarter);
        let whole = dims.ask(&vector, &Devices::default());
        assert_eq!(ask.times(4).0[0], whole.0[0]);
        let mut row = vec![0; dims.len()];
        ask.0.iter().for_each(|(dim, amount)| row[*dim] = *amount);
        let named = dims.name(&row);
        assert_eq!(named.resources["nvidia.com/gpu"], 250);
        assert_eq!(named.products["L4"], 250);
    }

    #[test]
    fn amounts_read_well() {
        for (name, thousandths, text) in [
            ("nvidia.com/gpu", 12_000, "12 nvidia.com/gpu"),
            ("nvidia.com/gpu", 33_333, "33.333 nvidia.com/gpu"),
            ("nvidia.com/gpu", 5_500, "5.5 nvidia.com/gpu"),
            ("cpu", 1_500_000, "1.5 cpu"),
            ("cpu", 2_000_000, "2 cpu"),
            ("memory", 20 * (1 << 30) * 1000, "20Gi memory"),
            ("memory", 512_000, "512 memory"),
        ] {
            assert_eq!(show(name, thousandths), text);
        }
    }
}
