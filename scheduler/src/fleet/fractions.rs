//! Shares of a device: which device of a node a pod's share sits on, and what is free beside it.
//!
//! Devices that nobody shares are counted with the other amounts. A share opens one of them: it is then no wholly free device any more,
//! and its free thousandths take further shares until the last one leaves. Members report no shares, so they count for
//! as long as a decision claims them.

use super::hold::Hold;
use super::{Amounts, Demand, Node, Target};

/// A whole device, in the unit of shares.
pub(crate) const WHOLE: i64 = 1000;

/// A device that is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Open {
    /// Number of the resource.
    pub(crate) resource: usize,
    /// Its number on the node.
    pub(crate) device: u16,
    /// Thousandths in use.
    used: i64,
}

impl Open {
    /// Free thousandths.
    pub(crate) fn free(&self) -> i64 {
        WHOLE - self.used
    }
}

impl Demand {
    /// The same, with so many thousandths of one device beside; a whole device or more is counted in devices.
    #[must_use]
    pub(crate) fn with_share(mut self, resource: usize, thousandths: i64) -> Self {
        match thousandths {
            ..=0 => {}
            1..WHOLE => self.share = Some((resource, thousandths)),
            _ => self.put(resource, (thousandths + WHOLE - 1) / WHOLE),
        }
        self
    }

    /// The same with a device of its own in place of a share.
    pub(crate) fn apart(&self) -> Self {
        let mut apart = self.clone();
        if let Some((resource, _)) = apart.share.take() {
            apart.put(resource, 1);
        }
        apart
    }
}

impl Node {
    /// Devices that are shared, by resource and number.
    pub(crate) fn open(&self) -> &[Open] {
        &self.open
    }

    /// Pods that fit now, shares beside shares included.
    pub(crate) fn copies(&self, demand: &Demand) -> i64 {
        let Some((resource, thousandths)) = demand.share() else {
            return demand.copies_in(&self.free);
        };
        let beside: i64 = self
            .open
            .iter()
            .filter(|open| open.resource == resource)
            .map(|open| open.free().max(0) / thousandths)
            .sum();
        let whole = self.free.get(resource).max(0) * (WHOLE / thousandths);
        demand
            .copies_by_amount(&self.free)
            .min(beside + whole)
            .max(0)
    }

    /// The device on which one more share leaves the least free: of those that are shared the fullest, else a new one.
    pub(crate) fn tightest(&self, resource: usize, thousandths: i64) -> u16 {
        let shared = self.open.iter().filter(|open| open.resource == resource);
        let fits = shared.clone().filter(|open| open.free() >= thousandths);
        let fullest = fits.min_by_key(|open| (open.free(), open.device));
        if let Some(open) = fullest {
            return open.device;
        }
        self.unshared(resource)
    }

    /// The first device that nobody shares.
    pub(crate) fn unshared(&self, resource: usize) -> u16 {
        let mut next = 0;
        for open in self.open.iter().filter(|open| open.resource == resource) {
            if open.device != next {
                break;
            }
            next += 1;
        }
        next
    }

    /// Adds to what is used of a device; the last share that leaves closes it.
    pub(super) fn use_share(&mut self, resource: usize, device: u16, thousandths: i64) {
        let key = |open: &Open| (open.resource, open.device);
        match self.open.binary_search_by_key(&(resource, device), key) {
            Ok(position) => {
                self.open[position].used += thousandths;
                if self.open[position].used <= 0 {
                    self.open.remove(position);
                }
            }
            Err(position) if thousandths > 0 => self.open.insert(
                position,
                Open {
                    resource,
                    device,
                    used: thousandths,
                },
            ),
            Err(_) => {}
        }
    }

    /// Takes the devices that are shared off the wholly free ones.
    pub(super) fn close_shared(&self, free: &mut Amounts) {
        for open in &self.open {
            free.set(open.resource, free.get(open.resource) - 1);
        }
    }
}

impl Target {
    /// Gives each claimed share its device: the one it had, else the tightest.
    pub(super) fn seat_shares(&mut self, old: Option<&Hold>, new: &mut Hold) {
        let shared = |share: &&mut super::Share| share.demand.share().is_some();
        for share in new.claimed.iter_mut().filter(shared) {
            let wanted = usize::try_from(share.pods).unwrap_or_default();
            if share.devices.len() == wanted {
                continue;
            }
            let before = old.into_iter().flat_map(|old| &old.claimed).find(|had| {
                had.node == share.node && had.pod_set == share.pod_set && had.demand == share.demand
            });
            share.devices = before.map_or_else(Vec::new, |had| had.devices.clone());
            share.devices.truncate(wanted);
        }
        // What has a device already is not to be sat upon.
        self.use_shares(&new.claimed, 1);
        for share in &mut new.claimed {
            let Some((resource, thousandths)) = share.demand.share() else {
                continue;
            };
            let Some(position) = self.position(share.node.as_str()) else {
                continue;
            };
            let wanted = usize::try_from(share.pods).unwrap_or_default();
            while share.devices.len() < wanted {
                let node = &mut self.nodes[position];
                let device = node.tightest(resource, thousandths);
                node.use_share(resource, device, thousandths);
                share.devices.push(device);
            }
        }
        self.use_shares(&new.claimed, -1);
    }

    /// Adds the shares of these pods to their devices, or takes them away.
    pub(super) fn use_shares(&mut self, shares: &[super::Share], sign: i64) {
        for share in shares {
            let Some((resource, thousandths)) = share.demand.share() else {
                continue;
            };
            if let Some(position) = self.position(share.node.as_str()) {
                for device in &share.devices {
                    self.nodes[position].use_share(resource, *device, sign * thousandths);
                }
            }
        }
    }
}
