//! `cgroup.events` and `memory.events`: read for the state, polled for a change of it.
//!
//! The kernel announces at most one change in 10 ms a group, so a poll on the file alone can be late;
//! one live member's pidfd is watched besides (measured: 0.2 ms instead of 13 ms for a young group).

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use containment_core::{Error, ErrorKind, Operation, Result, Source, Watch};
use containment_process::cgroupfs::Access;
use containment_process::cgroupfs::parse::{Events, MemoryEvents};
use containment_process::pidfd::PidFd;

use crate::group::V2Group;

const FILE: &str = "cgroup.events";
const MEMORY: &str = "memory.events";

/// What a group is watched by; nothing until somebody watches it.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    watched: Mutex<Watched>,
    memory: Mutex<Option<Arc<OwnedFd>>>,
}

#[derive(Debug, Default)]
struct Watched {
    file: Option<Arc<OwnedFd>>,
    member: Option<PidFd>,
}

impl Watching {
    /// The descriptors that it has open.
    pub(crate) fn handles(&self) -> Vec<RawFd> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let files = watched.file.iter().chain(&*memory).map(AsRawFd::as_raw_fd);
        files.chain(watched.member.iter().map(AsRawFd::as_raw_fd)).collect()
    }
}

impl V2Group {
    /// What `cgroup.events` says. Reads the description that is watched, if one is: that re-arms it.
    pub(crate) fn read_event(
        &self,
        which: fn(&Events) -> Option<u64>,
        operation: Operation,
    ) -> Result<bool> {
        let watched = self.events.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let events = match &watched.file {
            Some(file) => {
                self.dir.understand(FILE, &self.read_again(file, operation)?, Events::parse)
            }
            None => self.dir.parse(FILE, Events::parse),
        };
        let events = events.map_err(|failure| self.error(failure.during(operation)))?;
        // The freezer is younger than the file.
        which(&events).map(|flag| flag == 1).ok_or_else(|| {
            self.error(Error::new(ErrorKind::Unsupported, operation))
                .because("this kernel does not tell it of cgroup v2 groups")
                .advise("use Linux 5.2 or later")
        })
    }

    /// What announces that the group became empty.
    pub(crate) fn watch_empty(&self) -> Result<Watch> {
        let mut watched = self.events.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.file.is_none() {
            let file = self.dir.open_file(FILE, Access::Read);
            let file = file.map_err(|failure| self.error(failure.during(Operation::Watch)))?;
            watched.file = Some(Arc::new(file));
        }
        let ended = |process: &PidFd| process.has_ended().unwrap_or(true);
        if watched.member.as_ref().is_none_or(ended) {
            watched.member = self.living_member();
        }
        let file = watched.file.iter().map(|file| Source::priority(Arc::clone(file)));
        let member = watched.member.iter().map(PidFd::source);
        Ok(Watch::Sources(file.chain(member).collect()))
    }

    /// `oom_kill` of `memory.events`, which counts what any OOM killer took from the subtree; `oom`
    /// counts limits that were met, without a victim perhaps.
    pub(crate) fn count_oom_kills(&self) -> Result<u64> {
        let file = self.memory_events(Operation::Usage)?;
        let text = self.read_again(&file, Operation::Usage)?;
        let events = self.dir.understand(MEMORY, &text, MemoryEvents::parse);
        let events = events.map_err(|failure| self.error(failure.during(Operation::Usage)))?;
        events.oom_kill.ok_or_else(|| {
            self.error(Error::new(ErrorKind::Unsupported, Operation::Usage))
                .because("this kernel does not count what the OOM killer takes")
        })
    }

    /// What announces that a member was taken by the OOM killer.
    pub(crate) fn watch_oom(&self) -> Result<Watch> {
        Ok(Watch::Sources(vec![Source::priority(self.memory_events(Operation::Watch)?)]))
    }

    /// The file is there where the memory controller was enabled for this group.
    fn memory_events(&self, operation: Operation) -> Result<Arc<OwnedFd>> {
        let mut memory = self.events.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*memory {
            return Ok(Arc::clone(file));
        }
        let opened =
            self.dir.open_file(MEMORY, Access::Read).map_err(|failure| match failure.kind() {
                ErrorKind::Unsupported => self
                    .error(Error::new(ErrorKind::Unsupported, operation))
                    .because("the memory controller is not enabled for this group"),
                _ => self.error(failure.during(operation)),
            })?;
        Ok(Arc::clone(memory.insert(Arc::new(opened))))
    }

    /// Reads a file from its beginning, by the description that is watched: that re-arms it.
    fn read_again(&self, file: &OwnedFd, operation: Operation) -> Result<Vec<u8>> {
        let mut buffer = [0; 512];
        let length = rustix::io::pread(file.as_fd(), &mut buffer, 0)
            .map_err(|errno| self.errno(operation, errno))?;
        Ok(buffer[..length].to_vec())
    }

    /// One member, if it can be opened: without it the file alone announces, a little later. A program of ours is
    /// open already; that it may have left the group costs no more than that.
    fn living_member(&self) -> Option<PidFd> {
        self.programs.living().or_else(|| {
            let pids = self.pids(Operation::Watch).ok()?;
            PidFd::first_living(pids.into_iter().rev()).ok().flatten()
        })
    }
}
