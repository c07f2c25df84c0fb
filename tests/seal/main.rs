//! The catalogue of ways out: what a root program can try to leave its group by. Under `--seal` each
//! fails; without it each works, which shows that the try is a real one.
//!
//! The tries are made by this binary executed again, inside `contain run`. Their targets are groups,
//! processes and files of the trial's own; what is written to the host's files is what they hold.

mod outside;
#[path = "../support/mod.rs"]
mod support;
mod ways;

use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use containment_process::spawn::separates_processes;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use outside::Outside;
use support::backends;
use ways::Way;

/// The argument that makes this binary try a way, and the status that says that it failed.
const TRY: &str = "--try-way";
const FAILED: i32 = 10;

/// The backends whose programs try, and what asks for as much of a seal as there is on each: a process group
/// is held by descent, which no seal closes, so that its `leave_by` is not `none`.
const BACKENDS: [(&str, &[&str]); 4] = [
    ("cgroup-v2", &["--seal", "--require", "leave_by=none"]),
    ("hybrid", &["--seal", "--require", "leave_by=none", "--pids", "1000"]),
    ("cgroup-v1", &["--seal", "--require", "leave_by=none"]),
    ("process-group", &["--seal", "--best-effort"]),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == TRY) {
        return try_way(&words[at + 1..]);
    }
    let arguments = Arguments::from_args();
    let rows = Arc::new(Mutex::new(Vec::new()));
    let trials = BACKENDS.into_iter().flat_map(|backend| trials_on(backend, &rows));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if !arguments.list {
        let mut rows = rows.lock().expect("no trial panics");
        rows.sort();
        rows.iter().for_each(|row| println!("{row}"));
    }
    conclusion.exit_code()
}

/// One trial a way.
fn trials_on(backend: (&'static str, &'static [&str]), rows: &Rows) -> Vec<Trial> {
    let skipped = why_not(backend.0);
    let trial = |way: Way| {
        let (rows, skipped) = (Arc::clone(rows), skipped.clone());
        let name = format!("{}::{}", backend.0.replace('-', "_"), way.name.replace(' ', "_"));
        Trial::ignorable_test(name, move || match skipped.or_else(|| way.why_not(backend.0)) {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => play(backend, &way, &rows).map(|()| Completion::Completed),
        })
    };
    ways::all().into_iter().map(trial).collect()
}

/// Why the catalogue cannot be tried on a backend, unless it can.
fn why_not(backend: &str) -> Option<String> {
    let (what, reason) = match backends::unusable(backend) {
        _ if !support::shapes::is_root() => ("isolation", "only root can seal".to_owned()),
        _ if !separates_processes() => ("isolation", "there is no Landlock here".to_owned()),
        _ if outside::cgroup_mounts().is_empty() => {
            ("cgroups", "there is no hierarchy to reach for".to_owned())
        }
        Some(reason) => (backend, reason),
        None => return None,
    };
    backends::skip(what, &reason);
    Some(reason)
}

/// What each way came to, for people.
type Rows = Arc<Mutex<Vec<String>>>;

/// The way is shut under the seal, and open without it.
fn play(
    (backend, seal): (&str, &[&str]),
    way: &Way,
    rows: &Mutex<Vec<String>>,
) -> Result<(), Failed> {
    let sealed = attempt(backend, way, seal)?;
    let open = attempt(backend, way, &[])?;
    rows.lock().expect("no trial panics").push(format!(
        "{backend:<13} {:<50} sealed: {:<40} unsealed: {}",
        way.name,
        sealed.as_ref().err().map_or("WORKS", String::as_str),
        open.as_ref().err().map_or("works", String::as_str),
    ));
    match (sealed, open) {
        (Err(_), Ok(())) => Ok(()),
        (Ok(()), _) => Err("it is a way out of the seal".into()),
        (Err(_), Err(why)) => Err(format!("it is no way out even without the seal: {why}").into()),
    }
}

/// Tries the way in a run with these options; says why it failed.
fn attempt(backend: &str, way: &Way, options: &[&str]) -> Result<Result<(), String>, Failed> {
    let outside = Outside::make()?;
    // Descriptors 7 and 8 are inherited: directories of cgroupfs and of the host.
    let shell = "exec 7<\"$1\" 8</; shift; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", shell, "sh"]).arg(outside.group()).arg(support::binary());
    command.args(["run", "--backend", backend, "--grace", "0"]).args(options).arg("--");
    command.arg(std::env::current_exe()?).args([TRY, &way.name]).args(outside.words());
    for name in support::SETTINGS {
        command.env_remove(name);
    }
    let output = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.code() {
        Some(0) => Ok(Ok(())),
        Some(FAILED) => Ok(Err(text(&output.stdout))),
        other => Err(format!("{other:?}: {}{}", text(&output.stdout), text(&output.stderr)).into()),
    }
}

/// Inside: tries the way that the words name.
fn try_way(words: &[String]) -> ExitCode {
    let outside = Outside::of_words(&words[1..]);
    let ways = ways::all();
    let Some(way) = ways.iter().find(|way| way.name == words[0]) else {
        eprintln!("no such way: {}", words[0]);
        return ExitCode::FAILURE;
    };
    match way.go(&outside) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::from(u8::try_from(FAILED).expect("a status"))
        }
    }
}
