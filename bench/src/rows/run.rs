//! The command line beside other commands that run a program.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Found, Plan};
use crate::backends::{built, contain};
use crate::commands::{self, CGEXEC, Other, TIMEOUT};
use crate::measure::{Contest, Result, Way, timed};
use crate::results::{Fact, Table};

pub(super) const PLAN: Plan = Plan {
    name: "run",
    title: "`contain run -- true` beside other commands",
    method: "From the spawn of the command to its exit, with `true` as its program, 20 ms apart. `contain` is the static binary \
             that is released, with its guardian, its registry and (where said) a report into a file that is there.",
    measure,
};

const PLAIN: &str = "true, run by nobody";
const BEST: &str = "contain run, what is best here";

/// What the method says of it.
const PAUSE: Duration = Duration::from_millis(20);

fn measure() -> Result<Found> {
    let directory = tempfile::tempdir()?;
    let released = contain()?;
    let tables = vec![fast(&released, directory.path())?, slow(&released, directory.path())?];
    let facts = vec![Fact {
        name: "contain run, its own resident memory while its program runs (VmHWM)".to_owned(),
        value: resident(&released)?,
        unit: "MiB".to_owned(),
        target: Some(4.0),
    }];
    Ok(Found { tables, facts })
}

/// Ours on every backend, and those that take about as long.
fn fast(released: &Path, directory: &Path) -> Result<Table> {
    let contest = Contest::new("command started until it ended", 160)
        .resting(PAUSE)
        .way(Way::floor(PLAIN, runs(vec!["true".into()])))
        .way(timeout());
    let contest = on_each_backend(contest, released, directory);
    // As it is where `/run` is in memory, which on this machine may be on a disk.
    let memory = tempfile::Builder::new().prefix("contain").tempdir_in("/dev/shm");
    let in_memory = memory.as_ref().map_err(|error| error.to_string().into()).map(|state| {
        let state = state.path().to_str().unwrap_or_default();
        let how = ["--state-dir", state, "--backend", "cgroup-v2"];
        let words = arguments(released, &how, Some(directory));
        ours("contain run, v2, report, its registry in memory", words, None)
    });
    let contest = contest.way_if("contain, its registry in memory", in_memory);
    let glibc = built("release/contain").map(|path| {
        let arguments = arguments(&path, &["--backend", "cgroup-v2"], Some(directory));
        ours("contain run, v2, report, built for glibc", arguments, Some(1.15))
    });
    let contest = contest.way_if("contain, built for glibc", glibc);
    // It is there until the contest is over.
    let group = commands::Cgroup::make();
    let contest = beside(contest, &commands::fast());
    let contest = match &group {
        Ok(group) => contest.way(peer(CGEXEC, commands::IN_CGROUP, group.exec())),
        Err(error) => contest.without(CGEXEC, error.to_string()),
    };
    contest.run()
}

/// With a report, which measures, and without.
fn on_each_backend<'a>(mut contest: Contest<'a>, released: &Path, directory: &Path) -> Contest<'a> {
    for (name, backend, target) in [
        ("contain run, v2, report", "cgroup-v2", Some(1.0)),
        ("contain run, hybrid, report", "hybrid", Some(1.0)),
        ("contain run, v1, report (every hierarchy)", "cgroup-v1", Some(1.1)),
        ("contain run, process group, report", "process-group", Some(1.0)),
    ] {
        let words = arguments(released, &["--backend", backend], Some(directory));
        contest = contest.way(ours(name, words, target));
    }
    for (name, backend, target) in [
        ("contain run, v2", "cgroup-v2", None),
        ("contain run, hybrid", "hybrid", None),
        ("contain run, v1 (what it needs)", "cgroup-v1", Some(1.0)),
        ("contain run, process group", "process-group", None),
        (BEST, "auto", None),
    ] {
        let words = arguments(released, &["--backend", backend], None);
        contest = contest.way(ours(name, words, target));
    }
    contest
}

/// Those that take tens of milliseconds, with fewer rounds.
fn slow(released: &Path, directory: &Path) -> Result<Table> {
    let ours = ours(BEST, arguments(released, &["--backend", "auto"], None), None);
    let contest = Contest::new("commands that set up a container, or measure", 12)
        .resting(PAUSE)
        .way(timeout())
        .way(ours);
    beside(contest, &commands::slow(directory)?).run()
}

/// Beside these, as far as they work here.
fn beside<'a>(contest: Contest<'a>, others: &[Other]) -> Contest<'a> {
    others.iter().fold(contest, |contest, other| {
        let way = other.usable().map(|line| peer(other.name, other.guarantee, line));
        contest.way_if(other.name, way)
    })
}

type Words = Vec<OsString>;

fn ours(name: &str, words: Words, target: Option<f64>) -> Way<'static> {
    let way = Way::ours(name, runs(words))
        .giving("nothing is left when it returns, nor when it is killed");
    match target {
        Some(target) => way.at_most(target, TIMEOUT),
        None => way.beside(TIMEOUT),
    }
}

fn peer(name: &str, guarantee: &str, words: Words) -> Way<'static> {
    Way::peer(name, guarantee, runs(words)).beside(TIMEOUT)
}

/// What all others are told beside.
fn timeout() -> Way<'static> {
    let guarantee = "a signal to its process group when the time is up; a setsid leaves it";
    Way::peer(TIMEOUT, guarantee, runs(commands::timeout()))
}

fn runs(words: Words) -> impl FnMut() -> Result<Duration> {
    move || Ok(timed(|| commands::run(&words))?.1)
}

/// `contain run -- true`, on record in a directory that is used for nothing else.
fn arguments(contain: &Path, how: &[&str], report: Option<&Path>) -> Words {
    let mut words: Words = vec![contain.into(), "run".into()];
    words.extend(how.iter().map(Into::into));
    if let Some(directory) = report {
        words.extend(["--report".into(), directory.join("report.json").into()]);
    }
    words.extend(["--".into(), "true".into()]);
    words
}

/// The most that `contain run` has resident before its program ends, in MiB.
fn resident(contain: &Path) -> Result<f64> {
    let mut command = Command::new(contain);
    command.args(["run", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let (mut input, mut output) =
        (child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?);
    // Once the program answers, everything that there is to set up is.
    std::io::Write::write_all(&mut input, b"!")?;
    std::io::Read::read_exact(&mut output, &mut [0])?;
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    drop(input);
    child.wait()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
