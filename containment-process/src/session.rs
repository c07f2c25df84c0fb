//! Sessions and process groups. One that its leader's pid namespace alone can name has the number 0 here, which no
//! process has (`pid_namespaces(7)`).

use containment_core::Pid;
use nix::unistd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

/// Our process group, if it can be named.
pub fn own_process_group() -> Option<Pid> {
    Pid::new(unistd::getpgrp().as_raw())
}

/// Whether a process, whose descendant we are, is known to have no terminal: we have none, are of its session, and it does
/// not lead that, so that it cannot have got one since. To look at that process would tell it, too, and takes several
/// times as long.
pub fn has_no_terminal(process: Pid) -> bool {
    let session = |of| unistd::getsid(of).ok().filter(|session| session.as_raw() != 0);
    let theirs = session(Some(unistd::Pid::from_raw(process.as_raw())));
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    theirs.is_some_and(|session| session.as_raw() != process.as_raw())
        && theirs == session(None)
        && open("/dev/tty", flags, Mode::empty()).err() == Some(Errno::NXIO)
}
