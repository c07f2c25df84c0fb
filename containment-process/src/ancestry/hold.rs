//! What keeps a process from dying, as far as `/proc` tells. Nothing is read that could wait for it.

use std::path::{Path, PathBuf};

use containment_core::Hold;

use crate::proc::Process;
use crate::proc::cgroup::{below_mount, memberships};
use crate::proc::mountinfo::{self, mounts};

/// More than any of the files is long, but for a list of very many mounts.
const TEXT: usize = 256 * 1024;

/// How many functions of its stack are told.
const STACK: usize = 8;

/// What holds `process`.
pub(super) fn hold_on(process: &Process) -> Hold {
    let stack = stack_of(process).unwrap_or_default();
    Hold {
        // The kernel tells none while it wakes somebody up who will wait on.
        wchan: process.wchan().or_else(|| stack.first().cloned()),
        freezer: freezer_of(process),
        stack,
        mount: mount_of(process),
    }
}

/// The group of a version 1 freezer that keeps it frozen: the nearest that was frozen itself. A frozen
/// group of version 2 lets its members die.
fn freezer_of(process: &Process) -> Option<String> {
    let groups = process.read("cgroup", TEXT)?;
    let group = memberships(&groups).find(|membership| membership.serves("freezer"))?.path;
    let text = mountinfo::read().ok()?;
    let is_freezer =
        |mount: &mountinfo::Mount<'_>| mount.is_type("cgroup") && mount.has_super_option("freezer");
    let mount = mounts(&text).find(is_freezer)?;
    let below = below_mount(group, &mount.root())?;
    let top = mount.mount_point();
    let holder = below.ancestors().find(|level| is_frozen_itself(&top.join(level)))?;
    let path: PathBuf = Path::new("/").join(mount.root().strip_prefix("/").ok()?).join(holder);
    Some(path.display().to_string())
}

fn is_frozen_itself(group: &Path) -> bool {
    let frozen = std::fs::read(group.join("freezer.self_freezing"));
    frozen.is_ok_and(|frozen| frozen.trim_ascii() == b"1")
}

/// For root alone.
fn stack_of(process: &Process) -> Option<Vec<String>> {
    let text = String::from_utf8(process.read("stack", TEXT)?).ok()?;
    let functions = text.lines().filter_map(|line| {
        let function = line.split_once("] ")?.1;
        Some(function.split_once('+').map_or(function, |(name, _)| name).to_owned())
    });
    Some(functions.take(STACK).collect())
}

/// The file system of the file that it is in a system call on. Not known for calls that take a path, and
/// for whoever waits for a page.
fn mount_of(process: &Process) -> Option<String> {
    let call = String::from_utf8(process.read("syscall", 256)?).ok()?;
    let mut words = call.split_ascii_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let first = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    if !takes_a_descriptor(number) {
        return None;
    }
    let about = String::from_utf8(process.read(&format!("fdinfo/{first}"), TEXT)?).ok()?;
    let id = about.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    let id: u32 = id.parse().ok()?;
    let text = process.read("mountinfo", TEXT)?;
    let mount = mounts(&text).find(|mount| mount.id == id)?;
    Some(format!("{} at {}", mount.fs_type(), mount.mount_point().display()))
}

/// Whether the first argument of a system call is the descriptor of a file that it may wait for.
fn takes_a_descriptor(number: i64) -> bool {
    let calls = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_preadv,
        libc::SYS_pwritev,
        libc::SYS_close,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_ftruncate,
        libc::SYS_fallocate,
        libc::SYS_getdents64,
        libc::SYS_ioctl,
        libc::SYS_flock,
        libc::SYS_fcntl,
    ];
    calls.map(Into::<i64>::into).contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Stat;
    use containment_core::Pid;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    /// Whom the kernel waits for is told by the function; which file, where the call says so.
    #[test]
    fn who_waits_for_a_file_names_its_mount() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let open = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
        let mut reader = Command::new("cat").stdin(Stdio::from(open)).spawn().unwrap();
        let pid = Pid::new(reader.id().try_into().unwrap()).unwrap();
        let started = Stat::read(pid).unwrap().unwrap().started;
        let process = Process::open(pid, started).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        // It loads its libraries first.
        let waits = |hold: &Hold| hold.mount.is_some() && hold.wchan.is_some();
        let mut hold = hold_on(&process);
        while rustix::process::geteuid().is_root() && !waits(&hold) && Instant::now() < until {
            std::thread::yield_now();
            hold = hold_on(&process);
        }
        reader.kill().unwrap();
        reader.wait().unwrap();
        if rustix::process::geteuid().is_root() {
            assert!(hold.mount.as_ref().unwrap().contains(" at /"), "{hold:?}");
            assert!(hold.wchan.is_some(), "{hold:?}");
        }
        assert_eq!(hold.freezer, None);
    }
}
