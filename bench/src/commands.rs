//! Other commands that run a program, each with `true` as that program.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::backends::built;
use crate::crowd;
use crate::measure::Result;

pub const TIMEOUT: &str = "timeout 10 true";
pub const CGEXEC: &str = "cgexec";

/// What holds for a program that cgexec has run.
pub const IN_CGROUP: &str = "in a group that somebody has made; nothing is ended";

/// One of them.
pub struct Other {
    pub name: &'static str,
    pub guarantee: &'static str,
    words: Result<Vec<OsString>>,
}

impl Other {
    fn new(name: &'static str, guarantee: &'static str, words: &[&str]) -> Self {
        Self { name, guarantee, words: Ok(words.iter().map(Into::into).collect()) }
    }

    /// Its command line, once it was seen to work here.
    pub fn usable(&self) -> Result<Vec<OsString>> {
        let words = self.words.as_ref().map_err(ToString::to_string)?;
        try_out(words)?;
        Ok(words.clone())
    }
}

pub fn timeout() -> Vec<OsString> {
    TIMEOUT.split(' ').map(Into::into).collect()
}

/// Those that take about as long as `timeout` does.
pub fn fast() -> Vec<Other> {
    vec![
        Other::new(
            "tini -s -- true",
            "reaps orphans; ends nobody: the process group gets the signals that tini gets",
            &["tini", "-s", "--", "true"],
        ),
        Other::new(
            "dumb-init true",
            "reaps orphans; passes signals on to the session; ends nobody when its child has ended",
            &["dumb-init", "true"],
        ),
    ]
}

/// Those that set up a container, or measure.
pub fn slow(directory: &Path) -> Result<Vec<Other>> {
    let bundle = bundle(directory)?;
    let container = "a container of its own, whose processes end with its first";
    let mut runexec = Other::new(
        "runexec true",
        "a container of its own, killed by cgroup; measures",
        &[
            "",
            "--quiet",
            "--read-only-dir",
            "/",
            "--dir",
            "/",
            "--output",
            "/dev/null",
            "--",
            "true",
        ],
    );
    runexec.words = built("../bench/target/venv/bin/runexec").and_then(|path| {
        let mut words = runexec.words?;
        words[0] = path.into();
        Ok(words)
    });
    Ok(vec![
        Other::new(
            "bwrap --unshare-pid true",
            "a pid namespace, which ends with its first process",
            &["bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--die-with-parent", "true"],
        ),
        container_runtime("crun run", container, "crun", &bundle),
        container_runtime("runc run", container, "runc", &bundle),
        runexec,
    ])
}

fn container_runtime(
    name: &'static str,
    guarantee: &'static str,
    program: &str,
    bundle: &Path,
) -> Other {
    let words: [OsString; 5] = [
        program.into(),
        "run".into(),
        "--bundle".into(),
        bundle.into(),
        crowd::name(program).into(),
    ];
    Other { name, guarantee, words: Ok(words.into()) }
}

/// A bundle that runs `true` on the host's own `/usr`.
fn bundle(directory: &Path) -> Result<PathBuf> {
    let bundle = directory.join("bundle");
    let root = bundle.join("rootfs");
    for made in ["usr", "proc", "dev"] {
        fs::create_dir_all(root.join(made))?;
    }
    for link in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{link}"), root.join(link))?;
    }
    let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    let config = json!({
        "ociVersion": "1.0.0",
        "process": {
            "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/usr/bin/true"],
            "env": ["PATH=/usr/bin"],
        },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"] },
        ],
        "linux": { "namespaces": namespaces },
    });
    fs::write(bundle.join("config.json"), config.to_string())?;
    Ok(bundle)
}

/// Runs a command to its end, without streams.
pub fn run(words: &[OsString]) -> Result<()> {
    let mut command = command(words)?;
    let status = command.stderr(Stdio::null()).status().map_err(|error| failed(words, &error))?;
    if status.success() { Ok(()) } else { Err(failed(words, &status).into()) }
}

/// The same, and what it says on its standard error is told if it fails.
fn try_out(words: &[OsString]) -> Result<()> {
    let output =
        command(words)?.stderr(Stdio::piped()).output().map_err(|error| failed(words, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", failed(words, &output.status), said.lines().last().unwrap_or_default())
        .into())
}

fn command(words: &[OsString]) -> Result<Command> {
    let (program, arguments) = words.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

fn failed(words: &[OsString], why: &dyn Display) -> String {
    let program = words.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    format!("{}: {why}", program.display())
}

/// A group of cgroup-tools, which are given one that is there.
pub struct Cgroup {
    spec: String,
}

impl Cgroup {
    /// In the hierarchies that a v1 group of ours is in, too.
    pub fn make() -> Result<Self> {
        let spec = format!("freezer,pids:{}", crowd::name("cgexec"));
        try_out(&["cgcreate".into(), "-g".into(), (&spec).into()])?;
        Ok(Self { spec })
    }

    pub fn exec(&self) -> Vec<OsString> {
        ["cgexec", "-g", &self.spec, "true"].map(Into::into).into()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = run(&["cgdelete".into(), "-g".into(), (&self.spec).into()]) {
            eprintln!("{} was not removed: {error}", self.spec);
        }
        // It succeeds, and leaves one of the two, now and then.
        let name = self.spec.rsplit(':').next().unwrap_or_default();
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let left = hierarchy.path().join(name);
            if left.is_dir()
                && let Err(error) = fs::remove_dir(&left)
            {
                eprintln!("{} was not removed: {error}", left.display());
            }
        }
    }
}
