//! The scenarios that break real systems, by id (docs/SCENARIOS.md), on every backend that each applies to, on
//! real processes. Those that need a driver's own view, or a fault, are beside the code that they are about;
//! `document` holds the list of all against the sources.
//!
//! One line a result, and a count for each backend. What does not apply is skipped with its reason, and so is a
//! backend that this host does not have; `CONTAIN_MUST_RUN=cgroup-v2,…` turns that into a failure.

mod document;
mod escaping;
mod freezing;
mod groups;
mod killing;
mod stage;
mod supervising;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// The backends, and how many scenarios were played on each and skipped.
static BACKENDS: [(&str, Count); 4] = [
    ("cgroup-v2", Count::new()),
    ("cgroup-v1", Count::new()),
    ("hybrid", Count::new()),
    ("process-group", Count::new()),
];

#[derive(Debug)]
struct Count {
    played: AtomicUsize,
    skipped: AtomicUsize,
}

impl Count {
    const fn new() -> Self {
        Self { played: AtomicUsize::new(0), skipped: AtomicUsize::new(0) }
    }
}

/// A scenario, and the backends that it does not apply to, each with the reason.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    play: fn(&str),
    except: &'static [(&'static str, &'static str)],
    /// The limit without which there is nothing to show.
    needs: Option<&'static str>,
}

/// A scenario for every backend, or for all but some.
macro_rules! scenario {
    ($theme:ident::$name:ident) => {
        scenario!($theme::$name, except & [])
    };
    ($theme:ident::$name:ident, except $except:expr) => {
        scenario!($theme::$name, except $except, needs None)
    };
    ($theme:ident::$name:ident, except $except:expr, needs $needs:expr) => {
        Scenario { name: stringify!($name), play: $theme::$name, except: $except, needs: $needs }
    };
}

const NO_EMPTY_GROUPS: &[(&str, &str)] =
    &[("process-group", "its groups have no directories: none is made empty, entered or nested")];

const NO_THREADED_GROUPS: &[(&str, &str)] = &[
    ("cgroup-v1", "version 1 has no threaded groups"),
    ("process-group", "process groups have no threaded groups"),
];

const SCENARIOS: &[Scenario] = &[
    scenario!(freezing::k01_a_frozen_group_dies),
    scenario!(freezing::k02_a_nested_frozen_group_dies, except NO_EMPTY_GROUPS),
    scenario!(freezing::k06_what_was_frozen_when_its_supervisor_died_is_ended_by_gc),
    scenario!(freezing::k07_who_is_frozen_before_the_exec_holds_nobody, except NO_EMPTY_GROUPS),
    scenario!(freezing::k07_a_frozen_group_takes_no_program_and_nobody_hangs, except NO_EMPTY_GROUPS),
    scenario!(groups::k08_a_name_that_is_taken_is_refused_and_nothing_in_it_touched),
    scenario!(groups::k11_five_levels_with_live_members_are_refused_and_then_removed, except NO_EMPTY_GROUPS),
    scenario!(groups::k12_a_threaded_group_is_listed_and_killed, except NO_THREADED_GROUPS),
    scenario!(groups::k15_an_invalid_domain_is_a_typed_error, except NO_THREADED_GROUPS),
    scenario!(groups::k20_who_got_the_pid_of_one_to_be_attached_is_let_go, except NO_EMPTY_GROUPS),
    scenario!(groups::k30_an_oom_at_an_ancestor_is_told_by_its_kill, except NO_EMPTY_GROUPS, needs Some("memory")),
    scenario!(groups::k33_each_controller_is_resolved_by_itself, except NO_EMPTY_GROUPS),
    scenario!(groups::k37_figures_of_a_name_that_is_used_again_are_its_own),
    scenario!(groups::k42_a_killed_group_runs_the_next_program_once, except NO_EMPTY_GROUPS),
    scenario!(killing::k09_a_large_member_is_waited_for_before_the_removal),
    scenario!(killing::k10_and_k41_zombies_are_no_members),
    scenario!(killing::k21_nothing_runs_when_the_kill_returns),
    scenario!(killing::k24_members_that_replace_themselves_are_ended),
    scenario!(killing::k38_the_group_that_holds_the_caller_is_not_killed, except NO_EMPTY_GROUPS),
    scenario!(escaping::k18_daemons_are_ended_and_reported),
    scenario!(escaping::k45_who_lost_parent_and_session_is_found),
    scenario!(supervising::k28_a_program_outlives_the_thread_that_spawned_it),
    scenario!(supervising::k46_a_group_with_limited_memory_has_the_supervisor_in_vfork, except NO_EMPTY_GROUPS, needs Some("memory")),
    scenario!(supervising::k46_a_spawn_shares_the_memory_of_the_supervisor),
    scenario!(supervising::k48_an_ignored_sigchld_loses_nothing),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let each = BACKENDS.iter().flat_map(|(backend, count)| {
        SCENARIOS.iter().map(move |scenario| trial(backend, count, scenario))
    });
    let conclusion = libtest_mimic::run(&arguments, each.chain(document::trials()).collect());
    if !arguments.list {
        for (backend, Count { played, skipped }) in &BACKENDS {
            let (played, skipped) =
                (played.load(Ordering::Relaxed), skipped.load(Ordering::Relaxed));
            println!("{backend}: {played} scenarios played, {skipped} skipped");
        }
    }
    conclusion.exit_code()
}

fn trial(backend: &'static str, count: &'static Count, scenario: &'static Scenario) -> Trial {
    let name = format!("{backend}::{}", scenario.name);
    Trial::ignorable_test(name, move || match reason_to_skip(backend, scenario)? {
        None => {
            (scenario.play)(backend);
            count.played.fetch_add(1, Ordering::Relaxed);
            Ok(Completion::Completed)
        }
        Some(reason) => {
            count.skipped.fetch_add(1, Ordering::Relaxed);
            Ok(Completion::ignored_with(reason))
        }
    })
}

/// Why a scenario is not played on a backend; a failure where the backend has to be there.
fn reason_to_skip(backend: &str, scenario: &Scenario) -> Result<Option<String>, Failed> {
    if let Some((_, reason)) = scenario.except.iter().find(|(except, _)| *except == backend) {
        return Ok(Some((*reason).to_owned()));
    }
    let Some(reason) = support::backends::unusable(backend) else {
        return Ok(scenario
            .needs
            .filter(|limit| !offers(backend, limit))
            .map(|limit| format!("this host offers no limits.{limit} there")));
    };
    if support::must_run::demanded(backend) {
        return Err(format!("it must run here (CONTAIN_MUST_RUN): {reason}").into());
    }
    Ok(Some(reason))
}

/// Whether `contain doctor` lists a limit.
fn offers(backend: &str, limit: &str) -> bool {
    let entry = support::backends::entry(support::backends::doctor(), backend);
    let limits = entry["capabilities"]["limits"].as_array();
    limits.is_some_and(|limits| limits.iter().any(|listed| listed == limit))
}
