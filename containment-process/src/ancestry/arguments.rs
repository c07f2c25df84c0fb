//! The arguments of a process: they lie in its own memory, so that reading them waits for the lock of it.

use containment_core::Member;

use crate::proc::Process;

/// So much of them is read.
const LENGTH: usize = 4096;

/// Where in the kernel a process may be found that is frozen: some kernels freeze whoever sleeps where it
/// is, and show it as state D. Nobody sleeps there with a lock in hand.
const HARMLESS: [&str; 18] = [
    "__refrigerator",
    "do_freezer_trap",
    "get_signal",
    "hrtimer_nanosleep",
    "do_nanosleep",
    "futex_",
    "ep_poll",
    "do_epoll_wait",
    "poll_schedule_timeout",
    "do_sys_poll",
    "do_select",
    "do_sigtimedwait",
    "sigsuspend",
    "do_wait",
    "pipe_read",
    "anon_pipe_read",
    "unix_stream_read_generic",
    "__skb_wait_for_more_packets",
];

/// The arguments of a member; `None` when it is gone, has none, or might hold up who reads its memory.
pub(super) fn arguments_of(member: &Member) -> Option<Vec<String>> {
    let process = Process::open(member.pid, member.started)?;
    // Who waits uninterruptibly may hold the lock meanwhile.
    if process.stat().state.0 == 'D' && !process.wchan().is_some_and(|at| is_harmless(&at)) {
        return None;
    }
    split(&process.read("cmdline", LENGTH)?)
}

fn is_harmless(function: &str) -> bool {
    HARMLESS.iter().any(|harmless| function.starts_with(harmless))
}

fn split(text: &[u8]) -> Option<Vec<String>> {
    let whole = text.strip_suffix(b"\0").unwrap_or(text);
    let arguments = whole.split(|byte| *byte == 0);
    let readable = |argument| String::from_utf8_lossy(argument).into_owned();
    (!text.is_empty()).then(|| arguments.map(readable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Stat;
    use containment_core::{Pid, Standing};

    #[test]
    fn arguments_are_told_apart_and_none_is_lost() {
        let split = |text: &[u8]| split(text);
        assert_eq!(split(b"a\0\0b c\0").unwrap(), ["a", "", "b c"]);
        assert_eq!(split(b"cut of").unwrap(), ["cut of"]);
        assert_eq!(split(b""), None, "a kernel thread, or a zombie");
    }

    #[test]
    fn our_own_are_found_and_those_of_a_pid_that_was_recycled_are_not() {
        let stat = Stat::read(Pid::current()).unwrap().unwrap();
        let mut member = stat.member(Standing::Inside);
        let own: Vec<_> = std::env::args().collect();
        assert!(arguments_of(&member).unwrap().starts_with(&own[..1]));
        member.started += 1;
        assert_eq!(arguments_of(&member), None);
    }
}
