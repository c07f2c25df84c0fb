//! What it takes to run a program that does nothing, told by counting, which no load disturbs: system calls of
//! `contain` and whoever it forks, and the memory that is its own.

mod support;

use support::backends::{have, on_each_backend};
use support::job::Job;

on_each_backend!(a_run_takes_a_bounded_number_of_system_calls, a_run_is_small);

/// For a binary against glibc, a tenth more than were counted.
fn most_calls(backend: &str) -> usize {
    match backend {
        "cgroup-v2" => 0,
        "hybrid" => 0,
        "cgroup-v1" => 0,
        _ => 0,
    }
}

fn a_run_takes_a_bounded_number_of_system_calls(backend: &str) {
    if !have("strace", &["strace"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    // One file for each process.
    let words = ["strace", "-ff", "-qqq", "-o", trace.to_str().unwrap()];
    Job::on(backend).behind(&words).run(&[], &["true"]).expect(0);
    let files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    let traces: Vec<_> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let executed_by_us = |trace: &&String| !trace.contains("execve(\"/usr/bin/true\"");
    let calls = traces.iter().filter(executed_by_us).flat_map(|trace| trace.lines()).count();
    assert!(calls <= most_calls(backend), "{calls} system calls: {traces:#?}");
}

/// Whoever supervises thousands of runs has so many of these.
fn a_run_is_small(backend: &str) {
    let job = Job::on(backend);
    job.sh(&[], "cat /proc/$PPID/status > DIR/status").expect(0);
    let status = job.text("status");
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let figure = line.and_then(|line| line.trim().strip_suffix(" kB"));
        figure.expect("the kernel tells it").parse::<usize>().unwrap()
    };
    assert!(kib("RssAnon:") <= 1024, "{status}");
}
