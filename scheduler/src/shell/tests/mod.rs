//! The model against a hub in memory: what is written, in which order, and what is not.

mod dimensions;
mod hub;
mod queues;
mod reader;
mod scenarios;
