//! Members in uninterruptible sleep, which neither freeze nor die: those that wait for a file system that
//! never answers. In a private mount namespace, on a file system of this test's own.

#[path = "../../tests/support/deaf.rs"]
mod deaf;
mod support;

use std::time::{Duration, Instant};

use containment_core::ErrorKind::TimedOut;
use containment_core::{
    CgroupOps, Error, FreezeState, Group, Operation, Outcome, Policy, Program, Signal, Teardown,
    TeardownReport,
};
use deaf::Deaf;
use support::*;

/// K03, K04, K05: a freeze that never completes is bounded and undone, the error says so; the healthy
/// are dead, and who cannot die is reported. Once it can, whoever comes later finishes the job.
#[test]
fn k05_who_cannot_die_is_reported_and_ended_later() {
    let is_root = || must_run::is_root("only root can mount what holds a process for certain");
    if driver().is_none() || !is_root() || !must_run::has_fuse() {
        return;
    }
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "helper_kills_who_cannot_die", "--nocapture"])
        .env("CONTAIN_TEST_DEAF", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs in a mount namespace of its own; does nothing in an ordinary run.
#[test]
fn helper_kills_who_cannot_die() {
    if std::env::var_os("CONTAIN_TEST_DEAF").is_none() {
        return;
    }
    for bench in benches("k05") {
        let point = tempfile::tempdir().unwrap();
        let mut deaf = Deaf::mount_on(point.path());
        let group = bench.group();
        let stuck = group.spawn(&Program::new("ls").arg(point.path())).unwrap();
        deaf.next_request();
        let healthy = group.spawn(&sleeper()).unwrap();
        let report = give_up_soon(&bench, &group);
        assert_eq!(healthy.try_wait().unwrap(), Some(Outcome::Signaled(Signal::KILL)));
        assert_eq!(report.survivors.len(), 1, "{report:?}");
        let survivor = &report.survivors[0];
        assert_eq!((survivor.pid, &*survivor.comm), (stuck.pid(), "ls"));
        assert_eq!(survivor.state.0, 'D');
        if let Ok(state) = group.ops().frozen() {
            assert_eq!(state, FreezeState::Thawed, "left thawed");
            let told = |e: &Error| (e.kind(), e.operation()) == (TimedOut, Operation::Freeze);
            assert!(report.errors.iter().any(told), "{report:?}");
        }
        let id = group.id().clone();
        group.keep();
        drop(deaf);
        rustix::mount::unmount(point.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
        end(Group::new(bench.driver.open(&id).unwrap(), bench.driver.waiter()));
        assert_eq!(stuck.wait().unwrap(), Outcome::Signaled(Signal::KILL));
    }
}

/// A kill that gives freezes and itself little time, and keeps to it.
fn give_up_soon(bench: &Bench, group: &Group) -> TeardownReport {
    let policy = Policy::kill().give_up_after(Duration::from_millis(600));
    let policy = Policy { freeze_timeout: Duration::from_millis(50), ..policy };
    let started = Instant::now();
    let report = Teardown::new(policy).run(group.ops(), &*bench.driver.waiter());
    assert!(started.elapsed() < Duration::from_secs(3), "{report:?}");
    report
}
