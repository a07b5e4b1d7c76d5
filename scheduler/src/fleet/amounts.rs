//! Amounts of resources by number instead of by name: what a node has and what a pod asks, in base units
//! (thousandths of a CPU, bytes, whole devices), so that the inner loops of the planner compare integers.

use std::collections::BTreeMap;
use std::sync::Arc;

use placement_api::quantity::ResourceVector;
use placement_api::resources::{CPU, MEMORY, PODS};

use super::devices::{DeviceNeed, NodeDevices, Room, add as add_need};

/// Amount that stands for "not counted here": a node that reports no limit of pods.
pub(crate) const UNLIMITED: i64 = i64::MAX / 4;
/// Number of the resource `cpu`.
pub(crate) const CPU_TIME: usize = 0;
/// Number of the resource `memory`.
pub(crate) const MEMORY_BYTES: usize = 1;
/// Number of the resource `pods`.
pub(crate) const POD_SLOTS: usize = 2;

/// The resources that were ever seen, by number. Numbers are given in the order of appearance and never change.
#[derive(Clone, Debug)]
pub struct Resources {
    names: Vec<String>,
    /// Whether each is one of devices.
    extended: Vec<bool>,
    numbers: BTreeMap<String, usize>,
}

/// What a node has or has free: one amount per resource number; what lies beyond the end is zero. Beside it the devices of drivers
/// (DRA), which are no plain numbers: of what a node has, the devices with what is reserved of them; of what pods take, their needs.
/// Two nodes of equal numbers may hold different pods where they have such devices, so what groups nodes compares the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    list: Vec<i64>,
    /// Absent where there is nothing in it: most nodes have no such devices.
    drivers: Option<Box<OfDrivers>>,
}

/// Devices of drivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfDrivers {
    /// Devices; where there are several, a pod has to fit in each.
    rooms: Vec<Room>,
    /// Needs of pods.
    needs: Vec<(Arc<DeviceNeed>, i64)>,
}

/// What one pod asks: numbers and positive amounts, by number, and the devices of its claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    list: Vec<(usize, i64)>,
    /// Thousandths of one device of this number.
    pub(super) share: Option<(usize, i64)>,
    devices: Option<Arc<DeviceNeed>>,
}

impl Default for Resources {
    fn default() -> Self {
        let mut new = Self {
            names: Vec::new(),
            extended: Vec::new(),
            numbers: BTreeMap::new(),
        };
        for name in [CPU, MEMORY, PODS] {
            new.number(name);
        }
        new
    }
}

impl Resources {
    /// The number of a resource; a new one gets the next.
    pub fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len();
        self.names.push(name.to_owned());
        self.extended.push(is_extended(name));
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// The number of a resource that was seen before.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// The name of a number.
    pub fn name(&self, number: usize) -> &str {
        self.names.get(number).map_or("", String::as_str)
    }

    /// Whether a number is that of devices: see [`is_extended`].
    pub fn is_extended(&self, number: usize) -> bool {
        self.extended.get(number).copied().unwrap_or(false)
    }

    /// What a node has.
    pub fn amounts(&mut self, vector: &ResourceVector) -> Amounts {
        let mut amounts = Amounts::default();
        for (name, amount) in vector.iter() {
            amounts.set(self.number(name), amount);
        }
        amounts
    }

    /// What one pod asks, its slot on the node included.
    pub fn demand(&mut self, vector: &ResourceVector) -> Demand {
        let mut list: Vec<_> = vector
            .iter()
            .filter(|(name, amount)| *amount > 0 && *name != PODS)
            .map(|(name, amount)| (self.number(name), amount))
            .collect();
        list.push((POD_SLOTS, 1));
        list.sort_unstable();
        Demand {
            list,
            share: None,
            devices: None,
        }
    }

    /// Back to names, without what is not counted.
    pub fn vector(&self, amounts: &Amounts) -> ResourceVector {
        let counted = amounts
            .list
            .iter()
            .enumerate()
            .filter(|(_, amount)| **amount < UNLIMITED / 2);
        counted
            .map(|(number, amount)| (self.name(number).to_owned(), *amount))
            .collect()
    }
}

impl Amounts {
    /// The amount of a resource.
    pub fn get(&self, number: usize) -> i64 {
        self.list.get(number).copied().unwrap_or(0)
    }

    /// Sets the amount of a resource.
    pub fn set(&mut self, number: usize, amount: i64) {
        if self.list.len() <= number {
            self.list.resize(number + 1, 0);
        }
        self.list[number] = amount;
    }

    /// The devices that go with these amounts.
    pub(super) fn set_devices(&mut self, devices: NodeDevices) {
        let drivers = self.drivers.get_or_insert_default();
        drivers.rooms = vec![Room::new(Arc::new(devices))];
    }

    /// Whether it has devices of drivers.
    pub(crate) fn devices(&self) -> Option<&NodeDevices> {
        self.rooms().first().map(Room::node)
    }

    /// Adds a demand so many times (may be negative).
    pub fn add(&mut self, demand: &Demand, times: i64) {
        for (number, amount) in demand.iter() {
            self.set(
                number,
                self.get(number)
                    .saturating_add(amount.saturating_mul(times)),
            );
        }
        if let Some(need) = &demand.devices {
            self.add_devices(need, times);
        }
    }

    /// The amounts up to the last that is not zero.
    pub(crate) fn trimmed(&self) -> Vec<i64> {
        let end = self.list.iter().rposition(|amount| *amount != 0);
        self.list[..end.map_or(0, |last| last + 1)].to_vec()
    }

    /// Adds all amounts of another, and the needs of its pods.
    pub fn add_all(&mut self, other: &Self) {
        for (number, amount) in other.list.iter().enumerate() {
            self.set(number, self.get(number).saturating_add(*amount));
        }
        for (need, times) in other.needs() {
            self.add_devices(need, *times);
        }
    }

    /// The difference, may be negative. What is not counted stays so.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for (number, amount) in other
            .list
            .iter()
            .enumerate()
            .filter(|(_, amount)| **amount != 0)
        {
            rest.set(number, rest.get(number).saturating_sub(*amount));
        }
        for (need, times) in other.needs() {
            rest.add_devices(need, -times);
        }
        rest
    }

    /// The lower of the two of each; devices have to be had in both.
    #[must_use]
    pub fn lower(mut self, other: &Self) -> Self {
        for number in 0..self.list.len().max(other.list.len()) {
            let lower = self.get(number).min(other.get(number));
            if lower != self.get(number) {
                self.set(number, lower);
            }
        }
        for room in other.rooms() {
            if !self.rooms().contains(room) {
                let drivers = self.drivers.get_or_insert_default();
                drivers.rooms.push(room.clone());
            }
        }
        self
    }

    /// Raises each amount to the other's where that is more; devices stay as they are.
    pub fn raise(&mut self, other: &Self) {
        for (number, amount) in other.list.iter().enumerate() {
            if *amount > self.get(number) {
                self.set(number, *amount);
            }
        }
    }

    /// Numbers of which there is something.
    pub fn positive(&self) -> impl Iterator<Item = usize> + '_ {
        self.list
            .iter()
            .enumerate()
            .filter(|(_, amount)| **amount > 0)
            .map(|(number, _)| number)
    }

    /// Numbers of which `self` has more than `other`.
    pub fn above<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = usize> + 'a {
        self.list
            .iter()
            .enumerate()
            .filter(|(number, amount)| **amount > other.get(*number))
            .map(|(number, _)| number)
    }

    /// Pods give back devices, or (negative) take them: where there are devices of them, else it is noted.
    fn add_devices(&mut self, need: &Arc<DeviceNeed>, times: i64) {
        let drivers = self.drivers.get_or_insert_default();
        for room in &mut drivers.rooms {
            room.hold(need, -times);
        }
        if drivers.rooms.is_empty() {
            add_need(&mut drivers.needs, need, times);
            if drivers.needs.is_empty() {
                self.drivers = None;
            }
        }
    }

    /// Pods among these needs by claim that they have together with others.
    pub(super) fn together(&self) -> BTreeMap<String, i64> {
        let mut pods = BTreeMap::new();
        for (need, times) in self.needs() {
            for claim in need.shared() {
                *pods.entry(claim.to_owned()).or_default() += times;
            }
        }
        pods
    }

    /// Says which of these claims are among the devices that are taken, and of how many pods.
    pub(super) fn know(&mut self, there: &BTreeMap<String, i64>) {
        for room in self
            .drivers
            .iter_mut()
            .flat_map(|drivers| &mut drivers.rooms)
        {
            room.know(there);
        }
    }

    /// Whether claims that pods have together are reported as taken and were not before.
    pub(super) fn knows_more(&self, before: &Self) -> bool {
        let mut rooms = self.rooms().iter().zip(before.rooms());
        rooms.any(|(now, before)| now.knows_more(before))
    }

    fn rooms(&self) -> &[Room] {
        self.drivers.as_ref().map_or(&[], |drivers| &drivers.rooms)
    }

    fn needs(&self) -> &[(Arc<DeviceNeed>, i64)] {
        self.drivers.as_ref().map_or(&[], |drivers| &drivers.needs)
    }
}

impl Demand {
    /// The same, with devices.
    #[must_use]
    pub(crate) fn with_devices(mut self, devices: Option<Arc<DeviceNeed>>) -> Self {
        self.devices = devices;
        self
    }

    /// What it needs of devices.
    pub fn devices(&self) -> Option<&Arc<DeviceNeed>> {
        self.devices.as_ref()
    }

    /// Whether it has claims for devices.
    pub fn has_claims(&self) -> bool {
        self.devices.as_ref().is_some_and(|need| need.has_claims())
    }

    /// Numbers and amounts.
    pub fn iter(&self) -> impl Iterator<Item = (usize, i64)> + '_ {
        self.list.iter().copied()
    }

    /// The amount of one resource.
    pub fn get(&self, number: usize) -> i64 {
        self.list
            .iter()
            .find(|(have, _)| *have == number)
            .map_or(0, |(_, amount)| *amount)
    }

    /// The share of a device, in thousandths, with the number of the resource.
    pub fn share(&self) -> Option<(usize, i64)> {
        self.share
    }

    /// How many copies `free` holds; shares sit on wholly free devices.
    pub fn copies_in(&self, free: &Amounts) -> i64 {
        let copies = self.share.map_or(i64::MAX, |(number, thousandths)| {
            free.get(number).max(0) * (super::fractions::WHOLE / thousandths)
        });
        let copies = self.copies_by_amount(free).min(copies);
        match &self.devices {
            Some(need) if copies > 0 => copies.min(copies_of_devices(need, free, copies)),
            _ => copies,
        }
    }

    /// The same, devices of drivers left out.
    pub(crate) fn copies_by_amount(&self, free: &Amounts) -> i64 {
        self.list
            .iter()
            .map(|(number, amount)| free.get(*number) / amount)
            .min()
            .unwrap_or(i64::MAX)
            .max(0)
    }

    /// The resource of which `free` holds the fewest copies.
    pub fn scarcest_in(&self, free: &Amounts) -> usize {
        let copies = |(number, amount): &&(usize, i64)| (free.get(*number) / amount, *number);
        if let Some((number, _)) = self.share
            && self.copies_by_amount(free) > 0
        {
            return number;
        }
        self.list
            .iter()
            .min_by_key(copies)
            .map_or(POD_SLOTS, |(number, _)| *number)
    }

    /// Adds an amount of a resource.
    pub(super) fn put(&mut self, number: usize, amount: i64) {
        match self.list.binary_search_by_key(&number, |(have, _)| *have) {
            Ok(position) => self.list[position].1 += amount,
            Err(position) => self.list.insert(position, (number, amount)),
        }
    }

    /// Of prioritised lists of devices, the worst alternative that `free` makes one pod take: 0 for the first, or without lists.
    pub(crate) fn rank_in(&self, free: &Amounts) -> i64 {
        let Some(need) = self.devices.as_ref().filter(|need| need.choices() > 1) else {
            return 0;
        };
        let fits = |choices: &usize| copies_of_devices(&need.with_choices(*choices), free, 1) > 0;
        let found = (1..=need.choices())
            .find(fits)
            .unwrap_or_else(|| need.choices());
        i64::try_from(found).unwrap_or(i64::MAX) - 1
    }
}

fn copies_of_devices(need: &DeviceNeed, free: &Amounts, most: i64) -> i64 {
    if free.rooms().is_empty() && need.has_claims() {
        return 0;
    }
    let copies = free.rooms().iter().map(|room| room.copies(need, most));
    copies.min().unwrap_or(most)
}

/// Whether a resource is one of devices (`nvidia.com/gpu`) and not one that every node has.
pub fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.starts_with("kubernetes.io/") && !name.contains(".kubernetes.io/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(pairs: &[(&str, i64)]) -> ResourceVector {
        pairs
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), *amount))
            .collect()
    }

    #[test]
    fn copies_are_those_of_the_vectors() {
        let mut resources = Resources::default();
        for (need, free) in [
            (
                vector(&[("cpu", 100)]),
                vector(&[("cpu", 350), ("pods", 9)]),
            ),
            (
                vector(&[("cpu", 100), ("gpu", 2)]),
                vector(&[("cpu", 900), ("gpu", 5), ("pods", 9)]),
            ),
            (vector(&[("gpu", 1)]), vector(&[("cpu", 900), ("pods", 9)])),
            (
                vector(&[("cpu", 100)]),
                vector(&[("cpu", -300), ("pods", 9)]),
            ),
            (vector(&[]), vector(&[("pods", 9)])),
        ] {
            let (demand, amounts) = (resources.demand(&need), resources.amounts(&free));
            let mut with_slot = need.clone();
            with_slot.set(PODS, 1);
            assert_eq!(
                demand.copies_in(&amounts),
                i64::from(with_slot.copies_in(&free)),
                "{need:?} in {free:?}"
            );
            assert_eq!(resources.vector(&amounts), free);
        }
    }

    #[test]
    fn extended() {
        for (name, expected) in [
            ("nvidia.com/gpu", true),
            ("cpu", false),
            ("hugepages-2Mi", false),
            ("kubernetes.io/batch-cpu", false),
            ("attachable-volumes-x.kubernetes.io/y", false),
        ] {
            assert_eq!(is_extended(name), expected, "{name}");
        }
    }
}
