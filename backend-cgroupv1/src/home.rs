//! Where the calling process is, in every hierarchy that a group joined, as a place to come back to.

use containment_core::{Backend, Error, ErrorKind, HomeOps, Operation, Pid, Result};
use containment_process::cgroupfs::{Dir, Failure};
use containment_process::proc::cgroup;

use crate::branches::Branches;
use crate::entry::place_error;
use crate::hierarchy::Mounted;

/// The groups that this process was in, one a hierarchy; held open, so never namesakes.
#[derive(Debug)]
pub(crate) struct Home(Vec<Dir>);

impl Home {
    /// The groups of the calling process as they are now, which need not be those below which the
    /// driver makes its groups.
    pub(crate) fn of_caller(branches: &Branches) -> Result<Self> {
        let text =
            cgroup::read_self().map_err(|error| Error::from_io(Operation::Attach, &error))?;
        let hierarchies = branches.all.iter().map(|b| &branches.place.hierarchies[b.index].mounted);
        let open = |mounted: &Mounted| {
            let group = mounted.group_of(&text).ok_or_else(|| {
                Error::new(ErrorKind::Unusable, Operation::Attach)
                    .because(format!("the {} mount does not show our own group", mounted.label()))
                    .advise("mount the whole hierarchy, from its root")
            })?;
            let dir = mounted.open()?.open_beneath(&group);
            dir.map_err(|failure| match failure.kind() {
                ErrorKind::NotFound => gone(failure.during(Operation::Attach)),
                _ => failure.during(Operation::Attach),
            })
        };
        hierarchies.map(open).collect::<Result<_>>().map(Self)
    }
}

impl HomeOps for Home {
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

fn refused(dir: &Dir, failure: Failure) -> Error {
    let error = place_error(failure.during(Operation::Attach)).with_backend(Backend::CgroupV1);
    let error = error.with_group(dir.path().display());
    if dir.is_gone() { gone(error) } else { error }
}

/// Whoever owns the group around us is taking it down.
fn gone(error: Error) -> Error {
    error.with_kind(ErrorKind::Gone).because("it was removed under our feet")
}
