//! The reaper's thread.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::poller::{Key, ORDERS, Poller};
use super::reaping::Promise;
use super::{Order, Queue};
use crate::{Source, Step, SystemWaiter, TeardownReport, Termination, Time, Waiter as _, Watch};

/// Everything that the thread has in hand.
#[derive(Debug)]
pub(super) struct Worker {
    queue: Arc<Queue>,
    poller: Poller,
    clock: SystemWaiter,
    cases: HashMap<Key, Case>,
    /// When to look again, whatever is announced.
    times: BTreeSet<(Time, Key)>,
    last: Key,
    closing: Closing,
    /// What is over and was not told yet, and since when.
    over: Vec<(Promise, TeardownReport)>,
    over_since: Time,
}

/// One group that is being ended.
#[derive(Debug)]
struct Case {
    termination: Termination,
    promise: Promise,
    watched: Vec<Source>,
    due: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    WhenDone,
    Now,
}

/// The pause between looks where a source cannot be watched, or is an event of a virtual world.
const PAUSE: Duration = Duration::from_millis(20);

/// So many ends at most are told together, and none later than this: to wake somebody for each takes a tenth of the
/// time of ending many.
const TOGETHER: usize = 16;
const LATEST: Duration = Duration::from_millis(1);

impl Worker {
    pub(super) fn new(queue: Arc<Queue>) -> rustix::io::Result<Self> {
        let poller = Poller::new(&queue.bell)?;
        Ok(Self {
            queue,
            poller,
            clock: SystemWaiter::new(),
            cases: HashMap::new(),
            times: BTreeSet::new(),
            last: 0,
            closing: Closing::No,
            over: Vec::new(),
            over_since: Time::NEVER,
        })
    }

    /// Runs until it is told to end; gives what is not ended then.
    pub(super) fn run(mut self) -> Vec<Termination> {
        let mut ready = Vec::new();
        loop {
            ready.retain(|key| self.step(*key));
            self.tell();
            let done = self.cases.is_empty() && self.closing == Closing::WhenDone;
            if done || self.closing == Closing::Now {
                let left = std::mem::take(&mut self.cases);
                return left.into_values().map(|case| case.termination).collect();
            }
            self.wait(&mut ready);
        }
    }

    /// Adds to `ready` whose turn it is; waits for that where there is nobody.
    fn wait(&mut self, ready: &mut Vec<Key>) {
        let now = self.clock.now();
        let first = self.times.first().map_or(Time::NEVER, |(due, _)| *due);
        let until = if ready.is_empty() { first } else { now };
        let announced = self.poller.wait(now, until);
        if announced.contains(&ORDERS) {
            ready.extend(self.follow_orders());
        }
        ready.extend(announced.into_iter().filter(|key| self.cases.contains_key(key)));
        let now = self.clock.now();
        ready.extend(self.times.iter().take_while(|(due, _)| *due <= now).map(|(_, key)| *key));
        ready.sort_unstable();
        ready.dedup();
    }

    /// The keys of those to step because of an order.
    fn follow_orders(&mut self) -> Vec<Key> {
        let mut ready = Vec::new();
        for order in self.queue.take() {
            match order {
                Order::Submit(termination, promise) => {
                    ready.push(self.open(*termination, promise));
                }
                Order::Hurry => {
                    self.cases.values_mut().for_each(|case| case.termination.hurry());
                    ready.extend(self.cases.keys());
                }
                Order::Finish => self.closing = Closing::WhenDone,
                Order::Stop => self.closing = Closing::Now,
            }
        }
        ready
    }

    fn open(&mut self, termination: Termination, promise: Promise) -> Key {
        self.last += 1;
        let case = Case { termination, promise, watched: Vec::new(), due: Time::NEVER };
        self.cases.insert(self.last, case);
        self.last
    }

    /// Lets one machine go on as far as it goes; whether its turn comes again at once.
    fn step(&mut self, key: Key) -> bool {
        let now = self.clock.now();
        let Some(case) = self.cases.get_mut(&key) else { return false };
        self.times.remove(&(case.due, key));
        let step = case.termination.step(now);
        case.promise.tell(case.termination.stage());
        match step {
            Step::Again => return true,
            Step::Wait { until, on } => {
                case.due = case.watch(key, &self.poller, now, until, on);
                self.times.insert((case.due, key));
            }
            Step::Done(report) => {
                if let Some(mut case) = self.cases.remove(&key) {
                    case.watch(key, &self.poller, now, now, Watch::Backoff);
                    self.over.push((case.promise, *report));
                    self.over_since = now.min(self.over_since);
                }
            }
        }
        if self.over.len() == TOGETHER || self.over_since + LATEST <= now {
            self.tell();
        }
        false
    }

    /// Tells of those that are over.
    fn tell(&mut self) {
        for (promise, report) in self.over.drain(..) {
            promise.keep(Ok(report));
        }
        self.over_since = Time::NEVER;
    }
}

/// What is over is told, also by a thread that panics.
impl Drop for Worker {
    fn drop(&mut self) {
        self.tell();
    }
}

impl Case {
    /// Watches what it waits on; gives when to look again.
    fn watch(&mut self, key: Key, poller: &Poller, now: Time, until: Time, on: Watch) -> Time {
        let (wanted, until) = match on {
            Watch::Sources(sources) | Watch::Members(sources) => (sources, until),
            // A virtual world does not wake us.
            Watch::Virtual(_) => (Vec::new(), until.min(now + PAUSE)),
            Watch::Backoff => (Vec::new(), until),
        };
        match poller.change(key, &mut self.watched, wanted) {
            Ok(()) => until,
            Err(errno) => {
                let group = &self.termination.group().id().name;
                tracing::warn!(%errno, %group, "cannot watch; looking again after pauses");
                until.min(now + PAUSE)
            }
        }
    }
}
