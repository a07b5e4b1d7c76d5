//! Free ports on loopback, below the range from which the kernel takes ports for outgoing connections, so that a port stays
//! ours between two lives of a killed API server.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, bail};

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Ports given out by this process; a program that has its port may not have bound it yet.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listened on a moment ago. Another process may still take it first: callers start again then.
pub(crate) fn free() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Testbeds that start side by side shall not run after each other through the same ports.
    let start = u16::try_from(RandomState::new().hash_one(std::process::id()) % u64::from(COUNT))?;
    for step in 0..COUNT {
        let port = FIRST + (start + step) % COUNT;
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!(
        "no free port on 127.0.0.1 between {FIRST} and {}",
        FIRST + COUNT - 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_gives_a_port_twice_nor_one_that_is_taken() {
        let ports: Vec<u16> = (0..50).map(|_| free().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free().unwrap())).unwrap();
        let taken = listener.local_addr().unwrap().port();
        assert!((0..200).all(|_| free().unwrap() != taken));
    }
}
