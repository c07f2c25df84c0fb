//! Where version 2 holds the processes every wait ends by an event: no timed sleep, and no poll that runs into its time-out.

mod support;

use support::backends::{have, run_on};
use support::job::Job;

const CALLS: &str = "trace=execve,ppoll,poll,nanosleep,clock_nanosleep,epoll_wait,epoll_pwait,\
    epoll_pwait2,select,pselect6";

#[test]
fn a_program_that_ends_is_waited_for_by_events() {
    on_both(|backend| check(backend, "exit 0", 0));
}

#[test]
fn a_left_over_that_is_killed_is_waited_for_by_events() {
    on_both(|backend| check(backend, "sleep 1000.MARK & exit 3", 3));
}

fn on_both(scenario: fn(&str)) {
    for backend in ["cgroup-v2", "hybrid"] {
        run_on(backend, scenario);
    }
}

fn check(backend: &str, script: &str, status: i32) {
    if !have("strace", &["strace"]) {
        return;
    }
    for grace in ["0", "100s"] {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("trace");
        let words = ["strace", "-f", "-qq", "-e", CALLS, "-o", trace.to_str().unwrap()];
        Job::on(backend).behind(&words).sh(&["--grace", grace], script).expect(status);
        check_calls(&std::fs::read_to_string(&trace).unwrap());
    }
}

/// The first process of the trace is `contain`; another one that executes something is a program.
fn check_calls(trace: &str) {
    let calls: Vec<_> = trace.lines().filter_map(|line| line.split_once(' ')).collect();
    let executes = |call: &str| call.trim_start().starts_with("execve");
    let contain = calls.first().expect("there is a trace").0;
    let programs: Vec<_> = calls.iter().filter(|(_, call)| executes(call)).map(|c| c.0).collect();
    let ours = calls.iter().filter(|(pid, _)| *pid == contain || !programs.contains(pid));
    // A poll that does not wait only looks.
    let looks = |call: &str| call.contains(", 0) = 0") || call.contains("{tv_sec=0, tv_nsec=0}");
    let waits = |call: &str| !executes(call) && !looks(call);
    let ours: Vec<_> = ours.filter(|(_, call)| waits(call)).collect();
    assert!(
        ours.iter().any(|(_, call)| call.contains("poll")),
        "contain waits by polling: {trace}"
    );
    for (_, call) in ours {
        assert!(!call.contains("sleep"), "a timed sleep: {call}\n{trace}");
        assert!(!call.contains("= 0"), "a wait that ended by its time-out: {call}\n{trace}");
    }
}
