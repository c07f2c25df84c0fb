//! What the OOM killer took: announced by an eventfd, counted in `memory.oom_control`.
//!
//! The kernel announces that a limit was met, a moment before it takes a victim and counts it. Kernel:
//! Documentation/admin-guide/cgroup-v1/memory.rst, section 10.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use containment_core::{Error, ErrorKind, Operation, Result, Source, Watch};
use containment_process::cgroupfs::{Access, Dir, Failure};
use rustix::event::{EventfdFlags, eventfd};

use crate::branches::Branches;
use crate::usage::count_oom_kills;

/// The eventfd that a group's memory directory writes to; nothing until somebody watches it.
#[derive(Debug, Default)]
pub(crate) struct OomEvents(Mutex<Option<Arc<OwnedFd>>>);

impl Branches {
    /// What it took from the subtree.
    pub(crate) fn oom_kills(&self) -> Result<u64> {
        let memory = self.serving("memory").ok_or_else(|| uncounted(Operation::Usage))?;
        self.oom_events.drain();
        let kills = count_oom_kills(memory, self.place.sampling);
        let kills = kills.map_err(|failure| failure.during(Operation::Usage))?;
        kills.ok_or_else(|| uncounted(Operation::Usage))
    }

    /// What announces that a limit on memory was met in this group, or around it.
    pub(crate) fn watch_oom(&self) -> Result<Watch> {
        let memory = self.serving("memory").ok_or_else(|| uncounted(Operation::Watch))?;
        Ok(Watch::Sources(vec![Source::readable(self.oom_events.of(&memory.dir)?)]))
    }
}

fn uncounted(operation: Operation) -> Error {
    Error::new(ErrorKind::Unsupported, operation)
        .because("this group is in no memory hierarchy that counts OOM kills")
}

impl OomEvents {
    /// The descriptor, if it is open.
    pub(crate) fn handle(&self) -> Option<RawFd> {
        let event = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        event.as_ref().map(AsRawFd::as_raw_fd)
    }

    fn of(&self, dir: &Dir) -> Result<Arc<OwnedFd>> {
        let mut event = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = &*event {
            return Ok(Arc::clone(event));
        }
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::from_errno(Operation::Watch, errno.raw_os_error()))?;
        let failed = |failure: Failure| failure.during(Operation::Watch);
        let control = dir.open_file("memory.oom_control", Access::Read).map_err(failed)?;
        let order = format!("{} {}", made.as_raw_fd(), control.as_raw_fd());
        dir.write("cgroup.event_control", order).map_err(failed)?;
        Ok(Arc::clone(event.insert(Arc::new(made))))
    }

    /// Takes what was announced: what it led to is read after this.
    fn drain(&self) {
        if let Some(event) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // EAGAIN: nothing was announced.
            let _ = rustix::io::read(event, &mut [0; 8]);
        }
    }
}
