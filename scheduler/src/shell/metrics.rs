//! What the scheduler counts.

use placement_api::reason::Reason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    what: &'static str,
    outcome: &'static str,
}

/// Counters of one process; they outlive a leadership.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    decisions: Family<ReasonLabels, Counter>,
    pending: Family<ReasonLabels, Gauge>,
    writes: Family<WriteLabels, Counter>,
    cycle: Histogram,
    workloads: Gauge,
    leader: Gauge,
    term: Gauge,
    queue: Gauge,
    cycles: Counter,
}

impl Metrics {
    /// New counters, put into a registry.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            decisions: Family::default(),
            pending: Family::default(),
            writes: Family::default(),
            // 50 µs (one workload) to 1.6 s.
            cycle: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            workloads: Gauge::default(),
            leader: Gauge::default(),
            term: Gauge::default(),
            queue: Gauge::default(),
            cycles: Counter::default(),
        };
        let own = registry.sub_registry_with_prefix("inhaul_scheduler");
        own.register(
            "decisions",
            "Decisions of the planner, by reason",
            metrics.decisions.clone(),
        );
        own.register(
            "pending_workloads",
            "Workloads that wait, by first reason",
            metrics.pending.clone(),
        );
        own.register(
            "object_writes",
            "Writes to the hub, by kind and outcome",
            metrics.writes.clone(),
        );
        own.register(
            "cycle_seconds",
            "Duration of a planning cycle",
            metrics.cycle.clone(),
        );
        own.register("cycles", "Planning cycles", metrics.cycles.clone());
        own.register(
            "workloads",
            "Workloads that are known",
            metrics.workloads.clone(),
        );
        own.register(
            "leader",
            "1 while this process leads",
            metrics.leader.clone(),
        );
        own.register(
            "term",
            "Number of the leadership that this process holds or held",
            metrics.term.clone(),
        );
        own.register(
            "write_queue",
            "Workloads whose writes wait for a place",
            metrics.queue.clone(),
        );
        metrics
    }

    /// A planning cycle took so many seconds.
    pub(crate) fn cycle(&self, seconds: f64) {
        self.cycle.observe(seconds);
        self.cycles.inc();
    }

    /// A decision was made.
    pub(crate) fn decided(&self, reason: Reason) {
        let labels = ReasonLabels {
            reason: reason.as_str(),
        };
        self.decisions.get_or_create(&labels).inc();
    }

    /// A workload begins or ends to wait for a reason.
    pub(crate) fn pending(&self, before: Option<Reason>, now: Option<Reason>) {
        if before == now {
            return;
        }
        for (reason, step) in [(before, -1), (now, 1)] {
            if let Some(reason) = reason {
                let labels = ReasonLabels {
                    reason: reason.as_str(),
                };
                self.pending.get_or_create(&labels).inc_by(step);
            }
        }
    }

    /// A new leadership counts what waits from the beginning.
    pub(crate) fn restart(&self) {
        self.pending.clear();
        self.workloads.set(0);
        self.queue.set(0);
    }

    /// A write has ended.
    pub(crate) fn wrote(&self, what: &'static str, outcome: &'static str) {
        self.writes
            .get_or_create(&WriteLabels { what, outcome })
            .inc();
    }

    /// How many workloads are known, and how many wait to be written.
    pub(crate) fn sizes(&self, workloads: usize, queue: usize) {
        self.workloads
            .set(i64::try_from(workloads).unwrap_or(i64::MAX));
        self.queue.set(i64::try_from(queue).unwrap_or(i64::MAX));
    }

    /// Whether this process leads, and with which number.
    pub(crate) fn leads(&self, term: Option<i64>) {
        self.leader.set(i64::from(term.is_some()));
        if let Some(term) = term {
            self.term.set(term);
        }
    }
}
