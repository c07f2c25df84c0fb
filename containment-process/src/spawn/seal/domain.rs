//! A Landlock domain of the program's own: no process outside can be traced from inside, nor reached
//! through its `/proc` directory or its namespaces; since Linux 6.12 none can be signalled either.
//!
//! Without it, a process outside of the same user and with no capability more could be made to act.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::super::sys::{
    Ruleset, landlock_allow, landlock_restrict, landlock_ruleset, landlock_version,
};

/// Renaming and linking between directories, denied unless allowed (version 2, Linux 5.19).
const REFER: u64 = 1 << 13;
/// Making block devices, which a sealed program cannot anyhow: a domain has to deny something.
const MAKE_BLOCK: u64 = 1 << 11;
/// Signals to processes outside (version 6, Linux 6.12).
const SCOPE_SIGNAL: u64 = 1 << 1;

/// Whether this kernel keeps a sealed program from tracing processes outside of its own user, which
/// takes Landlock of Linux 5.19 or later.
pub fn separates_processes() -> bool {
    landlock_version() >= 2
}

/// Enters one of its own; without a kernel that has them it fails if there `must` be one.
pub(super) fn enter(must: bool) -> Result<(), Errno> {
    let version = landlock_version();
    if version < 2 {
        return if must { Err(Errno::OPNOTSUPP) } else { Ok(()) };
    }
    if version >= 6 {
        let ruleset = landlock_ruleset(&Ruleset { scoped: SCOPE_SIGNAL, ..Ruleset::default() })?;
        return restrict(&ruleset);
    }
    let handled = Ruleset { handled_access_fs: REFER | MAKE_BLOCK, ..Ruleset::default() };
    let ruleset = landlock_ruleset(&handled)?;
    let root = openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    landlock_allow(ruleset.as_fd(), root.as_fd(), REFER)?;
    restrict(&ruleset)
}

fn restrict(ruleset: &OwnedFd) -> Result<(), Errno> {
    landlock_restrict(ruleset.as_fd())
}
