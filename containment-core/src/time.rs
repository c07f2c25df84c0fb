//! Time as the machine sees it, and the waiting by it. (A reaper's thread waits in `reaper/poller.rs`.)

use std::fmt;
use std::ops::Add;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A moment: the time since the epoch of a [`Waiter`]. Moments of a virtual world do not compare with others.
///
/// ```
/// use std::time::Duration;
/// use containment_core::Time;
/// let (early, late) = (Time::ZERO, Time::since_epoch(Duration::from_secs(5)));
/// assert_eq!(late, early + Duration::from_secs(5));
/// assert_eq!((late.since(early).as_secs(), early.since(late).as_secs()), (5, 0));
/// assert!(late + Duration::MAX <= Time::NEVER);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(Duration);

impl Time {
    /// The epoch.
    pub const ZERO: Self = Self(Duration::ZERO);
    /// Later than everything.
    pub const NEVER: Self = Self(Duration::MAX);

    /// The moment this long after the epoch.
    pub const fn since_epoch(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time from `earlier` to this moment; zero when that is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

/// What to wait on for a change of a group or a child.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use containment_core::{Source, SystemWaiter, Time, Waiter, Watch};
///
/// let (reader, writer) = std::io::pipe()?;
/// let end = Watch::Sources(vec![Source::readable(Arc::new(reader.into()))]);
/// // Something else to wait for: a file of kernfs, as `cgroup.events` is one.
/// let (events, _open) = std::io::pipe()?;
/// let events = Watch::Sources(vec![Source::priority(Arc::new(events.into()))]);
/// let either = end.clone().and(Some(events));
/// assert!(matches!(&either, Watch::Sources(both) if both.len() == 2));
/// assert!(matches!(end.and(Some(Watch::Backoff)), Watch::Backoff), "one is not announced");
///
/// let waiter = SystemWaiter::new();
/// waiter.wait(waiter.now() + Duration::from_millis(1), &either);
/// drop(writer);
/// waiter.wait(Time::NEVER, &either);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub enum Watch {
    /// Descriptors of the kernel; any of them may announce the change.
    Sources(Vec<Source>),
    /// Descriptors of members, where nothing announces that the group is empty: they tell of their ends, and not
    /// that somebody moved them out. Look again after a second, too.
    Members(Vec<Source>),
    /// An event of the fake's world.
    Virtual(EventId),
    /// Nothing announces it: look again after a pause.
    Backoff,
}

impl Watch {
    /// What announces this change or another one. Events of the fake do not add up: those two are looked
    /// for after pauses.
    #[must_use]
    pub fn and(self, other: Option<Self>) -> Self {
        match (self, other) {
            (watch, None) => watch,
            (Self::Sources(mut sources), Some(Self::Sources(others))) => {
                sources.extend(others);
                Self::Sources(sources)
            }
            (Self::Members(mut sources), Some(Self::Members(others) | Self::Sources(others)))
            | (Self::Sources(mut sources), Some(Self::Members(others))) => {
                sources.extend(others);
                Self::Members(sources)
            }
            _ => Self::Backoff,
        }
    }
}

/// A descriptor that becomes ready when something changed.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use containment_core::{Interest, Source, timeout};
/// use rustix::event::poll;
///
/// let (reader, writer) = std::io::pipe()?;
/// let source = Source::readable(Arc::new(reader.into()));
/// assert_eq!(source.interest, Interest::Readable);
/// drop(writer);
/// // With whatever else the caller polls.
/// let mut fds = [source.poll_fd()];
/// assert_eq!(poll(&mut fds, timeout(Duration::from_secs(10)).as_ref())?, 1);
/// assert!(timeout(Duration::MAX).is_none(), "without end");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Source {
    /// The descriptor. Shared, so that whoever waits keeps it open and can tell whether it changed.
    pub fd: Arc<OwnedFd>,
    /// What readiness to wait for.
    pub interest: Interest,
}

/// The readiness that announces a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// `POLLIN`: pidfds, pipes.
    Readable,
    /// `POLLPRI`: `cgroup.events` and other files of kernfs.
    Priority,
}

/// An event of a virtual world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId(pub u64);

/// A clock, and the waiting by it. Spurious wake-ups are allowed: whoever waits observes again.
pub trait Waiter: fmt::Debug + Send + Sync {
    /// The present moment.
    fn now(&self) -> Time;
    /// Returns at `until`, or earlier when `on` announces a change.
    fn wait(&self, until: Time, on: &Watch);
}

/// The waiter of real systems: the monotonic clock and `ppoll(2)`. All of a process have one epoch, so that what
/// one has begun another can go on with.
#[derive(Debug, Clone, Default)]
pub struct SystemWaiter;

impl SystemWaiter {
    /// A waiter.
    pub fn new() -> Self {
        Self
    }
}

impl Waiter for SystemWaiter {
    fn now(&self) -> Time {
        static EPOCH: OnceLock<Instant> = OnceLock::new();
        Time(EPOCH.get_or_init(Instant::now).elapsed())
    }

    fn wait(&self, until: Time, on: &Watch) {
        let sources = match on {
            Watch::Sources(sources) | Watch::Members(sources) => sources.as_slice(),
            Watch::Virtual(_) | Watch::Backoff => &[],
        };
        let mut fds: Vec<_> = sources.iter().map(Source::poll_fd).collect();
        let timeout = timeout(until.since(self.now()));
        // A failed poll (EINTR, ENOMEM) is a spurious wake-up: the caller observes again.
        if let Err(errno) = poll(&mut fds, timeout.as_ref())
            && errno != rustix::io::Errno::INTR
        {
            tracing::warn!(%errno, "poll failed; observing again");
        }
    }
}

impl Source {
    /// A pidfd or pipe: readable once something happened.
    pub fn readable(fd: Arc<OwnedFd>) -> Self {
        Self { fd, interest: Interest::Readable }
    }

    /// A file of kernfs: an exceptional condition once it changed.
    pub fn priority(fd: Arc<OwnedFd>) -> Self {
        Self { fd, interest: Interest::Priority }
    }

    /// This source as an entry for `poll`.
    pub fn poll_fd(&self) -> PollFd<'_> {
        let flags = match self.interest {
            Interest::Readable => PollFlags::IN,
            Interest::Priority => PollFlags::PRI,
        };
        PollFd::new(&*self.fd, flags)
    }
}

/// The time-out for `poll`; `None`, without end, for a time that does not fit.
pub fn timeout(left: Duration) -> Option<Timespec> {
    Timespec::try_from(left).ok()
}

/// How long members are waited for without a look whether they are members still.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Pauses between looks at something that nothing announces: each twice the one before, up to a longest.
///
/// ```
/// use std::time::Duration;
/// use containment_core::{Backoff, Time, Watch};
/// let [one, two, three] = [1, 2, 3].map(Duration::from_secs);
/// let mut pauses = Backoff::new(one, three);
/// assert_eq!([pauses.pause(), pauses.pause(), pauses.pause()], [one, two, three]);
///
/// let announced = Watch::Sources(Vec::new());
/// assert_eq!(pauses.bound(Time::ZERO, Time::NEVER, &announced), Time::NEVER);
/// assert_eq!(pauses.bound(Time::ZERO, Time::NEVER, &Watch::Backoff), Time::ZERO + three);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// The pause to make now.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2);
        pause
    }

    /// Until when to wait on `on`: `until`, or the end of a pause where nothing announces the change, or not
    /// every such change.
    pub fn bound(&mut self, now: Time, until: Time, on: &Watch) -> Time {
        match on {
            Watch::Backoff => until.min(now + self.pause()),
            Watch::Members(_) => until.min(now + LOOK_AGAIN),
            Watch::Sources(_) | Watch::Virtual(_) => until,
        }
    }
}

impl Default for Backoff {
    /// From 200 µs to 50 ms.
    fn default() -> Self {
        Self::new(Duration::from_micros(200), Duration::from_millis(50))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_one_system_waiter_is_the_same_to_another() {
        let first = SystemWaiter::new();
        while first.now() == Time::ZERO {}
        let before = first.now();
        let second = SystemWaiter::new();
        assert!(second.now() >= before);
    }

    #[test]
    fn members_are_looked_at_again_after_a_second() {
        let mut pauses = Backoff::default();
        let (members, later) = (Watch::Members(Vec::new()), Time::ZERO + Duration::from_secs(9));
        assert_eq!(pauses.bound(Time::ZERO, Time::NEVER, &members), Time::ZERO + LOOK_AGAIN);
        assert_eq!(pauses.bound(later, later, &members), later);
        let sources = Watch::Sources(Vec::new());
        assert_eq!(pauses.bound(Time::ZERO, Time::NEVER, &sources), Time::NEVER);
        for both in [members.clone().and(Some(sources.clone())), sources.and(Some(members))] {
            assert!(matches!(both, Watch::Members(_)), "{both:?}");
        }
    }
}
