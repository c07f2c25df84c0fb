//! How a run ended, and the exit status that follows.

use std::time::Duration;

use containment::{
    Capabilities, Degradation, Error, ErrorKind, Group, GroupId, Member, Operation, Outcome,
    Overrun, Pid, Result, Signal, Standing, TeardownReport, Witness,
};

use crate::{errors, exit};

/// So many of those who were found are named to a person.
pub(super) const NAMED: usize = 20;

/// Everything that there is to say of a run whose group existed.
#[derive(Debug)]
pub(super) struct End {
    pub(super) id: GroupId,
    pub(super) capabilities: Capabilities,
    pub(super) degraded: Vec<Degradation>,
    pub(super) pid: Option<Pid>,
    pub(super) outcome: Option<Outcome>,
    pub(super) reason: Option<Reason>,
    /// Why the program did not start, or could not be watched to its end.
    pub(super) failure: Option<Error>,
    pub(super) wall: Duration,
    pub(super) teardown: TeardownReport,
    kept: bool,
}

/// What ended the group, where it was not the program's own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A bound of the run.
    Overrun(Overrun),
    /// A signal to `contain`.
    Signal(Signal),
    /// The end of the engine's daemon that looked after our step: as if it had sent SIGTERM.
    Engine,
}

impl End {
    pub(super) fn new(
        group: &Group,
        capabilities: Capabilities,
        degraded: Vec<Degradation>,
    ) -> Self {
        Self {
            id: group.id().clone(),
            capabilities,
            degraded,
            pid: None,
            outcome: None,
            reason: None,
            failure: None,
            wall: Duration::ZERO,
            teardown: TeardownReport::default(),
            kept: false,
        }
    }

    /// Takes down how the teardown went.
    pub(super) fn tear_down(&mut self, result: Result<TeardownReport>) {
        match result {
            Ok(report) => self.teardown = report,
            Err(error) => self.teardown.errors.push(error),
        }
    }

    /// Leaves `group` to itself, and takes down what is left in it.
    pub(super) fn keep(&mut self, group: Group, witness: &dyn Witness) {
        self.kept = true;
        match group.usage() {
            Ok(usage) => self.teardown.usage = Some(usage),
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => self.teardown.errors.push(error),
        }
        match group.members() {
            Ok(members) => {
                let others = members.iter().filter(|m| m.standing != Standing::Program);
                let mut left: Vec<_> = others.cloned().collect();
                if !left.is_empty() {
                    witness.trace(&mut left, &members);
                }
                self.teardown.left_behind = left;
            }
            Err(error) => self.teardown.errors.push(error),
        }
        group.keep();
    }

    /// A loss of containment beats a failure, that a reason, and that the program's own end.
    pub(super) fn exit_status(&self) -> u8 {
        if self.is_lost() {
            return exit::RUN_FAILED;
        }
        match (&self.failure, self.reason, self.outcome) {
            (Some(error), _, _) => exit::of_failed_run(error),
            (None, Some(Reason::Overrun(Overrun::Oom)), _) => exit::OUT_OF_MEMORY,
            (None, Some(Reason::Overrun(Overrun::Timeout | Overrun::CpuTime)), _) => {
                exit::TIMED_OUT
            }
            (None, Some(Reason::Signal(signal)), _) => exit::of_shell_status(128 + signal.as_raw()),
            (None, Some(Reason::Engine), _) => exit::of_shell_status(128 + Signal::TERM.as_raw()),
            (None, None, Some(outcome)) => exit::of_shell_status(outcome.shell_status()),
            (None, None, None) => exit::RUN_FAILED,
        }
    }

    /// Logs who was found when the program had ended, and who started them.
    pub(super) fn tell_who_was_left(&self) {
        let lists =
            [("left behind", &self.teardown.left_behind), ("escaped", &self.teardown.escaped)];
        for (how, members) in lists {
            for member in members.iter().take(NAMED) {
                tracing::info!("{how}: {member}");
            }
            if members.len() > NAMED {
                tracing::info!("{how}: and {} more", members.len() - NAMED);
            }
        }
    }

    /// Whether the group was left to itself.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// What became of the group, in a word.
    pub(super) fn containment(&self) -> &'static str {
        match (self.kept, self.is_lost()) {
            (true, _) => "kept",
            (false, true) => "lost",
            (false, false) => "held",
        }
    }

    fn is_lost(&self) -> bool {
        !self.kept && !self.teardown.is_clean()
    }

    /// The message for a loss of containment: who survives, or why the group could not be removed.
    pub(super) fn loss(&self) -> Option<String> {
        if !self.is_lost() {
            return None;
        }
        if self.teardown.survivors.is_empty() {
            let unknown = Error::new(ErrorKind::Busy, Operation::Remove).with_group(&self.id.name);
            let error = self.teardown.errors.last().unwrap_or(&unknown);
            return Some(errors::line(error));
        }
        let all = &self.teardown.survivors;
        let mut survivors: Vec<_> = all.iter().take(NAMED).map(survivor).collect();
        if all.len() > NAMED {
            survivors.push(format!("and {} more", all.len() - NAMED));
        }
        let error = Error::new(ErrorKind::TimedOut, Operation::Kill)
            .with_group(&self.id.name)
            .because(format!("still alive: {}", survivors.join(", ")));
        let held = all.iter().all(|member| member.state.0 == 'D');
        let advice = match self.teardown.errors.first() {
            _ if held => {
                "see what holds them in /proc/PID/wchan; they die once it lets go".to_owned()
            }
            Some(error) => format!("because: {error:#}"),
            None => "kill them by hand".to_owned(),
        };
        Some(errors::line(&error.advise(advice)))
    }
}

/// By pid, name and state; and, as far as it is known, who started it and what holds it.
fn survivor(member: &Member) -> String {
    let origin = member.origin.as_deref();
    let chain = origin.map(|origin| &origin.chain).filter(|chain| chain.len() > 1);
    let chain = chain.map(|chain| {
        let links: Vec<_> = chain.iter().map(ToString::to_string).collect();
        format!(" of {}", links.join(" → "))
    });
    let hold = origin.and_then(|origin| origin.held_by.as_ref());
    let hold = hold.map(|hold| format!(" held: {hold}"));
    let (chain, hold) = (chain.unwrap_or_default(), hold.unwrap_or_default());
    format!("{} {} ({}){chain}{hold}", member.pid, member.comm, member.state)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use containment::{
        Backend, Empty, Escape, Freeze, Identity, Kill, LeaveBy, Member, ProcessState, Set,
    };

    pub(in crate::run) fn clean_end() -> End {
        End {
            id: GroupId {
                backend: Backend::CgroupV2,
                name: "job".parse().unwrap(),
                identity: Identity::Cgroup(77),
            },
            capabilities: Capabilities {
                kill: Kill::Atomic,
                escape: Escape::Impossible,
                leave_by: LeaveBy::CgroupfsWrite,
                empty: Empty::Notified,
                freeze: Freeze::Kernel,
                nesting: true,
                attach: true,
                limits: Set::EMPTY,
                usage: Set::EMPTY,
            },
            degraded: Vec::new(),
            pid: Pid::new(4242),
            outcome: Some(Outcome::Exited(3)),
            reason: None,
            failure: None,
            wall: Duration::from_micros(1_234_567),
            teardown: TeardownReport { removed: true, ..TeardownReport::default() },
            kept: false,
        }
    }

    pub(in crate::run) fn member(pid: i32) -> Member {
        Member {
            pid: Pid::new(pid).unwrap(),
            parent: 1,
            started: 9,
            comm: "sleep".to_owned(),
            state: ProcessState('D'),
            standing: Standing::Inside,
            cpu: None,
            memory: None,
            origin: None,
        }
    }

    #[test]
    fn the_programs_own_end_is_the_status() {
        let mut end = clean_end();
        assert_eq!(end.exit_status(), 3);
        end.outcome = Some(Outcome::Signaled(Signal::KILL));
        assert_eq!(end.exit_status(), 137);
    }

    #[test]
    fn a_reason_beats_the_outcome() {
        let mut end = clean_end();
        end.outcome = Some(Outcome::Exited(0));
        for (overrun, status) in
            [(Overrun::Timeout, 124), (Overrun::CpuTime, 124), (Overrun::Oom, 137)]
        {
            end.reason = Some(Reason::Overrun(overrun));
            assert_eq!(end.exit_status(), status);
        }
        end.reason = Some(Reason::Signal(Signal::TERM));
        assert_eq!(end.exit_status(), 143);
    }

    #[test]
    fn a_program_that_did_not_start_has_the_status_of_its_error() {
        let mut end = clean_end();
        end.outcome = None;
        end.failure = Some(Error::new(ErrorKind::ProgramNotFound, Operation::Spawn));
        assert_eq!(end.exit_status(), 127);
    }

    #[test]
    fn a_survivor_is_a_loss_of_containment_and_named() {
        let mut end = clean_end();
        end.teardown.survivors.push(member(12));
        assert_eq!(end.exit_status(), 125);
        let line = end.loss().unwrap();
        assert!(
            line.starts_with("failed to kill group job: still alive: 12 sleep (D); "),
            "{line}"
        );
    }

    #[test]
    fn a_group_that_could_not_be_removed_is_one_too() {
        let mut end = clean_end();
        end.teardown.removed = false;
        assert_eq!(end.exit_status(), 125);
        assert!(end.loss().unwrap().starts_with("failed to remove group job"));
        end.kept = true;
        assert_eq!((end.exit_status(), end.loss()), (3, None), "unless it was to be kept");
    }
}
