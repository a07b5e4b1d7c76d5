//! How many calls may be under way: as many as the server has answered in the last two seconds, within bounds.
//!
//! What a busy server cannot answer waits here and not there, so that a heartbeat finds a short line; a server that answers in
//! milliseconds is never held back. Each answer opens one place more while all are in use, so a burst doubles its places with each round.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// What a call waits at the server behind others of this connection, at most, once it is known how fast it answers.
const WINDOW: Duration = Duration::from_secs(2);
/// Places that there always are.
const LEAST: usize = 4;
/// Places before anything is known.
const FIRST: usize = 16;

/// The places of one connection.
pub(crate) struct Places {
    most: usize,
    free: Semaphore,
    pace: Mutex<Pace>,
}

struct Pace {
    /// When the last calls were answered, at most as many as there may be places.
    answered: VecDeque<Instant>,
    /// Places that there are now, taken or free.
    open: usize,
}

/// A place among the calls under way.
pub(crate) struct Place<'a> {
    places: &'a Places,
    permit: Option<SemaphorePermit<'a>>,
    answered: bool,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        let open = FIRST.min(most);
        Self {
            most,
            free: Semaphore::new(open),
            pace: Mutex::new(Pace {
                answered: VecDeque::new(),
                open,
            }),
        }
    }

    /// Waits for a place.
    pub(crate) async fn take(&self) -> Place<'_> {
        Place {
            places: self,
            // It is never closed.
            permit: self.free.acquire().await.ok(),
            answered: false,
        }
    }

    fn give_back(&self, permit: SemaphorePermit<'_>, answered: bool) {
        let now = Instant::now();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            pace.answered.push_back(now);
        }
        while pace.answered.len() > self.most
            || pace
                .answered
                .front()
                .is_some_and(|at| now.duration_since(*at) > WINDOW)
        {
            pace.answered.pop_front();
        }
        let wanted = pace.answered.len().max(LEAST).min(self.most);
        if wanted < pace.open {
            pace.open -= 1;
            permit.forget();
        } else {
            self.free.add_permits(wanted - pace.open);
            pace.open = wanted;
        }
    }
}

impl Place<'_> {
    /// The server has answered, with whatever.
    pub(crate) fn answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.places.give_back(permit, self.answered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets so many calls be answered, each after `latency`, as fast as places allow, and says how many were under way at once at the end.
    async fn load(places: &Places, calls: usize, latency: Duration) -> usize {
        let mut most = 0;
        let mut left = calls;
        while left > 0 {
            let mut round = Vec::new();
            while left > 0 && places.free.available_permits() > 0 {
                round.push(places.take().await);
                left -= 1;
            }
            most = round.len();
            tokio::time::sleep(latency).await;
            for place in &mut round {
                place.answered();
            }
        }
        most
    }

    fn open(places: &Places) -> usize {
        places.pace.lock().unwrap().open
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_server_is_not_held_back() {
        let places = Places::new(40);
        load(&places, 400, Duration::from_millis(5)).await;
        assert_eq!(open(&places), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_server_gets_what_it_answers_in_two_seconds() {
        let places = Places::new(40);
        load(&places, 200, Duration::from_millis(10)).await;
        assert_eq!(open(&places), 40);
        // Ten calls a second, one after the other: each place is taken again at once, so that as many wait there as are open.
        for _ in 0..300 {
            let mut place = places.take().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            place.answered();
        }
        let now = open(&places);
        assert!((19..=21).contains(&now), "{now}");
        // One that answers nothing.
        for _ in 0..40 {
            let place = places.take().await;
            tokio::time::sleep(Duration::from_secs(10)).await;
            drop(place);
        }
        assert_eq!(open(&places), LEAST);
        assert_eq!(places.free.available_permits(), LEAST, "none is lost");
        load(&places, 100, Duration::from_millis(5)).await;
        assert_eq!(open(&places), 40, "and it is fast again");
        assert_eq!(places.free.available_permits(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_allowed() {
        for most in [1, 3, 40] {
            let places = Places::new(most);
            assert!(load(&places, 200, Duration::from_millis(1)).await <= most);
            assert_eq!(places.free.available_permits(), most);
        }
    }
}
