//! Where a kill stands: when to strike again, and the freeze that it waits for.

use std::time::Duration;

use super::Next;
use crate::{Backoff, Time, Watch};

/// A kill under way.
#[derive(Debug, Clone)]
pub(super) struct Killing {
    /// When to give up; not before a step was made.
    pub(super) give_up: Time,
    /// When to kill again if members are still there.
    pub(super) next: Time,
    pub(super) pauses: Backoff,
    pub(super) freezing: Option<Freezing>,
    pub(super) failed_freezes: u8,
    /// Whether a step was made.
    pub(super) begun: bool,
}

impl Killing {
    pub(super) fn new(first: Time, give_up: Time) -> Self {
        Self {
            give_up,
            next: first,
            pauses: Backoff::new(Duration::from_millis(1), Duration::from_millis(20)),
            freezing: None,
            failed_freezes: 0,
            begun: false,
        }
    }
}

/// The kernel announces at most one change of a group in about 10 ms, so a freeze that completes at
/// once is announced late; it is looked for until this has passed.
const ANNOUNCEMENT_DELAY: Duration = Duration::from_millis(15);

/// A freeze that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Freezing {
    /// Until when it may take.
    pub(super) until: Time,
    /// From when on its announcement is trusted alone.
    trusted: Time,
    looks: Backoff,
}

impl Freezing {
    pub(super) fn asked(now: Time, until: Time) -> Self {
        let looks = Backoff::new(Duration::from_micros(50), Duration::from_millis(5));
        Self { until, trusted: now + ANNOUNCEMENT_DELAY, looks }
    }

    /// The wait `next` cut short, for as long as its announcement is not to be relied on.
    pub(super) fn look_sooner(&mut self, now: Time, next: Next) -> Next {
        match next {
            Next::Wait { until, on } if now < self.trusted || matches!(on, Watch::Backoff) => {
                Next::Wait { until: until.min(now + self.looks.pause()), on }
            }
            next => next,
        }
    }
}
