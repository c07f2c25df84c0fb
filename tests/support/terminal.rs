//! A terminal with a shell on it, as a user sits in front of one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::deadline;
use super::job::{Job, in_a_session};

/// What is typed to interrupt.
pub(crate) const CTRL_C: &str = "\x03";
/// What is typed to quit.
pub(crate) const CTRL_BACKSLASH: &str = "\x1c";
/// What is typed to stop.
pub(crate) const CTRL_Z: &str = "\x1a";

/// A pseudo-terminal, and a program that leads a session on it.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: File,
    leader: Child,
    shown: String,
    seen: usize,
}

impl Terminal {
    /// With an interactive shell that has job control, for the job's runs.
    pub(crate) fn with_shell(job: &Job) -> Self {
        let mut terminal = Self::with(job, &["sh", "-i"]);
        terminal.expect("READY> ");
        terminal
    }

    /// With this program, which carries the job's mark.
    pub(crate) fn with(job: &Job, words: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("there are pseudo-terminals");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name").into_bytes();
        let path = PathBuf::from(std::ffi::OsString::from_vec(name));
        let open = || File::options().read(true).write(true).open(&path).expect("it is ours");
        let mut command = in_a_session(&["-c"]);
        command.args(words).env("PS1", "READY> ").env_remove("ENV");
        job.settle(&mut command);
        let leader = command.stdin(open()).stdout(open()).stderr(open()).spawn();
        let leader = leader.expect("setsid can be run");
        Self { master: File::from(master), leader, shown: String::new(), seen: 0 }
    }

    /// Types this.
    pub(crate) fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("somebody reads the terminal");
    }

    /// Types this again and again until that is shown: a shell may be about to hand over the terminal.
    #[track_caller]
    pub(crate) fn types_until(&mut self, keys: &str, text: &str) {
        let until = Instant::now() + deadline();
        while !self.shows(text) {
            assert!(Instant::now() < until, "not shown: {text:?}; but {:?}", self.shown);
            self.types(keys);
            (0..5).for_each(|_| self.read());
        }
    }

    /// Waits until this is shown, after what was waited for before.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        let until = Instant::now() + deadline();
        while !self.shows(text) {
            assert!(Instant::now() < until, "not shown: {text:?}; but {:?}", self.shown);
            self.read();
        }
    }

    /// Whether this was shown after what was waited for before.
    fn shows(&mut self, text: &str) -> bool {
        let at = self.shown[self.seen..].find(text);
        self.seen += at.map_or(0, |at| at + text.len());
        at.is_some()
    }

    /// Waits for the end of the leader.
    pub(crate) fn finish(mut self) -> ExitStatus {
        let until = Instant::now() + deadline();
        loop {
            if let Some(status) = self.leader.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < until, "it did not end; shown was {:?}", self.shown);
            self.read();
        }
    }

    /// Reads what is shown within a moment.
    fn read(&mut self) {
        let moment = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        if poll(&mut fds, Some(&moment)).expect("it can be polled") == 0 {
            return;
        }
        let mut buffer = [0; 4096];
        // EIO: nobody has it open any more.
        let length = self.master.read(&mut buffer).unwrap_or(0);
        self.shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The hang-up of the terminal ends what is left on it.
        drop(self.leader.kill());
        drop(self.leader.wait());
    }
}
