//! The system calls of an isolated start, each made by its number. None of them touches memory but what
//! it is given.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;

/// Whether the kernel has `mount_setattr(2)`, since Linux 5.12.
pub(super) fn has_mount_setattr() -> bool {
    let attr = MountAttr { attr_set: 0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // Changes nothing: the descriptor is none.
    // SAFETY: reads a path and a structure of the given size.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            -1,
            c"".as_ptr(),
            0,
            &raw const attr,
            size_of_val(&attr),
        )
    };
    done == 0 || last_errno() != Errno::NOSYS
}

/// Makes a mount read-only: `mount_setattr(2)` with these flags of `AT_…`.
pub(super) fn mount_read_only(dir: BorrowedFd<'_>, path: &CStr, flags: i32) -> Result<(), Errno> {
    let attr = MountAttr { attr_set: MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: reads a C string and a structure of the given size.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of_val(&attr),
        )
    })
    .map(drop)
}

/// Marks every descriptor from `first` to `last` close-on-exec (Linux 5.11).
pub(super) fn close_range_on_exec(first: i32, last: i32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;
    // SAFETY: integers only; nothing is closed before the exec.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, CLOSE_RANGE_CLOEXEC) })
        .map(drop)
}

/// Marks one descriptor close-on-exec, if it is open.
pub(super) fn close_on_exec(fd: i32) {
    // SAFETY: integers only; EBADF is what most numbers give.
    unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// Puts this process under a seccomp filter for good.
pub(super) fn filter_calls(filter: &[libc::sock_filter]) -> Result<(), Errno> {
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    let length = u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: reads the program, which says its length; the kernel copies it and writes nothing.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    })
    .map(drop)
}

/// `struct landlock_ruleset_attr`; kernels before a field take it as long as the field is zero.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Ruleset {
    pub(super) handled_access_fs: u64,
    pub(super) handled_access_net: u64,
    pub(super) scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// The version of Landlock that is in force here; none below 1.
pub(super) fn landlock_version() -> i64 {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<Ruleset>();
    // SAFETY: asks for a number and reads nothing.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            none,
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    }
}

/// Makes a Landlock ruleset.
pub(super) fn landlock_ruleset(attr: &Ruleset) -> Result<OwnedFd, Errno> {
    // SAFETY: reads the structure, whose size is given.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *attr, size_of_val(attr), 0)
    })?;
    // SAFETY: the call succeeded, so that this is a new descriptor of ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Allows this access beneath a directory.
pub(super) fn landlock_allow(
    ruleset: BorrowedFd<'_>,
    beneath: BorrowedFd<'_>,
    allowed_access: u64,
) -> Result<(), Errno> {
    const LANDLOCK_RULE_PATH_BENEATH: libc::c_int = 1;
    let rule = PathBeneath { allowed_access, parent_fd: beneath.as_raw_fd() };
    // SAFETY: reads the structure of the type that the number says.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            LANDLOCK_RULE_PATH_BENEATH,
            &raw const rule,
            0,
        )
    })
    .map(drop)
}

/// Puts this process under the ruleset for good.
pub(super) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
        .map(drop)
}

/// A system call of up to four arguments, or its errno. On shared memory libc's errno is the parent's, too.
///
/// # Safety
/// What the call does with these arguments is sound.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 4]) -> Result<i32, i32> {
    let [first, second, third, fourth] = arguments;
    let result: i64;
    // SAFETY: the system call clobbers rax, rcx and r11; the rest is the caller's promise.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer(result)
}

/// A system call of up to four arguments, or its errno. On shared memory libc's errno is the parent's, too.
///
/// # Safety
/// What the call does with these arguments is sound.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 4]) -> Result<i32, i32> {
    let [first, second, third, fourth] = arguments;
    let result: i64;
    // SAFETY: the system call clobbers x0 only; the rest is the caller's promise.
    unsafe {
        std::arch::asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") first => result,
            in("x1") second,
            in("x2") third,
            in("x3") fourth,
        );
    }
    answer(result)
}

/// The same by libc, on a copy of the memory.
///
/// # Safety
/// What the call does with these arguments is sound.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 4]) -> Result<i32, i32> {
    let [first, second, third, fourth] = arguments;
    // SAFETY: the caller's promise.
    check(unsafe { libc::syscall(number, first, second, third, fourth) })
        .map_err(Errno::raw_os_error)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn answer(result: i64) -> Result<i32, i32> {
    match i32::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        Ok(errno) => Err(-errno),
        Err(_) => Err(libc::EOVERFLOW),
    }
}

fn check(result: libc::c_long) -> Result<i32, Errno> {
    i32::try_from(result).ok().filter(|value| *value >= 0).ok_or_else(last_errno)
}

fn last_errno() -> Errno {
    // SAFETY: the thread's errno.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}
