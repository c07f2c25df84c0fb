//! A process that has a scope of systemd uses it for whatever it contains. What the command line does with
//! scopes is tried by `tests/kernels/systemd/suite`, which runs this, too.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use containment::{Backend, Builder, Bytes, Containment, Limits, Pid, Policy, Program};
use support::backends;

/// One test: there is one process to be moved.
#[test]
fn a_process_has_one_scope_for_all_that_it_contains() {
    if !Path::new("/run/systemd/system").exists() {
        return backends::skip("systemd", "this host was not booted by systemd");
    }
    if rustix::process::geteuid().is_root() {
        return backends::skip("systemd", "root may have better than a scope; run it as a user");
    }
    drivers_of_one_process_share_a_scope();
    children_are_contained_in_the_scope();
}

fn limited(limits: &Limits) -> Builder {
    Containment::builder().backend(Backend::CgroupV2).limits(limits)
}

fn drivers_of_one_process_share_a_scope() {
    let sleeper = Program::new("sleep").arg("1000");
    let pids = Limits::new().pids_max(50);
    let first = limited(&pids).build().unwrap();
    let one = first.group("one").limits(&pids).create().unwrap();
    let one_child = one.spawn(&sleeper).unwrap();
    let scope = around(one_child.pid());
    assert!(scope.ends_with(own_scope()), "{}", scope.display());

    let memory = Limits::new().memory_max(Bytes::mib(64));
    let second = limited(&memory).build().unwrap();
    let two = second.group("two").limits(&memory).create().unwrap();
    let two_child = two.spawn(&sleeper).unwrap();
    assert_eq!(around(two_child.pid()), scope, "the second driver moved us on");

    assert!(two.terminate(&Policy::kill()).unwrap().is_clean());
    drop(second);
    assert!(one_child.try_wait().unwrap().is_none(), "the end of one group is no end of the other");
    assert!(one.terminate(&Policy::kill()).unwrap().is_clean());
}

fn children_are_contained_in_the_scope() {
    let before = group_of(Pid::current());
    let step = limited(&Limits::new().pids_max(50)).contain_children().unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let scope = own_scope();
    let inside = group_of(Pid::current());
    assert!(inside.iter().any(|name| *name == *scope), "{}", inside.display());
    assert!(step.leave(&Policy::kill()).unwrap().is_clean());
    assert!(!child.wait().unwrap().success());
    assert_eq!(group_of(Pid::current()), before, "we are back where we were");
}

/// The scope that this process was given is named after it.
fn own_scope() -> PathBuf {
    let group = group_of(Pid::current());
    let prefix = format!("contain-{}-", Pid::current());
    let scope = group.iter().find(|name| name.to_string_lossy().starts_with(&prefix));
    scope.unwrap_or_else(|| panic!("in no scope: {}", group.display())).into()
}

/// The group that the group of a process was made in.
fn around(pid: Pid) -> PathBuf {
    group_of(pid).parent().unwrap().to_path_buf()
}

fn group_of(pid: Pid) -> PathBuf {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().into()
}
