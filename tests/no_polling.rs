//! On cgroups waits end by an event: there is no timed sleep, and no poll that runs into its time-out but
//! for the rounds of a kill on version 1.

mod support;

use support::backends::{have, run_on};
use support::job::Job;

const CALLS: &str = "trace=execve,ppoll,poll,nanosleep,clock_nanosleep,epoll_wait,epoll_pwait,\
    epoll_pwait2,select,pselect6";

/// Both go on once their parent, which is `contain`, waits.
const ENDS: &str = "until grep -q ') S ' /proc/$PPID/stat; do :; done; exit 0";
const LEAVES: &str = "until grep -q ') S ' /proc/$PPID/stat; do :; done; sleep 1000.MARK & exit 3";

#[test]
fn a_program_that_ends_is_waited_for_by_events() {
    for backend in ["cgroup-v2", "cgroup-v1"] {
        run_on(backend, |backend| check(backend, ENDS, 0, 0));
    }
}

#[test]
fn a_left_over_that_is_killed_is_waited_for_by_events() {
    run_on("cgroup-v2", |backend| check(backend, LEAVES, 3, 0));
    // Nothing announces whoever is forked while the others are killed: between the rounds of such a kill
    // there are pauses, which the death of a member ends.
    run_on("cgroup-v1", |backend| check(backend, LEAVES, 3, 10));
}

/// Runs the script; at most so many waits may end by their time-out.
fn check(backend: &str, script: &str, status: i32, pauses: usize) {
    if !have("strace", &["strace"]) {
        return;
    }
    for grace in ["0", "100s"] {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("trace");
        let words = ["strace", "-f", "-qq", "-e", CALLS, "-o", trace.to_str().unwrap()];
        Job::on(backend).behind(&words).sh(&["--grace", grace], script).expect(status);
        check_calls(&std::fs::read_to_string(&trace).unwrap(), pauses);
    }
}

/// The first process of the trace is `contain`; another one that executes something is a program.
fn check_calls(trace: &str, pauses: usize) {
    let whole = whole_calls(trace);
    let calls: Vec<_> = whole.iter().map(|(pid, call)| (*pid, call.as_str())).collect();
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
    assert!(!ours.iter().any(|(_, call)| call.contains("sleep")), "a timed sleep: {trace}");
    let timed_out = ours.iter().filter(|(_, call)| call.contains("= 0")).count();
    assert!(timed_out <= pauses, "{timed_out} waits ended by their time-out: {trace}");
}

/// The calls with the pid that made each; one during which another process is traced stands on two lines.
fn whole_calls(trace: &str) -> Vec<(&str, String)> {
    let mut calls: Vec<(&str, String)> = Vec::new();
    for (pid, call) in trace.lines().filter_map(|line| line.split_once(' ')) {
        let begun =
            calls.iter_mut().rev().find(|(of, call)| *of == pid && call.ends_with(UNFINISHED));
        match (begun, call.split_once("resumed>")) {
            (Some((_, begun)), Some((_, rest))) => {
                begun.truncate(begun.len() - UNFINISHED.len());
                begun.push_str(rest);
            }
            _ => calls.push((pid, call.to_owned())),
        }
    }
    calls
}

const UNFINISHED: &str = " <unfinished ...>";
