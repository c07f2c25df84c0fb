//! Where jobs are struck: a state directory, and beside every job a sentinel, a group with a living owner that
//! nothing may touch.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::audit::{self, Process, within};

/// The variable that marks every process of a job.
const MARK: &str = "FAULTS_MARK";

/// How long anything may take before it counts as hanging.
pub(crate) fn deadline() -> Duration {
    crate::time::scaled(Duration::from_secs(20))
}

/// The `contain` under test.
pub(crate) fn binary() -> PathBuf {
    let named = std::env::var_os("CONTAIN_BINARY");
    named.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_contain")), PathBuf::from)
}

/// A stage on one backend.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) backend: String,
    pub(crate) directory: PathBuf,
    sentinel: Option<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    owner: Child,
    mark: String,
    /// What its owner has in the state directory.
    files: BTreeSet<String>,
    /// Everybody of it.
    processes: Vec<Process>,
}

impl Stage {
    /// A stage on `backend`; why not, where that cannot be used.
    pub(crate) fn open(backend: &str) -> Result<Self, String> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("faults-{}-{serial}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let mut stage = Self { backend: backend.to_owned(), directory, sentinel: None };
        let tried = Job::on(&stage).contain(&["run", "--backend", backend, "--", "true"]).output();
        let tried = tried.map_err(|error| format!("contain cannot be run: {error}"))?;
        if !tried.status.success() {
            return Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned());
        }
        stage.sentinel = Some(stage.post_sentinel()?);
        Ok(stage)
    }

    fn post_sentinel(&self) -> Result<Sentinel, String> {
        let job = Job::on(self);
        let owner = job.start(&job.staying())?;
        Ok(Sentinel {
            owner,
            files: audit::files(&self.state()),
            processes: audit::marked(&job.mark),
            mark: job.mark,
        })
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Fails where the sentinel was touched.
    pub(crate) fn check_sentinel(&self) -> Result<(), String> {
        let Some(sentinel) = &self.sentinel else { return Ok(()) };
        let gone: Vec<_> = sentinel.processes.iter().filter(|p| !audit::lives(p.pid)).collect();
        let files = audit::files(&self.state());
        let unlisted: Vec<_> = sentinel.files.difference(&files).collect();
        if gone.is_empty() && unlisted.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the bystander was touched: of its processes {gone:?}, of its files {unlisted:?}"
        ))
    }

    /// The files in the state directory that are not the sentinel's.
    fn files(&self) -> BTreeSet<String> {
        let known = self.sentinel.as_ref().map(|sentinel| &sentinel.files);
        let all = audit::files(&self.state()).into_iter();
        all.filter(|file| !known.is_some_and(|known| known.contains(file))).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut sentinel) = self.sentinel.take() {
            audit::signal("TERM", sentinel.owner.id());
            let gone = || audit::marked(&sentinel.mark).is_empty();
            if within(deadline(), gone).is_none() {
                for process in audit::marked(&sentinel.mark) {
                    audit::signal("KILL", process.pid);
                }
            }
            // Whatever it ended with.
            let _ = sentinel.owner.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A job that can be told from every other one.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) stage: &'a Stage,
    /// Digits, so that it can stand behind the point of a time to sleep, too.
    pub(crate) mark: String,
    pub(crate) name: String,
}

/// What is left of a job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) processes: Vec<Process>,
    pub(crate) groups: Vec<PathBuf>,
    pub(crate) files: BTreeSet<String>,
}

impl Left {
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A daemon, one that ignores SIGTERM, and one more.
const LEFT_OVERS: &str =
    "setsid sleep 1000.MARK & (trap '' TERM; exec sleep 1001.MARK) & sleep 1002.MARK & ";

/// A tree of twenty: daemons, a SIGTERM ignored, two generations.
const TREE: &str = "for i in 1 2 3 4 5 6; do (sleep 1000.MARK & setsid sleep 1001.MARK & exec sleep 1002.MARK) & \
    done; (trap '' TERM; exec sleep 1003.MARK) & ";

impl<'a> Job<'a> {
    pub(crate) fn on(stage: &'a Stage) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mark = format!("78{:08}{serial:07}", std::process::id());
        let name = format!("fault-{mark}");
        Self { stage, mark, name }
    }

    /// `contain`, with the mark and the state directory of the stage.
    pub(crate) fn contain(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(words);
        self.set_up(&mut command);
        command
    }

    /// The mark and the state directory for a command.
    pub(crate) fn set_up(&self, command: &mut Command) {
        for name in ["CONTAIN_BACKEND", "CONTAIN_PARENT", "CONTAIN_LOG", "CONTAIN_GROUP"] {
            command.env_remove(name);
        }
        command.env(MARK, &self.mark).env("CONTAIN_STATE_DIR", self.stage.state());
        command.stdin(Stdio::null()).stdout(Stdio::null());
    }

    fn script(&self, text: &str) -> String {
        text.replace("MARK", &self.mark).replace("UP", &self.path("up").display().to_string())
    }

    /// A file of this job.
    pub(crate) fn path(&self, what: &str) -> PathBuf {
        self.stage.directory.join(format!("{what}-{}", self.mark))
    }

    /// The arguments of a run that leaves three processes behind and ends with 7.
    pub(crate) fn ending(&self) -> Vec<String> {
        self.run(&format!("{LEFT_OVERS}exit 7"))
    }

    /// The arguments of a run that starts three processes and stays.
    pub(crate) fn staying(&self) -> Vec<String> {
        self.run(&format!("{LEFT_OVERS}echo >UP; exec sleep 1003.MARK"))
    }

    /// The arguments of a run of twenty processes that ends with 7.
    pub(crate) fn tree(&self) -> Vec<String> {
        self.run(&format!("{TREE}exit 7"))
    }

    fn run(&self, script: &str) -> Vec<String> {
        let words =
            ["run", "--backend", &self.stage.backend, "--name", &self.name, "--grace", "30ms"];
        // A limit, so that hierarchies of version 1 take part where they can.
        let v1 = matches!(&*self.stage.backend, "cgroup-v1" | "hybrid");
        let limits: &[&str] = if v1 { &["--pids", "500"] } else { &[] };
        let script = self.script(script);
        let words = words.iter().chain(limits).copied();
        words.chain(["--", "sh", "-c", &script]).map(str::to_owned).collect()
    }

    /// Starts a run that stays, and waits until it is up.
    pub(crate) fn start(&self, words: &[String]) -> Result<Child, String> {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let errors = File::create(self.path("owner")).map_err(|error| error.to_string())?;
        let child = self.contain(&words).stderr(errors).spawn();
        let child = child.map_err(|error| format!("contain cannot be run: {error}"))?;
        let sleepers = || audit::marked(&self.mark).iter().filter(|p| p.comm == "sleep").count();
        let up = || self.path("up").exists() && sleepers() == 4;
        within(deadline(), up).map(|_| child).ok_or_else(|| {
            let said = fs::read_to_string(self.path("owner")).unwrap_or_default();
            format!("a job did not come up: {said}")
        })
    }

    /// The processes of `contain` itself in this job, parents first: pids wrap around.
    pub(crate) fn own(&self) -> Vec<u32> {
        let binary = binary();
        let own = |pid: &u32| is_executing(*pid, &binary);
        let own: Vec<_> = audit::marked(&self.mark).iter().map(|p| p.pid).filter(own).collect();
        let mut sorted = own.clone();
        sorted.sort_by_key(|pid| audit::depth(*pid, &own));
        sorted
    }

    /// Those that `contain` holds.
    pub(crate) fn members(&self) -> Vec<Process> {
        let own = self.own();
        let all = audit::marked(&self.mark).into_iter();
        all.filter(|process| !own.contains(&process.pid)).collect()
    }

    pub(crate) fn left(&self, pids: &[u32]) -> Left {
        Left {
            processes: audit::marked(&self.mark),
            groups: audit::groups(&self.name, pids),
            files: self.stage.files(),
        }
    }

    /// Ends whatever is left, so that the next job starts on a clean stage.
    pub(crate) fn clean_up(&self, pids: &[u32]) {
        within(deadline(), || {
            let left = self.left(pids);
            left.groups.iter().for_each(|group| audit::remove_group(group));
            for process in &left.processes {
                audit::signal("CONT", process.pid);
                audit::signal("KILL", process.pid);
            }
            for file in &left.files {
                let _ = fs::remove_file(self.stage.state().join(file));
            }
            left.is_nothing()
        });
        for what in ["up", "owner", "stderr", "trace"] {
            let _ = fs::remove_file(self.path(what));
        }
    }
}

fn is_executing(pid: u32, binary: &Path) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|program| program == fs::canonicalize(binary).unwrap_or_default())
}
