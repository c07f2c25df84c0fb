//! Signals received as events, the dispositions this process was started with, and masks.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use containment_core::{Pid, Signal, SignalSet, Source};

/// Signals of a set, blocked and received by descriptor. For single-threaded programs: the mask is
/// the calling thread's.
#[derive(Debug)]
pub struct Inbox {
    fd: Arc<OwnedFd>,
    original: SignalSet,
}

/// A signal that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// Whether the kernel itself sent it (`SI_KERNEL`): for SIGINT and SIGQUIT that is the terminal.
    pub from_kernel: bool,
    /// Who sent it, where a process did that we can see.
    pub sender: Option<Pid>,
}

impl Inbox {
    /// Blocks the signals of `set` that are not ignored, and receives them from now on. An ignored
    /// signal stays ignored, so that `nohup` means what it says; but for SIGCHLD, which is set to its
    /// default: ignored, it would have the kernel reap children before we see how they ended.
    pub fn open(set: SignalSet) -> io::Result<Self> {
        if set.contains(Signal::CHLD) {
            set_default(Signal::CHLD)?;
        }
        let heard =
            (1..=64).filter_map(Signal::new).filter(|s| set.contains(*s) && !is_ignored(*s));
        Self::receive(heard.collect())
    }

    /// Receives every signal of `set`, those that were ignored too. SIGCHLD tells ends alone: that a child was
    /// stopped, or goes on, is nothing to wake up for. A SIGCHLD that was pending is lost: look for who has ended
    /// before the first wait.
    pub fn open_all(set: SignalSet) -> io::Result<Self> {
        let all = (1..=64).filter_map(Signal::new).filter(|signal| set.contains(*signal));
        all.filter(|signal| is_ignored(*signal)).try_for_each(set_default)?;
        if set.contains(Signal::CHLD) {
            set_default_with(Signal::CHLD, libc::SA_NOCLDSTOP)?;
        }
        Self::receive(set)
    }

    fn receive(heard: SignalSet) -> io::Result<Self> {
        let bits = heard.bits();
        // SAFETY: signalfd4 reads the 8 bytes of the kernel's mask and makes a new descriptor.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_signalfd4,
                -1,
                &raw const bits,
                size_of_val(&bits),
                libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
            )
        };
        let fd =
            i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel just gave us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let original = block(heard)?;
        Ok(Self { fd: Arc::new(fd), original })
    }

    /// The mask as it was before.
    pub fn original_mask(&self) -> SignalSet {
        self.original
    }

    /// What to poll for the next signal.
    pub fn source(&self) -> Source {
        Source::readable(Arc::clone(&self.fd))
    }

    /// The next signal, if one is waiting.
    pub fn next(&self) -> io::Result<Option<Received>> {
        let mut bytes = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(self.fd.as_fd(), &mut bytes) {
            Ok(n) if n == bytes.len() => Ok(Received::parse(&bytes)),
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Received {
    /// `struct signalfd_siginfo` begins with: u32 signo, i32 errno, i32 code, u32 pid.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes[at..at + 4].try_into().map(i32::from_ne_bytes).ok();
        let code = word(8)?;
        Some(Self {
            signal: Signal::new(word(0)?)?,
            from_kernel: code == libc::SI_KERNEL,
            sender: Pid::new(word(12)?).filter(|_| code != libc::SI_KERNEL),
        })
    }
}

/// Adds signals to the calling thread's mask; returns the mask as it was.
pub fn block(set: SignalSet) -> io::Result<SignalSet> {
    change_mask(libc::SIG_BLOCK, set)
}

/// Replaces the calling thread's mask; returns the mask as it was.
pub fn set_mask(set: SignalSet) -> io::Result<SignalSet> {
    change_mask(libc::SIG_SETMASK, set)
}

/// Has SIGCONT do nothing but let this process go on, which is single-threaded: the mask is the calling thread's.
/// Blocked, it would be kept, and wake up an [`Inbox`] that does not receive it.
pub fn only_continue() -> io::Result<()> {
    set_default(Signal::CONT)?;
    change_mask(libc::SIG_UNBLOCK, SignalSet::default().with(Signal::CONT)).map(drop)
}

/// By the system call itself: libc's wrapper leaves its own signals unblocked.
fn change_mask(how: i32, set: SignalSet) -> io::Result<SignalSet> {
    let (new, mut old) = (set.bits(), 0_u64);
    // SAFETY: both pointers are to 8 bytes, the size that is told.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const new,
            &raw mut old,
            size_of_val(&new),
        )
    };
    if done == 0 { Ok(SignalSet::from_bits(old)) } else { Err(io::Error::last_os_error()) }
}

/// Whether this process ignores `signal`.
pub fn is_ignored(signal: Signal) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the old action is written to a buffer of its type; null leaves the disposition.
    let done = unsafe { libc::sigaction(signal.as_raw(), std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroes are a valid `sigaction`, whether the call wrote to it or not.
    done == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Has a write fail instead of ending this process: one to a pipe that nobody reads, and one beyond the limit on
/// the size of files.
pub(crate) fn ignore_failed_writes() {
    for signal in FAILED_WRITES.into_iter().flatten() {
        if let Err(error) = dispose(signal, libc::SIG_IGN, 0) {
            tracing::warn!(%error, %signal, "a signal is not ignored");
        }
    }
}

fn set_default(signal: Signal) -> io::Result<()> {
    set_default_with(signal, 0)
}

fn set_default_with(signal: Signal, flags: libc::c_int) -> io::Result<()> {
    dispose(signal, libc::SIG_DFL, flags)
}

fn dispose(signal: Signal, how: libc::sighandler_t, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: zeroes are a valid `sigaction`, which is the default disposition with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = how;
    action.sa_flags = flags;
    // SAFETY: reads the action; a handler that was there is no longer called, which is all.
    match unsafe { libc::sigaction(signal.as_raw(), &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// SIGPIPE, SIGXFSZ and SIGCHLD, as far as they were ignored when this process was started. Rust's runtime ignores
/// the first before `main`, [`entry`](mod@crate::entry) the first two; an [`Inbox`] sets the last to its default.
static IGNORED_AT_START: AtomicU64 = AtomicU64::new(0);

const FAILED_WRITES: [Option<Signal>; 2] = [Signal::new(libc::SIGPIPE), Signal::new(libc::SIGXFSZ)];

/// Which of SIGPIPE, SIGXFSZ and SIGCHLD were ignored when this process was started: what a program that we
/// start inherits, whatever became of our own dispositions.
pub fn ignored_at_start() -> SignalSet {
    SignalSet::from_bits(IGNORED_AT_START.load(Ordering::Relaxed))
}

extern "C" fn remember_ignored() {
    let asked = FAILED_WRITES.into_iter().flatten().chain([Signal::CHLD]);
    let ignored: SignalSet = asked.filter(|signal| is_ignored(*signal)).collect();
    IGNORED_AT_START.store(ignored.bits(), Ordering::Relaxed);
}

// SAFETY: `.init_array` holds functions of this signature, run before `main`; this one calls
// sigaction and stores a flag, which needs no runtime.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = remember_ignored;

/// Every signal blocked in the calling thread, until dropped: then those that came are delivered.
#[derive(Debug)]
pub struct AllBlocked {
    before: SignalSet,
}

impl AllBlocked {
    /// Blocks them.
    pub fn new() -> io::Result<Self> {
        Ok(Self { before: set_mask(SignalSet::ALL)? })
    }

    pub(crate) fn before(&self) -> SignalSet {
        self.before
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        if let Err(error) = set_mask(self.before) {
            tracing::warn!(%error, "cannot restore the signal mask");
        }
    }
}
