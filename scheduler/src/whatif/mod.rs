//! "What if": the fleet as it is, planned once as it is and once with a change, and what would be different.
//!
//! ```text
//! live hub --> shell::Reader --\                    /-> Outlook \
//!                               > View --plan()----<             > differences()
//! tests ----------------------/     \--change()--> View -> Outlook /
//! ```
//!
//! A [`View`] is what the live planner would see if it began anew now; planning it writes nothing anywhere.

mod change;
mod forecast;
mod happens;
mod outlook;
mod view;

#[cfg(test)]
mod tests;

pub use change::{Bound, By, Change};
pub(crate) use happens::{happens, staying};
pub use outlook::{Difference, Exit, Outlook, QueueOutlook, Standing, differences};
pub use view::View;
