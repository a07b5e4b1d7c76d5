//! The engine's look at one assignment: what to do next, what to release, what to report.

use std::collections::BTreeSet;
use std::sync::Arc;

use placement_api::api_type::ObjectKey;
use placement_api::kinds::{AssignmentState, FinishedRecord, LedgerObject, SyncPolicySpec};

use super::apply::{Outcome, Work};
use super::engine::{DENIALS, Engine};
use super::event::Event;
use super::metrics::{FailureLabels, StepLabels};
use super::order::Order;
use super::probe::replica_failure;
use super::progress::Counts;
use super::release::{Lift, Released, Turn, mark, release};
use super::state::Wanted;
use crate::decide::diff::{Decision, Input, Seen, Step, Why, decide};
use crate::decide::gate;
use crate::decide::object_id::ObjectId;
use crate::decide::pod::Pod;
use crate::decide::status::Reading;
use crate::decide::surplus;
use crate::interpret;

/// Milliseconds before gates that could not be lifted are tried again.
const RELEASE_AGAIN: u64 = 1_000;

impl Engine {
    /// Looks at an assignment: starts work on it, or lets it rest and reports.
    pub(super) fn look(&mut self, name: &str) {
        if !self.begin(name) {
            self.queue.done(name);
        }
    }

    /// True: work was started, which ends with [`Event::Done`].
    fn begin(&mut self, name: &str) -> bool {
        let now = self.now();
        let Some(object) = self.state.order(name) else {
            return false;
        };
        let (Some(policy), true) = (self.state.policy(), self.state.discovery.is_some()) else {
            return false;
        };
        let order = match Order::read(object) {
            Ok(order) => order,
            Err(error) => {
                self.progress.entry(name.to_owned()).or_default().problem =
                    Some(format!("{name}: {error}"));
                self.stock.dirty = true;
                return false;
            }
        };
        let orphan = self.state.orphans.contains_key(name);
        if orphan && order.spec.state == AssignmentState::Removed {
            return false;
        }
        self.progress
            .entry(name.to_owned())
            .or_default()
            .see_generation(order.generation);
        let (wanted, invalid) = match order.spec.state {
            AssignmentState::Removed => (
                Wanted {
                    desired: Vec::new(),
                    missing: Vec::new(),
                },
                None,
            ),
            AssignmentState::Active => match self.state.wanted(name, &order) {
                Ok(wanted) => (wanted, None),
                Err(error) => (
                    Wanted {
                        desired: Vec::new(),
                        missing: Vec::new(),
                    },
                    Some(error),
                ),
            },
        };
        let root = ObjectId::of(&order.spec.workload);
        let live = match self.state.seen(&root) {
            Seen::Ours(live) => Some(live),
            _ => None,
        };
        let reading = live.map(|live| interpret::read(&order.spec, live));
        let replica_failure = live.and_then(replica_failure);
        let root_uid = live.map(|live| live.metadata.uid.clone());
        let mut decision = match &invalid {
            None => self.decide(name, &order, &wanted, reading.as_ref(), &policy, now),
            Some(_) => Decision::default(),
        };
        self.note_denied_kinds(name, &mut decision);
        if decision.steps.is_empty() {
            let progress = self.progress.entry(name.to_owned()).or_default();
            progress.went_well();
        } else {
            let not_before = self
                .progress
                .get(name)
                .map_or(0, |progress| progress.not_before);
            if now >= not_before {
                if self.mark(name, &order, &decision.steps) {
                    return false;
                }
                self.start(name, &order, decision.steps, wanted, policy.pod_security);
                return true;
            }
            self.queue.push_at(name, not_before);
        }
        if decision
            .blocks
            .iter()
            .any(|block| block.why == Why::DeleteBudget)
            && let Some(at) = self.budget.next()
        {
            self.queue.push_at(name, at);
        }
        self.release_gates(name, &order);
        let stuck = self.stuck(
            name,
            &order,
            &decision,
            reading.as_ref(),
            replica_failure,
            root_uid,
            now,
        );
        self.note_counts(name, &order, reading.as_ref(), decision.removed);
        if !orphan && self.knows_enough(&root) {
            self.report(
                name,
                &order,
                &decision,
                reading.as_ref(),
                invalid.as_deref(),
                stuck.as_deref(),
                now,
            );
        }
        false
    }

    /// Whether a report would rest on a complete look: before that it would take back what is true.
    fn knows_enough(&self, root: &ObjectId) -> bool {
        let denied = self.denial(root).is_some();
        self.state.pods.is_synced() && (denied || !matches!(self.state.seen(root), Seen::Unknown))
    }

    /// Why the agent may not list a kind.
    fn denial(&self, id: &ObjectId) -> Option<&str> {
        let (message, times) = self.state.kinds.get(&id.kind)?.denied.as_ref()?;
        (*times >= DENIALS).then_some(message)
    }

    /// What waits for the first look at a kind that the member does not let the agent list, waits for ever: that is a refusal, unless
    /// the object was applied already and only cannot be seen now.
    fn note_denied_kinds(&self, name: &str, decision: &mut Decision) {
        for block in decision
            .blocks
            .iter_mut()
            .filter(|block| block.why == Why::Waiting)
        {
            let Some(id) = &block.id else {
                continue;
            };
            let denied = self.denial(id);
            let ledger = self.state.ledgers.get(name);
            let applied = ledger.is_some_and(|ledger| {
                let is_it = |object: &&LedgerObject| ObjectId::of(&object.reference) == *id;
                ledger
                    .spec
                    .objects
                    .iter()
                    .find(is_it)
                    .is_some_and(|object| !object.reference.uid.is_empty())
            });
            if let Some(message) = denied.filter(|_| !applied) {
                block.why = Why::Forbidden;
                message.clone_into(&mut block.message);
            }
        }
    }

    fn decide(
        &mut self,
        name: &str,
        order: &Order,
        wanted: &Wanted,
        reading: Option<&Reading>,
        policy: &SyncPolicySpec,
        now: u64,
    ) -> Decision {
        let applied = self.state.ownership.listed();
        let deletions = self
            .budget
            .left(policy.delete_budget.as_ref(), applied, now);
        let state = &self.state;
        let ledger = state.ledgers.get(name).map(|ledger| &ledger.spec);
        let finished = reading.and_then(|reading| {
            let succeeded = reading.finished?;
            Some(FinishedRecord {
                succeeded,
                root_status: reading.status.clone(),
            })
        });
        decide(&Input {
            order: order.head(),
            hub_uid: &state.hub_uid,
            ledger,
            desired: &wanted.desired,
            missing: &wanted.missing,
            seen: &|id| state.seen(id),
            served: &|desired| state.serves(desired),
            namespace: &|namespace| state.has_namespace(namespace),
            written: &state.written,
            elsewhere: &|id| state.ownership.elsewhere(id, name),
            policy,
            finished: finished.as_ref(),
            pods: state.pods.is_synced().then(|| {
                state
                    .pods(name)
                    .iter()
                    .filter(|pod| !pod.has_ended())
                    .count()
            }),
            deletions,
        })
    }

    fn start(
        &mut self,
        name: &str,
        order: &Order,
        steps: Vec<Step>,
        wanted: Wanted,
        pod_security: Option<String>,
    ) {
        let Some(discovery) = self.state.discovery.clone() else {
            return;
        };
        let now = self.now();
        for step in &steps {
            let step = match step {
                Step::CheckTerm => "term",
                Step::WriteLedger(_) => "ledger",
                Step::MakeNamespace(_) => "namespace",
                Step::Create { .. } => "create",
                Step::Apply(_) => "apply",
                Step::Delete(_) => {
                    self.budget.spend(1, now);
                    "delete"
                }
                Step::DropLedger(_) => "drop",
            };
            self.fixed
                .metrics
                .steps
                .get_or_create(&StepLabels { step })
                .inc();
        }
        let live = wanted
            .desired
            .iter()
            .filter_map(|desired| match self.state.seen(&desired.id) {
                Seen::Ours(object) => Some((desired.id.clone(), object.metadata.uid.clone())),
                _ => None,
            })
            .collect();
        let ids = wanted
            .desired
            .iter()
            .filter_map(|desired| match self.state.seen(&desired.id) {
                Seen::Ours(object) => Some(object.metadata.uid.clone()),
                _ => None,
            });
        let applied: BTreeSet<String> =
            ids.filter(|uid| self.state.applied.contains(uid)).collect();
        let work = Work {
            hub: self.fixed.hub.clone(),
            member: self.fixed.member.clone(),
            hub_uid: Arc::clone(&self.state.hub_uid),
            name: name.to_owned(),
            term: order.spec.term,
            steps,
            desired: wanted.desired,
            ledger: self.state.ledgers.get(name).cloned(),
            discovery,
            live,
            applied,
            pod_security,
        };
        let name = name.to_owned();
        self.spawn(async move { Event::Done(name, Box::new(work.run().await)) });
    }

    /// Takes in what became of the steps.
    pub(super) fn done(&mut self, name: &str, mut outcome: Outcome) {
        let (now, spread) = (self.now(), self.spread());
        let kinds = self.state.note_outcome(name, &mut outcome);
        self.watch_kinds(kinds);
        let order = self
            .state
            .order(name)
            .and_then(|object| object.metadata.generation);
        let generation = order.unwrap_or_default();
        let progress = self.progress.entry(name.to_owned()).or_default();
        if let Some((failure, _)) = &outcome.failure {
            tracing::info!(assignment = %name, reason = %failure.reason, message = %failure.message, "a step was not done");
            let labels = FailureLabels {
                reason: failure.reason.clone(),
            };
            self.fixed.metrics.failures.get_or_create(&labels).inc();
        }
        if outcome.failure.is_some() || outcome.again {
            progress.failed(outcome.failure, generation, now, spread);
        } else {
            progress.went_well();
        }
        self.queue.done(name);
        self.queue.push(name);
    }

    fn release_gates(&mut self, name: &str, order: &Order) {
        let progress = self.progress.entry(name.to_owned()).or_default();
        let current = self
            .state
            .ledgers
            .get(name)
            .is_some_and(|ledger| ledger.spec.epoch == order.spec.epoch);
        if progress.releasing
            || !current
            || order.spec.state != AssignmentState::Active
            || !self.state.pods.is_synced()
            || !self.state.nodes.is_synced()
        {
            return;
        }
        let pods = self.state.pods(name);
        let nodes = &self.state.nodes;
        let open = |node: &str, pod: &Pod| gate::is_open(nodes.get(&ObjectKey::cluster(node)), pod);
        let lifts: Vec<Lift> = gate::release(&order.spec.nodes, &pods, &open)
            .into_iter()
            .map(|release| {
                let pod = pods[release.pod];
                let node = release
                    .node
                    .as_ref()
                    .and_then(|node| self.state.nodes.get(&ObjectKey::cluster(node)));
                let label = node
                    .and_then(|node| node.labels.get("kubernetes.io/hostname"))
                    .cloned();
                Lift {
                    key: ObjectKey::new(&pod.namespace, &pod.name),
                    uid: pod.uid.clone(),
                    hostname: label.or_else(|| release.node.clone()),
                    node: release.node,
                }
            })
            .collect();
        let gated = pods.iter().filter(|pod| pod.gated && pod.is_live());
        progress.held = gated.count() > lifts.len();
        if lifts.is_empty() {
            return;
        }
        progress.releasing = true;
        let (member, domain, name) = (
            self.fixed.member.clone(),
            order.spec.domain.clone(),
            name.to_owned(),
        );
        self.spawn(async move {
            Event::Released(name, Box::new(release(&member, lifts, &domain).await))
        });
    }

    /// Marks pods that go first before fewer are asked for. True: that is under way, and the steps wait for it.
    fn mark(&mut self, name: &str, order: &Order, steps: &[Step]) -> bool {
        let progress = self.progress.entry(name.to_owned()).or_default();
        if progress.marking {
            return true;
        }
        if progress.marked == order.generation
            || order.spec.state != AssignmentState::Active
            || !self.state.pods.is_synced()
            || !steps.iter().any(|step| matches!(step, Step::Apply(_)))
        {
            return false;
        }
        let pods = self.state.pods(name);
        let turn = |mark: surplus::Mark| {
            let pod = pods[mark.pod];
            Turn {
                key: ObjectKey::new(&pod.namespace, &pod.name),
                uid: pod.uid.clone(),
                first: mark.first,
            }
        };
        let turns: Vec<Turn> = surplus::marks(&order.spec.nodes, &pods)
            .into_iter()
            .map(turn)
            .collect();
        progress.marked = order.generation;
        if turns.is_empty() {
            return false;
        }
        progress.marking = true;
        let (member, name) = (self.fixed.member.clone(), name.to_owned());
        self.spawn(async move { Event::Marked(name, Box::new(mark(&member, turns).await)) });
        true
    }

    /// Takes in which pods were marked; what failed is a disruption more, and no reason to keep the place.
    pub(super) fn marked(&mut self, name: &str, marked: Released) {
        self.put_pods(&marked);
        if let Some(progress) = self.progress.get_mut(name) {
            progress.marking = false;
        }
        if let Some(failure) = marked.failure {
            tracing::warn!(assignment = %name, %failure, "a pod was not marked, another one may go");
        }
        self.queue.push(name);
    }

    fn put_pods(&mut self, released: &Released) {
        for pod in &released.pods {
            self.state.put_pod(pod);
        }
        for key in &released.gone {
            self.state.pods.remove(key);
        }
    }

    /// Takes in which pods were released.
    pub(super) fn released(&mut self, name: &str, released: Released) {
        self.put_pods(&released);
        if let Some(progress) = self.progress.get_mut(name) {
            progress.releasing = false;
        }
        if let Some(failure) = released.failure {
            tracing::warn!(assignment = %name, %failure, "a pod was not released and is tried again");
            self.queue.push_at(name, self.now() + RELEASE_AGAIN);
        } else {
            self.queue.push(name);
        }
    }

    fn note_counts(&mut self, name: &str, order: &Order, reading: Option<&Reading>, removed: bool) {
        let spec = &order.spec;
        let templates = || spec.pod_sets.iter().filter(|set| set.template.is_some());
        let pods = (spec.pod_sets.is_empty() || templates().next().is_some())
            .then(|| templates().map(|set| set.count).sum());
        let ledger = self.state.ledgers.get(name);
        let finished = ledger.is_some_and(|ledger| ledger.spec.finished.is_some());
        let healthy = reading.is_some_and(|reading| reading.healthy);
        let active = spec.state == AssignmentState::Active && ledger.is_some() && !removed;
        let counts = active.then(|| Counts {
            epoch: spec.epoch,
            pods,
            finished,
            healthy,
            nodes: spec.nodes.clone(),
        });
        let progress = self.progress.entry(name.to_owned()).or_default();
        if progress.counts != counts {
            progress.counts = counts;
            self.stock.dirty = true;
        }
    }
}
