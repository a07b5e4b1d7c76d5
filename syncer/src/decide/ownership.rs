//! Which assignments are about which object. Several may carry the same ConfigMap: then the newest content wins on the member, and
//! the object goes with the last of them.

use std::collections::{BTreeMap, BTreeSet};

use super::object_id::ObjectId;

/// Who wants an object and who has announced it.
#[derive(Debug, Default)]
pub struct Ownership {
    /// Orders to have it, with the hub's version of it.
    wanted: BTreeMap<ObjectId, BTreeMap<String, i64>>,
    /// Ledgers that list it.
    listed: BTreeMap<ObjectId, BTreeSet<String>>,
    by_order: BTreeMap<String, Vec<ObjectId>>,
    by_ledger: BTreeMap<String, Vec<ObjectId>>,
}

impl Ownership {
    /// What an assignment orders now; nothing for a tombstone.
    pub fn set_order(&mut self, name: &str, objects: Vec<(ObjectId, i64)>) {
        for id in self.by_order.remove(name).unwrap_or_default() {
            remove(
                &mut self.wanted,
                &id,
                |names| names.remove(name).is_some(),
                BTreeMap::is_empty,
            );
        }
        let ids = objects.iter().map(|(id, _)| id.clone()).collect();
        for (id, version) in objects {
            self.wanted
                .entry(id)
                .or_default()
                .insert(name.to_owned(), version);
        }
        self.by_order.insert(name.to_owned(), ids);
    }

    /// What the ledger of an assignment lists now.
    pub fn set_ledger(&mut self, name: &str, objects: Vec<ObjectId>) {
        for id in self.by_ledger.remove(name).unwrap_or_default() {
            remove(
                &mut self.listed,
                &id,
                |names| names.remove(name),
                BTreeSet::is_empty,
            );
        }
        for id in &objects {
            self.listed
                .entry(id.clone())
                .or_default()
                .insert(name.to_owned());
        }
        if !objects.is_empty() {
            self.by_ledger.insert(name.to_owned(), objects);
        }
    }

    /// Whether anybody but `name` wants or lists it.
    pub fn elsewhere(&self, id: &ObjectId, name: &str) -> bool {
        self.wanted
            .get(id)
            .is_some_and(|names| names.keys().any(|n| n != name))
            || self
                .listed
                .get(id)
                .is_some_and(|names| names.iter().any(|n| n != name))
    }

    /// The assignment whose version of the object counts: the newest, and of equals the first by name.
    pub fn winner(&self, id: &ObjectId) -> Option<&str> {
        let names = self.wanted.get(id)?;
        let newest = names.values().max()?;
        names
            .iter()
            .find(|(_, version)| *version == newest)
            .map(|(name, _)| name.as_str())
    }

    /// Every assignment that wants or lists it.
    pub fn names(&self, id: &ObjectId) -> BTreeSet<&str> {
        let wanted = self.wanted.get(id).into_iter().flat_map(BTreeMap::keys);
        let listed = self.listed.get(id).into_iter().flatten();
        wanted.chain(listed).map(String::as_str).collect()
    }

    /// Objects that some order wants or some ledger lists.
    pub fn objects(&self) -> BTreeSet<&ObjectId> {
        self.wanted.keys().chain(self.listed.keys()).collect()
    }

    /// Objects that an assignment orders.
    pub fn ordered(&self, name: &str) -> &[ObjectId] {
        self.by_order.get(name).map_or(&[], Vec::as_slice)
    }

    /// How many objects ledgers list.
    pub fn listed(&self) -> usize {
        self.listed.len()
    }
}

fn remove<T>(
    map: &mut BTreeMap<ObjectId, T>,
    id: &ObjectId,
    take: impl FnOnce(&mut T) -> bool,
    empty: impl FnOnce(&T) -> bool,
) {
    if let Some(names) = map.get_mut(id) {
        take(names);
        if empty(names) {
            map.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_wins_and_the_last_one_takes_it_away() {
        let shared = ObjectId::new("", "ConfigMap", "shop", "settings");
        let mut all = Ownership::default();
        all.set_order("a", vec![(shared.clone(), 5)]);
        all.set_order("b", vec![(shared.clone(), 7)]);
        all.set_ledger("a", vec![shared.clone()]);
        assert_eq!(all.winner(&shared), Some("b"));
        assert!(
            all.elsewhere(&shared, "a"),
            "b wants it, though its ledger is not written yet"
        );
        all.set_order("c", vec![(shared.clone(), 7)]);
        assert_eq!(
            all.winner(&shared),
            Some("b"),
            "equal versions: always the same one"
        );
        all.set_order("c", Vec::new());
        all.set_order("b", Vec::new());
        assert_eq!(all.winner(&shared), Some("a"));
        assert!(!all.elsewhere(&shared, "a"));
        all.set_ledger("b", vec![shared.clone()]);
        assert!(all.elsewhere(&shared, "a"));
        assert_eq!(
            all.names(&shared).into_iter().collect::<Vec<_>>(),
            ["a", "b"]
        );
        all.set_ledger("b", Vec::new());
        all.set_ledger("a", Vec::new());
        all.set_order("a", Vec::new());
        assert!(all.objects().is_empty());
    }
}
