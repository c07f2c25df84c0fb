//! K26 and K35: many runs at once. No status is lost, no zombie and no directory is left.
//!
//! `CONTAIN_SOAK` is the number of runs on each backend.

mod support;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use containment_process::reap::become_sub_reaper;
use support::backends::run_on;
use support::{binary, traces};

/// How many runs are under way at a time.
const WIDTH: usize = 8;

/// One test for all backends: it counts the children of its process, and what is left comes to it, as
/// to the sub-reaper that it is.
#[test]
fn k26_no_exit_is_lost_and_k35_nothing_is_left() {
    become_sub_reaper().unwrap();
    for backend in ["cgroup-v2", "hybrid", "cgroup-v1", "process-group"] {
        run_on(backend, soak);
    }
}

fn soak(backend: &str) {
    let runs = std::env::var("CONTAIN_SOAK").ok().and_then(|runs| runs.parse().ok());
    let runs = runs.unwrap_or(500);
    let mark = format!("77{:08}-soak-{backend}", std::process::id());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WIDTH {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs {
                        return;
                    }
                    run_once(backend, &mark, number);
                }
            });
        }
    });
    assert_eq!(traces::marked(&mark), []);
    let children = traces::children_of_this_process();
    assert!(children.is_empty(), "zombies, or worse: {children:?}");
    let left = traces::groups();
    let left: Vec<_> = left.iter().filter(|path| path.to_string_lossy().contains(&mark)).collect();
    assert!(left.is_empty(), "{left:?}");
    println!("soak: {backend}: {runs} runs: no status lost, no process, zombie or directory left");
}

/// `true` mostly; every fifth program has a status of its own and leaves a process behind.
fn run_once(backend: &str, mark: &str, number: usize) {
    let status = if number % 5 == 4 { number % 251 } else { 0 };
    let script = format!("sleep 1000 & exit {status}");
    let program = if number % 5 == 4 { vec!["sh", "-c", &script] } else { vec!["true"] };
    let mut command = Command::new(binary());
    command.args(["run", "--backend", backend, "--name", &format!("{mark}-{number}")]);
    if backend == "hybrid" {
        // So that a group has a directory in several hierarchies.
        command.args(["--best-effort", "--pids", "100", "--memory", "64M", "--cpus", "2"]);
    }
    command.arg("--").args(program).env("CONTAIN_TEST_MARK", mark).env_remove("CONTAIN_PARENT");
    let ended = command.stdin(Stdio::null()).status().expect("contain can be run");
    assert_eq!(ended.code(), i32::try_from(status).ok(), "run {number}");
}
