//! A seccomp filter that lets nobody inside make or join a user namespace, in one of his own a process
//! has every capability again, nor type on a terminal, whose shell outside would read it.
//!
//! seccomp(2); classic BPF over `struct seccomp_data`: the call's number at 0, the architecture at 4,
//! the low halves of the arguments from 16 on (both architectures here are little-endian).

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;
/// `ioctl_tty(2)`: both put bytes into a terminal's input.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const NEW_USER: u32 = libc::CLONE_NEWUSER.cast_unsigned();
const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000;

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// The numbers of the calls on one architecture (asm/unistd.h; linux/audit.h).
struct Calls {
    architecture: u32,
    /// The bits that a number of it never has: x32 sets one, for the same calls and for some of its own.
    alien: u32,
    clone: u32,
    unshare: u32,
    setns: u32,
    ioctl: u32,
}

/// clone3(2) has one number everywhere.
const CLONE3: u32 = 435;

#[cfg(target_arch = "x86_64")]
const CALLS: [Calls; 2] = [
    Calls {
        architecture: 0xc000_003e,
        alien: 0x4000_0000,
        clone: 56,
        unshare: 272,
        setns: 308,
        ioctl: 16,
    },
    // i386.
    Calls { architecture: 0x4000_0003, alien: 0, clone: 120, unshare: 310, setns: 346, ioctl: 54 },
];
#[cfg(target_arch = "aarch64")]
const CALLS: [Calls; 2] = [
    Calls { architecture: 0xc000_00b7, alien: 0, clone: 220, unshare: 97, setns: 268, ioctl: 29 },
    // arm.
    Calls { architecture: 0x4000_0028, alien: 0, clone: 120, unshare: 337, setns: 375, ioctl: 54 },
];
/// Calls are not known here: every one is refused, so that no program starts sealed.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CALLS: [Calls; 0] = [];

/// The filter: one block for each architecture; a call of any other one is refused.
pub(super) fn new() -> Vec<libc::sock_filter> {
    let mut filter = vec![load(ARCHITECTURE)];
    for calls in &CALLS {
        let block = block(calls);
        filter.push(jump(IF_EQUAL, calls.architecture, 0, block.len()));
        filter.extend(block);
    }
    filter.push(give(refusal(libc::ENOSYS)));
    filter
}

fn block(calls: &Calls) -> Vec<libc::sock_filter> {
    vec![
        load(NUMBER),
        jump(IF_SET, calls.alien, 12, 0),
        jump(IF_EQUAL, calls.setns, 9, 0),
        jump(IF_EQUAL, CLONE3, 10, 0),
        jump(IF_EQUAL, calls.ioctl, 4, 0),
        jump(IF_EQUAL, calls.clone, 1, 0),
        jump(IF_EQUAL, calls.unshare, 0, 6),
        load(FIRST_ARGUMENT),
        jump(IF_SET, NEW_USER, 3, 4),
        load(SECOND_ARGUMENT),
        jump(IF_EQUAL, TIOCSTI, 1, 0),
        jump(IF_EQUAL, TIOCLINUX, 0, 1),
        give(refusal(libc::EPERM)),
        give(ALLOW),
        // clone3(2), whose flags lie in memory: libraries fall back on clone(2).
        give(refusal(libc::ENOSYS)),
    ]
}

fn load(offset: u32) -> libc::sock_filter {
    statement(LOAD, offset)
}

fn give(verdict: u32) -> libc::sock_filter {
    statement(RETURN, verdict)
}

fn refusal(errno: i32) -> u32 {
    REFUSE | errno.cast_unsigned()
}

fn statement(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

/// Skips `yes` or `no` statements. Blocks are far shorter than 256.
fn jump(code: u16, k: u32, yes: u8, no: usize) -> libc::sock_filter {
    libc::sock_filter { code, jt: yes, jf: u8::try_from(no).unwrap_or(u8::MAX), k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel does.
    fn verdict(architecture: u32, number: u32, arguments: [u32; 2]) -> u32 {
        let (filter, mut at, mut accumulator) = (new(), 0, 0);
        loop {
            let now = filter[at];
            at += 1;
            match now.code {
                LOAD if now.k == NUMBER => accumulator = number,
                LOAD if now.k == ARCHITECTURE => accumulator = architecture,
                LOAD if now.k == FIRST_ARGUMENT => accumulator = arguments[0],
                LOAD if now.k == SECOND_ARGUMENT => accumulator = arguments[1],
                IF_EQUAL => at += usize::from(if accumulator == now.k { now.jt } else { now.jf }),
                IF_SET => at += usize::from(if accumulator & now.k == 0 { now.jf } else { now.jt }),
                RETURN => return now.k,
                other => panic!("no such statement: {other:#x}"),
            }
        }
    }

    #[test]
    fn what_is_a_way_out_is_refused_on_every_architecture_and_the_rest_is_not() {
        for calls in CALLS {
            let verdict = |call, arguments| verdict(calls.architecture, call, arguments);
            for call in [calls.clone, calls.unshare] {
                assert_eq!(verdict(call, [NEW_USER | 0x11, 0]), refusal(libc::EPERM));
                assert_eq!(verdict(call, [0x11, TIOCSTI]), ALLOW);
            }
            for request in [TIOCSTI, TIOCLINUX] {
                assert_eq!(verdict(calls.ioctl, [0, request]), refusal(libc::EPERM));
            }
            assert_eq!(verdict(calls.ioctl, [NEW_USER, 0x5401]), ALLOW);
            assert_eq!(verdict(calls.setns, [3, 0]), refusal(libc::EPERM));
            assert_eq!(verdict(CLONE3, [0, 0]), refusal(libc::ENOSYS));
            assert_eq!(verdict(1, [NEW_USER, TIOCSTI]), ALLOW);
        }
        assert_eq!(verdict(7, 1, [0, 0]), refusal(libc::ENOSYS));
    }

    /// x32 numbers some calls anew: its `ioctl` is 514 (`arch/x86/entry/syscalls/syscall_64.tbl`).
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn no_call_of_x32_is_let_through() {
        const X32: u32 = 0x4000_0000;
        for number in [CALLS[0].unshare, CALLS[0].ioctl, 514, 1].map(|number| X32 | number) {
            for arguments in [[NEW_USER, TIOCSTI], [0, 0]] {
                let verdict = verdict(CALLS[0].architecture, number, arguments);
                assert_eq!(verdict, refusal(libc::ENOSYS), "{number:#x}");
            }
        }
    }
}
