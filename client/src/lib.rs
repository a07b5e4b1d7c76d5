//! How Inhaul talks to an API server: deadlines, errors by class, one connection for all watches.
