//! How hard and for how long a teardown tries.

use std::time::Duration;

use crate::Signal;

/// How to end a group.
///
/// ```
/// use std::time::Duration;
/// use containment_core::{Policy, Signal};
///
/// let policy = Policy::graceful(Duration::from_secs(10))
///     .asking_by(Signal::INT)
///     .give_up_after(Duration::from_secs(60))
///     .measuring()
///     .keeping_the_group();
/// assert_eq!((policy.signal, policy.grace), (Signal::INT, Duration::from_secs(10)));
/// assert_eq!(policy.kill_timeout, Duration::from_secs(60));
/// assert!(policy.measure && !policy.remove);
/// assert!(Policy::kill().grace.is_zero(), "so nobody is asked");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The signal that asks members to end.
    pub signal: Signal,
    /// How long they get for it; zero asks nobody.
    pub grace: Duration,
    /// How long a freeze before a kill may take until it is undone and tried again.
    pub freeze_timeout: Duration,
    /// How long the kill, and after it the removal, may take until the teardown gives up.
    pub kill_timeout: Duration,
    /// Whether the report tells what the group had used when it was empty. Reading it may take longer than the
    /// end of a small group.
    pub measure: bool,
    /// Whether the group is removed once nothing lives in it.
    pub remove: bool,
}

impl Policy {
    /// SIGKILL at once.
    pub fn kill() -> Self {
        Self::graceful(Duration::ZERO)
    }

    /// SIGTERM, this much grace, then SIGKILL. The grace ends as soon as the group is empty.
    pub fn graceful(grace: Duration) -> Self {
        Self {
            signal: Signal::TERM,
            grace,
            freeze_timeout: Duration::from_millis(500),
            kill_timeout: Duration::from_secs(10),
            measure: false,
            remove: true,
        }
    }

    /// The same with another signal to ask by.
    #[must_use]
    pub fn asking_by(mut self, signal: Signal) -> Self {
        self.signal = signal;
        self
    }

    /// The same with another bound on the kill, and on the removal.
    #[must_use]
    pub fn give_up_after(mut self, timeout: Duration) -> Self {
        self.kill_timeout = timeout;
        self
    }

    /// The same, and the report tells what the group had used.
    #[must_use]
    pub fn measuring(mut self) -> Self {
        self.measure = true;
        self
    }

    /// The same, but the group itself stays, empty and thawed.
    #[must_use]
    pub fn keeping_the_group(mut self) -> Self {
        self.remove = false;
        self
    }
}
