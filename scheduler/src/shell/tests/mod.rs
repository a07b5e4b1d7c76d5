//! The model against a hub in memory: what is written, in which order, and what is not.

mod hub;
mod queues;
mod reader;
mod scenarios;
