//! Processes as they were in one pass, and who descends from whom.

use std::collections::HashSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use containment_core::Pid;
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, RawDir};
use rustix::io::Errno;

use super::descent;
use super::stat::{LONGEST, Stat};
use super::text::number;

/// What `getdents` fills at a time: some 1,300 processes.
const LISTING: usize = 32 * 1024;

/// Processes that `/proc` shows, all of them or those of some families, read in one pass. Who may not be
/// read (the mount option `hidepid`) is left out.
///
/// The pass is not atomic: a process that forks while it runs may have children that are missing,
/// and a parent's pid may have been recycled. Who must find everybody repeats it until nothing new
/// appears, and signals by pidfd.
///
/// ```
/// use containment_core::Pid;
/// use containment_process::proc::Snapshot;
///
/// let us = Pid::current();
/// let mut child = std::process::Command::new("sleep").arg("1000").spawn()?;
/// let pid = i32::try_from(child.id()).ok().and_then(Pid::new).unwrap();
/// let mut all = Snapshot::take()?;
/// all.catch_up()?;
/// assert!(all.descendants_of(us).iter().any(|stat| stat.pid == pid));
/// let sleep = all.get(pid).expect("it is ours");
/// assert_eq!(sleep.parent, us.as_raw());
/// if let Some(leader) = Pid::new(sleep.group) {
///     assert!(all.in_group(leader).any(|stat| stat.pid == pid));
/// }
///
/// // Who is below us alone, which takes less time on a large host.
/// let ours = Snapshot::below(&[us], &[])?;
/// assert!(ours.get(pid).is_some());
/// child.kill()?;
/// child.wait()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// By pid, ascending.
    processes: Vec<Stat>,
}

impl Snapshot {
    /// Reads every process. Those that vanish meanwhile are left out.
    ///
    /// # Errors
    /// `ENOENT` and the like where `/proc` is not mounted, `ENODEV` where it is something else.
    pub fn take() -> io::Result<Self> {
        let mut snapshot = Self::default();
        snapshot.catch_up()?;
        Ok(snapshot)
    }

    /// Reads at least these processes and whoever descends from them, unless through one of `others`, by way of
    /// their children where there are not too many, else every process.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn below(roots: &[Pid], others: &[Pid]) -> io::Result<Self> {
        match descent::below(roots, others)? {
            Some(processes) => Ok(Self::of(processes)),
            None => Self::take(),
        }
    }

    /// Adds those who are listed now and were not seen before; says how many of them had ended by the
    /// time they were read. Each of those may have forked between the listing and the reading, and
    /// its child is missing still: "nobody is left" is certain only after a pass that says 0.
    pub fn catch_up(&mut self) -> io::Result<usize> {
        let proc = open_proc()?;
        let mut listing = vec![MaybeUninit::uninit(); LISTING];
        let mut buffer = [0; LONGEST];
        let mut added = Self::default();
        let mut ended = 0;
        let mut entries = RawDir::new(&proc, &mut listing);
        while let Some(entry) = entries.next() {
            let name = entry?.file_name().to_bytes().to_owned();
            let pid = number::<i32>(&name).and_then(Pid::new);
            if pid.is_some_and(|pid| self.get(pid).is_none()) {
                ended += usize::from(!added.add(&proc, name, &mut buffer)?);
            }
        }
        let processes = std::mem::take(&mut self.processes).into_iter().chain(added.processes);
        *self = Self::of(processes);
        Ok(ended)
    }

    /// Whether the process still lives, as far as can be seen.
    fn add(&mut self, proc: &OwnedFd, mut path: Vec<u8>, buffer: &mut [u8]) -> io::Result<bool> {
        path.extend(b"/stat");
        match Stat::read_at(proc, &path, buffer) {
            Ok(process) => {
                let lives = process.as_ref().is_some_and(|stat| !stat.is_dead());
                self.processes.extend(process);
                Ok(lives)
            }
            Err(error) if is_hidden(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// A snapshot of these processes.
    pub fn of(processes: impl IntoIterator<Item = Stat>) -> Self {
        let mut processes: Vec<_> = processes.into_iter().collect();
        processes.sort_unstable_by_key(|process| process.pid);
        processes.dedup_by_key(|process| process.pid);
        Self { processes }
    }

    /// The processes, by pid.
    pub fn processes(&self) -> &[Stat] {
        &self.processes
    }

    /// The process with this pid.
    pub fn get(&self, pid: Pid) -> Option<&Stat> {
        let index = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        self.processes.get(index)
    }

    /// The processes whose chain of parents leads to `root`, nearest first; not `root` itself.
    pub fn descendants_of(&self, root: Pid) -> Vec<&Stat> {
        self.descendants_of_all(&[root])
    }

    /// The processes whose chain of parents leads to one of `roots`, nearest first; none of `roots`.
    pub fn descendants_of_all(&self, roots: &[Pid]) -> Vec<&Stat> {
        let mut by_parent: Vec<&Stat> = self.processes.iter().collect();
        by_parent.sort_by_key(|process| process.parent);
        let mut found = Vec::new();
        let mut parents = roots.to_vec();
        // Each process is taken once: recycled pids may make a circle.
        let mut met: HashSet<Pid> = roots.iter().copied().collect();
        for next in 0.. {
            let Some(parent) = parents.get(next).map(|pid| pid.as_raw()) else { break };
            let start = by_parent.partition_point(|process| process.parent < parent);
            for child in by_parent[start..].iter().take_while(|child| child.parent == parent) {
                if met.insert(child.pid) {
                    found.push(*child);
                    parents.push(child.pid);
                }
            }
        }
        found
    }

    /// The processes of a process group.
    pub fn in_group(&self, group: Pid) -> impl Iterator<Item = &Stat> {
        self.processes.iter().filter(move |process| process.group == group.as_raw())
    }

    /// The processes of a session.
    pub fn in_session(&self, session: Pid) -> impl Iterator<Item = &Stat> {
        self.processes.iter().filter(move |process| process.session == session.as_raw())
    }
}

/// Opens `/proc` and makes sure that it is one: an empty directory there would read as "no process
/// is left".
pub(super) fn open_proc() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::openat(CWD, "/proc", flags, Mode::empty())?;
    if rustix::fs::fstatfs(&proc)?.f_type == PROC_SUPER_MAGIC {
        Ok(proc)
    } else {
        Err(Errno::NODEV.into())
    }
}

pub(super) fn is_hidden(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ACCESS | Errno::PERM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use containment_core::ProcessState;
    use proptest::prelude::*;
    use std::process::{Child, Command};

    fn process(pid: i32, parent: i32) -> Stat {
        Stat {
            pid: Pid::new(pid).unwrap(),
            comm: "x".to_owned(),
            state: ProcessState('S'),
            parent,
            group: pid / 10,
            session: pid / 100,
            tty: 0,
            exiting: false,
            user_ticks: 0,
            system_ticks: 0,
            waited_user_ticks: 0,
            waited_system_ticks: 0,
            threads: 1,
            started: 1,
            resident_pages: 1,
        }
    }

    fn pids<'a>(processes: impl IntoIterator<Item = &'a Stat>) -> Vec<i32> {
        processes.into_iter().map(|process| process.pid.as_raw()).collect()
    }

    fn pid(raw: i32) -> Pid {
        Pid::new(raw).unwrap()
    }

    #[test]
    fn descendants_are_found_through_all_generations() {
        let tree = [(1, 0), (10, 1), (200, 10), (11, 10), (12, 11), (300, 1), (5, 12)];
        let snapshot = Snapshot::of(tree.map(|(pid, parent)| process(pid, parent)));
        assert_eq!(pids(snapshot.descendants_of(pid(10))), [11, 200, 12, 5]);
        assert_eq!(pids(snapshot.descendants_of(pid(1))), [10, 300, 11, 200, 12, 5]);
        assert_eq!(pids(snapshot.descendants_of(pid(5))), [] as [i32; 0]);
        let of_several = snapshot.descendants_of_all(&[pid(11), pid(300), pid(10)]);
        assert_eq!(pids(of_several), [12, 200, 5], "each once, and none of those");
    }

    #[test]
    fn a_circle_of_recycled_pids_ends() {
        let circle = [(2, 4), (3, 2), (4, 3), (6, 6)];
        let snapshot = Snapshot::of(circle.map(|(pid, parent)| process(pid, parent)));
        assert_eq!(pids(snapshot.descendants_of(pid(3))), [4, 2]);
        assert_eq!(pids(snapshot.descendants_of(pid(1))), [] as [i32; 0]);
        assert_eq!(pids(snapshot.descendants_of(pid(6))), [] as [i32; 0]);
    }

    #[test]
    fn groups_and_sessions_are_picked() {
        let snapshot = Snapshot::of([process(421, 1), process(422, 1), process(431, 1)]);
        assert_eq!(pids(snapshot.in_group(pid(42))), [421, 422]);
        assert_eq!(pids(snapshot.in_session(pid(4))), [421, 422, 431]);
        assert_eq!(snapshot.get(pid(422)).unwrap().pid, pid(422));
        assert!(snapshot.get(pid(1)).is_none());
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_child_appears_and_disappears() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let its_pid = pid(i32::try_from(child.id()).unwrap());
        let ours = |snapshot: &Snapshot| {
            snapshot.descendants_of(Pid::current()).iter().any(|found| found.pid == its_pid)
        };
        let snapshot = Snapshot::take().unwrap();
        let seen = ours(&snapshot);
        end(child);
        assert!(seen);
        assert!(snapshot.get(Pid::current()).is_some());
        assert!(!ours(&Snapshot::take().unwrap()));
    }

    #[test]
    fn processes_that_come_and_go_do_no_harm() {
        let churn = std::thread::spawn(|| {
            (0..100).all(|_| Command::new("true").status().is_ok_and(|status| status.success()))
        });
        while !churn.is_finished() {
            assert!(Snapshot::take().unwrap().get(Pid::current()).is_some());
        }
        assert!(churn.join().unwrap());
    }

    proptest! {
        #[test]
        fn descent_is_what_walking_up_the_parents_says(parents in prop::collection::vec(0..20i32, 1..20)) {
            let tree = (1..).zip(&parents).map(|(pid, parent)| process(pid, *parent));
            let snapshot = Snapshot::of(tree);
            let mut found = pids(snapshot.descendants_of(pid(1)));
            found.sort_unstable();
            let parent_of = |pid: &i32| {
                Some(snapshot.get(Pid::new(*pid)?)?.parent)
            };
            let leads_up = |pid: &i32| {
                std::iter::successors(parent_of(pid), parent_of).take(20).any(|above| above == 1)
            };
            let expected: Vec<_> = (2..).take(parents.len() - 1).filter(leads_up).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
