//! What the tests of process groups share.

#[path = "../../../tests/support/first_thread.rs"]
mod first_thread;
#[path = "../../../tests/support/must_run.rs"]
pub(crate) mod must_run;
#[path = "../../../tests/support/time.rs"]
mod time;

use std::io::{PipeReader, Read};

use containment_core::{CgroupOps, ControllerSet, Group, GroupName, Pid, Policy, Program};
use containment_process::proc::Stat;
pub(crate) use time::*;

pub(crate) fn create(driver: &dyn CgroupOps, name: &str) -> Group {
    let name: GroupName = name.parse().unwrap();
    Group::new(driver.create(&name, ControllerSet::EMPTY).unwrap(), driver.waiter())
}

pub(crate) fn sh(script: &str) -> Program {
    Program::new("/bin/sh").args(["-c", script])
}

pub(crate) fn is_alive(pid: Pid) -> bool {
    Stat::read(pid).unwrap().is_some_and(|stat| !stat.is_dead())
}

/// The pid on the next line.
pub(crate) fn told_pid(reader: &mut PipeReader) -> Pid {
    let (mut line, mut byte) = (String::new(), [0]);
    while reader.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(char::from(byte[0]));
    }
    line.parse().unwrap()
}

pub(crate) fn clean_kill(group: Group) {
    let report = group.terminate(&Policy::kill()).unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
}

/// A process that lives on without its first thread; none where that cannot be had.
pub(crate) fn without_first_thread() -> Option<Program> {
    must_run::has_python()
        .then(|| Program::new("python3").args(["-c", first_thread::LIVES_WITHOUT]))
}

/// Waits until a process is shown as a zombie.
pub(crate) fn await_end_of_first_thread(pid: Pid) {
    let is_shown = || Stat::read(pid).unwrap().is_some_and(|stat| stat.state.is_zombie());
    eventually("its first thread has ended", is_shown);
}
