//! One process's directory in `/proc`, held open: what is read through it is that process's, however
//! pids are recycled. Where its first thread has ended before others, one of those is read in its place: by that
//! which has ended there is nothing to see.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};

use containment_core::Pid;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::retry_on_intr;

use super::stat::{LONGEST, Stat};

/// A living process, of which more is asked.
#[derive(Debug)]
pub struct Process {
    dir: OwnedFd,
    stat: Stat,
}

impl Process {
    /// The process that has this pid and started then, in clock ticks since boot; `None` when it is gone,
    /// or may not be looked at.
    pub fn open(pid: Pid, started: u64) -> Option<Self> {
        let dir = directory(CWD, &format!("/proc/{pid}"))?;
        let stat = Stat::read_at(&dir, b"stat", &mut [0; LONGEST]).ok().flatten()?;
        if stat.started != started {
            return None;
        }
        // One that hangs on its way out tells at least where.
        let remains = || stat.each_thread().ok()?.into_iter().find(|one| !one.state.is_zombie());
        match stat.living_thread().or_else(|| remains().map(Cow::Owned)) {
            None | Some(Cow::Borrowed(_)) => Some(Self { dir, stat }),
            Some(Cow::Owned(thread)) => {
                let dir = directory(&dir, &format!("task/{}", thread.pid))?;
                Some(Self { dir, stat: thread })
            }
        }
    }

    /// As it, or the thread that is read in its place, was when it was opened.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The beginning of one of its files; `None` when it cannot be read.
    pub fn read(&self, file: &str, most: usize) -> Option<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.dir, file, flags, Mode::empty());
        let file = retry_on_intr(open).ok()?;
        let mut text = vec![0; most];
        let mut length = 0;
        loop {
            match retry_on_intr(|| rustix::io::read(&file, &mut text[length..])).ok()? {
                0 => break,
                read => length += read,
            }
        }
        text.truncate(length);
        Some(text)
    }

    /// The kernel function that it waits in; `None` when it runs, or that may not be seen.
    pub fn wchan(&self) -> Option<String> {
        let text = String::from_utf8(self.read("wchan", 256)?).ok()?;
        (!text.is_empty() && text != "0").then_some(text)
    }
}

fn directory(above: impl AsFd, path: &str) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(&above, path, flags, Mode::empty())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let stat = Stat::read(Pid::current()).unwrap().unwrap();
        let process = Process::open(stat.pid, stat.started).unwrap();
        assert_eq!(process.stat().pid, Pid::current());
        assert_eq!(process.read("comm", 3).unwrap().len(), 3);
        assert!(process.read("no-such-file", 3).is_none());
        assert!(Process::open(stat.pid, stat.started + 1).is_none(), "another one of that pid");
    }
}
