//! What one pod needs of the devices of its node.

use std::collections::{BTreeMap, BTreeSet};

use placement_api::devices::{DeviceClaim, DeviceCount, DeviceToleration, SameAttribute};

use super::Catalog;

/// What one pod needs of the devices of its node: its claims, and which devices meet them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceNeed {
    pub(super) claims: Vec<ClaimNeed>,
    source: Source,
}

/// What a need is made of: claims, and extended resources that may be devices.
pub(super) type Source = (Vec<DeviceClaim>, Vec<(String, i64)>);

/// One claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClaimNeed {
    /// All pods that name this claim have its devices together.
    pub(super) shared: Option<String>,
    /// It stands for an extended resource, and asks for nothing where the node has that resource itself.
    pub(super) backs: Option<String>,
    pub(super) requests: Vec<RequestNeed>,
    pub(super) same: Vec<SameAttribute>,
}

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestNeed {
    pub(super) name: String,
    pub(super) alternatives: Vec<Alternative>,
}

/// Devices of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alternative {
    pub(super) name: String,
    pub(super) class: String,
    pub(super) selectors: Vec<String>,
    pub(super) count: DeviceCount,
    /// Class and shape of devices of the class.
    pub(super) of_class: BTreeSet<(usize, usize)>,
    /// The same of those that meet it.
    pub(super) fits: BTreeSet<(usize, usize)>,
    /// The same, but for a taint that is not tolerated.
    pub(super) tainted: BTreeSet<(usize, usize)>,
    /// Where it cannot be told; the member's scheduler gives up there too.
    pub(super) unclear: BTreeMap<(usize, usize), String>,
}

impl DeviceNeed {
    pub(super) fn new(
        catalog: &mut Catalog,
        claims: &[DeviceClaim],
        backed: &[(String, i64)],
    ) -> Self {
        let mut needs: Vec<ClaimNeed> = Vec::new();
        for claim in claims {
            let requests = claim.requests.iter().map(|request| RequestNeed {
                name: request.name.clone(),
                alternatives: request
                    .alternatives
                    .iter()
                    .map(|one| {
                        let mut new = Alternative {
                            name: one.name.clone(),
                            class: one.class.clone(),
                            selectors: one.selectors.clone(),
                            count: one.count,
                            ..Alternative::default()
                        };
                        new.look(catalog, &one.tolerations);
                        new
                    })
                    .collect(),
            });
            needs.push(ClaimNeed {
                shared: claim.shared.clone(),
                backs: None,
                requests: requests.collect(),
                same: claim.same.clone(),
            });
        }
        for (resource, count) in backed {
            let alternatives = catalog.classes_behind(resource).into_iter().map(|class| {
                let mut new = Alternative {
                    class,
                    count: DeviceCount::Exact(*count),
                    ..Alternative::default()
                };
                new.look(catalog, &[]);
                new
            });
            let request = RequestNeed {
                name: resource.clone(),
                alternatives: alternatives.collect(),
            };
            needs.push(ClaimNeed {
                backs: Some(resource.clone()),
                requests: vec![request],
                ..ClaimNeed::default()
            });
        }
        Self {
            claims: needs,
            source: (claims.to_vec(), backed.to_vec()),
        }
    }

    /// The same need with what is known by now.
    pub(crate) fn renewed(&self, catalog: &mut Catalog) -> Self {
        Self::new(catalog, &self.source.0, &self.source.1)
    }

    /// Whether it has claims, and not only extended resources that may be claims on some nodes.
    pub(crate) fn has_claims(&self) -> bool {
        self.claims.iter().any(|claim| claim.backs.is_none())
    }

    /// Names of the claims that its pods have together with all who name them.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &str> {
        let claims = self.claims.iter();
        claims.filter_map(|claim| claim.shared.as_deref())
    }

    /// Whether all that it needs is one claim that its pods have together.
    pub(super) fn is_shared(&self) -> bool {
        self.claims.iter().all(|claim| claim.shared.is_some())
    }

    /// Its only request, where it has one, with one way to meet it, for so many devices, of each pod's own.
    pub(super) fn plain(&self) -> Option<(&Alternative, i64)> {
        let [claim] = &self.claims[..] else {
            return None;
        };
        let own = claim.shared.is_none() && claim.backs.is_none() && claim.same.is_empty();
        match (&claim.requests[..], own) {
            ([request], true) => match &request.alternatives[..] {
                [one] => match one.count {
                    DeviceCount::Exact(count) => Some((one, count)),
                    DeviceCount::All => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// Most alternatives that a request has.
    pub(crate) fn choices(&self) -> usize {
        let requests = self.claims.iter().filter(|claim| claim.backs.is_none());
        let requests = requests.flat_map(|claim| &claim.requests);
        requests
            .map(|one| one.alternatives.len())
            .max()
            .unwrap_or(0)
    }

    /// The same with only the first so many alternatives of each request.
    pub(crate) fn with_choices(&self, choices: usize) -> Self {
        let mut less = self.clone();
        for request in less.claims.iter_mut().flat_map(|claim| &mut claim.requests) {
            request.alternatives.truncate(choices.max(1));
        }
        less
    }
}

impl Alternative {
    fn look(&mut self, catalog: &mut Catalog, tolerations: &[DeviceToleration]) {
        let shapes = catalog.shapes();
        for class in catalog.classes_named(&self.class) {
            for (number, shape) in shapes.iter().enumerate() {
                let key = (class, number);
                let tolerated = shape
                    .taints
                    .iter()
                    .all(|taint| tolerations.iter().any(|one| one.tolerates(taint)));
                if catalog.meets(class, &[], number) == Ok(true) {
                    self.of_class.insert(key);
                }
                match catalog.meets(class, &self.selectors, number) {
                    Ok(true) if tolerated => drop(self.fits.insert(key)),
                    Ok(true) => drop(self.tainted.insert(key)),
                    Ok(false) => {}
                    Err(message) => drop(self.unclear.insert(key, message)),
                }
            }
        }
    }
}
