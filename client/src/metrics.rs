//! What a connection counts: requests by verb, kind and result, how long they took, and what its watches saw.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    resource: String,
    /// `2xx`, `4xx`, `5xx`, `429`, or `none` when there was no answer.
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    resource: String,
    event: &'static str,
}

/// The counters of one connection.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<VerbLabels, Histogram>,
    watch_events: Family<WatchLabels, Counter>,
    in_flight: Gauge,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: Family::default(),
            // 5 ms (a local read) to 10 s (the usual deadline).
            seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.005, 2.0, 12))
            }),
            watch_events: Family::default(),
            in_flight: Gauge::default(),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }

    /// Puts the counters into a registry, told apart from other connections by the label `server`.
    pub(crate) fn register(&self, registry: &mut Registry, server: &str) {
        let registry =
            registry.sub_registry_with_label(("server".into(), server.to_owned().into()));
        registry.register(
            "api_requests",
            "Requests to the API server",
            self.requests.clone(),
        );
        registry.register(
            "api_request_seconds",
            "Time from the sending of a request to its whole answer",
            self.seconds.clone(),
        );
        registry.register(
            "api_watch_events",
            "What watches received: events, restarts and errors",
            self.watch_events.clone(),
        );
        registry.register(
            "api_requests_in_flight",
            "Requests now under way",
            self.in_flight.clone(),
        );
    }

    /// A request is about to be sent. The answer ends it when dropped, whatever happens.
    pub(crate) fn begin(&self, write: bool) -> InFlight<'_> {
        let counter = if write { &self.writes } else { &self.reads };
        counter.fetch_add(1, Ordering::Relaxed);
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    pub(crate) fn end(
        &self,
        verb: &'static str,
        resource: &str,
        code: Option<u16>,
        took: Duration,
    ) {
        let labels = RequestLabels {
            verb,
            resource: resource.to_owned(),
            code: code_class(code),
        };
        self.requests.get_or_create(&labels).inc();
        self.seconds
            .get_or_create(&VerbLabels { verb })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn watch_event(&self, resource: &str, event: &'static str) {
        let labels = WatchLabels {
            resource: resource.to_owned(),
            event,
        };
        self.watch_events.get_or_create(&labels).inc();
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

pub(crate) struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn code_class(code: Option<u16>) -> &'static str {
    match code {
        None => "none",
        Some(429) => "429",
        Some(200..=299) => "2xx",
        Some(500..=599) => "5xx",
        Some(400..=499) => "4xx",
        Some(_) => "other",
    }
}
