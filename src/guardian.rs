//! Who ends a group when its owner dies without having done so.
//!
//! A guardian is a fork of this process that does nothing but wait for our end, by our pidfd. It has
//! the group's handles, so that it acts on that group and no namesake; the state directory and our lock there, so
//! that the group counts as owned; a process group of its own, so that what is sent to ours does not reach it; and
//! no other file or pipe of ours, so that nobody waits for it.

use std::os::fd::AsRawFd as _;

use containment_core::{
    Error, Group, Operation, Outcome, Pid, Policy, Result, Signal, SignalSet, Source, SystemWaiter,
    Teardown, Time, Waiter as _, Watch,
};
use containment_process::pidfd::{Look, PidFd, Waited};
use containment_process::signals::set_mask;
use containment_process::worker;
use rustix::process::{getpid, setpgid};

use crate::registry::{OwnerLock, Registry};

/// The process that kills and removes a group once this process has died, unless it was dismissed.
///
/// Dropping it dismisses it.
///
/// ```standalone_crate
/// use containment::{Guardian, Policy};
/// # let host = containment::Containment::with(backend_fake::Fake::new());
/// let job = host.group("job").create()?;
/// let guardian = Guardian::post(&job, None)?;
/// assert!(!guardian.is_lost() && !guardian.has_failed());
/// // Should this process be killed here, the guardian ends the group.
/// if job.terminate(&Policy::kill())?.is_clean() {
///     guardian.dismiss();
/// } else {
///     guardian.stand();
/// }
/// # Ok::<(), containment::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping the guardian dismisses it"]
pub struct Guardian {
    process: PidFd,
    owner: Pid,
}

impl Guardian {
    /// Posts a guardian over `group`. Only a process with one thread can. Where the group is on record
    /// in `registry`, it counts as owned for as long as the guardian stands.
    ///
    /// # Errors
    /// When there is a second thread, or no room for another process or descriptor.
    pub fn post(group: &Group, registry: Option<&Registry>) -> Result<Self> {
        let failed = |error| {
            Error::from_io(Operation::Spawn, &error)
                .with_group(&group.id().name)
                .because("cannot post a guardian over the group")
        };
        let owner = Pid::current();
        let us = PidFd::open(owner).map_err(failed)?;
        let us = us.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        // Where no record can be kept, which was told when the group was made, it ends that all the same.
        let lock = registry.and_then(|registry| registry.lock().ok());
        let record = registry.zip(lock.as_ref());
        let process = worker::fork_apart(|| guard(group, &us, record)).map_err(failed)?;
        // It does so itself, too: whoever comes first, nothing that is sent to our group reaches it. A failure
        // says that it has died, or has done it.
        let _ = setpgid(rustix::process::Pid::from_raw(process.pid().as_raw()), None);
        Ok(Self { process, owner })
    }

    /// Ready when the guardian has ended: somebody killed it.
    pub fn source(&self) -> Source {
        self.process.source()
    }

    /// Whether it stands no more.
    pub fn is_lost(&self) -> bool {
        self.process.has_ended().unwrap_or(false)
    }

    /// Whether it ended by itself, unable to stand here: the next one would be, too.
    pub fn has_failed(&self) -> bool {
        let ended = self.process.try_wait(Look::Hold);
        matches!(ended, Ok(Waited::Ended(Outcome::Exited(_))))
    }

    /// Leaves it standing: what this process could not end it tries to end once this process is gone.
    pub fn stand(self) {
        std::mem::forget(self);
    }

    /// Lets it end, without waiting for that: dropping it does.
    pub fn dismiss(&self) {
        if self.owner == Pid::current()
            && let Err(error) = self.process.signal(Signal::KILL)
        {
            tracing::warn!(%error, "a guardian cannot be dismissed; it ends with its group");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        self.dismiss();
        if self.owner == Pid::current()
            && let Err(error) = self.process.wait()
        {
            tracing::debug!(%error, "the guardian was reaped by somebody else");
        }
    }
}

/// The guardian's life.
fn guard(group: &Group, supervisor: &PidFd, record: Option<(&Registry, &OwnerLock)>) -> u8 {
    let mut kept = group.ops().handles();
    kept.push(supervisor.as_raw_fd());
    kept.extend(record.iter().flat_map(|(registry, lock)| {
        [registry.descriptor(), lock.descriptor()].map(|record| record.as_raw_fd())
    }));
    let prepared = set_mask(SignalSet::ALL)
        .and_then(|_| Ok(setpgid(Some(getpid()), None)?))
        .and_then(|()| record.map_or(Ok(()), |(_, lock)| lock.stand_guard()))
        .and_then(|()| worker::detach(&kept));
    if prepared.is_err() {
        return 1;
    }
    let waiter = SystemWaiter::new();
    let on = Watch::Sources(vec![supervisor.source()]);
    // What cannot be read is no death.
    while !supervisor.has_ended().unwrap_or(false) {
        waiter.wait(Time::NEVER, &on);
    }
    let report = Teardown::new(Policy::kill()).run(group.ops(), &waiter);
    if let Some((registry, _)) = record
        && report.is_clean()
    {
        // Nothing of the supervisor's is left; where that fails `gc` tidies up.
        let _ = registry.close();
    }
    u8::from(!report.is_clean())
}
