//! One command of `contain` under `strace`, which strikes it at one system call.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::audit::{self, within};
use crate::plan::{Fault, Point};
use crate::stage::{Job, binary, deadline};

/// How a command went.
#[derive(Debug)]
pub(crate) struct Struck {
    pub(crate) pid: u32,
    /// Its exit status, unless a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) trace: String,
}

impl Struck {
    /// Whether the fault came about: another course of events may pass by it.
    pub(crate) fn is_hit(&self, fault: Fault) -> bool {
        match fault {
            Fault::Kill => self.trace.contains("+++ killed by SIGKILL"),
            Fault::KillBoth => self.trace.contains("stopped by SIGSTOP"),
            Fault::Errno(_) => self.trace.contains("(INJECTED)"),
        }
    }

    /// Whether it was the loader of a dynamic binary that failed, before there was a `contain`.
    pub(crate) fn never_began(&self) -> bool {
        self.status == Some(127) && self.stderr.contains("error while loading shared libraries")
    }

    /// The lines on stderr that are messages of `contain`'s own.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("contain: ")).collect()
    }
}

/// Runs a command to its end, struck at `point`, or only traced; with `follow` its other processes, too.
pub(crate) fn strike(
    job: &Job<'_>,
    words: &[String],
    point: Option<&Point>,
    follow: bool,
) -> Result<Struck, String> {
    let mut command = tracer(job, point, follow);
    // As a detached grandchild, so that the command is our own child and ends as itself.
    command.arg("-DDD").arg(binary()).args(words);
    job.set_up(&mut command);
    command.stderr(file(job, "stderr")?);
    let mut child = command.spawn().map_err(|error| format!("strace cannot be run: {error}"))?;
    if point.is_some_and(|point| point.fault == Fault::KillBoth) {
        kill_both(job, &mut child)?;
    }
    let status = ended(job, &mut child)?;
    Ok(Struck {
        pid: child.id(),
        status: status.code(),
        signal: status.signal(),
        stderr: text(job, "stderr"),
        trace: finished_trace(job, follow),
    })
}

/// Traces a process that runs already, struck at `point`, while `act` is done.
pub(crate) fn strike_running(
    job: &Job<'_>,
    pid: u32,
    point: Option<&Point>,
    act: impl FnOnce(),
) -> Result<String, String> {
    let mut command = tracer(job, point, false);
    command.args(["-p", &pid.to_string()]).stdin(Stdio::null());
    let mut tracer = command.stdout(Stdio::null()).stderr(file(job, "stderr")?).spawn();
    let tracer = tracer.as_mut().map_err(|error| format!("strace cannot be run: {error}"))?;
    // A wait that it is in begins anew when it is traced, and may be the call that it is struck at.
    let is_over = || text(job, "trace").contains("+++ ");
    if within(deadline(), || audit::is_traced(pid) || is_over()).is_none() {
        return Err(format!("strace does not trace: {}", text(job, "stderr")));
    }
    act();
    ended(job, tracer)?;
    Ok(text(job, "trace"))
}

fn tracer(job: &Job<'_>, point: Option<&Point>, follow: bool) -> Command {
    let mut command = Command::new("strace");
    command.arg("-q").arg("-o").arg(job.path("trace"));
    if follow {
        command.arg("-f");
    }
    if let Some(point) = point {
        command.args(["-e", &point.injection()]);
    }
    command
}

/// Once it is held at its system call: its guardian first, then it.
fn kill_both(job: &Job<'_>, child: &mut Child) -> Result<(), String> {
    let mut over = false;
    let held = within(deadline(), || {
        over = child.try_wait().is_ok_and(|status| status.is_some());
        over || text(job, "trace").contains("stopped by SIGSTOP")
    });
    held.ok_or("it neither ended nor reached its system call")?;
    if over {
        return Ok(());
    }
    let others: Vec<_> = job.own().into_iter().filter(|pid| *pid != child.id()).collect();
    for pid in &others {
        audit::signal("KILL", *pid);
    }
    child.kill().map_err(|error| error.to_string())?;
    // Until they are zombies they hold their locks: `gc` would find an owner that lives.
    let dead = || others.iter().all(|pid| !audit::lives(*pid));
    within(deadline(), dead).ok_or_else(|| "its guardian does not die".to_owned())?;
    Ok(())
}

fn ended(job: &Job<'_>, child: &mut Child) -> Result<ExitStatus, String> {
    let mut status = None;
    within(deadline(), || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    status.ok_or_else(|| {
        let _ = child.kill();
        let _ = child.wait();
        format!("it hung; it said: {}", text(job, "stderr"))
    })
}

/// The trace, once the tracer has told the end of what it traced: it may be a moment behind.
fn finished_trace(job: &Job<'_>, follow: bool) -> String {
    let told = || follow || text(job, "trace").trim_end().ends_with("+++");
    within(deadline(), told);
    text(job, "trace")
}

fn file(job: &Job<'_>, what: &str) -> Result<File, String> {
    File::create(job.path(what)).map_err(|error| error.to_string())
}

/// What a file of the job holds by now.
pub(crate) fn text(job: &Job<'_>, what: &str) -> String {
    let bytes = fs::read(job.path(what)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
