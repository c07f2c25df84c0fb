//! What ends a run before its program does: CPU time and OOM kills. (The time limit: `run_outcomes.rs`.)

mod support;

use std::time::Duration;

use support::backends::{doctor, entry, on_each_backend, skip};
use support::job::Job;

on_each_backend!(
    cpu_time_ends_two_busy_processes_in_time,
    cpu_time_that_is_not_used_up_ends_nothing,
    k29_an_oom_kill_ends_the_whole_group,
    an_oom_kill_is_survived_where_that_is_asked_for,
    k23_a_fork_storm_does_not_hold_up_the_time_limit,
);

/// Whether the backend offers it, by its own word; the skip says if not.
fn offers(backend: &str, what: &str, name: &str) -> bool {
    let offered = &entry(doctor(), backend)["capabilities"][what];
    let has = offered.as_array().expect("a list").iter().any(|offer| offer == name);
    if !has {
        skip(&format!("{backend}.{name}"), &format!("{backend} does not have {what}.{name} here"));
    }
    has
}

fn cpu_seconds(report: &serde_json::Value) -> f64 {
    report["usage"]["cpu_seconds"].as_f64().expect("it is measured")
}

fn cpu_time_ends_two_busy_processes_in_time(backend: &str) {
    if !offers(backend, "usage", "cpu") {
        return;
    }
    let job = Job::on(backend);
    let busy = "while :; do :; done";
    let script = format!("setsid sh -c '{busy}' & {busy}");
    let most = 1.0 + 0.05 * support::scaled(Duration::from_secs(1)).as_secs_f64();
    let mut seen = Vec::new();
    // On a busy machine whoever looks has to wait for a processor, too: one run in a few shows the bound.
    while seen.last().is_none_or(|used| *used > most) {
        assert!(seen.len() < 12, "{seen:?}");
        let ended = job.sh(&["--cpu-time", "1s", "--grace", "0"], &script).expect(124);
        assert_eq!(ended.report()["reason"], "cpu-time");
        seen.push(cpu_seconds(ended.report()));
    }
    assert!(seen.iter().all(|used| *used >= 1.0), "{seen:?}");
}

fn cpu_time_that_is_not_used_up_ends_nothing(backend: &str) {
    if !offers(backend, "usage", "cpu") {
        return;
    }
    let ended = Job::on(backend).sh(&["--cpu-time", "60s"], "exit 5").expect(5);
    assert_eq!(ended.report()["reason"], serde_json::Value::Null);
}

/// A program whose child takes more memory than it may have.
const GREEDY: &str = "sh -c 'dd if=/dev/zero of=/dev/null bs=200M count=1; :'; echo on >DIR/on; sleep 0.2; \
    exit 6";

fn k29_an_oom_kill_ends_the_whole_group(backend: &str) {
    if !offers(backend, "limits", "memory") {
        return;
    }
    let job = Job::on(backend);
    let script = format!("setsid sleep 1000.MARK & {GREEDY}");
    let ended = job.sh(&["--memory", "32M", "--grace", "100000s"], &script).expect(137);
    assert_eq!(ended.report()["reason"], "oom");
    assert!(ended.report()["usage"]["oom_kills"].as_u64() >= Some(1), "{:#}", ended.report());
}

fn an_oom_kill_is_survived_where_that_is_asked_for(backend: &str) {
    if !offers(backend, "limits", "memory") {
        return;
    }
    let job = Job::on(backend);
    let ended = job.sh(&["--memory", "32M", "--on-oom", "continue"], GREEDY).expect(6);
    assert_eq!(ended.report()["reason"], serde_json::Value::Null);
    assert!(job.path("on").exists());
}

/// Children end faster than they can be reaped; the limit is looked at in between. The run around it keeps
/// the storm off the host.
fn k23_a_fork_storm_does_not_hold_up_the_time_limit(backend: &str) {
    let limits_processes = |one: &&str| {
        let offered = entry(doctor(), one)["capabilities"]["limits"].as_array();
        offered.is_some_and(|limits| limits.iter().any(|limit| limit == "pids"))
    };
    let Some(outer) = ["cgroup-v1", "cgroup-v2"].into_iter().find(limits_processes) else {
        return skip("pids", "no backend here has limits.pids");
    };
    let contain = support::binary();
    let outer = ["run", "--backend", outer, "--pids", "1000", "--grace", "0", "--"];
    let words = [&[contain.to_str().expect("it is UTF-8")], &outer[..]].concat();
    let job = Job::on(backend).behind(&words);
    let storm = "f() { f | f & }; while :; do f; done";
    let ended = job.run(&["--timeout", "500ms", "--grace", "0"], &["bash", "-c", storm]);
    assert_eq!(ended.expect(124).report()["reason"], "timeout");
}
