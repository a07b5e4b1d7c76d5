//! Properties on small random fleets.
