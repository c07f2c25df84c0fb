//! On cgroups waits end by an event: there is no timed sleep, and no poll that runs into its time-out but
//! for the rounds of a kill on version 1, and its look a second at a member that may have been moved out.

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
    for backend in ["cgroup-v2", "hybrid", "cgroup-v1"] {
        run_on(backend, |backend| check(backend, ENDS, 0, 0));
    }
}

/// Enough for the kernel to tell of its births while it runs.
const FORKS: &str = "until grep -q ') S ' /proc/$PPID/stat; do :; done; \
    i=0; while [ $i -lt 300 ]; do (:); i=$((i + 1)); done; exit 0";

#[test]
fn births_are_no_reason_to_look_at_the_group() {
    for backend in ["cgroup-v2", "hybrid", "cgroup-v1"] {
        run_on(backend, |backend| check(backend, FORKS, 0, 0));
    }
}

#[test]
fn a_left_over_that_is_killed_is_waited_for_by_events() {
    for backend in ["cgroup-v2", "hybrid"] {
        run_on(backend, |backend| check(backend, LEAVES, 3, 0));
    }
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
        // One file for each process.
        let words = ["strace", "-ff", "-qq", "-e", CALLS, "-o", trace.to_str().unwrap()];
        Job::on(backend).behind(&words).sh(&["--grace", grace], script).expect(status);
        let files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
        let traces: Vec<_> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
        check_calls(&traces, pauses);
    }
}

/// A process that executes something else than `contain` is a program.
fn check_calls(traces: &[String], pauses: usize) {
    let executes = |call: &&str| call.starts_with("execve(");
    let is_ours =
        |trace: &&String| trace.lines().filter(executes).all(|call| call.contains("contain"));
    // A poll that does not wait only looks.
    let looks = |call: &str| call.contains(", 0) = 0") || call.contains("{tv_sec=0, tv_nsec=0}");
    let ours = traces.iter().filter(is_ours).flat_map(|trace| trace.lines());
    let waits: Vec<_> = ours.filter(|call| !executes(call) && !looks(call)).collect();
    assert!(waits.iter().any(|call| call.contains("poll")), "contain waits by poll: {traces:#?}");
    assert!(!waits.iter().any(|call| call.contains("sleep")), "a timed sleep: {traces:#?}");
    let timed_out = waits.iter().filter(|call| call.contains("= 0")).count();
    assert!(timed_out <= pauses, "{timed_out} waits ended by their time-out: {traces:#?}");
}
