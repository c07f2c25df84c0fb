//! The differential suite: random sequences on each backend and on its twin, a persona of the fake. All
//! that can be observed is compared at barriers; what differs is a defect of one of them, or a fact of the
//! kernel that the fake has to learn. It is shrunk to the shortest sequence that shows it.
//!
//! `CONTAIN_SOAK` is the number of sequences on each backend, `PROPTEST_RNG_SEED` repeats a run.
//! `CONTAIN_MUST_RUN=cgroup-v2,…` turns the skip of a whole backend into a failure.

mod acts;
mod checks;
#[path = "../support/drivers.rs"]
mod drivers;
mod helper;
mod pairs;
mod pinned;
mod play;
mod player;
mod search;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::process::ExitCode;

use containment_core::Capabilities;
use containment_process::signals::is_ignored;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use pairs::Pair;
use search::{Found, Patience, Search, shows_again};

fn main() -> ExitCode {
    if let Ok(line) = std::env::var(helper::LINE) {
        return helper::serve(&line);
    }
    if let Ok(sequence) = std::env::var(player::SEQUENCE) {
        return player::play_alone(&sequence);
    }
    if let Some(signal) = acts::SIGNALS.iter().find(|signal| is_ignored(**signal)) {
        eprintln!(
            "members would ignore {signal}, as this process was made to: start it without nohup"
        );
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::from_args();
    let pairs = pairs::ALL.iter().map(|pair| Trial::ignorable_test(pair.name, || compare(pair)));
    libtest_mimic::run(&arguments, pairs.chain(checks::all()).collect()).exit_code()
}

fn compare(pair: &'static Pair) -> Result<Completion, Failed> {
    let usable = match pair.usable() {
        Ok(usable) => usable,
        Err(error) => {
            support::backends::skip(pair.variant_of, &error.to_string());
            return Ok(Completion::ignored_with(error.to_string()));
        }
    };
    compare_promises(&pair.promised(), &usable)?;
    keep_the_pinned(pair)?;
    let found =
        Search::asked_for(pair.name).run(|acts, patience| player::play(pair, acts, patience));
    println!("differential: {}: {}", pair.name, summary(&found));
    let prefix = format!("{}{}--", player::prefix_of_all(), pair.name);
    let left = pair.groups(&prefix)?;
    if !left.is_empty() {
        return Err(format!("groups are left: {left:?}").into());
    }
    // Said at once: other pairs may take long, and failures are told when all are through.
    let difference = found.difference.map(|difference| {
        let text = format!("{} and its twin differ:\n{difference}", pair.name);
        println!("{text}");
        text
    });
    difference.map_or(Ok(Completion::Completed), |text| Err(text.into()))
}

/// Plays what differed once.
fn keep_the_pinned(pair: &Pair) -> Result<(), Failed> {
    for (rule, acts) in pinned::all() {
        let play = || player::play(pair, &acts, Patience::Long);
        let Some(difference) = play().difference else { continue };
        if shows_again(play) {
            return Err(format!("{} and its twin differ: {rule}:\n{difference}", pair.name).into());
        }
        println!("differential: {}: {rule}: not seen again:\n{difference}", pair.name);
    }
    Ok(())
}

fn summary(found: &Found) -> String {
    let Found { seed, sequences, steps, passing, difference } = found;
    let verdict = if difference.is_some() { "one differs" } else { "none differs" };
    let line = format!("{sequences} sequences, {steps} steps, seed {seed}: {verdict}");
    if passing.is_empty() {
        return line;
    }
    format!("{line}; {} not seen again:\n{}", passing.len(), passing.join("\n"))
}

/// Limits and usage are this host's own; the rest is what the twin stands for.
fn compare_promises(fake: &Capabilities, real: &Capabilities) -> Result<(), Failed> {
    let of = |c: &Capabilities| {
        let Capabilities { kill, escape, leave_by, empty, freeze, nesting, attach, .. } = c.clone();
        format!("{:?}", (kill, escape, leave_by, empty, freeze, nesting, attach))
    };
    if of(fake) == of(real) {
        return Ok(());
    }
    Err(format!("the fake promises {}, the backend {}", of(fake), of(real)).into())
}
