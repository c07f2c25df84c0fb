//! Who the program runs as, and its resource limits.

use containment_core::{Isolation, Resource as Named, Rlimit, User};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Uid, getegid, geteuid, getgid, getgroups, getuid, setrlimit};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::Step;
use super::mounts::at;

/// Ids and limits as the system calls want them.
#[derive(Debug)]
pub(super) struct Identity {
    user: Option<Ids>,
    rlimits: Vec<(Resource, rustix::process::Rlimit)>,
}

#[derive(Debug)]
struct Ids {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    pub(super) fn prepare(isolation: &Isolation) -> Self {
        let user = isolation.user.as_ref().filter(|user| !is_ours(user)).map(|user| Ids {
            uid: Uid::from_raw(user.uid),
            gid: Gid::from_raw(user.gid),
            groups: user.groups.iter().copied().map(Gid::from_raw).collect(),
        });
        Self { user, rlimits: isolation.rlimits.iter().map(rlimit).collect() }
    }

    /// In the child, still with the caller's privileges.
    pub(super) fn limit(&self) -> Result<(), (Step, i32)> {
        for (index, (resource, limit)) in (0..).zip(&self.rlimits) {
            setrlimit(*resource, *limit).map_err(at(Step::Rlimit(index)))?;
        }
        Ok(())
    }

    /// In the child: these are the calls of this one thread, not the ones of libc, which ask every
    /// thread of the process.
    pub(super) fn take_on(&self) -> Result<(), (Step, i32)> {
        let Some(Ids { uid, gid, groups }) = &self.user else { return Ok(()) };
        let become_user = || -> Result<(), Errno> {
            set_thread_groups(groups)?;
            set_thread_res_gid(*gid, *gid, *gid)?;
            set_thread_res_uid(*uid, *uid, *uid)
        };
        become_user().map_err(at(Step::User))
    }
}

/// Whether the user is who we are already, which takes no privilege.
fn is_ours(user: &User) -> bool {
    let gid = Gid::from_raw(user.gid);
    let uid = Uid::from_raw(user.uid);
    let sorted = |groups: Vec<u32>| {
        let mut groups: Vec<_> = groups.into_iter().filter(|id| *id != user.gid).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    };
    let ours = getgroups().unwrap_or_default().into_iter().map(Gid::as_raw).collect();
    // Root is never skipped: its saved ids may differ, and it may always set them.
    !uid.is_root()
        && (getuid(), geteuid(), getgid(), getegid()) == (uid, uid, gid, gid)
        && sorted(ours) == sorted(user.groups.clone())
}

fn rlimit(limit: &Rlimit) -> (Resource, rustix::process::Rlimit) {
    let set = rustix::process::Rlimit { current: limit.soft, maximum: limit.hard };
    (resource(limit.resource), set)
}

fn resource(named: Named) -> Resource {
    match named {
        Named::AddressSpace => Resource::As,
        Named::Core => Resource::Core,
        Named::Cpu => Resource::Cpu,
        Named::Data => Resource::Data,
        Named::FileSize => Resource::Fsize,
        Named::LockedMemory => Resource::Memlock,
        Named::MessageQueues => Resource::Msgqueue,
        Named::Nice => Resource::Nice,
        Named::Processes => Resource::Nproc,
        Named::RealTimePriority => Resource::Rtprio,
        Named::RealTime => Resource::Rttime,
        Named::PendingSignals => Resource::Sigpending,
        Named::Stack => Resource::Stack,
        Named::Files => Resource::Nofile,
    }
}
