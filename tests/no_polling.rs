//! On cgroup v2 every wait ends by an event: no timed sleep, and no poll that runs into its time-out.

mod support;

use support::backends::{have, run_on};
use support::job::Job;

const CALLS: &str = "trace=execve,ppoll,poll,nanosleep,clock_nanosleep,epoll_wait,epoll_pwait,\
    epoll_pwait2,select,pselect6";

#[test]
fn a_program_that_ends_is_waited_for_by_events() {
    run_on("cgroup-v2", |backend| check(backend, "exit 0", 0));
}

#[test]
fn a_left_over_that_is_killed_is_waited_for_by_events() {
    run_on("cgroup-v2", |backend| check(backend, "sleep 1000.MARK & exit 3", 3));
}

fn check(backend: &str, script: &str, status: i32) {
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
        check_calls(&traces);
    }
}

/// A process that executes something else than `contain` is a program.
fn check_calls(traces: &[String]) {
    let executes = |call: &&str| call.starts_with("execve(");
    let is_ours =
        |trace: &&String| trace.lines().filter(executes).all(|call| call.contains("contain"));
    // A poll that does not wait only looks.
    let looks = |call: &str| call.contains(", 0) = 0") || call.contains("{tv_sec=0, tv_nsec=0}");
    let ours = traces.iter().filter(is_ours).flat_map(|trace| trace.lines());
    let waits: Vec<_> = ours.filter(|call| !executes(call) && !looks(call)).collect();
    assert!(waits.iter().any(|call| call.contains("poll")), "contain waits by poll: {traces:#?}");
    for call in waits {
        assert!(!call.contains("sleep"), "a timed sleep: {call}\n{traces:#?}");
        assert!(!call.contains("= 0"), "a wait that ended by its time-out: {call}\n{traces:#?}");
    }
}
