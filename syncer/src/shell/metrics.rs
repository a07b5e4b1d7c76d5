//! What the agent counts of itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabels {
    /// `ledger`, `create`, `apply`, `delete`, …
    pub step: &'static str,
}

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FailureLabels {
    /// The reason of the condition.
    pub reason: String,
}

/// The agent's own metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Steps begun.
    pub steps: Family<StepLabels, Counter>,
    /// Steps that failed.
    pub failures: Family<FailureLabels, Counter>,
    /// Reports written to the hub.
    pub reports: Counter,
    /// Inventories written to the hub.
    pub inventories: Counter,
    /// Assignments that are known.
    pub assignments: Gauge,
    /// Assignments that wait to be looked at.
    pub queued: Gauge,
    /// Session of this agent.
    pub session: Gauge,
}

impl Metrics {
    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("inhaul_syncer");
        registry.register("steps", "Steps begun on the member", self.steps.clone());
        registry.register(
            "failures",
            "Steps that failed, by reason",
            self.failures.clone(),
        );
        registry.register(
            "reports",
            "Reports written to the hub",
            self.reports.clone(),
        );
        registry.register(
            "inventories",
            "Inventories written to the hub",
            self.inventories.clone(),
        );
        registry.register(
            "assignments",
            "Assignments that are known",
            self.assignments.clone(),
        );
        registry.register(
            "queued",
            "Assignments that wait to be looked at",
            self.queued.clone(),
        );
        registry.register("session", "Session of this agent", self.session.clone());
    }
}
