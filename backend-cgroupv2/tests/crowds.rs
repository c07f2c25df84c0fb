//! Crowds on the real unified hierarchy: with `cgroup.kill`, and as kernels without it are served. The guests of
//! `tests/kernels` show the latter on a kernel that has no such file.

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use containment_core::{CgroupOps, ControllerSet, Group, Limit, Limits, Policy, Program, Stream};
use support::*;

/// Ends a group; nothing of it lives, and its directory is gone. A thousand processes take an emulated machine
/// seconds to freeze.
fn end(group: Group) {
    let directory = own_directory().join(group.id().name.as_str());
    assert!(directory.is_dir());
    let policy = Policy { freeze_timeout: Duration::from_secs(10), ..Policy::kill() };
    let report = group.terminate(&patient(&policy)).unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    assert!(!directory.exists());
}

/// Each of them waits for the other end of a pipe that has none; it is told when all are there.
#[test]
fn a_thousand_processes_die_with_their_group() {
    for driver in drivers() {
        let pipe = tempfile::tempdir().unwrap();
        let path = pipe.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let group = create(&driver, "crowd");
        let (reader, writer) = std::io::pipe().unwrap();
        group.spawn(&sh(&crowd(&path)).stdout(writer)).unwrap();
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).unwrap();
        assert_eq!((&*line, group.members().unwrap().len()), ("all\n", 1001));
        end(group);
    }
}

fn crowd(pipe: &Path) -> String {
    let pipe = pipe.display();
    format!(
        "n=0; while [ $n -lt 1000 ]; do n=$((n+1)); (read line < {pipe}) & done; echo all; wait"
    )
}

/// K03, K23: a bomb without an end of its own, which the limit on processes keeps off the host.
#[test]
fn k03_a_fork_bomb_dies_while_it_goes_off() {
    for driver in drivers() {
        if !driver.capabilities().limits.contains(Limit::Pids) {
            skip("cgroup-v2-limits.pids", &"pids is not offered here, which bounds the bomb");
            return;
        }
        let group = create_with(&driver, "bomb", ControllerSet::EMPTY.with(Limit::Pids));
        let bounded = group.ops().set_limits(&Limits::new().pids_max(500)).unwrap();
        assert!(bounded.refused.is_empty(), "{bounded:?}");
        // bash tries again where it cannot fork; other shells give up.
        let bomb = "bomb() { bomb | bomb & }; while :; do bomb; done";
        group.spawn(&Program::new("bash").args(["-c", bomb]).stderr(Stream::Null)).unwrap();
        eventually("it goes off", || group.members().unwrap().len() >= 100);
        end(group);
    }
}
