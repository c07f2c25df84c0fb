//! One pass of signals over processes that come and go, without ever hitting a stranger.
//!
//! A pid is listed, opened as a pidfd, and then confirmed: who is still a member is the process that was
//! opened, or that one has ended and the signal goes nowhere. So a recycled pid is never hit (K20).

use std::collections::HashSet;
use std::io;

use containment_core::{Error, Operation, Pid, Result, Signal, Signalled};

use crate::pidfd::PidFd;

/// How many pidfds are open at once.
const BATCH: usize = 256;
/// How many descriptors are left for the confirmation when they run out.
const SPARE: usize = 8;

/// Sends `signal` to the processes of `listed`, `first` before the others. `confirm` is asked, when a
/// batch of them is open, who of it is a member still.
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
    listed.sort_by_key(|pid| !first.contains(pid));
    let mut rest = &listed[..];
    while !rest.is_empty() {
        let (batch, taken) = open_batch(rest, &mut pass);
        rest = &rest[taken..];
        let members = confirm(&batch)?;
        for process in batch.iter().filter(|process| members.contains(&process.pid())) {
            note(process.pid(), process.signal(signal), &mut pass);
        }
    }
    Ok(pass)
}

/// Opens the first processes of `waiting`, as many as there are descriptors for; also answers how
/// many of the pids were dealt with.
fn open_batch(waiting: &[Pid], pass: &mut Signalled) -> (Vec<PidFd>, usize) {
    let mut batch = Vec::new();
    for (index, pid) in waiting.iter().copied().enumerate() {
        if batch.len() == BATCH {
            return (batch, index);
        }
        match PidFd::open(pid) {
            Ok(process) => batch.extend(process),
            // Out of descriptors (EMFILE, ENFILE): signal those that are open, then go on.
            Err(_) if !batch.is_empty() => {
                let kept = give_back(&mut batch);
                let next = waiting.iter().position(|pid| Some(*pid) == kept);
                return (batch, next.unwrap_or(index));
            }
            Err(error) => note(pid, Err(error), pass),
        }
    }
    (batch, waiting.len())
}

/// Closes the last of a batch: to confirm takes descriptors too. Answers the first that was closed.
fn give_back(batch: &mut Vec<PidFd>) -> Option<Pid> {
    let kept = batch.len().saturating_sub(SPARE).max(batch.len().div_ceil(2));
    let next = batch.get(kept).map(PidFd::pid);
    batch.truncate(kept);
    next
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
    use std::process::{Child, Command};

    fn sleeper() -> (Child, Pid) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
        (child, pid)
    }

    #[test]
    fn who_is_not_confirmed_is_not_signalled() {
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
}
