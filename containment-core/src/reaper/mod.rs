//! Ends many groups at once on one thread: each is a teardown machine, and one `epoll_wait` waits for
//! all of them.
//!
//! ```text
//! submit ──► orders ──► step every machine that is ready ──► wait: sources, times, orders ─┐
//!                              ▲                                                           │
//!                              └───────────────────────────────────────────────────────────┘
//! ```
//!
//! What comes of a group is told by its [`Reaping`]: a future of no executor in particular, that can be
//! waited for without one, too.

mod poller;
mod reaping;
mod worker;

use std::mem;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};

use crate::{Error, ErrorKind, Group, Operation, Pid, Policy, Result, Termination};
use reaping::Promise;
pub use reaping::Reaping;
use worker::Worker;

/// One thread that ends groups. Dropping it ends the graces of those that it has, and waits until
/// they are gone.
///
/// Only the process that started it acts through it, never its fork.
///
/// ```
/// use std::time::Duration;
/// use backend_fake::{Fake, Script};
/// use containment_core::{CgroupOps, ControllerSet, Group, Policy, Program, Reaper};
///
/// let fake = Fake::new();
/// // A reaper lives by the system's clock, by which no time passes in the fake.
/// fake.program("task", Script::new().dies_within(Duration::ZERO));
/// let reaper = Reaper::start()?;
/// let mut reapings = Vec::new();
/// for number in 0..3 {
///     let made = fake.create(&format!("task-{number}").parse()?, ControllerSet::EMPTY)?;
///     let group = Group::new(made, fake.waiter());
///     group.spawn(&Program::new("task"))?;
///     reapings.push(reaper.submit(group, Policy::kill()));
/// }
/// // It ends them whether somebody waits or not. Each is a future, too.
/// for reaping in reapings {
///     assert!(reaping.wait()?.is_clean());
/// }
/// reaper.finish();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reaper {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<Vec<Termination>>>,
    owner: Pid,
}

/// Where orders are left for the thread.
#[derive(Debug)]
struct Queue {
    orders: Mutex<Vec<Order>>,
    /// An eventfd: readable while there are orders.
    bell: Arc<OwnedFd>,
}

#[derive(Debug)]
enum Order {
    /// Ends this group.
    Submit(Box<Termination>, Promise),
    /// Ends all graces now.
    Hurry,
    /// Ends once every group is ended.
    Finish,
    /// Ends now, and hands back what is not ended.
    Stop,
}

impl Reaper {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`System`](crate::ErrorKind::System) when there is no descriptor for it (`EMFILE`), or no thread (`EAGAIN`).
    pub fn start() -> Result<Self> {
        let failed = |errno: rustix::io::Errno| {
            Error::from_errno(Operation::Wait, errno.raw_os_error())
                .because("cannot start a reaper")
        };
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
        let queue = Arc::new(Queue { orders: Mutex::default(), bell: Arc::new(bell) });
        let worker = Worker::new(Arc::clone(&queue)).map_err(failed)?;
        let thread = std::thread::Builder::new().name("contain-reaper".to_owned());
        let thread = thread
            .spawn(move || worker.run())
            .map_err(|error| Error::from_io(Operation::Wait, &error))?;
        Ok(Self { queue, thread: Some(thread), owner: Pid::current() })
    }

    /// Ends `group` as `policy` says. The teardown goes on whether somebody waits for it or not.
    pub fn submit(&self, group: Group, policy: Policy) -> Reaping {
        let (promise, reaping) = reaping::promise(&group.id().name);
        if self.owner != Pid::current() {
            let error =
                Error::new(ErrorKind::NotOwner, Operation::Kill).with_group(&group.id().name);
            promise.keep(Err(
                error.because("this process was forked off the one that has the reaper")
            ));
            return reaping;
        }
        match group.begin_termination(policy) {
            Ok(termination) => self.queue.leave(Order::Submit(Box::new(termination), promise)),
            Err(error) => promise.keep(Err(error)),
        }
        reaping
    }

    /// Ends every grace now, also those of groups that were submitted and not yet begun.
    pub fn hurry(&self) {
        self.queue.leave(Order::Hurry);
    }

    /// Waits until every group is ended, however long their policies allow.
    pub fn finish(mut self) {
        self.end(Order::Finish);
    }

    /// Stops now, and hands back the groups that are not ended, each as far as it came; dropping one
    /// kills it. Whoever waits for one of them is told that it was
    /// [`Abandoned`](crate::ErrorKind::Abandoned).
    ///
    /// ```
    /// use std::time::Duration;
    /// use backend_fake::{Fake, Script};
    /// use containment_core::{CgroupOps, ControllerSet, ErrorKind, Group, Policy, Program, Reaper};
    ///
    /// let fake = Fake::new();
    /// fake.program("stuck", Script::new().sleeps_uninterruptibly(Duration::ZERO, Duration::MAX));
    /// let job = Group::new(fake.create(&"job".parse()?, ControllerSet::EMPTY)?, fake.waiter());
    /// let stuck = job.spawn(&Program::new("stuck"))?;
    ///
    /// let reaper = Reaper::start()?;
    /// let reaping = reaper.submit(job, Policy::graceful(Duration::from_secs(60)));
    /// reaper.hurry();
    /// let reaping = reaping.wait_for(Duration::ZERO).unwrap_err();
    /// let left = reaper.stop();
    /// assert_eq!(reaping.wait().unwrap_err().kind(), ErrorKind::Abandoned);
    ///
    /// fake.release(stuck.pid());
    /// for termination in left {
    ///     assert!(termination.run().is_clean());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "dropping a termination kills its group"]
    pub fn stop(mut self) -> Vec<Termination> {
        self.end(Order::Stop)
    }

    fn end(&mut self, order: Order) -> Vec<Termination> {
        let Some(thread) = self.thread.take() else { return Vec::new() };
        if self.owner != Pid::current() {
            // The thread runs in the process that we were forked off.
            mem::forget(thread);
            return Vec::new();
        }
        self.queue.leave(order);
        thread.join().unwrap_or_else(|_| {
            tracing::warn!("the reaper's thread panicked; its groups were killed when it unwound");
            Vec::new()
        })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if self.thread.is_some() && self.owner == Pid::current() {
            self.hurry();
        }
        self.end(Order::Finish);
    }
}

impl Queue {
    fn leave(&self, order: Order) {
        let mut orders = self.orders();
        let is_first = orders.is_empty();
        orders.push(order);
        drop(orders);
        // Who takes the first takes those behind it. It can only fail by being rung 2^64 times.
        if is_first {
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    fn take(&self) -> Vec<Order> {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        mem::take(&mut *self.orders())
    }

    fn orders(&self) -> MutexGuard<'_, Vec<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
