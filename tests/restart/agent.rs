//! An agent: a process of its own that uses the library, says when it is ready, and can be killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use containment::registry::{Registry, Tenure};
use containment::{Backend, Builder, Containment, Signal};
use tempfile::TempDir;

use crate::support::job::signal;
use crate::support::{SETTINGS, binary, traces};
use crate::{crosstalk, crowd, cycles, guard, statuses};

/// Before the words of an agent.
pub(crate) const FLAG: &str = "--agent";

/// Where a test takes place. Whatever carries its mark is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) backend: String,
    /// Digits, so that it can stand behind the point of a time to sleep.
    pub(crate) mark: String,
    pub(crate) directory: TempDir,
}

impl Stage {
    pub(crate) fn on(backend: &str) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mark = format!("78{:08}{serial:03}", std::process::id());
        let directory = tempfile::tempdir().expect("a directory can be made");
        Self { backend: backend.to_owned(), mark, directory }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::open(Some(&self.path("state"))).expect("it is ours")
    }

    /// Starts an agent of this role behind these words.
    pub(crate) fn agent(&self, prefix: &[&str], role: &str, words: &[&str]) -> Agent {
        let own = std::env::current_exe().expect("it is this program");
        let mut line: Vec<_> = prefix.iter().map(PathBuf::from).collect();
        line.push(own);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).args([FLAG, role, &self.backend, &self.mark]);
        command.arg(self.path("state")).args(words);
        for name in SETTINGS {
            command.env_remove(name);
        }
        command.env("CONTAIN_TEST_MARK", &self.mark);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it can be run");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Agent { child, stdin, stdout }
    }

    /// The groups of this test that there are in any hierarchy.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        let all = traces::groups().into_iter();
        all.filter(|path| path.to_string_lossy().contains(&self.mark)).collect()
    }

    /// How many `sleep`s of this test live.
    pub(crate) fn sleepers(&self) -> usize {
        self.called("sleep").len()
    }

    /// The processes of this test of this name.
    pub(crate) fn called(&self, comm: &str) -> Vec<i32> {
        let all = traces::marked(&self.mark).into_iter();
        all.filter(|process| process.comm == comm).map(|process| process.pid).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for process in traces::marked(&self.mark) {
            signal(process.pid, Signal::KILL);
        }
        let mut groups = self.groups();
        // What is inside goes first.
        groups.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        for group in groups {
            let until = std::time::Instant::now() + crate::support::deadline();
            while group.exists() && std::fs::remove_dir(&group).is_err() {
                if std::time::Instant::now() > until {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }
}

/// A running agent. It is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Agent {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("pids are positive")
    }

    /// Tells it something, and gives its answer.
    pub(crate) fn ask(&mut self, words: &str) -> String {
        writeln!(self.stdin, "{words}").expect("it listens");
        self.answer()
    }

    /// What it says next.
    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).expect("it can be heard");
        assert!(read > 0, "the agent ended: {:?}", self.child.try_wait());
        line.trim_end().to_owned()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Lets it end, and checks that it ended well.
    pub(crate) fn finish(mut self) {
        drop(writeln!(self.stdin, "end"));
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an agent knows of itself.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) backend: Backend,
    pub(crate) mark: String,
    pub(crate) registry: Registry,
    pub(crate) words: Vec<String>,
}

impl Own {
    /// The library with the helper.
    pub(crate) fn builder(&self, tenure: Tenure) -> Builder {
        let builder = Containment::builder().backend(self.backend);
        builder.registry(&self.registry, tenure).helper(binary())
    }

    pub(crate) fn host(&self, tenure: Tenure) -> Containment {
        let host = self.builder(tenure).build().expect("it can be used, says doctor");
        assert!(host.degraded().is_empty(), "{:?}", host.degraded());
        host
    }

    pub(crate) fn name(&self, number: usize) -> String {
        format!("t{}-{number}", self.mark)
    }
}

/// Says something to the test.
pub(crate) fn say(words: &str) {
    println!("{words}");
    std::io::stdout().flush().expect("the test listens");
}

/// What the test says next; none when it is gone.
pub(crate) fn heard() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).expect("the test speaks");
    (read > 0).then(|| line.trim_end().to_owned())
}

/// The life of an agent.
pub(crate) fn main(words: &[String]) -> ExitCode {
    let [role, backend, mark, state, words @ ..] = words else { return ExitCode::FAILURE };
    let all = [Backend::CgroupV2, Backend::Hybrid, Backend::CgroupV1, Backend::ProcessGroup];
    let known = all.into_iter().find(|known| known.name() == backend);
    let own = Own {
        backend: known.expect("a backend's name"),
        mark: mark.clone(),
        registry: Registry::open(Some(Path::new(state))).expect("it is ours"),
        words: words.to_vec(),
    };
    match role.as_str() {
        "tasks" => statuses::agent(&own),
        "guarded" => guard::agent(&own),
        "forgetful" => guard::forgetful_agent(&own),
        "crowd" => crowd::agent(&own),
        "random" => crosstalk::agent(&own),
        "cycles" => cycles::agent(&own),
        other => panic!("no such role: {other}"),
    }
    ExitCode::SUCCESS
}

/// The full figure with `CONTAIN_SOAK`, a twentieth of it otherwise.
pub(crate) fn figure(full: usize) -> usize {
    if std::env::var_os("CONTAIN_SOAK").is_some() { full } else { full / 20 }
}
