//! One change of a fleet, in words: `queue vision guaranteed gpu +4`, `target lose us-2`.

use std::fmt;

use placement_api::kinds::TopologyMode;
use placement_api::quantity::{Quantity, ResourceVector};

/// The resource that `gpu` means.
const GPU: &str = "nvidia.com/gpu";
/// What can be written, for errors.
const WORDS: &str = "write `queue NAME guaranteed|limit RESOURCE +N`, `queue NAME weight +N`, `workload NAME priority +N`, \
    `workload NAME product H100`, `workload NAME topology Required|Preferred|none`, `target add NAME like OTHER`, `target lose NAME` or \
    `target cordon NAME`";

/// What would be different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The weight of a queue.
    Weight {
        /// Queue.
        queue: String,
        /// How much.
        by: By,
    },
    /// What a queue is guaranteed, or may not exceed.
    Amount {
        /// Queue.
        queue: String,
        /// Which of the two.
        bound: Bound,
        /// Resource, in full.
        resource: String,
        /// How much.
        by: By,
    },
    /// The priority of a workload.
    Priority {
        /// Workload.
        workload: String,
        /// How much.
        by: By,
    },
    /// The accelerators that the pods of a workload ask for.
    Product {
        /// Workload.
        workload: String,
        /// As the nodes' labels say it.
        product: String,
    },
    /// How close to each other the pods of a workload have to be; absent: they need not be close.
    Topology {
        /// Workload.
        workload: String,
        /// Condition or wish.
        mode: Option<TopologyMode>,
    },
    /// Another target, empty, with the nodes of one that is there.
    Add {
        /// The new one.
        target: String,
        /// The one that it is like.
        like: String,
    },
    /// A target stops answering, and every failover that waits has waited long enough.
    Lose(String),
    /// A target takes nothing new.
    Cordon(String),
}

/// A bound of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// What is its own.
    Guaranteed,
    /// What it never exceeds.
    Limit,
}

/// `+4` more, `-4` less, `=4` exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// More.
    More(Quantity),
    /// Less.
    Less(Quantity),
    /// Exactly.
    Exactly(Quantity),
}

impl Change {
    /// Reads a change.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        Ok(match words[..] {
            ["queue", name, "weight", by] => Self::Weight {
                queue: name.to_owned(),
                by: By::parse(by)?,
            },
            [
                "queue",
                name,
                field @ ("guaranteed" | "limit"),
                resource,
                by,
            ] => Self::Amount {
                queue: name.to_owned(),
                bound: if field == "limit" {
                    Bound::Limit
                } else {
                    Bound::Guaranteed
                },
                resource: if resource == "gpu" { GPU } else { resource }.to_owned(),
                by: By::parse(by)?,
            },
            ["workload", name, "priority", by] => Self::Priority {
                workload: name.to_owned(),
                by: By::parse(by)?,
            },
            ["workload", name, "product", product] => Self::Product {
                workload: name.to_owned(),
                product: product.to_owned(),
            },
            ["workload", name, "topology", mode] => Self::Topology {
                workload: name.to_owned(),
                mode: match mode {
                    "Required" => Some(TopologyMode::Required),
                    "Preferred" => Some(TopologyMode::Preferred),
                    "none" => None,
                    _ => {
                        return Err(format!(
                            "{mode:?} is no mode of a topology; write Required, Preferred or none"
                        ));
                    }
                },
            },
            ["target", "add", name, "like", other] => Self::Add {
                target: name.to_owned(),
                like: other.to_owned(),
            },
            ["target", "lose", name] => Self::Lose(name.to_owned()),
            ["target", "cordon", name] => Self::Cordon(name.to_owned()),
            _ => return Err(format!("{text:?} is no change; {WORDS}")),
        })
    }
}

impl By {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no change of an amount; write for example +4, -4, =4 or +64Gi");
        let (sign, amount) = text.split_at_checked(1).ok_or_else(wrong)?;
        let quantity = Quantity::parse(amount).map_err(|_| wrong())?;
        match sign {
            "+" if !quantity.is_negative() => Ok(Self::More(quantity)),
            "-" if !quantity.is_negative() => Ok(Self::Less(quantity)),
            "=" => Ok(Self::Exactly(quantity)),
            _ => Err(wrong()),
        }
    }

    /// Of a plain number.
    ///
    /// # Errors
    /// A number that nobody can have.
    pub fn number(self, has: i64) -> Result<i64, String> {
        let sum = match self {
            Self::More(by) => has.checked_add(by.value()),
            Self::Less(by) => has.checked_sub(by.value()),
            Self::Exactly(amount) => Some(amount.value()),
        };
        sum.ok_or_else(|| format!("{has} {self} is more than can be counted; write less"))
    }

    /// Of an amount of a resource in base units; never below 0. `has` is absent where the field is.
    ///
    /// # Errors
    /// A limit that is not there cannot be moved, only set; an amount is not negative.
    pub fn amount(self, resource: &str, bound: Bound, has: Option<i64>) -> Result<i64, String> {
        let units = |quantity| ResourceVector::base_units(resource, quantity);
        let base = match (has, bound, self) {
            (Some(has), ..) => has,
            (None, Bound::Limit, Self::More(_) | Self::Less(_)) => {
                return Err(format!("has no limit of {resource}; write `=N` to set one"));
            }
            (None, ..) => 0,
        };
        match self {
            Self::More(by) => Ok(base.saturating_add(units(by))),
            Self::Less(by) => Ok(base.saturating_sub(units(by)).max(0)),
            Self::Exactly(amount) if amount.is_negative() => Err(format!(
                "{amount} of {resource} is negative; write 0 or more"
            )),
            Self::Exactly(amount) => Ok(units(amount)),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::More(by) => write!(f, "+{by}"),
            Self::Less(by) => write!(f, "-{by}"),
            Self::Exactly(amount) => write!(f, "={amount}"),
        }
    }
}
