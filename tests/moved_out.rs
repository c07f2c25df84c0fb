//! Who waits until a group is empty while its last member is moved out of it, by root say: version 2 announces
//! that, version 1 does not. Either wait ends.

mod support;

use std::sync::mpsc;

use containment::{Backend, Containment, Group, Limits, Outcome, Policy, Program, Signal};
use support::backends::run_on;
use support::{deadline, eventually, hybrid, traces};

#[test]
fn a_wait_on_version_2_ends_when_the_last_member_is_moved_out() {
    run_on("cgroup-v2", |_| check(group(Backend::CgroupV2)));
}

#[test]
fn a_wait_on_version_1_ends_when_the_last_member_is_moved_out() {
    run_on("cgroup-v1", |_| check(group(Backend::CgroupV1)));
}

/// Its limit is of version 1, so that the member is moved out of both.
#[test]
fn a_wait_on_hybrid_ends_when_the_last_member_is_moved_out() {
    let Some(bench) = hybrid::bench(&["pids"]) else { return };
    check(bench.group(&Limits::new().pids_max(50)));
}

fn group(backend: Backend) -> Group {
    let host = Containment::builder().backend(backend).build().unwrap();
    host.group(format!("test-moved-{backend}-{}", std::process::id())).create().unwrap()
}

fn check(group: Group) {
    let member = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    let home = group.ops().home().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            group.wait_empty(deadline())
        });
        let thread = told.recv().unwrap();
        eventually("it waits", || traces::state(thread) == Some('S'));
        home.take_back(member.pid()).unwrap();
        waits.join().unwrap().unwrap();
    });
    assert!(group.members().unwrap().is_empty());
    assert_eq!(member.try_wait().unwrap(), None, "it lives on");
    member.signal(Signal::KILL).unwrap();
    assert_eq!(member.wait().unwrap(), Outcome::Signaled(Signal::KILL));
    assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
}
