//! What is told of a group that a reaper ends, and to whom.

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::{Error, ErrorKind, GroupName, Operation, Result, Stage, TeardownReport};

/// The end of one group. Dropping it does not stop the teardown.
///
/// As a future it gives what [`wait`](Self::wait) gives.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Group, Policy, Program, Reaper, Stage};
///
/// let fake = Fake::new();
/// fake.program("task", Script::new().dies_within(Duration::ZERO));
/// let task = Group::new(fake.create(&"task".parse()?, ControllerSet::EMPTY)?, fake.waiter());
/// task.spawn(&Program::new("task"))?;
///
/// let reaper = Reaper::start()?;
/// let mut reaping = reaper.submit(task, Policy::kill());
/// let report = loop {
///     assert!(reaping.stage() <= Stage::Over);
///     match reaping.wait_for(Duration::from_millis(10)) {
///         Ok(report) => break report?,
///         // Something else could be done meanwhile.
///         Err(not_yet) => reaping = not_yet,
///     }
/// };
/// assert!(report.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the report tells whether anything survived"]
pub struct Reaping {
    news: Arc<News>,
}

/// The side that ends the group. Dropped unkept it tells that the group was abandoned.
#[derive(Debug)]
pub(super) struct Promise {
    news: Arc<News>,
    group: GroupName,
}

#[derive(Debug)]
struct News {
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug)]
struct Known {
    stage: Stage,
    /// Whether there was a result; it may have been fetched since.
    settled: bool,
    result: Option<Result<TeardownReport>>,
    /// Whether a thread sleeps until there is one.
    awaited: bool,
    waker: Option<Waker>,
}

pub(super) fn promise(group: &GroupName) -> (Promise, Reaping) {
    let known =
        Known { stage: Stage::Asking, settled: false, result: None, awaited: false, waker: None };
    let news = Arc::new(News { known: Mutex::new(known), changed: Condvar::new() });
    (Promise { news: Arc::clone(&news), group: group.clone() }, Reaping { news })
}

impl Reaping {
    /// How far it has come.
    pub fn stage(&self) -> Stage {
        self.news.known().stage
    }

    /// Waits until the group is ended.
    ///
    /// # Errors
    /// [`NotOwner`](ErrorKind::NotOwner) as with [`Group::terminate`](crate::Group::terminate);
    /// [`Abandoned`](ErrorKind::Abandoned) when the reaper was stopped before, and when the report was
    /// fetched already, by polling.
    pub fn wait(self) -> Result<TeardownReport> {
        let mut known = self.news.known();
        loop {
            if let Some(result) = known.fetch() {
                return result;
            }
            known.awaited = true;
            known = self.news.changed.wait(known).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits at most `timeout`, and gives itself back when that has passed.
    ///
    /// # Errors
    /// The inner ones are those of [`wait`](Self::wait).
    pub fn wait_for(self, timeout: Duration) -> std::result::Result<Result<TeardownReport>, Self> {
        let deadline = Instant::now().checked_add(timeout);
        let mut known = self.news.known();
        loop {
            if let Some(result) = known.fetch() {
                return Ok(result);
            }
            // A time beyond the clock's end never comes.
            let left = deadline.map_or(timeout, |it| it.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                drop(known);
                return Err(self);
            }
            known.awaited = true;
            let waited = self.news.changed.wait_timeout(known, left);
            known = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Future for Reaping {
    type Output = Result<TeardownReport>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut known = self.news.known();
        if let Some(result) = known.fetch() {
            return Poll::Ready(result);
        }
        known.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Promise {
    /// Tells how far it has come.
    pub(super) fn tell(&self, stage: Stage) {
        self.news.known().stage = stage;
    }

    /// Tells how it ended.
    pub(super) fn keep(self, result: Result<TeardownReport>) {
        self.settle(result);
    }

    fn settle(&self, result: Result<TeardownReport>) {
        let (awaited, waker) = {
            let mut known = self.news.known();
            if known.settled {
                return;
            }
            known.settled = true;
            known.result = Some(result);
            (known.awaited, known.waker.take())
        };
        // A system call, whether somebody sleeps or not.
        if awaited {
            self.news.changed.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let abandoned = Error::new(ErrorKind::Abandoned, Operation::Kill)
            .with_group(&self.group)
            .because("the reaper was stopped before it was ended");
        self.settle(Err(abandoned));
    }
}

impl Known {
    /// The result, once there is one: the first time itself, and after that the error that says so.
    fn fetch(&mut self) -> Option<Result<TeardownReport>> {
        let again = || {
            Err(Error::new(ErrorKind::Abandoned, Operation::Kill)
                .because("the report was fetched already"))
        };
        self.settled.then(|| self.result.take().unwrap_or_else(again))
    }
}

impl News {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_fetched_once_however_it_is_asked_for() {
        let (promise, reaping) = promise(&"job".parse().unwrap());
        let mut reaping = reaping.wait_for(Duration::ZERO).expect_err("nothing was told");
        promise.keep(Ok(TeardownReport { removed: true, ..TeardownReport::default() }));
        let mut context = Context::from_waker(Waker::noop());
        let first = Pin::new(&mut reaping).poll(&mut context);
        assert!(matches!(first, Poll::Ready(Ok(report)) if report.removed));
        let again = Pin::new(&mut reaping).poll(&mut context);
        assert!(matches!(again, Poll::Ready(Err(error)) if error.kind() == ErrorKind::Abandoned));
        let again = reaping.wait_for(Duration::from_secs(1000)).expect("it does not wait");
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Abandoned);
    }
}
