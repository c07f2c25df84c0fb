//! Where the calling process is, as a place to come back to.

use containment_core::{Backend, Error, ErrorKind, HomeOps, Operation, Pid, Result};
use containment_process::cgroupfs::Dir;

use containment_process::proc::Base;

use crate::host::{Place, own_group};
use crate::place::move_into;

/// A group that this process was in; held open, so never a namesake.
#[derive(Debug)]
pub(crate) struct Home {
    dir: Dir,
    backend: Backend,
}

impl Home {
    /// The group of the calling process as it is now, which need not be the driver's parent group.
    pub(crate) fn of_caller(place: &Place) -> Result<Self> {
        let relative = own_group(&place.mount_root, &Base::default())?;
        let dir = place.mount.open_beneath(&relative);
        dir.map(|dir| Self { dir, backend: place.backend }).map_err(|failure| {
            match failure.kind() {
                ErrorKind::NotFound | ErrorKind::Gone => gone(failure.during(Operation::Attach)),
                _ => failure.during(Operation::Attach),
            }
        })
    }
}

impl HomeOps for Home {
    fn take_back(&self, pid: Pid) -> Result<()> {
        move_into(&self.dir, pid).map_err(|error| {
            let error = error.with_backend(self.backend).with_pid(pid);
            let error = error.with_group(self.dir.path().display());
            if self.dir.is_gone() { gone(error) } else { error }
        })
    }
}

/// Whoever owns the group around us is taking it down.
fn gone(error: Error) -> Error {
    error.with_kind(ErrorKind::Gone).because("it was removed under our feet")
}
