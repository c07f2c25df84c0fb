//! `/proc/PID/stat`: one process as it was in one moment.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use containment_core::{Member, Pid, ProcessState, Standing};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::retry_on_intr;

use super::cgroup::is_gone;
use super::text::number;

/// The longest text: 52 numbers of 20 digits, their blanks, and a name of 64 bytes.
pub(super) const LONGEST: usize = 2048;

/// `PF_EXITING` among a process's flags (`include/linux/sched.h`), the same in every kernel so far.
const EXITING: u32 = 0x4;

/// What `/proc/PID/stat` says, as far as we need it. Times are in clock ticks.
///
/// ```
/// use containment_core::{Pid, Standing};
/// use containment_process::proc::{Stat, ticks};
/// let us = Stat::read(Pid::current())?.expect("we live");
/// assert!(!us.is_dead() && !us.has_ended() && us.resident() > 0);
/// assert_eq!(us.each_thread()?.len() as i64, us.threads);
/// let member = us.member(Standing::Program);
/// assert_eq!(member.cpu, Some(ticks(us.user_ticks) + ticks(us.system_ticks)));
/// assert_eq!(Stat::parse(b"42 (cut off"), None);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its pid.
    pub pid: Pid,
    /// Its command name; bytes that are not UTF-8 are replaced.
    pub comm: String,
    /// Its state.
    pub state: ProcessState,
    /// Whether its first thread is on its way out of the kernel (`PF_EXITING`): that runs no instruction any more.
    pub exiting: bool,
    /// Its parent's pid, 0 when that lies outside our pid namespace.
    pub parent: i32,
    /// Its process group, 0 when that lies outside our pid namespace, -1 while it is being reaped.
    pub group: i32,
    /// Its session, 0 and -1 as with the group.
    pub session: i32,
    /// Its controlling terminal, 0 when it has none.
    pub tty: i32,
    /// CPU time in user mode.
    pub user_ticks: u64,
    /// CPU time in the kernel.
    pub system_ticks: u64,
    /// CPU time in user mode of the children that it waited for, and of those that they waited for.
    pub waited_user_ticks: u64,
    /// CPU time in the kernel of the same.
    pub waited_system_ticks: u64,
    /// How many threads it has, 0 while it is being reaped.
    pub threads: i64,
    /// When it started, since boot.
    pub started: u64,
    /// Resident memory, in pages; none once its first thread has ended.
    pub resident_pages: i64,
}

impl Stat {
    /// Reads a process, `None` when there is none of this pid.
    pub fn read(pid: Pid) -> io::Result<Option<Self>> {
        let path = format!("/proc/{pid}/stat");
        Self::read_at(CWD, path.as_bytes(), &mut [0; LONGEST])
    }

    /// Reads the file at `path` below `dir` through a buffer of [`LONGEST`] bytes.
    pub(super) fn read_at(
        dir: impl std::os::fd::AsFd,
        path: &[u8],
        buffer: &mut [u8],
    ) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let read = retry_on_intr(|| rustix::fs::openat(&dir, path, flags, Mode::empty()))
            // The kernel writes the line at once: one read has all of it.
            .and_then(|file| retry_on_intr(|| rustix::io::read(&file, &mut *buffer)));
        match read.map_err(io::Error::from) {
            // A process that is reaped between opening and reading may read empty.
            Ok(0) => Ok(None),
            Ok(length) => Self::parse(&buffer[..length]).map(Some).ok_or_else(malformed),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the text of `/proc/PID/stat`; `None` when it is malformed.
    pub fn parse(text: &[u8]) -> Option<Self> {
        // A name may hold blanks and parentheses: the last one closes it.
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')').filter(|close| *close > open)?;
        let pid = Pid::new(number(text[..open].trim_ascii_end())?)?;
        let comm = String::from_utf8_lossy(&text[open + 1..close]).into_owned();
        let rest = text[close + 1..].trim_ascii_start();
        let mut fields = rest.split(u8::is_ascii_whitespace);
        Some(Self {
            pid,
            comm,
            state: ProcessState(state(fields.next()?)?),
            parent: number(fields.next()?)?,
            group: number(fields.next()?)?,
            session: number(fields.next()?)?,
            tty: number(fields.next()?)?,
            exiting: number::<u32>(fields.nth(1)?)? & EXITING != 0, // field 9
            user_ticks: number(fields.nth(4)?)?,                    // field 14
            system_ticks: number(fields.next()?)?,
            waited_user_ticks: number(fields.next()?)?,
            waited_system_ticks: number(fields.next()?)?,
            threads: number(fields.nth(2)?)?,        // field 20
            started: number(fields.nth(1)?)?,        // field 22
            resident_pages: number(fields.nth(1)?)?, // field 24
        })
    }

    /// Whether it is a zombie that only waits to be reaped. Where the first thread has ended and others run, the
    /// process is shown as a zombie, too, and lives.
    pub fn is_dead(&self) -> bool {
        self.state.is_zombie() && self.threads <= 1
    }

    /// Whether it lives without its first thread, of which `/proc/PID` tells: the process is shown as a zombie.
    pub fn lives_without_first_thread(&self) -> bool {
        self.state.is_zombie() && !self.is_dead()
    }

    /// Whether it runs no instruction any more: each of its threads is a zombie, or about to be one. The kernel
    /// takes a process out of its groups, and so tells that they are empty, shortly before it shows a zombie.
    /// Where its first thread has ended before others, those are looked at now.
    pub fn has_ended(&self) -> bool {
        let ends = |thread: &Self| thread.exiting || thread.state.is_zombie();
        let others_end = || self.each_thread().is_ok_and(|threads| threads.iter().all(ends));
        ends(self) && (self.threads <= 1 || others_end())
    }

    /// Its threads as they are now, each under its own id; none of a process that is gone.
    pub fn each_thread(&self) -> io::Result<Vec<Self>> {
        let mut buffer = [0; LONGEST];
        let mut threads = Vec::new();
        for thread in super::threads::of(CWD, &format!("/proc/{}", self.pid))? {
            let path = format!("/proc/{}/task/{thread}/stat", self.pid);
            threads.extend(Self::read_at(CWD, path.as_bytes(), &mut buffer)?);
        }
        Ok(threads)
    }

    /// This process as a member of a group to which it stands so.
    pub fn member(&self, standing: Standing) -> Member {
        Member {
            pid: self.pid,
            parent: self.parent,
            started: self.started,
            comm: self.comm.clone(),
            state: self.state,
            standing,
            cpu: Some(ticks(self.user_ticks) + ticks(self.system_ticks)),
            memory: Some(self.resident()),
            origin: None,
        }
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        let pages = self.living_thread().map(|thread| thread.resident_pages);
        let pages = pages.and_then(|pages| u64::try_from(pages).ok()).unwrap_or_default();
        pages.saturating_mul(rustix::param::page_size() as u64)
    }

    /// Its first thread; where that has ended before others, one of those, as it is now. By a thread that has ended
    /// `/proc` shows no memory, and so neither arguments nor environment.
    pub fn living_thread(&self) -> Option<Cow<'_, Self>> {
        if !self.lives_without_first_thread() {
            return Some(Cow::Borrowed(self));
        }
        let lives = |thread: &Self| !thread.exiting && !thread.state.is_zombie();
        self.each_thread().ok()?.into_iter().find(lives).map(Cow::Owned)
    }
}

/// The time of so many clock ticks, as `/proc/PID/stat` counts them.
pub fn ticks(count: u64) -> Duration {
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    let nanos = u128::from(count) * 1_000_000_000 / u128::from(a_second);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn state(field: &[u8]) -> Option<char> {
    match field {
        [letter] if letter.is_ascii_alphabetic() => Some(char::from(*letter)),
        _ => None,
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed /proc/PID/stat")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASH: &[u8] = b"4242 (bash) S 4100 4242 4100 34816 4300 4194304 1893 18031 0 12 7 3 21 9 20 0 1 0 \
        889321 8613888 1303 18446744073709551615 94 95 96 0 0 0 65536 3686404 1266761467 1 0 0 17 1 0 0 0 0 0 \
        97 98 99 100 101 102 103 0\n";

    #[test]
    fn a_shell_is_read() {
        let bash = Stat::parse(BASH).unwrap();
        assert_eq!((bash.pid.as_raw(), bash.comm.as_str()), (4242, "bash"));
        assert_eq!((bash.parent, bash.group, bash.session, bash.tty), (4100, 4242, 4100, 34816));
        assert_eq!((bash.user_ticks, bash.system_ticks, bash.threads), (7, 3, 1));
        assert_eq!((bash.waited_user_ticks, bash.waited_system_ticks), (21, 9));
        assert_eq!((bash.started, bash.resident_pages), (889_321, 1303));
        assert!(!bash.state.is_zombie() && !bash.has_ended());
    }

    #[test]
    fn a_process_on_its_way_out_has_ended() {
        let text = String::from_utf8_lossy(BASH).replacen("4194304", "4194308", 1);
        let stat = Stat::parse(text.as_bytes()).unwrap();
        assert!(!stat.state.is_zombie() && stat.exiting && stat.has_ended());
    }

    #[test]
    fn who_runs_on_without_the_first_thread_has_neither_died_nor_ended() {
        std::thread::scope(|scope| {
            let (end, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || wait.recv());
            let own = Stat::read(Pid::current()).unwrap().unwrap();
            let shown = Stat { state: ProcessState('Z'), exiting: true, ..own };
            assert!(!shown.is_dead() && !shown.has_ended());
            assert!(shown.lives_without_first_thread());
            assert!(
                Stat { resident_pages: 0, ..shown.clone() }.resident() > 0,
                "the others have it"
            );
            let alone = Stat { threads: 1, ..shown.clone() };
            assert!(alone.is_dead() && alone.has_ended());
            assert!(!alone.lives_without_first_thread());
            let gone = Stat { pid: Pid::new(i32::MAX).unwrap(), ..shown };
            assert!(gone.has_ended() && gone.each_thread().unwrap().is_empty());
            drop(end);
        });
    }

    #[test]
    fn the_last_parenthesis_closes_the_name() {
        for name in ["a) R 1 (b", ")", "(", "", "tmux: server", "x\ny"] {
            let text = String::from_utf8_lossy(BASH).replacen("bash", name, 1);
            let stat = Stat::parse(text.as_bytes()).unwrap();
            assert_eq!((stat.comm.as_str(), stat.parent), (name, 4100));
        }
    }

    #[test]
    fn a_member_is_what_was_read() {
        let member = Stat::parse(BASH).unwrap().member(Standing::Escaped);
        assert_eq!((member.pid.as_raw(), member.parent, member.started), (4242, 4100, 889_321));
        assert_eq!((member.comm.as_str(), member.standing), ("bash", Standing::Escaped));
        assert_eq!((member.cpu, member.memory), (Some(ticks(10)), Some(1303 * page())));
    }

    #[test]
    fn malformed_texts_are_none() {
        let texts: [&[u8]; 7] =
            [b"", b"1", b"1 (x", b")1 (", b"0 (x) S 1", b"1 (x) S 1 2 3", b"1 (x) ?? 1 1 1 0"];
        for text in texts {
            assert_eq!(Stat::parse(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn this_process_is_read_and_one_that_never_was_is_none() {
        let stat = Stat::read(Pid::current()).unwrap().unwrap();
        assert_eq!(stat.pid, Pid::current());
        assert_eq!(u32::try_from(stat.parent), Ok(std::os::unix::process::parent_id()));
        assert!(stat.started > 0 && stat.threads >= 1 && stat.resident_pages > 0);
        assert_eq!(Stat::read(Pid::new(i32::MAX).unwrap()).unwrap(), None);
    }

    fn page() -> u64 {
        rustix::param::page_size() as u64
    }

    #[test]
    fn ticks_are_parts_of_a_second() {
        let a_second = rustix::param::clock_ticks_per_second();
        assert_eq!(ticks(3 * a_second), Duration::from_secs(3));
        assert_eq!(ticks(u64::MAX), Duration::from_nanos(u64::MAX), "no overflow");
    }

    proptest! {
        #[test]
        fn no_text_panics(text: Vec<u8>, plausible in "[0-9]{0,3} ?\\(?[a) ]{0,4}[RS0-9 -]{0,90}") {
            Stat::parse(&text);
            Stat::parse(plausible.as_bytes());
        }

        #[test]
        fn a_line_round_trips(pid in 1..i32::MAX, comm in "[^\0]{0,15}", ids: [i32; 4], ticks: [u64; 3]) {
            let [parent, group, session, tty] = ids;
            let [user, system, started] = ticks;
            let text = format!(
                "{pid} ({comm}) D {parent} {group} {session} {tty} 0 0 0 0 0 0 {user} {system} \
                 0 0 20 0 3 0 {started} 4096 17 0 0\n"
            );
            let stat = Stat::parse(text.as_bytes()).unwrap();
            prop_assert_eq!((stat.pid.as_raw(), &stat.comm), (pid, &comm));
            prop_assert_eq!([stat.parent, stat.group, stat.session, stat.tty], ids);
            prop_assert_eq!([stat.user_ticks, stat.system_ticks, stat.started], ticks);
            prop_assert_eq!((stat.state.0, stat.threads, stat.resident_pages), ('D', 3, 17));
        }
    }
}
