//! The births that the kernel tells of while they happen, on every CPU, put in order.
//!
//! What it costs: some 0.1 ms a CPU to begin and to end, 32 KiB of memory and one descriptor each; then nothing but a
//! look when an eighth of a ring is full, and at the end. Where so much is found that was not looked at, many
//! processes are born: a larger ring takes the place of that one.

use std::io;
use std::time::Duration;

use containment_core::{CpuSet, Link, Pid, Source};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::lineage::Lineage;
use super::records::{Record, What, parse};
use super::ring::{Ring, Size};
use crate::proc::{Stat, ticks};

/// The most CPUs that are listened to: on a larger machine it would take longer than a short run.
const CPUS: usize = 64;

/// So many descriptors are left to whoever has few.
const DESCRIPTORS: u64 = 256;

/// How much later than its time a record may be seen, for a CPU that writes it right now.
const LATE: Duration = Duration::from_millis(1);

/// The living descendants of this process, and how they came to be.
#[derive(Debug)]
pub(super) struct Births {
    owner: Pid,
    rings: Vec<(u16, Ring)>,
    /// Whether larger rings can be had, as far as is known.
    enlarges: bool,
    /// What was read, and may have to be put behind something that is not there yet.
    pending: Vec<Record>,
    lineage: Lineage,
}

impl Births {
    /// Listens from now on.
    ///
    /// # Errors
    /// `EACCES` or `EPERM` for who is not privileged; `E2BIG` where there are very many CPUs, and
    /// `EMFILE` where descriptors are few.
    pub(super) fn listen() -> io::Result<Self> {
        let cpus = online()?;
        if cpus.len() > CPUS {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        if limit < DESCRIPTORS + cpus.len() as u64 {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let owner = Pid::current();
        let ring = |cpu| Ok((cpu, Ring::open(cpu, Size::Small)?));
        let rings = cpus.iter().map(ring).collect::<io::Result<_>>()?;
        let (pending, lineage) = (Vec::new(), Lineage::of(owner));
        Ok(Self { owner, rings, enlarges: true, pending, lineage })
    }

    /// Ready when there is much to read.
    pub(super) fn sources(&self) -> impl Iterator<Item = Source> + '_ {
        self.rings.iter().map(|(_, ring)| ring.source())
    }

    /// Takes in what happened, but for the very last of it.
    pub(super) fn catch_up(&mut self) {
        let settled = since_boot().saturating_sub(LATE);
        self.take_in(settled, self.enlarges);
    }

    /// The ancestors of a process below this one, outermost first; `None` when its birth was not seen.
    pub(super) fn ancestors(&self, pid: Pid, started: Duration) -> Option<Vec<Link>> {
        self.lineage.ancestors(pid, started)
    }

    /// Takes in everything that happened.
    pub(super) fn finish(&mut self) {
        self.take_in(Duration::MAX, false);
    }

    fn take_in(&mut self, until: Duration, enlarge: bool) {
        // A fork has no copy of the rings.
        if self.owner != Pid::current() {
            return;
        }
        for (cpu, ring) in &mut self.rings {
            let told = ring.take();
            self.pending.extend(parse(&told));
            let is_short = ring.size() == Size::Small && told.len() >= ring.size().watermark();
            if enlarge && is_short {
                match Ring::open(*cpu, Size::Large) {
                    Ok(larger) => self.pending.extend(replace(ring, larger)),
                    Err(error) => {
                        tracing::debug!(%error, cpu, "some of very many births may be lost");
                        self.enlarges = false;
                    }
                }
            }
        }
        self.pending.sort_by_key(|record| record.time);
        let settled = self.pending.partition_point(|r| Duration::from_nanos(r.time) <= until);
        for record in self.pending.drain(..settled) {
            if record.what == What::Lost {
                self.lineage.retain(lives);
            }
            self.lineage.apply(&record);
        }
    }
}

/// Puts a larger ring in the place of one; gives what both told meanwhile.
fn replace(ring: &mut Ring, larger: Ring) -> Vec<Record> {
    let mut small = std::mem::replace(ring, larger);
    let before = parse(&small.take());
    drop(small);
    joined(before, parse(&ring.take()))
}

/// What the first of two rings told, and then the second. What both were told the kernel wrote to the second one first,
/// a moment earlier. The first may have had no room for something: it would have said so with its next record.
fn joined(mut first: Vec<Record>, second: Vec<Record>) -> Vec<Record> {
    let since = second.first().map_or(u64::MAX, |record| record.time);
    first.retain(|record| record.time < since);
    let time = first.last().or(second.first()).map_or(0, |record| record.time);
    first.push(Record { time, what: What::Lost });
    first.extend(second);
    first
}

/// Whether the process that was born then lives still.
fn lives(pid: Pid, born: Duration) -> bool {
    let stat = Stat::read(pid).ok().flatten();
    stat.is_some_and(|stat| ticks(stat.started) <= born)
}

/// How long ago the machine was started, by the clock of `/proc/PID/stat`.
pub(super) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

fn online() -> io::Result<CpuSet> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online")?;
    text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use containment_core::{Signal, SystemWaiter, Waiter as _, Watch};
    use std::process::{Child, Command};
    use std::time::Instant;

    use crate::pidfd::PidFd;

    fn daemon(of: &str) -> (Child, Pid, u64) {
        let mut command = Command::new("sh");
        command.args(["-c", of]).stdout(std::process::Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let mut line = String::new();
        let out = shell.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let pid = Pid::new(line.trim().parse().unwrap()).unwrap();
        let started = Stat::read(pid).unwrap().unwrap().started;
        (shell, pid, started)
    }

    /// `None` where that cannot be, which is told.
    fn listening() -> Option<Births> {
        let skip = |error| {
            let reason = format!("the kernel cannot be listened to: {error}");
            crate::must_run::skip("ancestry", &reason);
        };
        Births::listen().map_err(skip).ok()
    }

    /// More happens than the rings can hold, and nobody reads it: what is known afterwards is true.
    #[test]
    fn where_records_were_lost_nothing_is_made_up() {
        let Some(mut births) = listening() else { return };
        let storm = "i=0; while [ $i -lt 4500 ]; do (:); i=$((i + 1)); done";
        assert!(Command::new("sh").args(["-c", storm]).status().unwrap().success());
        // It was born while there was no room, on one CPU or on both.
        let first = ancestors_of_a_daemon(&mut births);
        assert!(first.is_none_or(|names| names == ["sh"]));
        // There is room again, unless others on this host fork as much.
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if let Some(names) = ancestors_of_a_daemon(&mut births) {
                return assert_eq!(names, ["sh"]);
            }
        }
        panic!("no birth is seen any more");
    }

    #[test]
    fn what_two_rings_told_is_taken_once_and_may_lack_something() {
        let record = |time, pid| Record { time, what: What::Ended { pid } };
        let lost = |time| Record { time, what: What::Lost };
        let first = vec![record(5, 1), record(11, 2), record(21, 3)];
        let second = vec![record(10, 2), record(20, 3), record(30, 4)];
        let once = [record(5, 1), lost(5), record(10, 2), record(20, 3), record(30, 4)];
        assert_eq!(joined(first.clone(), second.clone()), once);
        assert_eq!(joined(first, Vec::new()).last(), Some(&lost(21)));
        assert_eq!(joined(Vec::new(), second)[0], lost(10));
    }

    #[test]
    fn a_larger_ring_takes_the_place_of_one_that_fills_and_nothing_is_lost_or_told_twice() {
        let Some(mut births) = listening() else { return };
        assert!(births.rings.iter().all(|(_, ring)| ring.size() == Size::Small));
        let until = Instant::now() + Duration::from_secs(60);
        // Rings are looked at while they are written to.
        let storm = "i=0; while [ $i -lt 4500 ]; do (:); i=$((i + 1)); done";
        let mut storm = Command::new("sh").args(["-c", storm]).spawn().unwrap();
        let waiter = SystemWaiter::new();
        let ended = loop {
            if let Some(ended) = storm.try_wait().unwrap() {
                break ended;
            }
            let soon = waiter.now() + Duration::from_secs(1);
            waiter.wait(soon, &Watch::Sources(births.sources().collect()));
            births.catch_up();
        };
        assert!(ended.success());
        assert!(births.rings.iter().any(|(_, ring)| ring.size() == Size::Large));
        assert_eq!(ancestors_of_a_daemon(&mut births).unwrap(), ["sh"]);
        // Whoever ended has ended: nobody was born a second time. Other tests have children, too.
        let lives = |pid: &Pid| Stat::read(*pid).unwrap().is_some();
        loop {
            births.finish();
            let living = births.lineage.living();
            if living.iter().all(lives) {
                break;
            }
            assert!(Instant::now() < until, "some of these are dead: {living:?}");
        }
    }

    fn ancestors_of_a_daemon(births: &mut Births) -> Option<Vec<String>> {
        let (mut shell, pid, started) = daemon("sleep 1000 >/dev/null & echo $!");
        shell.wait().unwrap();
        births.finish();
        let ancestors = births.ancestors(pid, ticks(started));
        PidFd::open(pid).unwrap().unwrap().signal(Signal::KILL).unwrap();
        ancestors.map(|links| links.iter().map(Link::to_string).collect())
    }
}
