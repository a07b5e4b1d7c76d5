//! How Inhaul talks to an API server: deadlines, errors by class, one connection for all watches.
//!
//! ```text
//! Connection --+-- get, list, discover     retried on transient errors within their deadline
//!              +-- create, apply, delete   sent once; the caller reads back before it tries again
//!              +-- watch ---------------->  WatchEvent, WatchEvent, ...   (never ends, resumes by itself)
//! ```
//!
//! It stands on kube's `Config` (kubeconfig files, exec plugins, token files that rotate, CA files) but brings its own
//! transport: HTTP/2 where the server offers it, so that all watches and calls share one TCP connection, with pings that
//! notice within twenty seconds when the other side is gone.

mod backoff;
mod call;
mod connect;
mod connection;
mod delete;
mod discovery;
mod error;
mod metrics;
#[cfg(test)]
mod mock;
mod path;
mod places;
mod proxy;
#[cfg(test)]
mod tests;
mod transport;
mod watch;
mod watch_lines;

pub use connect::{ConnectError, ConnectOptions};
pub use connection::Connection;
pub use delete::{DeletePreconditions, Deleted, Propagation};
pub use discovery::{Discovery, ServedApi};
pub use error::{ApiError, Class};
pub use watch::{WatchEvent, WatchScope};
