//! One `contain run` under test: its unique name and mark, its files, and the check that it left nothing.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use containment::{Pid, Signal};
use containment_core::SignalSet;
use containment_process::pidfd::PidFd;
use serde_json::Value;
use tempfile::TempDir;

use super::{SETTINGS, binary, deadline, eventually, traces};

/// The variable that marks every process of a job.
const MARK: &str = "CONTAIN_TEST_MARK";

/// What is given to this runs in a session of its own, by these options of `setsid`; with the default actions of signals,
/// whatever whoever runs the tests ignores: by `nohup`, or in the background of a script.
pub(crate) fn in_a_session(options: &[&str]) -> Command {
    let mut command = Command::new("setsid");
    command.args(options);
    if ignores_signals() {
        command.args(["env", "--default-signal"]);
    }
    command
}

fn ignores_signals() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let ignored = SignalSet::from_bits(ignored.expect("it tells what is ignored"));
    [Signal::HUP, Signal::INT, Signal::QUIT].iter().any(|signal| ignored.contains(*signal))
}

/// A run that can be told from every other one. Whatever carries its mark is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Job {
    backend: String,
    /// Digits, so that it can stand behind the point of a time to sleep, too.
    mark: String,
    /// The group's name.
    name: String,
    directory: TempDir,
    /// The words before `contain`.
    prefix: Vec<String>,
    binary: PathBuf,
}

impl Job {
    /// A job on `backend` (or `auto`).
    pub(crate) fn on(backend: &str) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mark = format!("77{:08}{serial:05}", std::process::id());
        let directory = tempfile::tempdir().expect("a directory can be made");
        // Unprivileged runs write here, too.
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(directory.path(), open).expect("the directory is ours");
        let backend = backend.to_owned();
        let name = format!("test-{mark}");
        Self { backend, mark, name, directory, prefix: Vec::new(), binary: binary() }
    }

    /// Runs `contain` behind these words, each of which must `exec` the rest.
    #[must_use]
    pub(crate) fn behind(mut self, words: &[impl AsRef<str>]) -> Self {
        self.prefix.extend(words.iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Runs a copy of the binary, which any user can reach.
    #[must_use]
    pub(crate) fn with_reachable_binary(mut self) -> Self {
        let copy = self.path("contain");
        // Written by another process: a fork of another test's, holding it open, would make it busy.
        let copied = std::process::Command::new("cp").arg(&self.binary).arg(&copy).status();
        assert!(copied.is_ok_and(|status| status.success()), "the binary can be copied");
        self.binary = copy;
        self
    }

    /// The mark.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// The group's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A path in the job's own directory.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// What a file in the job's own directory holds; empty when there is none.
    pub(crate) fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    /// Waits until a file in the job's own directory holds a whole line, and gives it.
    pub(crate) fn await_line(&self, file: &str) -> String {
        eventually(&format!("a line in {file}"), || self.text(file).ends_with('\n'));
        self.text(file).trim().to_owned()
    }

    /// A script with `MARK` replaced by the mark (which makes `sleep 1000.MARK` known by its
    /// arguments) and `DIR` by the job's own directory.
    pub(crate) fn script(&self, text: &str) -> String {
        let directory = self.directory.path().to_str().expect("temporary paths are UTF-8");
        text.replace("MARK", &self.mark).replace("DIR", directory)
    }

    /// Runs `contain run OPTIONS -- sh -c SCRIPT` to its end, and checks that nothing is left.
    pub(crate) fn sh(&self, options: &[&str], script: &str) -> Ended {
        self.start_sh(options, script).finish()
    }

    /// Runs `contain run OPTIONS -- PROGRAM` to its end, and checks that nothing is left.
    pub(crate) fn run(&self, options: &[&str], program: &[&str]) -> Ended {
        self.start(options, program).finish()
    }

    /// Starts `contain run OPTIONS -- sh -c SCRIPT`.
    pub(crate) fn start_sh(&self, options: &[&str], script: &str) -> Running<'_> {
        self.start(options, &["sh", "-c", &self.script(script)])
    }

    /// Starts `contain run OPTIONS -- PROGRAM`.
    pub(crate) fn start(&self, options: &[&str], program: &[&str]) -> Running<'_> {
        self.launch(&mut self.command(options, program))
    }

    /// Starts a command that [`command`](Self::command) gave, changed at will.
    pub(crate) fn launch(&self, command: &mut Command) -> Running<'_> {
        let started = Instant::now();
        let child = command.spawn().expect("contain can be run");
        Running { job: self, child, started }
    }

    /// `contain run` with the name, the mark, a report, and files for the streams. In a session of its
    /// own: without a terminal, whoever runs the tests, and its zombies can be told.
    pub(crate) fn command(&self, options: &[&str], program: &[&str]) -> Command {
        let mut command = self.bare_command();
        command.args(["run", "--backend", &self.backend, "--name", &self.name, "--report"]);
        command.arg(self.path("report")).args(options).arg("--").args(program);
        command
    }

    /// `contain`, with the mark and files for the streams.
    pub(crate) fn bare_command(&self) -> Command {
        let file = |name| File::create(self.path(name)).expect("the directory is ours");
        let mut command = in_a_session(&[]);
        command.args(&self.prefix).arg(&self.binary);
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        self.settle(&mut command);
        command
    }

    /// Gives a command the mark, and a state directory of the job's own instead of the settings of whoever runs the
    /// tests.
    pub(crate) fn settle(&self, command: &mut Command) {
        for name in SETTINGS {
            command.env_remove(name);
        }
        command.env(MARK, &self.mark).env("CONTAIN_STATE_DIR", self.path("state"));
    }

    /// What PROGRAM writes to stdout when it runs behind the same words without `contain`.
    pub(crate) fn directly(&self, program: &[&str]) -> String {
        let mut command = in_a_session(&[]);
        command.args(&self.prefix).args(program).stdin(Stdio::null());
        let output = command.output().expect("the program can be run");
        String::from_utf8(output.stdout).expect("output is UTF-8")
    }

    /// Fails when anything of the job is still there.
    pub(crate) fn check_nothing_left(&self) {
        assert_eq!(traces::marked(&self.mark), [], "processes are left");
        assert_eq!(traces::groups_called(&self.name), [] as [PathBuf; 0], "groups are left");
    }

    /// The processes of the job.
    pub(crate) fn processes(&self) -> Vec<traces::Process> {
        traces::marked(&self.mark)
    }

    /// Kills everything of `contain`'s own: itself, its guardian or its keeper.
    pub(crate) fn kill_contain(&self) {
        let ours = || {
            let all = self.processes().into_iter();
            let mut ours: Vec<_> = all.filter(|process| process.comm == "contain").collect();
            // Pids wrap around: the first begun is the one that is nobody's child here.
            let pids: Vec<_> = ours.iter().map(|process| process.pid).collect();
            ours.sort_by_key(|process| {
                traces::parent(process.pid).is_some_and(|parent| pids.contains(&parent))
            });
            ours
        };
        // Stopped first, so that none acts on the death of another; and the last begun is killed first,
        // for the kernel lets a stopped process group go on when its last parent dies.
        for process in ours() {
            signal(process.pid, Signal::STOP);
        }
        eventually("all of contain is dead", || {
            for process in ours().iter().rev() {
                signal(process.pid, Signal::KILL);
            }
            ours().is_empty()
        });
    }

    /// Kills whatever carries the mark, and removes the group if there is one.
    fn clean_up(&self) {
        let clean = || {
            for process in traces::marked(&self.mark) {
                signal(process.pid, Signal::KILL);
            }
            for group in traces::groups_called(&self.name) {
                remove_group(&group);
            }
            traces::marked(&self.mark).is_empty() && traces::groups_called(&self.name).is_empty()
        };
        let until = Instant::now() + deadline();
        while !clean() && Instant::now() < until {
            std::thread::yield_now();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.clean_up();
    }
}

fn remove_group(group: &Path) {
    // Groups below it go first; what is still populated is tried again.
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// Sends a signal; a process that is gone is no failure.
pub(crate) fn signal(pid: i32, signal: Signal) {
    let process = Pid::new(pid).and_then(|pid| PidFd::open(pid).ok().flatten());
    let _ = process.map(|process| process.signal(signal));
}

/// A `contain run` under way.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    job: &'a Job,
    child: Child,
    started: Instant,
}

impl Running<'_> {
    /// The pid of `contain`.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pids are positive")
    }

    /// Sends `contain` a signal.
    pub(crate) fn signal(&self, number: Signal) {
        signal(self.pid(), number);
    }

    /// Waits for its end, and checks that nothing is left: no process, no zombie, no group.
    pub(crate) fn finish(self) -> Ended {
        let (job, session) = (self.job, self.pid());
        let ended = self.finish_unchecked();
        job.check_nothing_left();
        let known = ended.pids();
        // Orphans that died last are reaped by whoever adopted them.
        eventually("no zombie is left", || traces::zombies(session, &known).is_empty());
        ended
    }

    /// Waits for its end, whatever it leaves.
    pub(crate) fn finish_unchecked(mut self) -> Ended {
        let status = self.wait();
        let report = self.job.text("report");
        Ended {
            status: status.code(),
            took: self.started.elapsed(),
            stdout: self.job.text("stdout"),
            stderr: self.job.text("stderr"),
            report: serde_json::from_str(&report).ok(),
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + deadline();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            if Instant::now() > until {
                let left = traces::marked(&self.job.mark);
                self.child.kill().expect("it is our child");
                panic!("contain did not end in time; there are {left:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A `contain run` that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status, unless a signal ended `contain` itself.
    pub(crate) status: Option<i32>,
    /// How long it took.
    pub(crate) took: Duration,
    /// What it wrote to stdout.
    pub(crate) stdout: String,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
    report: Option<Value>,
}

impl Ended {
    /// Checks the exit status.
    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// The report.
    #[track_caller]
    pub(crate) fn report(&self) -> &Value {
        self.report.as_ref().unwrap_or_else(|| panic!("no report: {self:#?}"))
    }

    /// Whether there is a report.
    pub(crate) fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// The entries of a list of the teardown, as pid and comm, sorted.
    pub(crate) fn listed(&self, list: &str) -> Vec<(i32, String)> {
        let entries = self.report()["teardown"][list].as_array().expect("it is a list");
        let mut listed: Vec<_> = entries.iter().map(entry).collect();
        listed.sort();
        listed
    }

    /// Every pid in the report.
    fn pids(&self) -> Vec<i32> {
        let Some(report) = &self.report else { return Vec::new() };
        let own = report["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let listed = ["left_behind", "escaped"].into_iter().flat_map(|list| self.listed(list));
        listed.map(|(pid, _)| pid).chain(own).collect()
    }

    /// What `--json` printed: one document, on one line of stdout.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        let (stdout, stderr) = (&self.stdout, &self.stderr);
        let told = || format!("stdout {stdout:?}, stderr {stderr:?}");
        let line = stdout.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {}", told()));
        assert!(!line.contains('\n'), "more than one line: {}", told());
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {}", told()))
    }

    /// The only line on stderr, which must be `contain`'s own.
    #[track_caller]
    pub(crate) fn error_line(&self) -> &str {
        let line = self.stderr.strip_suffix('\n').unwrap_or("");
        assert!(!line.contains('\n'), "more than one line: {}", self.stderr);
        line.strip_prefix("contain: ").unwrap_or_else(|| panic!("not ours: {:?}", self.stderr))
    }
}

fn entry(entry: &Value) -> (i32, String) {
    let pid = entry["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    (pid.expect("a pid"), entry["comm"].as_str().expect("a comm").to_owned())
}
