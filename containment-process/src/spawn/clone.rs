//! Making the child: `clone3` on shared memory, or, where that is missing, a clone of the memory.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::child::Plan;
use super::gate::Gate;
use super::region::Region;
use super::{Entry, Memory};
use crate::fork::clone_memory;
use crate::pidfd::{PidFd, checked_pid};

/// A child.
#[derive(Debug)]
pub(super) struct Cloned {
    pub(super) process: PidFd,
    /// On memory of its own: where it waits for us. Otherwise it is on ours, until it executes or dies.
    pub(super) gate: Option<Gate>,
}

/// `struct clone_args` of clone3(2), up to `cgroup` (Linux 5.7); kernels before that take it as
/// long as the last field is zero.
#[derive(Debug, Default)]
#[repr(C, align(8))]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Clones a child, on this memory or on a copy of it, that carries out `plan`.
///
/// # Safety
/// `plan` and `region` stay as they are until a child on this memory left it, as the region's notes tell, or
/// until it can run no instruction any more.
pub(super) unsafe fn clone(
    plan: &mut Plan<'_>,
    entry: Entry<'_>,
    region: &Region,
    memory: Memory,
) -> io::Result<Cloned> {
    match memory {
        Memory::Share | Memory::Vfork => {
            // SAFETY: the caller keeps plan and region.
            let process = unsafe { clone_on_stack(plan, entry, region, memory) }?;
            Ok(Cloned { process, gate: None })
        }
        Memory::Copy => clone_apart(plan, entry, region),
    }
}

/// On memory of its own, where it waits at the gate.
fn clone_apart(plan: &mut Plan<'_>, entry: Entry<'_>, region: &Region) -> io::Result<Cloned> {
    plan.gate = Some(Gate::new(|number| plan.gives(number))?);
    // SAFETY: the child has a copy of the plan and of its stack.
    let process = match unsafe { clone_on_stack(plan, entry, region, Memory::Copy) } {
        Err(error) if is_missing(&error) && !matches!(entry, Entry::Born(..)) => {
            clone_as_ever(plan)
        }
        cloned => cloned,
    };
    Ok(Cloned { process: process?, gate: plan.gate.take() })
}

/// Whether kernels before 5.5, which lack a flag (`EINVAL`), or others or their seccomp filters, which lack the
/// call, may refuse it by this.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EINVAL | libc::E2BIG))
}

/// On the parent's memory, and a word of it tells until when.
const SHARING: u64 = (libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID) as u64;

/// On a stack of its own.
///
/// # Safety
/// On this memory `plan` and `region` have to stay until the child left it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn clone_on_stack(
    plan: &mut Plan<'_>,
    entry: Entry<'_>,
    region: &Region,
    memory: Memory,
) -> io::Result<PidFd> {
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: region.stack() as u64,
        stack_size: Region::stack_size() as u64,
        ..CloneArgs::default()
    };
    if memory == Memory::Vfork {
        args.flags |= libc::CLONE_VFORK as u64;
    }
    if memory != Memory::Copy {
        args.flags |= SHARING;
        args.child_tid = region.notes().expect() as u64;
    }
    if let Entry::Born(cgroup, _) = entry {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    }
    plan.handlers_cleared = true;
    // SAFETY: the stack is mapped and unused. The plan outlives the child's use of it: the caller keeps it, or the
    // child has a copy. `run_plan` never returns.
    let pid = unsafe { clone3_on_stack(&args, run_plan, std::ptr::from_mut(plan).cast()) };
    if pid < 0 {
        region.notes().clear_aboard();
    }
    cloned(pid, pidfd)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone_on_stack(
    _: &mut Plan<'_>,
    _: Entry<'_>,
    _: &Region,
    _: Memory,
) -> io::Result<PidFd> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

extern "C" fn run_plan(plan: *mut libc::c_void) -> ! {
    // SAFETY: `clone_on_stack` passed a `Plan` that is kept alive and not touched meanwhile.
    let plan = unsafe { &mut *plan.cast::<Plan<'_>>() };
    plan.run()
}

/// clone3 whose child calls `entry(argument)` on the stack that `args` names. Returns the child's
/// pid or a negated errno.
///
/// # Safety
/// `args` must name a valid unused stack, and `argument` be what `entry` takes; with `CLONE_VM` both have to
/// stay until the child left this memory.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_on_stack(
    args: &CloneArgs,
    entry: extern "C" fn(*mut libc::c_void) -> !,
    argument: *mut libc::c_void,
) -> i64 {
    let result: i64;
    // SAFETY: the system call clobbers rax, rcx and r11. The child returns from it on its own empty
    // stack, 16-byte aligned as a call wants it, and leaves this block for ever by the call.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") std::ptr::from_ref(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r12") argument,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// clone3 whose child calls `entry(argument)` on the stack that `args` names. Returns the child's
/// pid or a negated errno.
///
/// # Safety
/// `args` must name a valid unused stack, and `argument` be what `entry` takes; with `CLONE_VM` both have to
/// stay until the child left this memory.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3_on_stack(
    args: &CloneArgs,
    entry: extern "C" fn(*mut libc::c_void) -> !,
    argument: *mut libc::c_void,
) -> i64 {
    let result: i64;
    // SAFETY: the system call clobbers x0 only. The child returns from it on its own empty stack,
    // 16-byte aligned, and leaves this block for ever by the branch. x30 is no late output: such a
    // register may hold an input, which the child would lose.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, {argument}",
            "blr {entry}",
            "brk #1",
            "2:",
            argument = in(reg) argument,
            entry = in(reg) entry,
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(args) => result,
            in("x1") size_of::<CloneArgs>(),
            out("x30") _,
        );
    }
    result
}

/// The clone that every kernel has, on a copy of the parent's memory like fork.
fn clone_as_ever(plan: &mut Plan<'_>) -> io::Result<PidFd> {
    plan.handlers_cleared = false;
    // SAFETY: the child only makes system calls, and never returns from `run`.
    match unsafe { clone_memory(libc::SIGCHLD) }? {
        Some(process) => Ok(process),
        None => plan.run(),
    }
}

fn cloned(pid: i64, pidfd: libc::c_int) -> io::Result<PidFd> {
    if pid < 0 {
        let errno = i32::try_from(-pid).unwrap_or(libc::EINVAL);
        return Err(io::Error::from_raw_os_error(errno));
    }
    // SAFETY: the clone succeeded, so the kernel stored a new descriptor of ours.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(PidFd::from_fd(checked_pid(pid)?, pidfd))
}
