//! The bare system calls that the floors are made of, where no crate has them: all `unsafe` of the
//! benchmarks.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr;

use rustix::process::Pid;

unsafe extern "C" {
    static environ: *const *mut libc::c_char;
}

/// `posix_spawn(3)` of a program without arguments, with our environment.
pub fn posix_spawn(program: &CStr) -> io::Result<Pid> {
    let mut pid = MaybeUninit::uninit();
    let arguments = [program.as_ptr().cast_mut(), ptr::null_mut()];
    // SAFETY: program and arguments are terminated and outlive the call, which only reads them; nobody
    // changes the environment meanwhile, since this process has one thread that could.
    let failed = unsafe {
        libc::posix_spawn(
            pid.as_mut_ptr(),
            program.as_ptr(),
            ptr::null(),
            ptr::null(),
            arguments.as_ptr(),
            environ,
        )
    };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    // SAFETY: it is filled where the call succeeded.
    let pid = unsafe { pid.assume_init() };
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("a child has the pid 0"))
}

/// `fork(2)`; `None` in the child.
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: who calls this has one thread, so that no lock is held by another one in the copy.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Has the standard library fork, as it does for any hook that runs in the child.
pub fn with_hook(command: &mut Command) -> &mut Command {
    // SAFETY: the hook does nothing.
    unsafe { command.pre_exec(|| Ok(())) }
}

/// Sleeps until it is killed.
pub fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: it takes no pointer and has no conditions.
        unsafe { libc::pause() };
    }
}

/// The bytes that the allocator has handed out and not got back.
pub fn allocated() -> usize {
    // SAFETY: it takes no pointer; it reads the allocator's own figures under its locks.
    let figures = unsafe { libc::mallinfo2() };
    figures.uordblks + figures.hblkhd
}
