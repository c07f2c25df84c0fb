//! The program of every member: it obeys what it is told over its line, acknowledges each command, and
//! ends when nobody is at the other end any more.
//!
//! Its forks are helpers too, each with a line of its own.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use containment_core::{Pid, Signal, SignalSet};
use containment_process::pidfd::PidFd;
use containment_process::{signals, worker};
use rustix::io::Errno;
use rustix::process::setsid;

/// Where the helper's lines lead: the path of a socket.
pub(crate) const LINE: &str = "DIFFERENTIAL_LINE";

/// The number of a process, which it tells first: in the order of births.
pub(crate) type Birth = u32;

/// What a helper does when it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing but to acknowledge.
    Answer,
    /// Forks a helper.
    Fork(Birth),
    /// Forks a process into a session of its own, which forks a helper and exits.
    Daemonise(Birth),
    /// Exits with this status.
    Exit(u8),
    /// Calls `setsid`.
    LeaveSession,
    /// Lets SIGTERM pass.
    IgnoreTerm,
    /// Sends SIGSTOP to itself.
    StopItself,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer => f.write_str("answers"),
            Self::Fork(child) => write!(f, "forks p{child}"),
            Self::Daemonise(daemon) => write!(f, "daemonises p{daemon}"),
            Self::Exit(status) => write!(f, "exits with {status}"),
            Self::LeaveSession => f.write_str("calls setsid"),
            Self::IgnoreTerm => f.write_str("ignores SIGTERM"),
            Self::StopItself => f.write_str("stops itself"),
        }
    }
}

/// The length of an order on the line, and of the greeting.
pub(crate) const WORDS: usize = 8;

impl Order {
    /// As it goes over the line.
    pub(crate) fn to_bytes(self) -> [u8; WORDS] {
        words(match self {
            Self::Answer => [0, 0],
            Self::Fork(child) => [1, child],
            Self::Daemonise(daemon) => [2, daemon],
            Self::Exit(status) => [3, status.into()],
            Self::LeaveSession => [4, 0],
            Self::IgnoreTerm => [5, 0],
            Self::StopItself => [6, 0],
        })
    }

    fn from_bytes(bytes: [u8; WORDS]) -> Self {
        match numbers(bytes) {
            [1, child] => Self::Fork(child),
            [2, daemon] => Self::Daemonise(daemon),
            [3, status] => Self::Exit(status.to_le_bytes()[0]),
            [4, ..] => Self::LeaveSession,
            [5, ..] => Self::IgnoreTerm,
            [6, ..] => Self::StopItself,
            _ => Self::Answer,
        }
    }
}

fn words(numbers: [u32; 2]) -> [u8; WORDS] {
    let mut bytes = [0; WORDS];
    for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// The numbers of a greeting: birth and pid.
pub(crate) fn numbers(bytes: [u8; WORDS]) -> [u32; 2] {
    let at = |n: usize| [bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]];
    [0, 4].map(|n| u32::from_le_bytes(at(n)))
}

/// The life of the first helper of a program; its number is the argument.
pub(crate) fn serve(path: &str) -> ExitCode {
    let birth = std::env::args().nth(1).and_then(|birth| birth.parse().ok());
    ExitCode::from(birth.map_or(FAILED, |birth| obey(path, birth)))
}

/// The status of a helper whose line broke.
const FAILED: u8 = 126;

/// Obeys until it is told to exit, or nobody is there to tell.
fn obey(path: &str, birth: Birth) -> u8 {
    let Ok(mut line) = UnixStream::connect(path) else { return FAILED };
    if line.write_all(&words([birth, std::process::id()])).is_err() {
        return FAILED;
    }
    let mut order = [0; WORDS];
    while line.read_exact(&mut order).is_ok() {
        match Order::from_bytes(order) {
            Order::Exit(status) => return status,
            order => carry_out(path, order),
        }
        if line.write_all(&[0]).is_err() {
            break;
        }
    }
    FAILED
}

/// Forks are not waited for: what becomes of them is to be seen from outside.
fn carry_out(path: &str, order: Order) {
    match order {
        Order::Answer | Order::Exit(_) => {}
        Order::Fork(child) => drop(worker::fork(|| obey(path, child)).expect("it can fork")),
        Order::Daemonise(daemon) => {
            drop(worker::fork(|| daemonise(path, daemon)).expect("it can fork"));
        }
        Order::LeaveSession => match setsid() {
            Ok(_) | Err(Errno::PERM) => {}
            Err(errno) => panic!("setsid fails only for who leads a process group: {errno}"),
        },
        Order::IgnoreTerm => {
            let term = SignalSet::default().with(Signal::TERM);
            signals::block(term).expect("a signal can be blocked");
        }
        Order::StopItself => {
            let itself = PidFd::open(Pid::current()).ok().flatten();
            itself.expect("it lives").signal(Signal::STOP).expect("it may stop itself");
        }
    }
}

/// The process between, which is never on a line.
fn daemonise(path: &str, daemon: Birth) -> u8 {
    let apart = setsid();
    if apart.is_err() {
        return FAILED;
    }
    worker::fork(|| obey(path, daemon)).map_or(FAILED, |_| 0)
}
