//! The crate against a server of which the tests say what it answers.

mod calls;
mod discovery;
mod watches;
