//! Real Kubernetes control planes on one machine: fleets, the demo, tests, benches.
