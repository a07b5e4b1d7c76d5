//! Why targets do not hold a workload, kept per kind of request: who waits in a full fleet is told the same again and again, and only
//! targets that have changed are looked at anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::Draft;
use super::likeness::Likeness;
use super::needs::{Needs, SetNeed};
use super::occupancy::is_one_role;
use super::tally::Tally;
use super::tree::Level;
use super::why::{Findings, Verdict, findings, verdict};
use crate::fleet::{Change, Demand, Fleet, Index, Target, TargetName, TargetState};

/// Most verdicts over all classes; when there are more all begin anew.
const MOST_ENTRIES: usize = 1 << 18;

/// What was found lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdicts {
    /// That of the index by which all this is known.
    generation: Arc<()>,
    classes: Vec<Class>,
    by_demand: BTreeMap<(Arc<Demand>, i64), Vec<usize>>,
}

/// Requests to which all targets say the same.
#[derive(Clone, Debug)]
struct Class {
    likeness: Likeness,
    /// Label of the closeness that was asked for, and the levels at which it is looked for.
    topology: Option<String>,
    levels: Vec<Level>,
    /// The log is read up to here.
    read: Option<usize>,
    found: BTreeMap<TargetName, (Verdict, Tally)>,
    /// Targets of which the words change with time.
    lost: BTreeSet<TargetName>,
}

impl Verdicts {
    /// What [`findings`] says.
    pub(super) fn findings(
        &mut self,
        fleet: &mut Fleet,
        needs: &Needs<'_>,
        draft: &Draft,
        except: &BTreeSet<TargetName>,
        now_ms: i64,
    ) -> Findings {
        let plain = is_one_role(needs) && needs.request.gang_per_target.is_none();
        let (true, [need], [want]) = (plain, &needs.sets[..], &draft.asked[..]) else {
            return findings(fleet, needs, draft, except, now_ms);
        };
        fleet.index();
        let (fleet, index) = (&*fleet, fleet.indexed());
        if !Arc::ptr_eq(&self.generation, index.generation()) {
            self.generation = Arc::clone(index.generation());
            self.classes.clear();
            self.by_demand.clear();
        }
        let key = (Arc::clone(&need.demand), *want);
        let alike = self.by_demand.get(&key).into_iter().flatten().copied();
        let topology = needs.request.topology.as_ref().map(|one| &one.level);
        let known = { alike }.find(|number| {
            let class = &self.classes[*number];
            class.levels == draft.levels
                && class.topology.as_ref() == topology
                && class.likeness.is_of(needs, need)
        });
        let number = known.unwrap_or_else(|| {
            if (self.classes.len() + 1) * fleet.target_count() > MOST_ENTRIES {
                self.classes.clear();
                self.by_demand.clear();
            }
            self.classes.push(Class {
                likeness: Likeness::of(needs, need),
                topology: topology.cloned(),
                levels: draft.levels.clone(),
                read: None,
                found: BTreeMap::new(),
                lost: BTreeSet::new(),
            });
            let number = self.classes.len() - 1;
            self.by_demand.entry(key).or_default().push(number);
            number
        });
        let class = &mut self.classes[number];
        class.refresh(fleet, index, need, |name, target, tally| {
            verdict(fleet, needs, draft, (name, target, Some(tally)), now_ms)
        });
        let mut all = Findings::default();
        let mut lacks: BTreeSet<usize> = BTreeSet::new();
        for (verdict, _) in class.found.values() {
            all.verdicts.extend(verdict.said.clone());
            lacks.extend(&verdict.lacks);
        }
        let name = |number: usize| fleet.resources().name(number).to_owned();
        all.lacks = lacks.into_iter().map(name).collect();
        all
    }
}

impl Class {
    /// Looks again at what has changed.
    fn refresh(
        &mut self,
        fleet: &Fleet,
        index: &Index,
        need: &SetNeed<'_>,
        look: impl Fn(&TargetName, &Target, &Tally) -> Verdict,
    ) {
        let news = self.read.and_then(|position| index.changes_since(position));
        let mut changed: BTreeMap<TargetName, Vec<&Change>> = BTreeMap::new();
        if let Some(news) = news {
            for change in news {
                changed
                    .entry(change.target.clone())
                    .or_default()
                    .push(change);
            }
            for name in &self.lost {
                changed.entry(name.clone()).or_default();
            }
        } else {
            self.found.clear();
            changed.extend(fleet.targets().map(|(name, _)| (name.clone(), Vec::new())));
        }
        for (name, changes) in changed {
            let before = self.found.remove(&name);
            self.lost.remove(&name);
            let Some(target) = fleet.target(name.as_str()) else {
                continue;
            };
            if target.state == TargetState::Lost {
                self.lost.insert(name.clone());
            }
            // Each change is counted twice, off and on: after many all nodes are counted sooner.
            let few = 2 * changes.len() < target.node_list().len();
            let tally = before
                .filter(|_| few)
                .and_then(|(_, tally)| tally.after(need, &changes))
                .unwrap_or_else(|| Tally::of(need, target));
            let verdict = look(&name, target, &tally);
            self.found.insert(name, (verdict, tally));
        }
        self.read = Some(index.changes_end());
    }
}
