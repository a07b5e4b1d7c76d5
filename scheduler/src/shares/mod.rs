//! Fair shares: the tree of queues, and who is entitled to what (`docs/scheduling.md`, "Shares").
//!
//! ```text
//! QueueSpec... --> QueueTree --\                    what people see
//! Ready targets -> Capacity ---->  Shares --divide--> entitled, used, waiting of every queue
//! wait, charge --> lines ------/     |
//!                                    +--> may_start(queue, ask)   limit? guaranteed, entitled, reaches, borrows?
//!                                    +--> compare(a, b)           who starts next
//!                                    +--> excess(claimant, victim) who pays, and falls_below: how far
//! ```
//!
//! **Counting.** A workload that waits is `wait`ed for in its queue's line; when it starts it is `unwait`ed and `charge`d, when it ends
//! `refund`ed, each O(depth), each undone exactly by its opposite. So "what if these victims were gone" is `refund` for each,
//! questions, and `charge` for each again; nothing is cloned. A start or an eviction changes no demand, so entitlements stand still
//! within a cycle; [`Shares::divide`] counts anew only where demand or capacity changed.
//!
//! **What a planner does with it.** At the beginning of a cycle `divide`. Heads of queues in the order of
//! [`Shares::compare`]; a head that [`Shares::may_start`] refuses waits with the reason that it gives. `Standing::Borrows` starts
//! only on what no stronger claim can use. Who is below its entitlement ([`Shares::is_below`]) and has no room takes it from the
//! branch with the most [`Shares::excess`] at the nearest common parent, as long as [`Shares::falls_below`] says no.
//! `keeps_out` says to entitled claims too that what is free is kept by `lend: false`.
//!
//! **Definitions where the text leaves a choice.** Weights divide the surplus: what a queue has got of its guarantee does not count
//! against it. A resource that is used up counts no more for who is smallest, so nothing idles that somebody could use.
//! Entitlements are not rounded to whole devices: who gets the odd one is decided by the next start, not by a number that would
//! move with every tie. A start is within a guarantee if it is in what the guarantee names, and within the entitlement in the rest.
//! Weight 0 comes after all siblings with a weight, whatever their priority.
//!
//! All numbers are integers (`dims` says in which units, `wide` how they are multiplied); no float, no clock, no hash map.

mod account;
mod capacity;
mod claims;
mod cover;
mod dims;
mod divide;
mod fill;
mod order;
mod past;
mod spec;
mod tree;
mod wide;

pub use account::{Shares, Standings};
pub use capacity::{Capacity, ProductCapacity};
pub use claims::{Refusal, Standing};
pub use dims::{Ask, Devices, Named};
pub use order::{Branch, Excess, Rank};
pub use past::PastUse;
pub use spec::{AcceleratorSpec, QueueSpec};
pub use tree::{DEFAULT_QUEUE, Meeting, QueueId, QueueTree};

#[cfg(test)]
mod tests;
