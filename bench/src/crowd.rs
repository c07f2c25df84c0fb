//! Groups full of sleeping processes, to be ended.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use containment::{Child, Containment, Group, Limits, Program};
use containment_process::proc::{cgroup, mountinfo};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::measure::Result;

/// A group with members that sleep.
pub struct Crowd {
    pub group: Group,
    pub child: Child,
    /// The first is the one that was started, and the others' parent.
    pub pids: Vec<Pid>,
}

/// The ends of a crowd's standard streams that are ours.
pub struct Line {
    go: PipeWriter,
    pids: PipeReader,
}

/// The program that becomes a crowd of so many.
pub fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("crowd"))
}

impl Line {
    /// The line, and the ends that are the crowd's standard input and output.
    pub fn open() -> Result<(Self, PipeReader, PipeWriter)> {
        let ((input, go), (pids, output)) = (std::io::pipe()?, std::io::pipe()?);
        Ok((Self { go, pids }, input, output))
    }

    /// Has the crowd gather, and waits until it is there.
    pub fn gather(mut self, size: usize) -> Result<Vec<Pid>> {
        self.go.write_all(&[1])?;
        let mut bytes = vec![0; 4 * size];
        self.pids.read_exact(&mut bytes)?;
        let pids =
            bytes.chunks_exact(4).map(|pid| i32::from_ne_bytes(pid.try_into().unwrap_or_default()));
        Ok(pids.filter_map(Pid::from_raw).collect())
    }
}

impl Crowd {
    /// A new group with so many members.
    pub fn gather(host: &Containment, limits: &Limits, size: usize) -> Result<Self> {
        let group = host.group(name("crowd")).limits(limits).create()?;
        let (line, input, output) = Line::open()?;
        let program = Program::new(program()?).arg(size.to_string()).stdin(input).stdout(output);
        let child = group.spawn(&program)?;
        drop(program);
        let pids = line.gather(size)?;
        Ok(Self { group, child, pids })
    }

    pub fn leader(&self) -> Pid {
        self.pids[0]
    }

    /// The directories of its group, by what its leader is in and we are not.
    pub fn directories(&self) -> Result<Vec<PathBuf>> {
        directories(self.leader())
    }

    /// Leaves the group, which was removed by other means, and waits until all of it is gone.
    pub fn was_ended(self) -> Result<()> {
        self.group.keep();
        settle(&self.pids)
    }
}

/// A name for a group that nobody else has.
pub fn name(what: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    format!("contain-bench-{what}-{}-{number}", std::process::id())
}

/// The group directories that a process is in and we are not.
pub fn directories(pid: Pid) -> Result<Vec<PathBuf>> {
    let pid = containment::Pid::new(pid.as_raw_nonzero().get()).ok_or("no such pid")?;
    let (own, theirs) = (cgroup::read_self()?, cgroup::read(pid)?.ok_or("the process is gone")?);
    let mounts = mountinfo::read()?;
    let own: Vec<_> = cgroup::memberships(&own).collect();
    let new = cgroup::memberships(&theirs).filter(|one| {
        !own.iter().any(|other| other.hierarchy == one.hierarchy && other.path == one.path)
    });
    let found = new.filter_map(|membership| {
        let mut mounts =
            mountinfo::mounts(&mounts).filter(|mount| match mount.is_type("cgroup2") {
                true => membership.is_unified(),
                false => mount.is_type("cgroup") && serves(&membership, mount),
            });
        let mount = mounts.next()?;
        let below = cgroup::below_mount(membership.path, &mount.root())?;
        Some(mount.mount_point().join(below))
    });
    Ok(found.collect())
}

/// Whether a hierarchy of version 1 is what is mounted there.
fn serves(membership: &cgroup::Membership<'_>, mount: &mountinfo::Mount<'_>) -> bool {
    const CONTROLLERS: [&str; 9] =
        ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb"];
    CONTROLLERS.iter().any(|one| membership.serves(one) && mount.has_super_option(one))
}

/// Waits until nothing is left of these processes, so that the next run is not disturbed by their end: the
/// orphans among them are ours to reap where we adopt them.
pub fn settle(pids: &[Pid]) -> Result<()> {
    let started = Instant::now();
    for pid in pids {
        match waitpid(Some(*pid), WaitOptions::empty()) {
            Ok(_) | Err(Errno::CHILD) => {}
            Err(errno) => return Err(errno.into()),
        }
        while rustix::process::test_kill_process(*pid).is_ok() {
            if started.elapsed() > Duration::from_secs(20) {
                return Err(format!("process {} does not go", pid.as_raw_nonzero()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}
