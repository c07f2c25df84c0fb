//! The supervision of a program: one wait for its end, for signals to us and for the bounds of the run;
//! then the end of its group.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use containment::{
    Backoff, Child, Error, Group, GroupName, Look, Outcome, Overrun, Policy, Result, Signal,
    SignalSet, Standing, Step, TeardownReport, Time, Waiter, Watch, Watchdog, end_descendants,
};
use containment_process::proc::Stat;
use containment_process::reap::{Children, reap_children};
use containment_process::signals::{Inbox, Received};

use super::end::{End, Reason};
use super::post::Post;
use super::spare::Spare;
use crate::cli::Run;

/// The signals that we take by reading. The others do what they do by default: a terminal's Ctrl-Z
/// stops us with the rest of the job.
pub(super) fn taken() -> SignalSet {
    let ours = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::CHLD];
    let passed_on = [Signal::USR1, Signal::USR2, Signal::WINCH, Signal::CONT];
    ours.into_iter().chain(passed_on).collect()
}

/// Watches over one program.
#[derive(Debug)]
pub(super) struct Supervisor<'a> {
    child: &'a Child,
    inbox: Inbox,
    post: Post,
    waiter: Arc<dyn Waiter>,
    /// Whether orphans of the group come to us to be reaped.
    adopts: bool,
    outcome: Option<Outcome>,
    /// Whether there may be orphans left to reap.
    behind: Cell<bool>,
    spare: Option<Spare>,
}

/// The most passes over orphans that have ended, once the group is gone: far more than there are pids.
const PASSES: usize = 1 << 14;

/// The most signals that are read before something else gets its turn.
const SIGNALS: usize = 64;

/// Why the group is to be ended.
#[derive(Debug)]
enum Ending {
    /// The program ended.
    Program,
    /// A bound of the run was passed.
    Overrun(Overrun),
    /// Somebody sent us this signal.
    Asked(Signal),
    /// The program cannot be watched any more.
    Lost(Error),
}

/// What a signal to us means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    End,
    PassOn,
    Reap,
    /// The terminal sent it to the program, too.
    Leave,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        child: &'a Child,
        inbox: Inbox,
        post: Post,
        waiter: Arc<dyn Waiter>,
        adopts: bool,
    ) -> Self {
        Self {
            child,
            inbox,
            post,
            waiter,
            adopts,
            outcome: None,
            behind: Cell::new(false),
            spare: None,
        }
    }

    /// The same with descriptors for the end of the group.
    pub(super) fn with(self, spare: Option<Spare>) -> Self {
        Self { spare, ..self }
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
        if matches!(ending, Ending::Program) && options.keep {
            self.post.dismiss();
            end.keep(group);
        } else {
            end.tear_down(self.terminate(group, policy(options, &ending)));
        }
        if ran_on {
            end.wall = started.elapsed();
        }
        end.outcome = self.outcome;
        match ending {
            Ending::Program => {}
            Ending::Overrun(overrun) => end.reason = Some(Reason::Overrun(overrun)),
            Ending::Asked(signal) => end.reason = Some(Reason::Signal(signal)),
            Ending::Lost(error) => end.failure = Some(error),
        }
    }

    fn await_ending(&mut self, group: &Group, options: &Run) -> Result<Ending> {
        let mut watchdog = Watchdog::new(&options.bounds(), self.waiter.now(), group.ops())?;
        let mut pauses = Backoff::default();
        let mut in_vain = 0;
        loop {
            // Watch, then read, then wait: an end in between makes the watch ready.
            let watch = self.child.watch()?;
            self.post.refill(group);
            // SIGCHLD before the look, too: it may tell that a keeper was stopped.
            let asked = self.read_inbox();
            self.outcome = self.child.try_wait()?;
            if let Some(signal) = asked {
                return Ok(Ending::Asked(signal));
            }
            if self.outcome.is_some() {
                let oom = watchdog.oom_killed(group.ops())?;
                return Ok(if oom { Ending::Overrun(Overrun::Oom) } else { Ending::Program });
            }
            let now = self.waiter.now();
            let (until, on) = match watchdog.look(now, group.ops())? {
                Look::Over(overrun) => return Ok(Ending::Overrun(overrun)),
                Look::Within { until, on } => (until, on),
            };
            // A zombie that a tracer holds is ready all the time, and cannot be reaped.
            let watch = if in_vain < 8 { watch.and(on) } else { Watch::Backoff };
            self.wait(pauses.bound(now, until, &watch), watch);
            let at_once = self.waiter.now().since(now) < Duration::from_millis(1);
            in_vain = if at_once { in_vain + 1 } else { 0 };
        }
    }

    fn terminate(&mut self, group: Group, policy: Policy) -> Result<TeardownReport> {
        self.spare = None;
        let started = self.waiter.now();
        let name = group.id().name.clone();
        let mut termination = group.begin_termination(policy)?;
        loop {
            // Signals before the look: what SIGCHLD tells is seen by it.
            if self.read_inbox().is_some() {
                termination.hurry();
            }
            self.post.refill(termination.group());
            let step = termination.step(self.waiter.now());
            self.collect_outcome();
            match step {
                Step::Done(mut report) => {
                    if report.is_clean() {
                        self.post.dismiss();
                    } else {
                        self.post.hand_over();
                    }
                    self.end_escaped(&name, &mut report);
                    report.elapsed = self.waiter.now().since(started);
                    return Ok(*report);
                }
                Step::Again => {}
                Step::Wait { until, on } => self.wait(until, on),
            }
        }
    }

    /// Who was moved out of the group descends from us all the same: it is ended, too, and reported.
    fn end_escaped(&mut self, name: &GroupName, report: &mut TeardownReport) {
        if !self.adopts || !report.is_clean() {
            return;
        }
        if self.outcome.is_none() {
            self.end_program(report);
        }
        // Nobody of the group is left to add to them.
        let mut living = self.reap();
        for _ in 0..PASSES {
            if !self.behind.get() {
                break;
            }
            living = self.reap();
        }
        if !living {
            return;
        }
        match end_descendants(name) {
            Ok(swept) => {
                report.escaped.extend(swept.escaped);
                report.survivors.extend(swept.survivors);
                report.errors.extend(swept.errors);
            }
            Err(error) => report.errors.push(error),
        }
    }

    /// A program that is not in its group any more, or not yet reaped, is killed for its outcome.
    fn end_program(&mut self, report: &mut TeardownReport) {
        let deadline = self.waiter.now() + Duration::from_secs(5);
        match Stat::read(self.child.pid()) {
            Ok(Some(stat)) if !stat.state.is_zombie() => {
                report.escaped.push(stat.member(Standing::Escaped));
            }
            _ => {}
        }
        if let Err(error) = self.child.signal(Signal::KILL) {
            report.errors.push(error);
        }
        while self.outcome.is_none() && self.waiter.now() < deadline {
            match self.child.watch() {
                Ok(watch) => self.waiter.wait(deadline, &watch),
                Err(error) => return report.errors.push(error),
            }
            self.collect_outcome();
        }
    }

    /// A program that dies with its group has an end, too.
    fn collect_outcome(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        match self.child.try_wait() {
            Ok(outcome) => self.outcome = outcome,
            Err(error) => tracing::debug!(%error, "the program's end is not known"),
        }
    }

    fn wait(&self, until: Time, on: Watch) {
        // Zombies that are left to reap are announced no more.
        let until = if self.behind.get() { Time::ZERO } else { until };
        let mut sources = match on {
            Watch::Sources(sources) => sources,
            Watch::Virtual(_) | Watch::Backoff => Vec::new(),
        };
        sources.push(self.inbox.source());
        sources.extend(self.post.source());
        self.waiter.wait(until, &Watch::Sources(sources));
    }

    /// Acts on the signals that have arrived, up to one that asks for the end: that is returned.
    ///
    /// Under a fork storm children end all the time: one pass reaps some of them, so that the bounds of the
    /// run are looked at in between.
    fn read_inbox(&self) -> Option<Signal> {
        let mut reap = self.behind.get();
        for _ in 0..SIGNALS {
            let Some(received) = self.next_signal() else { break };
            match meaning(received, self.outcome.is_none()) {
                Meaning::End => return Some(received.signal),
                Meaning::PassOn => self.pass_on(received.signal),
                Meaning::Reap => reap = true,
                Meaning::Leave => {}
            }
        }
        if reap {
            self.reap();
        }
        None
    }

    fn next_signal(&self) -> Option<Received> {
        self.inbox.next().unwrap_or_else(|error| {
            tracing::warn!(%error, "signals to contain cannot be read");
            None
        })
    }

    fn pass_on(&self, signal: Signal) {
        if let Err(error) = self.child.signal(signal) {
            tracing::warn!(%error, %signal, "a signal could not be passed on");
        }
    }

    /// Reaps the orphans that have come to us; whether living ones are left.
    fn reap(&self) -> bool {
        if !self.adopts {
            return false;
        }
        // The driver reaps the program itself, for its status.
        let except = self.outcome.is_none().then(|| self.child.pid());
        match reap_children(except) {
            Ok(children) => {
                self.behind.set(children == Children::Behind);
                children != Children::None
            }
            Err(error) => {
                tracing::warn!(%error, "orphans could not be reaped");
                self.behind.set(false);
                false
            }
        }
    }
}

/// Members are asked to end by the signal that was chosen, else by the one that was sent to us. Where
/// the OOM killer took one, the others are taken like it.
fn policy(options: &Run, ending: &Ending) -> Policy {
    let ours = match ending {
        Ending::Overrun(Overrun::Oom) => return Policy::kill(),
        Ending::Asked(signal) => *signal,
        Ending::Program | Ending::Overrun(_) | Ending::Lost(_) => Signal::TERM,
    };
    Policy::graceful(options.grace).asking_by(options.kill_signal.unwrap_or(ours))
}

/// What `received` means, while the program runs or after its end. What the kernel itself sends
/// (`SI_KERNEL`) comes from the terminal, and goes to the program as well as to us.
fn meaning(received: Received, program_runs: bool) -> Meaning {
    let from_terminal = received.from_kernel && program_runs;
    match received.signal {
        Signal::CHLD => Meaning::Reap,
        Signal::INT | Signal::QUIT | Signal::WINCH if from_terminal => Meaning::Leave,
        Signal::USR1 | Signal::USR2 | Signal::WINCH | Signal::CONT => Meaning::PassOn,
        _ => Meaning::End,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use clap::Parser as _;
    use containment::{
        Error, ErrorKind, KillStep, MockChildOps, MockGroupOps, Operation, Pid, Reaped, Signalled,
        SystemWaiter, Usage,
    };

    use super::super::end::tests::clean_end;
    use super::*;
    use crate::cli::{Cli, Command};

    fn received(signal: Signal, from_kernel: bool) -> Received {
        Received { signal, from_kernel, sender: None }
    }

    #[test]
    fn what_the_terminal_sends_is_left_to_the_program_while_it_runs() {
        for signal in [Signal::INT, Signal::QUIT] {
            assert_eq!(meaning(received(signal, true), true), Meaning::Leave);
            assert_eq!(meaning(received(signal, true), false), Meaning::End);
            assert_eq!(meaning(received(signal, false), true), Meaning::End);
        }
    }

    #[test]
    fn a_hangup_ends_the_group_whoever_sends_it() {
        assert_eq!(meaning(received(Signal::HUP, true), true), Meaning::End);
        assert_eq!(meaning(received(Signal::TERM, false), true), Meaning::End);
    }

    #[test]
    fn signals_for_the_program_are_passed_on() {
        for signal in [Signal::USR1, Signal::USR2, Signal::WINCH, Signal::CONT] {
            assert_eq!(meaning(received(signal, false), true), Meaning::PassOn);
            assert!(taken().contains(signal));
        }
        assert_eq!(meaning(received(Signal::CHLD, false), true), Meaning::Reap);
    }

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
            group.expect_reap().returning(|| Ok(Reaped::default()));
            group.expect_members().returning(|| Ok(Vec::new()));
            group.expect_usage().returning(|| Ok(Usage::default()));
            group.expect_watch().returning(|_| Ok(Watch::Backoff));
            let uncounted = || Err(Error::new(ErrorKind::Unsupported, Operation::Usage));
            group.expect_oom_kills().returning(uncounted);
            group.expect_request_freeze().returning(|| Ok(()));
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
        let inbox = Inbox::open(SignalSet::default()).unwrap();
        let post = Post::new(options.orphans, None);
        let supervisor = Supervisor::new(&child, inbox, post, waiter, false);
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
