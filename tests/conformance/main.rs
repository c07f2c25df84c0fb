//! The conformance suite: every case on every backend, one line a result.
//!
//! A case is played on the personas of the fake and on the real drivers alike; what a backend does
//! not advertise, and a backend that this host does not have, is skipped with its reason.
//! `CONTAIN_MUST_RUN=cgroup-v2,…` turns the skip of a whole backend into a failure.
//!
//! A backend that needs a process of its own for each group (a keeper forks it) has each case played
//! in this binary executed again, which `CONFORMANCE_CASE` tells.

#[path = "../../examples/audited_driver.rs"]
#[expect(dead_code, reason = "the suite uses the driver alone, not what the example does with it")]
mod audited_driver;
mod backends;
mod cases;
#[path = "../support/drivers.rs"]
mod drivers;
mod elsewhere;
#[path = "../support/must_run.rs"]
mod must_run;
mod stage;
#[path = "../support/time.rs"]
mod time;
mod world;

use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use containment_core::{Capabilities, Result};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use backends::{Backend, Process};
use cases::Case;

/// `BACKEND::CASE`, to be played by this very process.
const CASE: &str = "CONFORMANCE_CASE";

fn main() -> ExitCode {
    if let Ok(trial) = std::env::var(CASE) {
        return play_alone(&trial);
    }
    let arguments = Arguments::from_args();
    let trials = backends::ALL.iter().flat_map(trials_of).chain(elsewhere::trials()).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        println!(
            "conformance: {} passed, {} failed, {} skipped",
            conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored
        );
    }
    conclusion.exit_code()
}

fn trials_of(backend: &'static Backend) -> impl Iterator<Item = Trial> {
    let usable = backend.capabilities();
    cases::all().map(move |case| {
        let name = format!("{}::{}", backend.name, case.name);
        let verdict = verdict(backend, case, &usable);
        Trial::ignorable_test(name, move || match verdict {
            Verdict::Play => play(backend, case).map(|()| Completion::Completed),
            Verdict::Skip(reason) => Ok(Completion::ignored_with(reason)),
            Verdict::Fail(reason) => Err(reason.into()),
        })
    })
}

/// What is to become of a case on a backend.
enum Verdict {
    Play,
    Skip(String),
    Fail(String),
}

fn verdict(backend: &Backend, case: &Case, usable: &Result<Capabilities>) -> Verdict {
    match usable {
        Err(error) if is_demanded(backend) => Verdict::Fail(format!("must run here: {error}")),
        Err(error) => Verdict::Skip(error.to_string()),
        Ok(capabilities) => match case.unmet(capabilities) {
            Some(need) => Verdict::Skip(format!("not advertised: {need}")),
            None => Verdict::Play,
        },
    }
}

/// Whether `CONTAIN_MUST_RUN` names the backend, or the one that it is a variant of.
fn is_demanded(backend: &Backend) -> bool {
    must_run::demanded(backend.name) || must_run::demanded(backend.variant_of)
}

fn play(backend: &Backend, case: &Case) -> Result<(), Failed> {
    match backend.process {
        Process::Shared => {
            (case.run)(&*backend.world());
            Ok(())
        }
        Process::OneACase => play_in_a_process_of_its_own(backend, case),
    }
}

/// How long a case may take: generous, since it is there for a hang only.
fn deadline() -> Duration {
    stage::patience() * 4
}

fn play_in_a_process_of_its_own(backend: &Backend, case: &Case) -> Result<(), Failed> {
    let mut player = Command::new(std::env::current_exe()?)
        .env(CASE, format!("{}::{}", backend.name, case.name))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stderr = player.stderr.take().ok_or("stderr is piped")?;
    // Read elsewhere, so that neither a full pipe nor one that is held open makes us wait for it.
    let (send, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = std::io::Read::read_to_string(&mut stderr, &mut text);
        send.send(read.map(|_| text))
    });
    let said = said.recv_timeout(deadline());
    if said.is_err() {
        player.kill()?;
    }
    let status = player.wait()?;
    match said {
        Ok(_) if status.success() => Ok(()),
        Ok(text) => Err(format!("{status}: {}", text?).into()),
        Err(_) => Err("it did not end in time".into()),
    }
}

/// Plays one case on this, the only thread. A panic is the failure that the caller sees.
fn play_alone(trial: &str) -> ExitCode {
    let wanted =
        |backend: &Backend, case: &Case| trial == format!("{}::{}", backend.name, case.name);
    for backend in backends::ALL {
        if let Some(case) = cases::all().find(|case| wanted(backend, case)) {
            (case.run)(&*backend.world());
            return ExitCode::SUCCESS;
        }
    }
    eprintln!("no such case: {trial}");
    ExitCode::FAILURE
}
