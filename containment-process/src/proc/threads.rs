//! The threads of a process.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use containment_core::Pid;
use rustix::fs::{Mode, OFlags, RawDir};

use super::cgroup::is_gone;
use super::text::{lines, number, read_file};
use super::tree::is_hidden;

/// What `getdents` fills at a time: some 150 threads.
const LISTING: usize = 4096;

/// The ids of the threads of the process whose directory in `/proc` this is; none of one that is gone or is not
/// shown.
pub(super) fn of(dir: impl AsFd, process: &str) -> io::Result<Vec<Pid>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(dir, format!("{process}/task"), flags, Mode::empty());
    let Some(task) = unless_away(opened.map_err(io::Error::from))? else { return Ok(Vec::new()) };
    let mut listing = [MaybeUninit::uninit(); LISTING];
    let mut entries = RawDir::new(&task, &mut listing);
    let mut threads = Vec::new();
    while let Some(entry) = entries.next() {
        // A directory of a process that has gone meanwhile.
        let Some(entry) = unless_away(entry.map_err(io::Error::from))? else { break };
        threads.extend(pid(entry.file_name().to_bytes()));
    }
    Ok(threads)
}

/// The process that a thread is of; `None` when it is gone or is not shown.
///
/// ```
/// use containment_core::Pid;
/// use containment_process::proc::process_of;
/// assert_eq!(process_of(Pid::current())?, Some(Pid::current()), "the first thread has its process's id");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn process_of(thread: Pid) -> io::Result<Option<Pid>> {
    let text = unless_away(read_file(&format!("/proc/{thread}/status")))?.unwrap_or_default();
    Ok(lines(&text).find_map(|line| line.strip_prefix(b"Tgid:\t")).and_then(pid))
}

/// The number that stands there, where it is one.
pub(super) fn pid(field: &[u8]) -> Option<Pid> {
    number::<i32>(field).and_then(Pid::new)
}

/// Nothing of a process that has ended or is not shown.
pub(super) fn unless_away<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if is_gone(&error) || is_hidden(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
