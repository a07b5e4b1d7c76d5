//! Waiting for a condition with a deadline. The one place where the launcher lets time pass: what it waits for are other
//! programs that notify nobody.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks at a condition: short against a start-up of seconds, long against the cost of a look.
const PERIOD: Duration = Duration::from_millis(50);

/// Calls `look` until it gives a value, an error, or `limit` has passed; the error then names `what`.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if started.elapsed() >= limit {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the period of a poll with a deadline"
)]
fn pause() {
    std::thread::sleep(PERIOD);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_value_the_error_or_the_name_of_what_was_awaited() {
        let mut looks = 0;
        let value = until("three looks", Duration::from_mins(1), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(value.unwrap(), 3);
        let failed = until::<()>("x", Duration::from_mins(1), || bail!("etcd exited"));
        assert_eq!(failed.unwrap_err().to_string(), "etcd exited");
        let late = until::<()>("readyz of hub", Duration::ZERO, || Ok(None));
        assert_eq!(
            late.unwrap_err().to_string(),
            "readyz of hub: not within 0 s"
        );
    }
}
