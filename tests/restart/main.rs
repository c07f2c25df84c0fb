//! Agents that die, and what is left of their groups, of their results and of themselves.
//!
//! Each agent is this very program, started again; it is driven over its standard input. A twentieth of the
//! figures by default, all of them with `CONTAIN_SOAK`.

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod crosstalk;
mod crowd;
mod cycles;
mod guard;
mod statuses;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A test on one backend.
type Case = fn(&str);

const ALL: [&str; 4] = ["cgroup-v2", "hybrid", "cgroup-v1", "process-group"];

fn cases() -> Vec<(&'static str, Case, &'static [&'static str])> {
    vec![
        ("a_restart_loses_no_result_and_disturbs_no_task", statuses::restart, &ALL),
        ("a_keeper_that_is_killed_loses_its_own_result_only", statuses::keeper_lost, &ALL),
        ("k22_a_killed_agent_leaves_nothing_with_its_guard", guard::killed, &ALL),
        ("a_guard_that_is_killed_is_replaced", guard::replaced, &ALL),
        ("a_guard_ends_with_its_work_and_is_in_no_group", guard::ends, &ALL),
        ("a_helper_that_was_let_go_with_its_tasks_stays_no_zombie", guard::forgotten, &ALL),
        ("k48_a_hostile_host_loses_and_mistakes_nobody", crowd::hostile, &["process-group"]),
        ("two_supervisors_of_one_state_directory_do_not_meet", crosstalk::two, &ALL),
        ("cycles_leave_everything_as_it_was", cycles::flat, &ALL),
    ]
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(agent::FLAG) {
        return agent::main(&arguments.collect::<Vec<_>>());
    }
    let trials = cases().into_iter().flat_map(|(name, case, backends)| {
        backends.iter().map(move |backend| {
            let backend = *backend;
            Trial::test(format!("{backend}::{name}"), move || {
                support::backends::run_on(backend, case);
                Ok(())
            })
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
