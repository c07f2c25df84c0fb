//! The command line beside other commands that run a program.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Found, Plan};
use crate::backends::{built, contain};
use crate::commands::{self, CGEXEC, TIMEOUT};
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

fn measure() -> Result<Found> {
    let directory = tempfile::tempdir()?;
    let released = contain()?;
    let run =
        |how: &[&str], report: bool| arguments(&released, how, report.then(|| directory.path()));
    let mut contest = Contest::new("command started until it ended", 80)
        .resting(Duration::from_millis(20))
        .way(Way::floor(PLAIN, runs(vec!["true".into()])))
        .way(peer(
            TIMEOUT,
            "a signal to its process group when the time is up; a setsid leaves it",
            commands::timeout(),
        ));
    for (name, how, target) in [
        ("contain run, v2, report", "cgroup-v2", Some(1.0)),
        ("contain run, hybrid, report", "hybrid", Some(1.0)),
        ("contain run, v1, report (every hierarchy)", "cgroup-v1", Some(1.1)),
        ("contain run, process group, report", "process-group", Some(1.0)),
    ] {
        contest = contest.way(ours(name, run(&["--backend", how], true), target));
    }
    for (name, how, target) in [
        ("contain run, v2", "cgroup-v2", None),
        ("contain run, hybrid", "hybrid", None),
        ("contain run, v1 (what it needs)", "cgroup-v1", Some(1.0)),
        ("contain run, process group", "process-group", None),
        ("contain run, what is best here", "auto", None),
    ] {
        contest = contest.way(ours(name, run(&["--backend", how], false), target));
    }
    let glibc = built("release/contain").map(|path| {
        let arguments = arguments(&path, &["--backend", "cgroup-v2"], Some(directory.path()));
        ours("contain run, v2, report, built for glibc", arguments, Some(1.15))
    });
    contest = contest.way_if("contain, built for glibc", glibc);
    let group = commands::Cgroup::make();
    for command in commands::fast() {
        contest = contest.way_if(
            command.name,
            command.usable().map(|line| peer(command.name, command.guarantee, line)),
        );
    }
    contest = match &group {
        Ok(group) => contest.way(peer(CGEXEC, commands::IN_CGROUP, group.exec())),
        Err(error) => contest.without(CGEXEC, error.to_string()),
    };
    let tables = vec![contest.run()?, slow(&directory)?];
    drop(group);
    let facts = vec![Fact {
        name: "contain run, its own resident memory while its program runs (VmHWM)".to_owned(),
        value: resident(&released)?,
        unit: "MiB".to_owned(),
        target: Some(4.0),
    }];
    Ok(Found { tables, facts })
}

/// Those that take tens of milliseconds, with fewer rounds.
fn slow(directory: &tempfile::TempDir) -> Result<Table> {
    let mut contest = Contest::new("commands that set up a container, or measure", 12)
        .resting(Duration::from_millis(20))
        .way(peer(
            TIMEOUT,
            "a signal to its process group when the time is up; a setsid leaves it",
            commands::timeout(),
        ));
    let released = arguments(&contain()?, &["--backend", "auto"], None);
    contest = contest.way(ours("contain run, what is best here", released, None));
    for command in commands::slow(directory.path())? {
        contest = contest.way_if(
            command.name,
            command.usable().map(|line| peer(command.name, command.guarantee, line)),
        );
    }
    contest.run()
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
    let way = Way::peer(name, guarantee, runs(words));
    if name == TIMEOUT { way } else { way.beside(TIMEOUT) }
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
fn resident(contain: &PathBuf) -> Result<f64> {
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
