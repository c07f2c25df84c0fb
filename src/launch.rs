//! Choosing a backend by the very group that is wanted: no scratch group, one set of system calls.

use std::sync::Arc;

use containment_core::{
    Backend, Capabilities, Child, Error, Group, GroupName, Program, Result, Witness,
};

use crate::aided::Aided;
use crate::builder::Builder;
use crate::containment::Containment;
use crate::drivers::Found;
use crate::making::{Degradation, make, set_limits};
use crate::selection::{Rejected, none_left, passes_on};

/// A group that was made, and the program that was to run in it.
///
/// ```
/// use std::sync::Arc;
/// use containment::{Ancestry, Backend, Containment, Launch, Policy, Program, with_group_variable};
///
/// let builder = Containment::builder()
///     .backend(Backend::ProcessGroup)
///     .witnessed_by(Arc::new(Ancestry::from_now_on()));
/// let name = format!("build-{}", std::process::id()).parse()?;
/// let told = Program::new("sh").args(["-c", "test -n \"$CONTAIN_GROUP\""]);
/// let launch = builder.launch(&name, |group| with_group_variable(told.clone(), group.id()))?;
/// let Launch { containment, group, guarantees, degraded, child } = launch;
/// assert_eq!(containment.backend(), Backend::ProcessGroup);
/// assert!(guarantees == *group.capabilities() && degraded.is_empty());
/// assert!(child?.wait()?.success());
/// assert!(group.terminate(&Policy::kill())?.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Launch {
    /// The backend that was taken.
    pub containment: Containment,
    /// The group, under its guard.
    pub group: Group,
    /// What holds for the program: what the group guarantees, and what its seal adds.
    pub guarantees: Capabilities,
    /// What a best effort did without.
    pub degraded: Vec<Degradation>,
    /// The program, or why it does not run. The group exists either way.
    pub child: Result<Child>,
}

impl Builder {
    /// Whoever is found at the end of a group that is launched is reported with their origin by this
    /// witness: an [`Ancestry`](crate::Ancestry) that listens to the kernel knows of dead ancestors, too.
    #[must_use]
    pub fn witnessed_by(mut self, witness: Arc<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// Makes a group with this builder's limits and starts a program in it, on the first backend
    /// where that works: a failure to make the group or to put the program into it, for a reason that
    /// lies in the backend, moves on to the next, and the half-made group is removed. `program` is
    /// asked for what to run once the group exists.
    ///
    /// # Errors
    /// Those of [`build`](Self::build), and those that no other backend would mend: a name that is
    /// taken, for one. A program that cannot be started is told by [`Launch::child`].
    pub fn launch(
        &self,
        name: &GroupName,
        mut program: impl FnMut(&Group) -> Program,
    ) -> Result<Launch> {
        self.limits.check().map_err(|invalid| Error::from(invalid).with_group(name))?;
        let (mut aided, without) = self.aided()?;
        let mut rejected = Vec::new();
        for backend in aided.builder.candidates() {
            match aided.attempt(backend, name, &mut program) {
                Attempt::Settled(result) => {
                    return result.map(|mut launch| {
                        launch.containment.passed_over(rejected);
                        launch.containment = launch.containment.doing_without(without);
                        launch
                    });
                }
                Attempt::Next(reason) => {
                    rejected.push(Rejected { backend, reason });
                    aided.look_anew();
                }
            }
        }
        Err(none_left(rejected))
    }
}

impl Aided {
    fn attempt(
        &self,
        backend: Backend,
        name: &GroupName,
        program: &mut impl FnMut(&Group) -> Program,
    ) -> Attempt {
        let found = match self.builder.fit(backend) {
            Ok(found) => found,
            Err(reason) => return Attempt::Next(reason),
        };
        match self.launch_on(found, name, program) {
            Err(error) if passes_on(&error) => Attempt::Next(error),
            // Moving the error out drops the guard, which removes the half-made group. Where there
            // is no other candidate, the caller gets the group to report on.
            Ok(Launch { child: Err(error), .. })
                if passes_on(&error) && !self.builder.is_explicit() =>
            {
                Attempt::Next(error)
            }
            result => Attempt::Settled(result),
        }
    }

    fn launch_on(
        &self,
        found: Found,
        name: &GroupName,
        program: &mut impl FnMut(&Group) -> Program,
    ) -> Result<Launch> {
        let (driver, asked) = (self.on_record(found), &self.builder);
        let mut group = make(&*driver, name, &asked.limits, asked.best_effort)?;
        if let Some(witness) = &asked.witness {
            group = group.witnessed_by(Arc::clone(witness));
        }
        let (mut degraded, child) = match set_limits(&group, &asked.limits, asked.best_effort) {
            Ok(degraded) => (degraded, group.spawn(&asked.sealing(program(&group)))),
            Err(error) => (Vec::new(), Err(error)),
        };
        if let Some(why) = asked.parent_dropped(driver.backend()) {
            degraded.push(Degradation { what: "parent".to_owned(), why });
        }
        let (guarantees, sealed) = asked.guarantees(group.capabilities());
        if let Err(why) = sealed {
            degraded.push(Degradation { what: "seal".to_owned(), why });
        }
        let containment = Containment::chosen(driver, Vec::new());
        Ok(Launch { containment, group, guarantees, degraded, child })
    }
}

enum Attempt {
    /// It worked, or failed in a way that another backend would not mend.
    Settled(Result<Launch>),
    /// The backend does not work here.
    Next(Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::tests::{
        Scripted, Stage, empty_group, empty_group_with, mock_child, strong, weak,
    };
    use containment_core::{ErrorKind, LeaveBy, MockGroupOps, Operation};

    /// A group whose spawn ends like this, and that is removed once.
    fn group(spawn: fn() -> Result<()>) -> MockGroupOps {
        let mut group = empty_group();
        group.expect_spawn().returning(move |_| spawn().map(|()| mock_child()));
        group.expect_remove().times(1).returning(|| Ok(()));
        group
    }

    fn not_placed() -> Result<()> {
        Err(Error::from_errno(Operation::Place, 13))
    }

    fn launch(host: Scripted) -> Result<Launch> {
        let name = "job".parse().unwrap();
        Builder::on(Arc::new(host)).launch(&name, |_| Program::new("true"))
    }

    #[test]
    fn a_seal_passes_over_what_cannot_have_one_and_tells_what_holds() {
        fn sealable() -> MockGroupOps {
            let mut group = empty_group_with(strong());
            group.expect_spawn().returning(|_| Ok(mock_child()));
            group.expect_remove().times(1).returning(|| Ok(()));
            group
        }
        let host = || {
            let descent = Stage::Makes(weak(), || Ok(group(|| Ok(()))));
            let host = Scripted::new().stage(Backend::CgroupV2, descent);
            Arc::new(host.stage(Backend::Hybrid, Stage::Makes(strong(), || Ok(sealable()))))
        };
        let name = "job".parse().unwrap();
        let sealed = Builder::on(host()).seal().require("leave_by=none".parse().unwrap());
        let launch = sealed.launch(&name, |_| Program::new("true")).unwrap();
        assert_eq!(launch.containment.backend(), Backend::Hybrid);
        assert_eq!(launch.guarantees.leave_by, LeaveBy::None);
        assert!(launch.degraded.is_empty());

        let best = Builder::on(host()).seal().best_effort();
        let launch = best.launch(&name, |_| Program::new("true")).unwrap();
        assert_eq!(launch.containment.backend(), Backend::CgroupV2);
        assert_eq!(launch.degraded[0].what, "seal");

        let only = Builder::on(host()).seal().backend(Backend::CgroupV2);
        let refused = only.launch(&name, |_| Program::new("true")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_group_that_cannot_be_filled_is_removed_and_the_next_backend_tried() {
        let host = Scripted::new()
            .stage(Backend::CgroupV2, Stage::Makes(strong(), || Ok(group(not_placed))))
            .stage(Backend::ProcessGroup, Stage::Makes(weak(), || Ok(group(|| Ok(())))));
        let launch = launch(host).unwrap();
        assert!(launch.child.is_ok());
        let selection = launch.containment.selection();
        assert_eq!(selection.chosen, Backend::ProcessGroup);
        assert_eq!(selection.rejected[0].backend, Backend::CgroupV2);
        assert_eq!(selection.rejected[0].reason.operation(), Operation::Place);
    }

    #[test]
    fn a_name_that_is_taken_is_not_tried_elsewhere() {
        let taken = || Err(Error::new(ErrorKind::AlreadyExists, Operation::Create));
        let host = Scripted::new()
            .stage(Backend::CgroupV2, Stage::Makes(strong(), taken))
            .stage(Backend::ProcessGroup, Stage::Makes(weak(), || Ok(group(|| Ok(())))));
        assert_eq!(launch(host).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_its_group() {
        fn missing() -> Result<()> {
            Err(Error::new(ErrorKind::ProgramNotFound, Operation::Spawn))
        }
        let host = Scripted::new()
            .stage(Backend::CgroupV2, Stage::Makes(strong(), || Ok(group(missing))))
            .stage(Backend::ProcessGroup, Stage::Makes(weak(), || Ok(group(|| Ok(())))));
        let launch = launch(host).unwrap();
        assert_eq!(launch.containment.backend(), Backend::CgroupV2);
        assert_eq!(launch.child.unwrap_err().kind(), ErrorKind::ProgramNotFound);
    }

    #[test]
    fn with_one_explicit_backend_the_group_is_handed_over_to_report_on() {
        let host = Scripted::new()
            .stage(Backend::CgroupV2, Stage::Makes(strong(), || Ok(group(not_placed))));
        let name = "job".parse().unwrap();
        let builder = Builder::on(Arc::new(host)).backend(Backend::CgroupV2);
        let launch = builder.launch(&name, |_| Program::new("true")).unwrap();
        assert_eq!(launch.child.unwrap_err().operation(), Operation::Place);
    }

    #[test]
    fn when_no_backend_works_every_reason_is_told() {
        let host = Scripted::new()
            .stage(Backend::CgroupV2, Stage::Makes(strong(), || Ok(group(not_placed))));
        let error = launch(host).unwrap_err();
        assert_eq!(error.operation(), Operation::Select);
        assert!(error.to_string().contains("cgroup-v2: Permission denied (EACCES)"), "{error}");
        assert!(error.to_string().contains("process-group: "), "{error}");
    }
}
