//! What runs between clone and exec, on the parent's memory or a copy of it.
//!
//! Only system calls, made directly: no allocation, no lock, no libc function that may take one, and on shared memory
//! no `errno`, which is the parent thread's.

use std::os::fd::AsRawFd;

use containment_core::SignalSet;
use rustix::thread::set_no_new_privs;

use super::gate::Gate;
use super::image::Image;
use super::mounts::at;
use super::region::Notes;
use super::seal::Seal;
use super::sys;
use super::{Entry, Launch, Mark, Step};
use crate::signals;

/// The child's orders.
pub(super) struct Plan<'a> {
    image: &'a mut Image,
    entry: Entry<'a>,
    mark: Option<Mark<'a>>,
    process_group: Option<i32>,
    mask: u64,
    /// SIGPIPE, SIGXFSZ and SIGCHLD, as far as this process was started with them ignored.
    ignored: SignalSet,
    /// Whether the kernel resets handlers (`CLONE_CLEAR_SIGHAND`), so that the child need not.
    pub(super) handlers_cleared: bool,
    /// On a copy of the memory: where it keeps step with the parent.
    pub(super) gate: Option<Gate>,
    notes: &'a Notes,
}

/// The kernel's `struct sigaction`, of which only the handler matters here: its first word, as on
/// every architecture that Rust's standard library supports but MIPS.
type KernelSigaction = [usize; 8];
/// The size of the kernel's signal mask.
const MASK_SIZE: usize = 8;

/// A failed step and its errno.
type Failed = (Step, i32);

impl<'a> Plan<'a> {
    pub(super) fn new(
        image: &'a mut Image,
        launch: &Launch<'a>,
        notes: &'a Notes,
        mask: SignalSet,
    ) -> Self {
        Self {
            image,
            entry: launch.entry,
            mark: launch.mark,
            process_group: launch.process_group,
            mask: mask.bits(),
            ignored: signals::ignored_at_start(),
            handlers_cleared: false,
            gate: None,
            notes,
        }
    }

    /// Whether the program gets a descriptor of this number.
    pub(super) fn gives(&self, number: i32) -> bool {
        self.image.moves.iter().any(|(_, target)| *target == number)
    }

    /// Becomes the program, or notes why not and ends.
    pub(super) fn run(&mut self) -> ! {
        self.notes.set_started();
        let Err((step, errno)) = self.become_program();
        self.notes.fail(step, errno);
        loop {
            // SAFETY: ends this process, and nothing of the parent's.
            let _ = unsafe { sys::call(libc::SYS_exit_group, [127, 0, 0, 0]) };
        }
    }

    fn become_program(&mut self) -> Result<std::convert::Infallible, Failed> {
        self.gate.iter().for_each(Gate::begin);
        self.enter_group()?;
        self.refuse_killed()?;
        self.join_process_group()?;
        self.set_up_descriptors()?;
        self.take_isolation()?;
        self.reset_signals();
        if self.notes.is_cancelled() {
            return Err((Step::Mark, 0));
        }
        Err((Step::Exec, self.execute()))
    }

    /// The order is part of the engine's documentation.
    fn take_isolation(&self) -> Result<(), Failed> {
        let image = &*self.image;
        if let Some(mounts) = &image.mounts {
            mounts.set_up()?;
        }
        image.identity.limit()?;
        if image.seal.is_some() {
            Seal::bound_capabilities()?;
        }
        image.identity.take_on()?;
        if image.seal.is_some() {
            Seal::drop_capabilities()?;
        }
        self.change_directory()?;
        if image.no_new_privileges {
            set_no_new_privs(true).map_err(at(Step::NoNewPrivileges))?;
        }
        image.seal.as_ref().map_or(Ok(()), Seal::close)
    }

    /// On a copy of the memory the parent has to look.
    fn refuse_killed(&self) -> Result<(), Failed> {
        let killed = match (&self.gate, self.mark) {
            (_, None) => false,
            (Some(gate), Some(_)) => !gate.may_pass(),
            (None, Some(mark)) => mark.is_stale(),
        };
        if killed { Err((Step::Mark, 0)) } else { Ok(()) }
    }

    fn enter_group(&self) -> Result<(), Failed> {
        let (Entry::SelfMove(files) | Entry::Born(_, files)) = self.entry else { return Ok(()) };
        for file in files {
            // SAFETY: writes one byte of a constant to a descriptor that the parent holds.
            let written = unsafe {
                sys::call(
                    libc::SYS_write,
                    [word(file.as_raw_fd()), c"0".as_ptr().expose_provenance(), 1, 0],
                )
            };
            check(Step::Enter, written)?;
        }
        Ok(())
    }

    fn join_process_group(&self) -> Result<(), Failed> {
        let Some(group) = self.process_group else { return Ok(()) };
        // SAFETY: integers only.
        let joined = unsafe { sys::call(libc::SYS_setpgid, [0, word(group), 0, 0]) };
        check(Step::ProcessGroup, joined).map(drop)
    }

    /// Moves every source above all targets first, so that none is overwritten before its turn.
    fn set_up_descriptors(&mut self) -> Result<(), Failed> {
        let above = self.image.moves.iter().map(|(_, target)| *target + 1).max().unwrap_or(0);
        for (source, target) in &mut self.image.moves {
            if *source < above && source != target {
                // SAFETY: integers only; the new descriptor is in this process's own table.
                *source = check(Step::Descriptors, unsafe {
                    let arguments = [*source, libc::F_DUPFD_CLOEXEC, above, 0].map(word);
                    sys::call(libc::SYS_fcntl, arguments)
                })?;
            }
        }
        for (source, target) in &self.image.moves {
            let (source, target) = (*source, *target);
            let done = if source == target {
                // SAFETY: integers only; clears close-on-exec of a descriptor that stays in place.
                unsafe { sys::call(libc::SYS_fcntl, [target, libc::F_SETFD, 0, 0].map(word)) }
            } else {
                // SAFETY: integers only; dup3 replaces a descriptor of this process's own table.
                unsafe { sys::call(libc::SYS_dup3, [source, target, 0, 0].map(word)) }
            };
            check(Step::Descriptors, done)?;
        }
        Ok(())
    }

    fn change_directory(&self) -> Result<(), Failed> {
        let Some(directory) = &self.image.directory else { return Ok(()) };
        // SAFETY: the path is a C string that the parent keeps.
        let entered = unsafe {
            sys::call(libc::SYS_chdir, [directory.as_ptr().expose_provenance(), 0, 0, 0])
        };
        check(Step::Directory, entered).map(drop)
    }

    /// Handlers to the default; ignored signals stay ignored, but SIGPIPE, SIGXFSZ and SIGCHLD are as this
    /// process got them; then the mask. Signal numbers are valid, so none of these calls can fail.
    fn reset_signals(&self) {
        if !self.handlers_cleared {
            (1..=64).for_each(reset_handler);
        }
        for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
            dispose(
                signal,
                if self.ignored_at_start(signal) { libc::SIG_IGN } else { libc::SIG_DFL },
            );
        }
        if self.ignored_at_start(libc::SIGCHLD) {
            dispose(libc::SIGCHLD, libc::SIG_IGN);
        }
        // SAFETY: reads the 8 bytes of the mask.
        let _ = unsafe {
            let mask = (&raw const self.mask).expose_provenance();
            sys::call(libc::SYS_rt_sigprocmask, [word(libc::SIG_SETMASK), mask, 0, MASK_SIZE])
        };
    }

    fn ignored_at_start(&self, signal: i32) -> bool {
        self.ignored.bits() & (1 << (signal - 1)) != 0
    }

    /// Tries the candidates as execvp(3) does; returns the errno that tells most.
    fn execute(&mut self) -> i32 {
        let (mut verdict, mut denied) = (libc::ENOENT, false);
        for place in 0.. {
            let Some(file) = self.image.candidate(place) else { break };
            verdict = exec(file, self.image.argv(), self.image.envp());
            match verdict {
                libc::EACCES => denied = true,
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
                libc::ENOEXEC => {
                    let arguments = self.image.shell_argv(file);
                    exec(Image::shell_path().as_ptr(), arguments, self.image.envp());
                    return verdict;
                }
                _ => return verdict,
            }
        }
        if denied { libc::EACCES } else { verdict }
    }
}

/// Runs `file`; returns only on failure, with the errno.
fn exec(
    file: *const libc::c_char,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
) -> i32 {
    let (argv, envp) = (argv.expose_provenance(), envp.expose_provenance());
    // SAFETY: C strings and null-terminated arrays of them, kept by the parent.
    let done = unsafe { sys::call(libc::SYS_execve, [file.expose_provenance(), argv, envp, 0]) };
    done.err().unwrap_or_default()
}

fn reset_handler(signal: i32) {
    let mut old: KernelSigaction = [0; 8];
    // SAFETY: the kernel writes its sigaction, which is smaller than the buffer.
    let _ = unsafe {
        let old = (&raw mut old).expose_provenance();
        sys::call(libc::SYS_rt_sigaction, [word(signal), 0, old, MASK_SIZE])
    };
    if old[0] != libc::SIG_DFL && old[0] != libc::SIG_IGN {
        dispose(signal, libc::SIG_DFL);
    }
}

/// Sets a disposition that is no handler.
fn dispose(signal: i32, disposition: libc::sighandler_t) {
    let mut action: KernelSigaction = [0; 8];
    action[0] = disposition;
    // SAFETY: the kernel reads a sigaction without flags, of which the handler comes first.
    // Dispositions are not shared with the parent.
    let _ = unsafe {
        let action = (&raw const action).expose_provenance();
        sys::call(libc::SYS_rt_sigaction, [word(signal), action, 0, MASK_SIZE])
    };
}

fn check(step: Step, result: Result<i32, i32>) -> Result<i32, Failed> {
    result.map_err(|errno| (step, errno))
}

/// A descriptor, pid or number of ours as the kernel takes it.
fn word(number: i32) -> usize {
    (number as isize).cast_unsigned()
}
