//! How a child on memory of its own and its parent keep step, without either holding the other's thread.
//!
//! One end of a socket pair is the child's until its exec closes it, or its death does: that is how the
//! parent learns of either. Through it the child also asks whether the group was killed meanwhile: on
//! a copy of the memory it would look at an old counter. A child that the target user stops is told to
//! go on (the `silence` module).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, send, socketpair};

use super::Mark;
use super::silence::{Look, Seen, Silence};

/// Both ends, until the clone.
#[derive(Debug)]
pub(super) struct Gate {
    ours: OwnedFd,
    childs: OwnedFd,
}

impl Gate {
    /// One whose child's end has none of the numbers `taken`, under which the child gets others before its exec.
    pub(super) fn new(taken: impl Fn(i32) -> bool) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, mut childs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        while taken(childs.as_raw_fd()) {
            childs = fcntl_dupfd_cloexec(&childs, childs.as_raw_fd() + 1)?;
        }
        Ok(Self { ours, childs })
    }

    /// In the child: lets go of the parent's end, so that the parent's death is seen.
    pub(super) fn begin(&self) {
        // SAFETY: an integer; the descriptor is this process's copy, which nothing uses any more: the
        // child never returns to where its owner is dropped.
        unsafe { libc::syscall(libc::SYS_close, self.ours.as_raw_fd()) };
    }

    /// In the child, as a member: whether the parent lets it go on.
    pub(super) fn may_pass(&self) -> bool {
        let mut answer = [0];
        let asked = send(&self.childs, b"?", SendFlags::NOSIGNAL);
        let answered = asked.and_then(|_| recv(&self.childs, &mut answer, RecvFlags::empty()));
        matches!(answered, Ok((_, 1)))
    }

    /// In the parent: answers the child, and returns once it executed or died, was turned away, or has been frozen
    /// for too long.
    pub(super) fn keep(self, mut silence: Silence<'_>, mark: Option<Mark<'_>>) -> io::Result<Seen> {
        let Self { ours, childs } = self;
        drop(childs);
        loop {
            if let Some(seen) = await_word(&ours, &mut silence)? {
                return Ok(seen);
            }
            let mut word = [0];
            match recv(&ours, &mut word, RecvFlags::empty()) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(Seen::Left),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                // A closed line turns the child away.
                Ok(_) if mark.is_some_and(|mark| mark.is_stale()) => return Ok(Seen::TurnedAway),
                Ok(_) => match send(&ours, b"!", SendFlags::NOSIGNAL) {
                    // It died meanwhile, which the next word tells.
                    Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => {}
                    Err(errno) => return Err(errno.into()),
                },
            }
        }
    }
}

/// Until there is a word; what became of the child when there will be none.
fn await_word(ours: &OwnedFd, silence: &mut Silence<'_>) -> io::Result<Option<Seen>> {
    loop {
        match poll(&mut [PollFd::new(ours, PollFlags::IN)], Some(&silence.pause())) {
            Ok(0) => match silence.look() {
                Look::Silent => {}
                Look::Dead => return Ok(Some(Seen::Left)),
                Look::Frozen => return Ok(Some(Seen::Frozen)),
            },
            Ok(_) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
