//! One pass of signals over processes that come and go, without ever hitting a stranger.
//!
//! A pid is listed, opened as a pidfd, and then confirmed: who is still a member is the process that was
//! opened, or that one has ended and the signal goes nowhere. So a recycled pid is never hit (K20). A child of ours
//! has its pid until it is reaped, and a pidfd from its start.

use std::collections::{HashMap, HashSet};
use std::io;

use containment_core::{Error, Operation, Pid, Result, Signal, Signalled};

use crate::pidfd::PidFd;
use crate::proc::Stat;

/// How many pidfds are open at once.
const BATCH: usize = 256;

/// Sends `signal` to the processes of `listed`, `first` before the others. `confirm` is asked, when a
/// batch of them is open, who of it is a member still.
///
/// Where descriptors run out, fewer are open at once: down to one process, and what the confirmation
/// takes.
///
/// # Errors
/// Those of `confirm`. A member that cannot be signalled is noted in the result.
pub fn signal_all(
    signal: Signal,
    first: &[Pid],
    mut listed: Vec<Pid>,
    mut confirm: impl FnMut(&[PidFd]) -> Result<HashSet<Pid>>,
) -> Result<Signalled> {
    let mut pass = Signalled::default();
    let first: HashSet<Pid> = first.iter().copied().collect();
    listed.sort_by_cached_key(|pid| !first.contains(pid));
    let mut rest = &listed[..];
    while !rest.is_empty() {
        let mut batch = Batch::open(rest, &mut pass);
        let members = batch.confirmed(&mut confirm)?;
        rest = &rest[batch.taken..];
        for process in batch.open.iter().filter(|process| members.contains(&process.pid())) {
            note(process.pid(), process.signal(signal), &mut pass);
        }
    }
    Ok(pass)
}

/// The same of the members of a group, and children of ours among them get the signal before the others, by the descriptors
/// that we have of them anyway: until they are reaped nobody else has their pids, so that nothing has to be confirmed.
pub fn signal_members(
    signal: Signal,
    own: &[PidFd],
    mut listed: Vec<Pid>,
    confirm: impl FnMut(&[PidFd]) -> Result<HashSet<Pid>>,
) -> Result<Signalled> {
    let own: HashMap<Pid, &PidFd> = own.iter().map(|process| (process.pid(), process)).collect();
    let mut pass = Signalled::default();
    listed.retain(|pid| {
        let Some(process) = own.get(pid) else { return true };
        let sent = process.signal(signal);
        // Reaped meanwhile: who is listed is another one of that pid.
        let is_another = matches!(sent, Ok(false));
        note(*pid, sent, &mut pass);
        is_another
    });
    let others = signal_all(signal, &[], listed, confirm)?;
    pass.count += others.count;
    pass.failed.extend(others.failed);
    Ok(pass)
}

/// The same of processes that stay members for as long as they live: each is confirmed by when it started.
pub fn signal_known(signal: Signal, first: &[Pid], known: &[Stat]) -> Result<Signalled> {
    let started: HashMap<Pid, u64> = known.iter().map(|stat| (stat.pid, stat.started)).collect();
    let confirm = |batch: &[PidFd]| {
        let mut same = HashSet::new();
        for pid in batch.iter().map(PidFd::pid) {
            match Stat::read(pid).map_err(|e| Error::from_io(Operation::Signal, &e).with_pid(pid)) {
                Ok(Some(now)) if started.get(&pid) == Some(&now.started) => drop(same.insert(pid)),
                Err(error) if is_out_of_descriptors(&error) => return Err(error),
                // Another one, or nobody who is shown.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(same)
    };
    signal_all(signal, first, known.iter().map(|stat| stat.pid).collect(), confirm)
}

/// The first processes of those that wait to be signalled, open.
struct Batch {
    open: Vec<PidFd>,
    /// The place of each among those that wait.
    places: Vec<usize>,
    /// How many of those that wait are dealt with by this batch.
    taken: usize,
}

impl Batch {
    /// Opens as many as there are descriptors for.
    fn open(waiting: &[Pid], pass: &mut Signalled) -> Self {
        let mut batch = Self { open: Vec::new(), places: Vec::new(), taken: 0 };
        for (place, pid) in waiting.iter().copied().enumerate() {
            if batch.open.len() == BATCH {
                return batch;
            }
            match PidFd::open(pid) {
                Ok(Some(process)) => {
                    batch.open.push(process);
                    batch.places.push(place);
                }
                Ok(None) => {}
                // Out of descriptors: signal those that are open, then go on.
                Err(_) if !batch.open.is_empty() => return batch,
                Err(error) => note(pid, Err(error), pass),
            }
            batch.taken = place + 1;
        }
        batch
    }

    /// Asks who is a member still. That takes descriptors too: where none are left, half of the batch is
    /// put off, again and again.
    fn confirmed(
        &mut self,
        confirm: &mut impl FnMut(&[PidFd]) -> Result<HashSet<Pid>>,
    ) -> Result<HashSet<Pid>> {
        loop {
            match confirm(&self.open) {
                Err(error) if is_out_of_descriptors(&error) && self.open.len() > 1 => {
                    let kept = self.open.len() / 2;
                    self.taken = self.places[kept];
                    self.open.truncate(kept);
                    self.places.truncate(kept);
                }
                confirmed => return confirmed,
            }
        }
    }
}

fn is_out_of_descriptors(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EMFILE | libc::ENFILE))
}

fn note(pid: Pid, sent: io::Result<bool>, pass: &mut Signalled) {
    match sent {
        Ok(true) => pass.count += 1,
        Ok(false) => {}
        Err(error) => pass.failed.push(Error::from_io(Operation::Signal, &error).with_pid(pid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pidfd::Waited;
    use containment_core::Outcome;
    use std::os::fd::AsFd as _;
    use std::process::{Child, Command};

    fn sleeper() -> (Child, Pid) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
        (child, pid)
    }

    #[test]
    fn k20_who_is_not_confirmed_is_not_signalled() {
        let ((mut member, pid), (mut stranger, other)) = (sleeper(), sleeper());
        let confirm = |_: &[PidFd]| Ok(HashSet::from([pid]));
        let pass = signal_all(Signal::KILL, &[], vec![pid, other], confirm).unwrap();
        assert_eq!((pass.count, pass.failed.len()), (1, 0));
        let member_fd = PidFd::open(pid).unwrap().unwrap();
        assert_eq!(member_fd.wait().unwrap(), Waited::Ended(Outcome::Signaled(Signal::KILL)));
        assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        drop(member.wait());
    }

    #[test]
    fn k20_a_child_of_ours_needs_no_confirmation_until_it_is_reaped() {
        let (mut child, pid) = sleeper();
        let own = [PidFd::open(pid).unwrap().unwrap()];
        let unasked = |_: &[PidFd]| panic!("nobody else is listed");
        let pass = signal_members(Signal::KILL, &own, vec![pid], unasked).unwrap();
        assert_eq!((pass.count, pass.failed.len()), (1, 0));
        child.wait().unwrap();
        // Another process has the pid by now: not what the descriptor is of, but what was listed.
        let (mut other, listed) = sleeper();
        let own = [PidFd::from_fd(listed, own[0].as_fd().try_clone_to_owned().unwrap())];
        let confirm = |open: &[PidFd]| Ok(open.iter().map(PidFd::pid).collect());
        let pass = signal_members(Signal::KILL, &own, vec![listed], confirm).unwrap();
        assert_eq!((pass.count, pass.failed.len()), (1, 0));
        assert!(!other.wait().unwrap().success());
    }

    /// The confirmation opens files, and finds no descriptor free while more than two pidfds are open.
    #[test]
    fn k32_where_descriptors_run_out_everybody_is_signalled_all_the_same() {
        let (mut children, pids): (Vec<_>, Vec<_>) = (0..7).map(|_| sleeper()).unzip();
        let mut widest = 0;
        let confirm = |open: &[PidFd]| {
            widest = widest.max(open.len());
            if open.len() > 2 {
                Err(Error::from_errno(Operation::Signal, libc::EMFILE))
            } else {
                Ok(pids.iter().copied().collect())
            }
        };
        let pass = signal_all(Signal::KILL, &[], pids.clone(), confirm).unwrap();
        assert_eq!((pass.count, pass.failed.len(), widest), (7, 0, 7));
        for child in &mut children {
            assert!(!child.wait().unwrap().success());
        }
    }
}
