//! Descriptors kept for the end of the group, which must not fail for want of them.

use std::io;
use std::os::fd::OwnedFd;

use containment::Source;
use rustix::io::fcntl_dupfd_cloexec;

/// As many as a teardown has open at once: what it waits on, and what it lists, reads or writes.
const COUNT: usize = 4;

/// Open descriptors that lead nowhere new; dropping them makes room.
#[derive(Debug)]
pub(super) struct Spare {
    _held: Vec<OwnedFd>,
}

impl Spare {
    /// Copies of a descriptor that is open anyway, by one system call each: musl makes two of `try_clone`.
    pub(super) fn copies_of(source: &Source) -> io::Result<Self> {
        let copies = (0..COUNT).map(|_| fcntl_dupfd_cloexec(&source.fd, 3));
        Ok(Self { _held: copies.collect::<rustix::io::Result<_>>()? })
    }
}
