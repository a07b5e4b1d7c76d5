//! The agent of a member cluster: pulls assignments, applies them, reports back.

pub mod decide;
pub mod interpret;
