//! Freezing as a guard, on each backend: until it is let go, and within its bound where somebody would not
//! freeze. That takes a file system that never answers, in a mount namespace of this test's own.

#[path = "support/deaf.rs"]
mod deaf;
mod support;

use std::time::Duration;

use containment::{
    Backend, Child, Containment, Error, ErrorKind, FreezeState, Group, NotFrozen, Outcome, Policy,
    Program, Signal,
};
use deaf::Deaf;
use support::backends::{on_each_backend, skip, unusable};
use support::must_run::{has_fuse, is_root};
use support::{deadline, eventually, traces};

on_each_backend!(
    a_group_stands_still_until_its_guard_is_dropped,
    a_guard_that_is_kept_leaves_the_group_frozen,
);

fn group(backend: &str, test: &str) -> Group {
    let known = [Backend::CgroupV2, Backend::CgroupV1, Backend::Hybrid, Backend::ProcessGroup];
    let chosen = known.into_iter().find(|known| known.name() == backend).unwrap();
    let host = Containment::builder().backend(chosen).build().unwrap();
    // Two backends may share a hierarchy.
    host.group(format!("test-{test}-{backend}-{}", std::process::id())).create().unwrap()
}

fn sleeper(group: &Group) -> Child {
    let child = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    // What it becomes by exec may be waited for uninterruptibly, for a moment.
    eventually("it sleeps", || traces::state(child.pid().as_raw()) == Some('S'));
    child
}

fn end(group: Group) {
    assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
}

fn a_group_stands_still_until_its_guard_is_dropped(backend: &str) {
    let group = group(backend, "still");
    let child = sleeper(&group);
    let still = group.freeze(deadline()).unwrap();
    assert_eq!(group.ops().frozen().unwrap(), FreezeState::Frozen);
    drop(still);
    eventually("it is thawed", || group.ops().frozen().unwrap() == FreezeState::Thawed);
    group.freeze(deadline()).unwrap().thaw().unwrap();
    assert_eq!(group.ops().frozen().unwrap(), FreezeState::Thawed);
    end(group);
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
}

fn a_guard_that_is_kept_leaves_the_group_frozen(backend: &str) {
    let group = group(backend, "kept");
    sleeper(&group);
    group.freeze(deadline()).unwrap().keep();
    assert_eq!(group.ops().frozen().unwrap(), FreezeState::Frozen);
    end(group);
}

/// The list is exact, also on version 1, which shows the frozen in the state of those that will not freeze.
#[test]
fn who_would_not_freeze_is_named_and_nobody_else() {
    if !is_root("only root can mount what holds a process for certain") || !has_fuse() {
        return;
    }
    for backend in ["cgroup-v2", "cgroup-v1", "hybrid", "process-group"] {
        if let Some(reason) = unusable(backend) {
            skip(backend, &reason);
            continue;
        }
        let output = std::process::Command::new("unshare")
            .args(["--mount", "--propagation", "private"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "helper_freezes_who_cannot_be", "--nocapture"])
            .env("CONTAIN_TEST_DEAF", backend)
            .output()
            .unwrap();
        assert!(output.status.success(), "{backend}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Runs in a mount namespace of its own; does nothing in an ordinary run.
#[test]
fn helper_freezes_who_cannot_be() {
    let Ok(backend) = std::env::var("CONTAIN_TEST_DEAF") else { return };
    let point = tempfile::tempdir().unwrap();
    let mut deaf = Deaf::mount_on(point.path());
    let group = group(&backend, "deaf");
    let healthy = [sleeper(&group), sleeper(&group)];
    let stuck = group.spawn(&Program::new("ls").arg(point.path())).unwrap();
    deaf.next_request();
    if backend == "process-group" {
        // Whom SIGSTOP waits for executes nothing before it is stopped.
        group.freeze(deadline()).unwrap().thaw().unwrap();
    } else {
        check_holdouts(&group, &stuck);
    }
    drop(deaf);
    end(group);
    for child in healthy {
        assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
    }
    rustix::mount::unmount(point.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
}

fn check_holdouts(group: &Group, stuck: &Child) {
    let NotFrozen { error, holdouts } = group.freeze(Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let pids: Vec<_> = holdouts.iter().map(|member| member.pid).collect();
    assert_eq!(pids, [stuck.pid()], "{error}");
    let hold = holdouts[0].origin.as_ref().unwrap().held_by.as_ref().unwrap();
    assert!(hold.wchan.is_some(), "root can tell where it waits: {hold:?}");
    assert!(Error::from(NotFrozen { error, holdouts }).to_string().contains("1 of 3"));
    eventually("it is undone", || group.ops().frozen().unwrap() == FreezeState::Thawed);
}
