//! What it takes to run a program that does nothing, told by counting, which no load disturbs: the system calls
//! of `contain` and of whoever it forks, and the memory that is its own.

mod support;

use support::backends::{have, on_each_backend};
use support::job::Job;

on_each_backend!(a_run_takes_a_bounded_number_of_system_calls, a_run_is_small);

/// A twentieth more than were counted at most, without those for each CPU that is listened to.
fn most_calls(backend: &str) -> usize {
    match backend {
        "cgroup-v2" => 300,
        "hybrid" => 490,
        "cgroup-v1" => 451,
        _ => 265,
    }
}

/// An event is opened, mapped, unmapped and closed.
const CALLS_A_CPU: usize = 4;

fn a_run_takes_a_bounded_number_of_system_calls(backend: &str) {
    if !have("strace", &["strace"]) {
        return;
    }
    // Who ends while he is looked at costs another look now and then.
    let runs = std::iter::repeat_with(|| traced(backend)).take(3);
    let traces = runs.min_by_key(|traces| calls(traces)).unwrap();
    let calls = calls(&traces);
    let most =
        most_calls(backend) + CALLS_A_CPU * std::thread::available_parallelism().unwrap().get();
    assert!(calls > 100, "nothing was traced: {traces:#?}");
    assert!(calls <= most, "{calls} system calls, more than {most}: {traces:#?}");
}

/// What each process of a run did that executed nothing but `contain`.
fn traced(backend: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    // One file for each process. Cargo has the loader look for libraries in many places.
    let trace = trace.to_str().unwrap();
    let words = ["env", "-u", "LD_LIBRARY_PATH", "strace", "-ff", "-qqq", "-o", trace];
    Job::on(backend).behind(&words).run(&[], &["true"]).expect(0);
    let files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    let traces = files.map(|file| std::fs::read_to_string(file).unwrap());
    let executes = |call: &&str| call.starts_with("execve(");
    let is_ours =
        |trace: &String| trace.lines().filter(executes).all(|call| call.contains("contain"));
    traces.filter(is_ours).collect()
}

fn calls(traces: &[String]) -> usize {
    traces.iter().map(|trace| trace.lines().count()).sum()
}

/// Whoever runs a thousand programs has this a thousand times. A third of it are the relocations of a binary
/// that is not optimized.
fn a_run_is_small(backend: &str) {
    let job = Job::on(backend);
    job.sh(&[], "cat /proc/$PPID/status > DIR/status").expect(0);
    let status = job.text("status");
    let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = own.and_then(|own| own.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    assert!(kib.is_some_and(|kib| (1..=1536).contains(&kib)), "{status}");
}
