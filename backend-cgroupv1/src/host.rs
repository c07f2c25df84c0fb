//! Where groups are made on this host: every usable hierarchy, and which of them a group joins.
//!
//! To join a hierarchy costs a directory, and a write at each spawn; so a group joins those that hold
//! its processes, and besides them only those that its limits and figures need.

use std::os::fd::{AsRawFd as _, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use containment_core::{Error, ErrorKind, Limit, Measure, Operation, Result, Set};
use containment_process::proc::{Base, mountinfo};
use rustix::io::Errno;

use crate::hierarchy::{Hierarchy, Mounted};
use crate::offer;

/// The usable hierarchies.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// In the order of their mounts.
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// Why others are not.
    pub(crate) unusable: Vec<Arc<Error>>,
    /// The directories among those that we were denied: groups may be there all the same.
    pub(crate) denied: Vec<(PathBuf, Arc<Error>)>,
    /// The limits that can be set.
    pub(crate) limits: Set<Limit>,
    /// Whether groups keep the files of their figures open.
    pub(crate) sampling: bool,
}

/// The position of a hierarchy in [`Place::hierarchies`].
pub(crate) type Index = usize;

impl Place {
    /// Resolves every hierarchy by itself, below our own groups or below `parent`.
    pub(crate) fn find(base: &Base) -> Result<Self> {
        let failed = |error| Error::from_io(Operation::Probe, &error);
        let mounts = base.mounts().map_err(failed)?;
        let memberships = base.memberships().map_err(failed)?;
        let mut place = Self {
            hierarchies: Vec::new(),
            unusable: Vec::new(),
            denied: Vec::new(),
            limits: Set::EMPTY,
            sampling: false,
        };
        for mounted in mountinfo::mounts(mounts).filter_map(|mount| Mounted::of(&mount)) {
            if mounted.is_foreign() || place.has(&mounted) {
                continue;
            }
            let relative = mounted.relative(memberships, base.parent());
            let at = relative.map(|relative| mounted.point().join(relative));
            match Hierarchy::open(mounted, memberships, base.parent()) {
                Ok(hierarchy) => place.hierarchies.push(hierarchy),
                // It says nothing of the hierarchy: without it groups would seem to be gone.
                Err(error) if is_shortage(&error) => return Err(error),
                Err(error) => place.do_without(at, Arc::new(error)),
            }
        }
        place.limits = offer::limits(&place);
        Ok(place)
    }

    fn do_without(&mut self, at: Option<PathBuf>, error: Arc<Error>) {
        let denials = [Errno::ACCESS, Errno::PERM].map(|errno| Some(errno.raw_os_error()));
        if let Some(at) = at.filter(|_| denials.contains(&error.errno())) {
            self.denied.push((at, Arc::clone(&error)));
        }
        self.unusable.push(error);
    }

    /// Why a group that is not found may be there all the same: a hierarchy that could not be opened.
    pub(crate) fn unseen(&self) -> Option<&Error> {
        self.denied.first().map(|(_, error)| &**error)
    }

    /// The descriptors that it has open.
    pub(crate) fn handles(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.hierarchies.iter().map(|hierarchy| hierarchy.dir.as_raw_fd())
    }

    /// Whether the hierarchy was met at an earlier mount of it.
    fn has(&self, mounted: &Mounted) -> bool {
        self.hierarchies.iter().any(|known| known.mounted.label() == mounted.label())
    }

    /// The hierarchy of a controller.
    pub(crate) fn serving(&self, controller: &str) -> Option<Index> {
        self.hierarchies.iter().position(|hierarchy| hierarchy.mounted.serves(controller))
    }

    /// Those that hold a group's processes, the one that gives the group its identity first: the
    /// freezer, and pids besides, which stops forks; without both the first that there is.
    ///
    /// # Errors
    /// [`Unusable`](ErrorKind::Unusable), with the reason and a remedy.
    pub(crate) fn holding(&self) -> Result<Vec<Index>> {
        let mut holding: Vec<_> =
            ["freezer", "pids"].iter().filter_map(|controller| self.serving(controller)).collect();
        holding.dedup();
        if holding.is_empty() && !self.hierarchies.is_empty() {
            holding.push(0);
        }
        if holding.is_empty() {
            return Err(self.unusable.first().map_or_else(no_hierarchy, |error| again(error)));
        }
        Ok(holding)
    }

    /// Adds to `joined` the hierarchies that limits and figures need.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a limit that no hierarchy offers.
    pub(crate) fn join(
        &self,
        joined: &mut Vec<Index>,
        limits: Set<Limit>,
        figures: Set<Measure>,
    ) -> Result<()> {
        let unmet = limits.iter().find(|limit| !self.limits.contains(*limit));
        if let Some(limit) = unmet {
            return Err(offer::unsupported(limit));
        }
        let controllers = limits.iter().filter_map(offer::controller_of);
        let figures = figures.iter().flat_map(|figure| offer::measured_by(figure).iter().copied());
        let needed = controllers.chain(figures).filter_map(|controller| self.serving(controller));
        for index in needed {
            if !joined.contains(&index) {
                joined.push(index);
            }
        }
        Ok(())
    }
}

/// The same error once more: each call of the probe reports it.
pub(crate) fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.operation()).because(error.reason().to_string());
    let copy = match error.path() {
        Some(path) => copy.with_path(path),
        None => copy,
    };
    match error.remedy() {
        Some(remedy) => copy.advise(remedy.to_owned()),
        None => copy,
    }
}

fn no_hierarchy() -> Error {
    Error::new(ErrorKind::Unusable, Operation::Probe)
        .because("no cgroup v1 hierarchy is mounted")
        .advise("use another backend, or mount the freezer as root: contain init")
}

/// Whether the kernel was short of something, or was interrupted.
fn is_shortage(error: &Error) -> bool {
    let short = [Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::INTR, Errno::IO];
    short.map(|errno| Some(errno.raw_os_error())).contains(&error.errno())
}
