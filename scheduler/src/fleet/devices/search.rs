//! Whether all of several requests can have devices of one node at once: exact where the requests do not compete in different
//! ways, else a search within a budget of steps. What is not found within it counts as not there, so that no device is promised
//! twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use placement_api::devices::{DeviceCount, SameAttribute, attribute};
use placement_api::kinds::DeviceAttribute;

use super::need::{Alternative, ClaimNeed, RequestNeed};
use super::node::Group;
use super::{DeviceNeed, NodeDevices};

/// Steps of one search: some ten times what filling a node with eight GPUs in seven parts takes.
const BUDGET: u32 = 4_000;

/// One request of one pod.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    /// Which need, pod and claim it belongs to.
    of: (usize, i64, usize),
    claim: &'a ClaimNeed,
    request: &'a RequestNeed,
    choices: Arc<[Choice]>,
}

/// An alternative that the node has devices for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    name: String,
    pub(super) count: DeviceCount,
    /// Groups of the node that meet it.
    pub(super) groups: Vec<usize>,
    /// One that meets it has a taint: there are never all.
    spoilt: bool,
}

impl<'a> Ask<'a> {
    /// The requests of so many pods; `None`: the node has no devices for one of them, or it cannot be told.
    pub(super) fn of(
        node: &NodeDevices,
        need: &'a DeviceNeed,
        pods: i64,
        number: usize,
    ) -> Option<Vec<Self>> {
        let mut pod = Vec::new();
        for (at, claim) in need.claims.iter().enumerate() {
            let here = claim.backs.as_ref();
            if here.is_some_and(|resource| node.backed.binary_search(resource).is_err()) {
                continue;
            }
            for request in &claim.requests {
                let choices = choices(node, request)?;
                pod.push((at, claim, request, choices));
            }
        }
        let ask = |pod_number: i64| {
            pod.iter().map(move |(at, claim, request, choices)| Self {
                of: (number, pod_number, *at),
                claim,
                request,
                choices: Arc::clone(choices),
            })
        };
        Some((0..pods).flat_map(ask).collect())
    }

    /// Whether it is one of these claims, which pods have together.
    pub(super) fn is_of(&self, claims: &BTreeSet<&str>) -> bool {
        let shared = self.claim.shared.as_deref();
        shared.is_some_and(|shared| claims.contains(shared))
    }

    fn least(&self) -> i64 {
        let counts = self.choices.iter().map(|choice| match choice.count {
            DeviceCount::Exact(count) => count,
            DeviceCount::All => 1,
        });
        counts.min().unwrap_or(0)
    }

    /// The groups and the number of devices of a request that has only one way.
    fn plain(&self) -> Option<(&[usize], i64)> {
        let alone = self.claim.same.is_empty() && self.claim.shared.is_none();
        match &self.choices[..] {
            [
                Choice {
                    count: DeviceCount::Exact(count),
                    groups,
                    ..
                },
            ] if alone => Some((groups, *count)),
            _ => None,
        }
    }

    /// Whether the next one asks the same, so that which of both has what makes no difference.
    fn is_like(&self, next: &Ask<'_>) -> bool {
        let alone = |one: &Ask<'_>| one.claim.requests.len() == 1 && one.claim.same.is_empty();
        alone(self) && alone(next) && self.choices == next.choices && self.of.0 == next.of.0
    }
}

pub(super) fn choices(node: &NodeDevices, request: &RequestNeed) -> Option<Arc<[Choice]>> {
    let mut found = Vec::new();
    for one in &request.alternatives {
        let Some(class) = node.classes.get(&one.class) else {
            continue;
        };
        let among = |set: &BTreeSet<(usize, usize)>| -> Vec<usize> {
            let groups = node.layout.groups.iter().enumerate();
            groups
                .filter(|(_, group)| group.count > 0 && set.contains(&(*class, group.number)))
                .map(|(at, _)| at)
                .collect()
        };
        let unclear = node
            .layout
            .groups
            .iter()
            .any(|group| group.count > 0 && one.unclear.contains_key(&(*class, group.number)));
        if unclear {
            return None;
        }
        let groups = among(&one.fits);
        if !groups.is_empty() {
            found.push(Choice {
                name: one.name.clone(),
                count: one.count,
                groups,
                spoilt: !among(&one.tainted).is_empty(),
            });
        }
    }
    (!found.is_empty()).then(|| found.into())
}

/// What is taken once these pods have given back what they have: the first devices that are theirs for all that is known.
pub(super) fn give_back(node: &NodeDevices, pods: Vec<Ask<'_>>) -> Vec<i64> {
    let mut taken = node.taken.clone();
    for ask in without_repeats(pods) {
        for choice in ask.choices.iter() {
            let has: i64 = choice.groups.iter().map(|at| taken[*at]).sum();
            let mut left = match choice.count {
                DeviceCount::Exact(count) => count,
                DeviceCount::All => has,
            };
            if has < left || left == 0 {
                continue;
            }
            for at in &choice.groups {
                let back = left.min(taken[*at]);
                taken[*at] -= back;
                left -= back;
            }
            break;
        }
    }
    taken
}

/// Claims that several pods have together count once.
pub(super) fn without_repeats(asks: Vec<Ask<'_>>) -> Vec<Ask<'_>> {
    let mut first: BTreeMap<String, (usize, i64, usize)> = BTreeMap::new();
    let is_first = |ask: &Ask<'_>| {
        let Some(shared) = &ask.claim.shared else {
            return true;
        };
        *first.entry(shared.clone()).or_insert(ask.of) == ask.of
    };
    let mut is_first = is_first;
    asks.into_iter().filter(|ask| is_first(ask)).collect()
}

/// The number of copies of `one` where no request has a choice: each asks devices of one set, and two sets are the same or have
/// nothing in common. `None` where it is not as simple as that.
pub(super) fn simple(
    node: &NodeDevices,
    taken: &[i64],
    others: &[Ask<'_>],
    one: &[Ask<'_>],
) -> Option<i64> {
    if node
        .layout
        .groups
        .iter()
        .any(|group| !group.uses.is_empty())
    {
        return None;
    }
    let mut wants: BTreeMap<&[usize], i64> = BTreeMap::new();
    for ask in one {
        let (groups, count) = ask.plain()?;
        *wants.entry(groups).or_default() += count;
    }
    let apart = |a: &[usize], b: &[usize]| a.iter().all(|at| b.binary_search(at).is_err());
    let sets: Vec<&[usize]> = wants.keys().copied().collect();
    let mut used: BTreeMap<&[usize], i64> = BTreeMap::new();
    for ask in others {
        let (groups, count) = ask.plain()?;
        *used.entry(groups).or_default() += count;
    }
    let all_apart = |set: &[usize]| sets.iter().all(|other| *other == set || apart(set, other));
    if !sets.iter().chain(used.keys()).all(|set| all_apart(set)) {
        return None;
    }
    let copies = wants.iter().map(|(set, want)| {
        let left: i64 = set
            .iter()
            .map(|at| node.layout.groups[*at].count - taken[*at])
            .sum();
        ((left - used.get(set).copied().unwrap_or(0)) / want).max(0)
    });
    copies.min()
}

/// The same for needs of one plain request each, without a list of anything: what most nodes and most claims come to.
pub(super) fn quick(
    node: &NodeDevices,
    held: &[(Arc<DeviceNeed>, i64)],
    need: &DeviceNeed,
) -> Option<i64> {
    let groups = &node.layout.groups;
    if groups.iter().any(|group| !group.uses.is_empty()) {
        return None;
    }
    let (one, count) = need.plain()?;
    let class = *node.classes.get(&one.class)?;
    let meets = |one: &Alternative, class: usize, group: &Group| {
        group.count > 0 && one.fits.contains(&(class, group.number))
    };
    let (mut all, mut taken) = (0, 0);
    for (group, used) in groups.iter().zip(&node.taken) {
        if group.count > 0 && one.unclear.contains_key(&(class, group.number)) {
            return Some(0);
        }
        if meets(one, class, group) {
            all += group.count;
            taken += used;
        }
    }
    let (mut reserved, mut given_back) = (0, 0);
    for (other, pods) in held {
        let (other, each) = other.plain()?;
        let Some(theirs) = node.classes.get(&other.class) else {
            continue;
        };
        let both = |group: &&Group| meets(one, class, group) && meets(other, *theirs, group);
        let either = |group: &&Group| meets(one, class, group) || meets(other, *theirs, group);
        let common = groups.iter().filter(both).count();
        if common != 0 && common != groups.iter().filter(either).count() {
            return None;
        }
        if common != 0 && *pods > 0 {
            reserved += pods * each;
        } else if common != 0 {
            given_back -= pods * each;
        }
    }
    let left = all - taken + given_back.min(taken) - reserved;
    Some((left / count).max(0))
}

/// More copies than this there cannot be.
pub(super) fn bound(node: &NodeDevices, taken: &[i64], one: &[Ask<'_>]) -> i64 {
    let by_devices = one.iter().map(|ask| {
        let groups: BTreeSet<usize> = ask
            .choices
            .iter()
            .flat_map(|one| one.groups.iter().copied())
            .collect();
        let left: i64 = groups
            .iter()
            .map(|at| node.layout.groups[*at].count - taken[*at])
            .sum();
        left / ask.least().max(1)
    });
    let has = totals(node, &node.counters_left(taken));
    let asks = one.iter().fold(vec![0; has.len()], |sum, ask| {
        plus(sum, &least_use(node, ask))
    });
    let by_counters = has
        .iter()
        .zip(&asks)
        .filter(|(_, ask)| **ask > 0)
        .map(|(has, ask)| has / ask);
    by_devices.chain(by_counters).min().unwrap_or(0).max(0)
}

/// Counters by what they count, over all sets.
fn totals(node: &NodeDevices, left: &[i64]) -> Vec<i64> {
    let mut totals = vec![0; node.layout.words];
    for (at, left) in left.iter().enumerate() {
        totals[node.layout.kinds[at]] += left;
    }
    totals
}

/// The least that a request uses of each.
fn least_use(node: &NodeDevices, ask: &Ask<'_>) -> Vec<i64> {
    let mut least: Option<Vec<i64>> = None;
    for choice in ask.choices.iter() {
        let count = match choice.count {
            DeviceCount::Exact(count) => count,
            DeviceCount::All => 1,
        };
        for at in &choice.groups {
            let mut uses = vec![0; node.layout.words];
            for (counter, amount) in &node.layout.groups[*at].uses {
                uses[node.layout.kinds[*counter]] += amount * count;
            }
            least = Some(match least {
                None => uses,
                Some(least) => least.into_iter().zip(uses).map(|(a, b)| a.min(b)).collect(),
            });
        }
    }
    least.unwrap_or_else(|| vec![0; node.layout.words])
}

fn plus(sum: Vec<i64>, more: &[i64]) -> Vec<i64> {
    sum.into_iter()
        .zip(more)
        .map(|(a, b)| a.saturating_add(*b))
        .collect()
}

/// How many pods that ask `one` fit beside the others: one after the other as they come, and where that ends before the bound, the
/// next is looked for in every way.
pub(super) fn count(
    node: &NodeDevices,
    taken: &[i64],
    others: Vec<Ask<'_>>,
    one: &[Ask<'_>],
    most: i64,
) -> i64 {
    let most = bound(node, taken, one).min(most);
    let had: BTreeSet<&String> = others
        .iter()
        .filter_map(|ask| ask.claim.shared.as_ref())
        .collect();
    let pod = |number: i64| {
        // What pods have together was given to the first, or to others.
        let is_new = |ask: &&Ask<'_>| {
            let shared = ask.claim.shared.as_ref();
            shared.is_none_or(|shared| number == 0 && !had.contains(shared))
        };
        let numbered = one.iter().filter(is_new).cloned().map(|mut ask| {
            ask.of.1 = number;
            ask
        });
        without_repeats(numbered.collect())
    };
    let mut search = Search::new(node, taken);
    if !search.requests(&others, 0, (0, 0)) {
        return 0;
    }
    let mut copies = 0;
    while copies < most && search.requests(&pod(copies), 0, (0, 0)) {
        search.steps = 0;
        copies += 1;
    }
    while copies < most {
        let mut asks: Vec<Ask<'_>> = (0..=copies).flat_map(pod).collect();
        asks.extend(others.iter().cloned());
        if !fits(node, taken, asks) {
            break;
        }
        copies += 1;
    }
    copies
}

/// Whether all of them fit at once.
pub(super) fn fits(node: &NodeDevices, taken: &[i64], asks: Vec<Ask<'_>>) -> bool {
    let counters = node.counters_left(taken);
    let has = totals(node, &counters);
    let least = asks.iter().fold(vec![0; has.len()], |sum, ask| {
        plus(sum, &least_use(node, ask))
    });
    if has.iter().zip(&least).any(|(has, ask)| has < ask) {
        return false;
    }
    Search::new(node, taken).requests(&asks, 0, (0, 0))
}

struct Search<'a> {
    node: &'a NodeDevices,
    /// Devices by group.
    left: Vec<i64>,
    counters: Vec<i64>,
    /// What the devices of a claim have agreed on, by need, pod, claim and number of the constraint; and how many rest on it.
    agreed: BTreeMap<(usize, i64, usize, usize), (DeviceAttribute, i64)>,
    steps: u32,
}

impl<'a> Search<'a> {
    fn new(node: &'a NodeDevices, taken: &[i64]) -> Self {
        let groups = node.layout.groups.iter().zip(taken);
        Self {
            node,
            left: groups.map(|(group, taken)| group.count - taken).collect(),
            counters: node.counters_left(taken),
            agreed: BTreeMap::new(),
            steps: 0,
        }
    }

    /// Gives devices to the requests from `at` on. One that is like the one before begins where that began (`floor`).
    fn requests(&mut self, asks: &[Ask<'_>], at: usize, floor: (usize, usize)) -> bool {
        let Some(ask) = asks.get(at) else {
            return true;
        };
        let floor = match at.checked_sub(1).map(|before| &asks[before]) {
            Some(before) if before.is_like(ask) => floor,
            _ => (0, 0),
        };
        for (number, choice) in ask.choices.iter().enumerate().skip(floor.0) {
            let from = if number == floor.0 { floor.1 } else { 0 };
            let found = match choice.count {
                DeviceCount::Exact(count) => self.some(asks, at, (number, None), count, from),
                DeviceCount::All => self.all(asks, at, number),
            };
            if found {
                return true;
            }
        }
        false
    }

    /// Gives `missing` more devices to a request, of groups from `from` on.
    fn some(
        &mut self,
        asks: &[Ask<'_>],
        at: usize,
        (number, first): (usize, Option<usize>),
        missing: i64,
        from: usize,
    ) -> bool {
        self.steps += 1;
        if self.steps > BUDGET {
            return false;
        }
        let (ask, choice) = (&asks[at], &asks[at].choices[number]);
        if missing == 0 {
            return self.requests(asks, at + 1, (number, first.unwrap_or(0)));
        }
        let open = choice.groups.iter().filter(|group| **group >= from);
        if open.clone().map(|group| self.left[*group]).sum::<i64>() < missing {
            return false;
        }
        for &group in open {
            if self.take(ask, choice, group) {
                let first = first.or(Some(group));
                if self.some(asks, at, (number, first), missing - 1, group) {
                    return true;
                }
                self.put_back(ask, choice, group);
            }
        }
        false
    }

    /// Gives all devices that match to a request.
    fn all(&mut self, asks: &[Ask<'_>], at: usize, number: usize) -> bool {
        self.steps += 1;
        let (ask, choice) = (&asks[at], &asks[at].choices[number]);
        let groups = &self.node.layout.groups;
        if choice.spoilt
            || choice
                .groups
                .iter()
                .any(|at| self.left[*at] < groups[*at].count)
        {
            return false;
        }
        let mut taken = Vec::new();
        let mut whole = true;
        'groups: for &group in &choice.groups {
            for _ in 0..groups[group].count {
                if !self.take(ask, choice, group) {
                    whole = false;
                    break 'groups;
                }
                taken.push(group);
            }
        }
        if whole && self.requests(asks, at + 1, (number, 0)) {
            return true;
        }
        for group in taken.into_iter().rev() {
            self.put_back(ask, choice, group);
        }
        false
    }

    /// Takes one device of a group, if there is one and what it shares with others allows it.
    fn take(&mut self, ask: &Ask<'_>, choice: &Choice, group: usize) -> bool {
        let there = &self.node.layout.groups[group];
        let enough = there
            .uses
            .iter()
            .all(|(at, amount)| self.counters[*at] >= *amount);
        if self.left[group] == 0 || !enough {
            return false;
        }
        let mut values = Vec::new();
        for (number, same) in constraints(ask, choice) {
            let Some(value) = attribute(&there.shape, &same.attribute) else {
                return false;
            };
            let key = (ask.of.0, ask.of.1, ask.of.2, number);
            if self
                .agreed
                .get(&key)
                .is_some_and(|(agreed, _)| agreed != value)
            {
                return false;
            }
            values.push((key, value));
        }
        for (key, value) in values {
            self.agreed
                .entry(key)
                .or_insert_with(|| (value.clone(), 0))
                .1 += 1;
        }
        for (at, amount) in &there.uses {
            self.counters[*at] -= amount;
        }
        self.left[group] -= 1;
        true
    }

    fn put_back(&mut self, ask: &Ask<'_>, choice: &Choice, group: usize) {
        self.left[group] += 1;
        for (at, amount) in &self.node.layout.groups[group].uses {
            self.counters[*at] += amount;
        }
        for (number, _) in constraints(ask, choice) {
            let key = (ask.of.0, ask.of.1, ask.of.2, number);
            if let Some((_, rest)) = self.agreed.get_mut(&key) {
                *rest -= 1;
                if *rest == 0 {
                    self.agreed.remove(&key);
                }
            }
        }
    }
}

/// The constraints of the claim that concern a request.
fn constraints<'a>(
    ask: &Ask<'a>,
    choice: &Choice,
) -> impl Iterator<Item = (usize, &'a SameAttribute)> + use<'a> {
    let name = ask.request.name.clone();
    let full = format!("{name}/{}", choice.name);
    ask.claim.same.iter().enumerate().filter(move |(_, same)| {
        same.requests.is_empty() || same.requests.contains(&name) || same.requests.contains(&full)
    })
}
