//! Which directories a run makes: its own group's, in the hierarchies that it joins, and none to find out
//! what a host can do. One that is made for a look would be left behind by a SIGKILL beside it.

mod support;

use std::fs;

use support::backends::{have, on_each_backend};
use support::job::Job;

on_each_backend!(a_run_makes_no_directory_but_its_groups);

fn a_run_makes_no_directory_but_its_groups(backend: &str) {
    if !have("strace", &["strace"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let trace = trace.to_str().unwrap();
    let words = ["strace", "-f", "-qqq", "-o", trace, "-e", "trace=?mkdir,mkdirat"];
    let job = Job::on(backend).behind(&words);
    job.sh(&[], "exit 4").expect(4);
    let text = fs::read_to_string(trace).unwrap();
    let made = text.lines().filter_map(|line| line.split_once('"')?.1.split_once('"'));
    // What is made by a path is a place for files; a group is made beneath a handle.
    let groups: Vec<_> = made.map(|(name, _)| name).filter(|name| !name.starts_with('/')).collect();
    assert!(groups.iter().all(|name| *name == job.name()), "{groups:?}");
    assert_eq!(groups.is_empty(), backend == "process-group", "{text}");
}
