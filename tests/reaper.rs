//! The reaper on real groups: many of them, on one thread, with somebody waiting or not.

mod support;

use std::alloc::System;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use containment::{
    Backend, Containment, ErrorKind, Group, Kill, Policy, Program, Reaper, Stage, Stream,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::backends::{on_each_backend, skip};
use support::{deadline, eventually};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

on_each_backend!(
    many_groups_end_on_one_thread,
    a_reaping_is_a_future,
    nobody_has_to_wait,
    one_long_grace_holds_up_nobody_else,
    hurrying_ends_the_graces,
    what_is_not_ended_is_handed_back,
    dropping_the_reaper_ends_what_it_has,
);

/// Descriptors and threads of this process are counted: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host(backend: &str) -> Containment {
    let all = [Backend::CgroupV2, Backend::Hybrid, Backend::CgroupV1, Backend::ProcessGroup];
    let wanted = all.into_iter().find(|known| known.name() == backend).expect("a backend's name");
    Containment::builder().backend(wanted).build().expect("it can be used, says doctor")
}

/// A group in which these shell scripts run.
fn group(host: &Containment, scripts: &[&str]) -> Group {
    static SERIAL: Mutex<u32> = Mutex::new(0);
    let serial = {
        let mut serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
        *serial += 1;
        *serial
    };
    let name = format!("contain-reaper-{}-{serial}", std::process::id());
    let group = host.group(name).create().expect("it can be made");
    for script in scripts {
        let program = Program::new("sh").args(["-c", script]);
        let program = program.stdin(Stream::Null).stdout(Stream::Null).stderr(Stream::Null);
        group.spawn(&program).expect("it can be started");
    }
    group
}

const SLEEP: &str = "exec sleep 1000";
/// Says that the signal is ignored by becoming `sleep`.
const STUBBORN: &str = "trap '' TERM; exec sleep 1000";

fn await_stubborn(group: &Group) {
    eventually("TERM is ignored", || {
        group.members().expect("they can be listed").iter().all(|member| member.comm == "sleep")
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// By name: the threads of the harness come and go, and one that was joined is listed a while yet.
fn reapers() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let names = threads.flatten().flat_map(|thread| std::fs::read(thread.path().join("comm")));
    names.filter(|name| name == b"contain-reaper\n").count()
}

/// As many as `just soak` asks for, a twentieth otherwise.
fn groups() -> usize {
    if std::env::var_os("CONTAIN_SOAK").is_some() { 1000 } else { 50 }
}

fn many_groups_end_on_one_thread(backend: &str) {
    let _alone = alone();
    if !may_have_open(4 * groups()) {
        return skip("descriptors", "each group holds a descriptor or three, and few are allowed");
    }
    let host = host(backend);
    crowd_ends(&host);
    let before = (descriptors(), live_bytes());
    crowd_ends(&host);
    // What is in use, not what the allocator has from the kernel: that goes up and down.
    assert_eq!(descriptors(), before.0);
    let grown = live_bytes().saturating_sub(before.1) / 1024;
    assert!(grown < 256, "{grown} KiB more are in use than after the first crowd");
}

fn crowd_ends(host: &Containment) {
    let groups: Vec<_> =
        (0..groups()).map(|_| group(host, &["sleep 1000 & sleep 1000 & wait"])).collect();
    let names: Vec<_> = groups.iter().map(|group| group.id().clone()).collect();
    let reaper = Reaper::start().unwrap();
    let reapings: Vec<_> =
        groups.into_iter().map(|group| reaper.submit(group, Policy::kill())).collect();
    eventually("one thread ends them all", || reapers() == 1);
    for reaping in reapings {
        let report = reaping.wait().unwrap();
        assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    }
    reaper.finish();
    let listed = host.list().unwrap();
    assert!(!names.iter().any(|name| listed.contains(name)), "{listed:?}");
    eventually("the thread is gone", || reapers() == 0);
}

/// Whether so many descriptors may be open, by raising the limit as far as that goes.
fn may_have_open(descriptors: usize) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit everybody may raise it");
    limit.maximum.is_none_or(|most| u64::try_from(descriptors).is_ok_and(|wanted| wanted <= most))
}

/// The memory that is in use.
fn live_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Wakes the thread that polls.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor that there is.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let until = Instant::now() + deadline();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(Instant::now() < until, "it was not woken in time");
        std::thread::park_timeout(deadline());
    }
}

fn a_reaping_is_a_future(backend: &str) {
    let _alone = alone();
    let reaper = Reaper::start().unwrap();
    let group = group(&host(backend), &[SLEEP]);
    let atomic = group.capabilities().kill == Kill::Atomic;
    let report = block_on(reaper.submit(group, Policy::kill())).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.rounds > 0 && (report.rounds == 1 || !atomic), "{report:?}");
}

fn nobody_has_to_wait(backend: &str) {
    let _alone = alone();
    let host = host(backend);
    let reaper = Reaper::start().unwrap();
    let group = group(&host, &[SLEEP]);
    let id = group.id().clone();
    drop(reaper.submit(group, Policy::kill()));
    eventually("the group is gone", || !host.list().unwrap().contains(&id));
    reaper.finish();
}

fn one_long_grace_holds_up_nobody_else(backend: &str) {
    let _alone = alone();
    let host = host(backend);
    let reaper = Reaper::start().unwrap();
    let stubborn = group(&host, &[STUBBORN]);
    await_stubborn(&stubborn);
    let patient = reaper.submit(stubborn, Policy::graceful(Duration::from_secs(100_000)));
    let polite = reaper.submit(group(&host, &[SLEEP]), Policy::graceful(deadline()));
    let polite = polite.wait_for(Duration::MAX).expect("it ends before the clock does");
    assert!(polite.unwrap().is_clean());
    let patient = patient.wait_for(Duration::from_millis(20)).expect_err("it is not over");
    assert_eq!(patient.stage(), Stage::Grace);
    reaper.hurry();
    assert!(patient.wait().unwrap().is_clean());
}

fn hurrying_ends_the_graces(backend: &str) {
    let _alone = alone();
    let host = host(backend);
    let stubborn: Vec<_> = (0..3).map(|_| group(&host, &[STUBBORN])).collect();
    stubborn.iter().for_each(await_stubborn);
    let reaper = Reaper::start().unwrap();
    let policy = Policy::graceful(Duration::from_secs(100_000));
    let reapings: Vec<_> =
        stubborn.into_iter().map(|group| reaper.submit(group, policy.clone())).collect();
    reaper.hurry();
    for reaping in reapings {
        assert!(reaping.wait().unwrap().is_clean());
    }
}

fn what_is_not_ended_is_handed_back(backend: &str) {
    let _alone = alone();
    let group = group(&host(backend), &[STUBBORN]);
    await_stubborn(&group);
    let id = group.id().clone();
    let reaper = Reaper::start().unwrap();
    let reaping = reaper.submit(group, Policy::graceful(Duration::from_secs(100_000)));
    eventually("it has its grace", || reaping.stage() == Stage::Grace);
    let mut back = reaper.stop();
    assert_eq!(reaping.wait().unwrap_err().kind(), ErrorKind::Abandoned);
    assert_eq!((back.len(), back[0].group().id()), (1, &id));
    assert!(back[0].group().ops().populated().unwrap(), "it is handed back alive");
    let mut termination = back.remove(0);
    termination.hurry();
    assert!(termination.run().is_clean());
}

fn dropping_the_reaper_ends_what_it_has(backend: &str) {
    let _alone = alone();
    let host = host(backend);
    let group = group(&host, &[STUBBORN]);
    await_stubborn(&group);
    let reaper = Reaper::start().unwrap();
    let reaping = reaper.submit(group, Policy::graceful(Duration::from_secs(100_000)));
    drop(reaper);
    assert_eq!(reaping.stage(), Stage::Over);
    let report = reaping.wait().unwrap();
    assert!(report.is_clean(), "{report:?}");
}
