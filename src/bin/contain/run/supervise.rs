//! The supervision of a program: one wait for its end, for signals to us and for the bounds of the run;
//! then the end of its group.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use containment::{
    Backend, Backoff, Child, Containment, Error, Group, Look, Outcome, Overrun, Policy, Result,
    Signal, Source, Time, Waiter, Watch, Watchdog,
};
use rustix::event::{Timespec, poll};

use super::end::{End, Reason};
use super::resources::Resources;
use crate::cli::Run;
use crate::engine::Engine;

/// Watches over one program.
#[derive(Debug)]
pub(super) struct Supervisor<'a> {
    pub(super) child: &'a Child,
    pub(super) resources: &'a mut Resources,
    pub(super) waiter: Arc<dyn Waiter>,
    /// Whether orphans of the group come to us to be reaped.
    pub(super) adopts: bool,
    pub(super) outcome: Option<Outcome>,
    /// The first signal that asked us to end the group.
    pub(super) asked: Option<Signal>,
    /// Whether there may be orphans left to reap.
    pub(super) behind: Cell<bool>,
}

/// Why the group is to be ended.
#[derive(Debug)]
enum Ending {
    /// The program ended.
    Program,
    /// A bound of the run was passed.
    Overrun(Overrun),
    /// Somebody sent us this signal.
    Asked(Signal),
    /// The engine's daemon that looked after our step is gone.
    Abandoned,
    /// The program cannot be watched any more.
    Lost(Error),
}

impl<'a> Supervisor<'a> {
    /// A keeper reaps what it adopts; where there is none the orphans come to us.
    pub(super) fn of(
        child: &'a Child,
        resources: &'a mut Resources,
        containment: &Containment,
    ) -> Self {
        let adopts = containment.backend() != Backend::ProcessGroup;
        Self::new(child, resources, containment.waiter(), adopts)
    }

    fn new(
        child: &'a Child,
        resources: &'a mut Resources,
        waiter: Arc<dyn Waiter>,
        adopts: bool,
    ) -> Self {
        let behind = Cell::new(false);
        Self { child, resources, waiter, adopts, outcome: None, asked: None, behind }
    }

    /// Waits for what ends the group, ends it, and takes down in `end` how it went.
    pub(super) fn see_through(
        mut self,
        group: Group,
        options: &Run,
        end: &mut End,
        started: Instant,
    ) {
        let ending = self.await_ending(&group, options).unwrap_or_else(Ending::Lost);
        end.wall = started.elapsed();
        let ran_on = self.outcome.is_none();
        if matches!(ending, Ending::Program) && options.group.keep {
            self.resources.post.dismiss();
            end.keep(group, &*self.resources.ancestry);
        } else {
            let policy = policy(options, &ending, &self.resources.engine);
            end.tear_down(self.terminate(group, policy));
        }
        if ran_on {
            end.wall = started.elapsed();
        }
        end.outcome = self.outcome;
        match ending {
            Ending::Program => end.reason = self.asked.map(Reason::Signal),
            Ending::Overrun(overrun) => end.reason = Some(Reason::Overrun(overrun)),
            Ending::Asked(signal) => end.reason = Some(Reason::Signal(signal)),
            Ending::Abandoned => end.reason = Some(Reason::Engine),
            Ending::Lost(error) => end.failure = Some(error),
        }
    }

    fn await_ending(&mut self, group: &Group, options: &Run) -> Result<Ending> {
        let mut watchdog = Watchdog::new(&options.ending.bounds(), self.waiter.now(), group.ops())?;
        let mut pauses = Backoff::default();
        let mut in_vain = 0;
        loop {
            // Watch, then read, then wait: an end in between makes the watch ready.
            let watch = self.child.watch()?;
            self.resources.post.refill(group);
            if let Some(ending) = self.look_around(group, &mut watchdog)? {
                return Ok(ending);
            }
            let now = self.waiter.now();
            let (until, on) = match watchdog.look(now, group.ops())? {
                Look::Over(overrun) => return Ok(Ending::Overrun(overrun)),
                Look::Within { until, on } => (until, on),
            };
            // A zombie that a tracer holds is ready all the time, and cannot be reaped.
            let watch = watch.and(on).and(self.resources.engine.watch());
            let watch = if in_vain < 8 { watch } else { Watch::Backoff };
            self.wait(pauses.bound(now, until, &watch), watch);
            let at_once = self.waiter.now().since(now) < Duration::from_millis(1);
            in_vain = if at_once { in_vain + 1 } else { 0 };
        }
    }

    /// What has ended the group by now, but for the bounds of the run, of which only an OOM kill counts here:
    /// it may be what ended the program.
    fn look_around(&mut self, group: &Group, watchdog: &mut Watchdog) -> Result<Option<Ending>> {
        // SIGCHLD before the look at the program: it may tell that a keeper was stopped.
        self.asked = self.read_inbox();
        self.outcome = self.child.try_wait()?;
        if let Some(signal) = self.asked {
            return Ok(Some(Ending::Asked(signal)));
        }
        if self.outcome.is_some() {
            let oom = watchdog.oom_killed(group.ops())?;
            let ending = if oom { Ending::Overrun(Overrun::Oom) } else { Ending::Program };
            return Ok(Some(ending));
        }
        Ok(self.resources.engine.is_gone().then_some(Ending::Abandoned))
    }

    /// Waits for `on`, at most until `until`; besides for signals to us, and for the end of the guardian. What the
    /// kernel tells of ancestors is taken in meanwhile.
    pub(super) fn wait(&self, until: Time, on: Watch) {
        // Zombies that are left to reap are announced no more.
        let until = if self.behind.get() { Time::ZERO } else { until };
        let mut sources = match on {
            Watch::Sources(sources) | Watch::Members(sources) => sources,
            Watch::Virtual(_) | Watch::Backoff => Vec::new(),
        };
        sources.push(self.resources.inbox.source());
        sources.extend(self.resources.post.source());
        loop {
            let births = self.resources.ancestry.sources();
            let listens = !births.is_empty();
            let all = sources.iter().cloned().chain(births).collect();
            self.waiter.wait(until, &Watch::Sources(all));
            self.resources.ancestry.catch_up();
            // That somebody was born is no reason to look at the group.
            if !listens || self.waiter.now() >= until || is_any_ready(&sources) {
                return;
            }
        }
    }
}

/// Where that cannot be told, one is.
fn is_any_ready(sources: &[Source]) -> bool {
    let mut fds: Vec<_> = sources.iter().map(Source::poll_fd).collect();
    poll(&mut fds, Some(&Timespec::default())) != Ok(0)
}

/// Members are asked to end by the signal that was chosen, else by the one that was sent to us. Where
/// the OOM killer took one, the others are taken like it.
fn policy(options: &Run, ending: &Ending, engine: &Engine) -> Policy {
    let figures =
        |policy: Policy| if options.figures.are_wanted() { policy.measuring() } else { policy };
    let (ours, grace) = match ending {
        Ending::Overrun(Overrun::Oom) => return figures(Policy::kill()),
        Ending::Asked(signal) => (*signal, engine.grace(options.ending.grace)),
        Ending::Program | Ending::Overrun(_) | Ending::Abandoned | Ending::Lost(_) => {
            (Signal::TERM, options.ending.grace)
        }
    };
    figures(Policy::graceful(grace)).asking_by(options.ending.kill_signal.unwrap_or(ours))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use clap::Parser as _;
    use containment::{
        Ancestry, Error, ErrorKind, KillStep, MockChildOps, MockGroupOps, Operation, Pid, Reaped,
        SignalSet, Signalled, SystemWaiter, Usage,
    };

    use containment_process::signals::Inbox;

    use super::super::end::tests::clean_end;
    use super::super::post::Post;
    use super::*;
    use crate::cli::{Cli, Command};

    /// A world of one program, which dies when its group is killed.
    #[derive(Default)]
    struct World {
        dead: Arc<AtomicBool>,
    }

    impl World {
        fn child(&self) -> MockChildOps {
            let dead = Arc::clone(&self.dead);
            let mut child = MockChildOps::new();
            child.expect_watch().returning(|| Ok(Watch::Backoff));
            child.expect_pid().return_const(Pid::current());
            child.expect_try_wait().returning(move || {
                Ok(dead.load(Ordering::SeqCst).then_some(Outcome::Signaled(Signal::KILL)))
            });
            child
        }

        fn group(&self) -> MockGroupOps {
            let (seen, killed) = (Arc::clone(&self.dead), Arc::clone(&self.dead));
            let mut group = MockGroupOps::new();
            group.expect_id().return_const(clean_end().id);
            group.expect_capabilities().return_const(clean_end().capabilities);
            group.expect_program_runs().return_const(false);
            group.expect_reap().returning(|| Ok(Reaped::default()));
            group.expect_members().returning(|| Ok(Vec::new()));
            group.expect_usage().returning(|| Ok(Usage::default()));
            group.expect_watch().returning(|_| Ok(Watch::Backoff));
            let uncounted = || Err(Error::new(ErrorKind::Unsupported, Operation::Usage));
            group.expect_oom_kills().returning(uncounted);
            group.expect_hold_still().returning(|| Ok(None));
            group.expect_request_thaw().returning(|| Ok(()));
            group.expect_populated().returning(move || Ok(!seen.load(Ordering::SeqCst)));
            group.expect_kill().returning(move || {
                killed.store(true, Ordering::SeqCst);
                Ok(KillStep::Killed)
            });
            group
        }
    }

    fn see_through(child: MockChildOps, group: MockGroupOps, arguments: &[&str]) -> End {
        let line = ["contain", "run"].iter().chain(arguments).chain(&["true"]);
        let Command::Run(options) = Cli::try_parse_from(line).unwrap().command else {
            panic!("not parsed as a run");
        };
        let waiter: Arc<dyn Waiter> = Arc::new(SystemWaiter::new());
        let child = Child::new(Box::new(child), Arc::clone(&waiter));
        let group = Group::new(Box::new(group), Arc::clone(&waiter));
        let mut end = End::new(&group, group.capabilities().clone(), Vec::new());
        let mut resources = Resources {
            inbox: Inbox::open(SignalSet::default()).unwrap(),
            post: Post::new(options.group.orphans, None),
            spare: None,
            ancestry: Arc::new(Ancestry::from_now_on()),
            listens: false,
            engine: Engine::default(),
        };
        let supervisor = Supervisor::new(&child, &mut resources, waiter, false);
        supervisor.see_through(group, &options, &mut end, Instant::now());
        end
    }

    #[test]
    fn a_time_limit_asks_first_and_then_kills_and_the_end_is_known() {
        let world = World::default();
        let mut group = world.group();
        for signal in [Signal::USR1, Signal::CONT] {
            let asked = mockall::predicate::eq(signal);
            group.expect_signal().with(asked).times(1).returning(|_| Ok(Signalled::default()));
        }
        group.expect_remove().times(1).returning(|| Ok(()));
        let limits = ["--timeout", "10ms", "--grace", "10ms", "--kill-signal", "USR1"];
        let end = see_through(world.child(), group, &limits);
        assert_eq!(end.reason, Some(Reason::Overrun(Overrun::Timeout)));
        assert_eq!(end.outcome, Some(Outcome::Signaled(Signal::KILL)));
        assert_eq!(end.exit_status(), 124);
    }

    #[test]
    fn a_program_that_has_ended_leaves_nothing_behind() {
        let world = World::default();
        world.dead.store(true, Ordering::SeqCst);
        let mut group = world.group();
        group.expect_remove().times(1).returning(|| Ok(()));
        let end = see_through(world.child(), group, &[]);
        assert_eq!((end.reason, end.exit_status()), (None, 137));
    }

    #[test]
    fn a_group_that_is_to_be_kept_is_left_alone() {
        let world = World::default();
        world.dead.store(true, Ordering::SeqCst);
        let mut group = world.group();
        group.expect_remove().never();
        let end = see_through(world.child(), group, &["--keep"]);
        assert_eq!(end.exit_status(), 137);
        assert!(end.loss().is_none());
    }

    #[test]
    fn a_program_whose_end_was_taken_by_somebody_else_ends_its_group_and_the_run_with_125() {
        let world = World::default();
        let mut child = MockChildOps::new();
        child.expect_watch().returning(|| Ok(Watch::Backoff));
        child
            .expect_try_wait()
            .returning(|| Err(Error::new(ErrorKind::StatusLost, Operation::Wait)));
        let mut group = world.group();
        group.expect_remove().times(1).returning(|| Ok(()));
        let end = see_through(child, group, &["--grace", "0"]);
        assert_eq!(end.failure.as_ref().map(Error::kind), Some(ErrorKind::StatusLost));
        assert_eq!(end.exit_status(), 125);
    }
}
