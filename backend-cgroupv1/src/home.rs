//! Where a process is, in every hierarchy that a group joined, as a place to come back to.

use containment_core::{Backend, Error, ErrorKind, HomeOps, Operation, Pid, Result};
use containment_process::cgroupfs::{Dir, Failure};
use containment_process::proc::cgroup;

use crate::branches::Branches;
use crate::entry::place_error;
use crate::hierarchy::Mounted;

/// The groups that a process was in, one a hierarchy; held open, so never namesakes.
#[derive(Debug)]
pub struct V1Home(Vec<Dir>);

impl V1Home {
    /// The groups of the calling process as they are now, which need not be those below which the
    /// driver makes its groups.
    pub(crate) fn of_caller(branches: &Branches) -> Result<Self> {
        let text =
            cgroup::read_self().map_err(|error| Error::from_io(Operation::Attach, &error))?;
        let open = |mounted: &Mounted| match mounted.open_group_of(&text) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(gone(error)),
            opened => opened?.ok_or_else(|| hidden(mounted)),
        };
        branches.mounts().map(open).collect::<Result<_>>().map(Self)
    }

    /// The groups of any process, as far as the mounts show them. One that has ended is nowhere, and is
    /// found to be gone when it is moved.
    pub(crate) fn of(pid: Pid, branches: &Branches) -> Result<Self> {
        let text = cgroup::read(pid).map_err(|error| Error::from_io(Operation::Attach, &error))?;
        let text = text.unwrap_or_default();
        let opened = branches.mounts().map(|mounted| mounted.open_group_of(&text));
        opened.filter_map(Result::transpose).collect::<Result<_>>().map(Self)
    }
}

impl HomeOps for V1Home {
    /// Goes back in every hierarchy, also where one refuses.
    fn take_back(&self, pid: Pid) -> Result<()> {
        let moved = |dir: &Dir| {
            dir.write("cgroup.procs", pid.to_string()).map_err(|failure| refused(dir, failure))
        };
        let all: Vec<_> = self.0.iter().map(moved).collect();
        let all: Result<()> = all.into_iter().collect();
        all.map_err(|error| error.with_pid(pid))
    }
}

fn hidden(mounted: &Mounted) -> Error {
    Error::new(ErrorKind::Unusable, Operation::Attach)
        .because(format!("the {} mount does not show our own group", mounted.label()))
        .advise("mount the whole hierarchy, from its root")
}

fn refused(dir: &Dir, failure: Failure) -> Error {
    let error = place_error(failure.during(Operation::Attach)).with_backend(Backend::CgroupV1);
    let error = error.with_group(dir.path().display());
    if dir.is_gone() { gone(error) } else { error }
}

/// Whoever owns the group around us is taking it down.
fn gone(error: Error) -> Error {
    error.with_kind(ErrorKind::Gone).because("it was removed under our feet")
}
