//! The end of a run's group, and of whoever got away from it.

use std::time::Duration;

use containment::{
    Error, Group, GroupName, Operation, Policy, Result, Signal, Stage, Standing, Step,
    TeardownReport, Termination, Witness as _, end_descendants,
};
use containment_process::proc::Stat;
use containment_process::reap::{Children, reap_children};

use super::supervise::Supervisor;

/// The most passes over orphans that have ended, once the group is gone: at 256 a pass that is every pid there can be.
const PASSES: usize = 1 << 14;

impl Supervisor<'_> {
    /// Ends the group, and meanwhile listens to those who want it to end sooner.
    pub(super) fn terminate(&mut self, group: Group, policy: Policy) -> Result<TeardownReport> {
        self.resources.spare = None;
        let started = self.waiter.now();
        let name = group.id().name.clone();
        let mut termination = group.begin_termination(policy)?;
        loop {
            // Signals before the look: what SIGCHLD tells is seen by it.
            if let Some(signal) = self.read_inbox() {
                self.be_asked(signal, &mut termination);
            }
            self.resources.post.refill(termination.group());
            let step = termination.step(self.waiter.now());
            self.collect_outcome();
            match step {
                Step::Done(mut report) => {
                    self.settle(&name, &mut report);
                    report.elapsed = self.waiter.now().since(started);
                    return Ok(*report);
                }
                Step::Again => {}
                Step::Wait { until, on } => self.wait(until, on),
            }
        }
    }

    /// The first signal that asks for the end is passed on to every member, who may use what is left of the
    /// grace; the second ends the grace.
    fn be_asked(&mut self, signal: Signal, termination: &mut Termination) {
        if self.asked.replace(self.asked.unwrap_or(signal)).is_some() {
            return termination.hurry();
        }
        if let Some(grace) = self.resources.engine.longest_grace() {
            termination.end_grace_by(self.waiter.now() + grace);
        }
        if termination.stage() <= Stage::Grace
            && let Err(error) = termination.group().signal(signal)
        {
            tracing::warn!(%error, %signal, "a signal could not be passed on");
        }
    }

    /// What there is to do once the group has ended, or could not be ended.
    fn settle(&mut self, name: &GroupName, report: &mut TeardownReport) {
        if report.is_clean() {
            self.resources.post.dismiss();
        } else {
            self.resources.post.hand_over();
        }
        self.end_escaped(name, report);
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
        self.resources.post.leave();
        match end_descendants(name, Some(self.resources.ancestry.clone())) {
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
            Ok(Some(stat)) if !stat.has_ended() => {
                let mut program = [stat.member(Standing::Program)];
                let alone = program.clone();
                self.resources.ancestry.trace(&mut program, &alone);
                report.escaped.extend(program);
            }
            Ok(_) => {}
            Err(error) => {
                let error = Error::from_io(Operation::Members, &error);
                report.errors.push(error.with_pid(self.child.pid()));
            }
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

    /// Reaps the orphans that have come to us; whether living ones are left.
    pub(super) fn reap(&self) -> bool {
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
