//! The vocabulary of Inhaul: the kinds people and machines write, Kubernetes' own value semantics
//! (quantities, selectors, taints, pod demand) and how to read a kind. No I/O, no clock.

pub mod api_type;
pub mod demand;
pub mod devices;
pub mod duration;
pub mod kinds;
pub mod names;
pub mod profile;
pub mod quantity;
pub mod raw;
pub mod reason;
pub mod resources;
pub mod selector;
pub mod toleration;
