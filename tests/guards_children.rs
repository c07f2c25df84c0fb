//! Containing the children of a process on this host (rows C6, C8, C9, C10): each scenario is a process
//! of its own, a re-run of this binary, since the runner must not move.
//!
//! A scenario that ends well exits with 0, or as its entry says. Whatever it did, no process and no
//! group of it may be left.

mod support;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use containment::registry::{Registry, Tenure};
use containment::{
    Backend, Builder, Bytes, ContainChildren, Containment, ErrorKind, HowHeld, Limits, Outcome,
    Pid, Policy, Program, Signal,
};
use containment_process::heap::Heap;
use containment_process::pidfd::{PidFd, Waited};
use containment_process::worker;
use libtest_mimic::{Arguments, Trial};
use support::{backends, eventually, traces};

#[global_allocator]
static HEAP: Heap = Heap::new();

/// Names the scenario that this process is to be, and the backend that it is played on.
const SCENARIO: &str = "CONTAIN_TEST_SCENARIO";
const BACKEND: &str = "CONTAIN_TEST_BACKEND";
/// Marks every process of a scenario.
const MARK: &str = "CONTAIN_TEST_MARK";

struct Scenario {
    name: &'static str,
    /// The backends on which there is something to see.
    on: &'static [Backend],
    run: fn(),
    /// The signal that ends it, if it does not end well.
    ended_by: Option<Signal>,
}

static SCENARIOS: [Scenario; 17] = [
    in_a_group("children_are_contained_whoever_starts_them", whoever_starts_them),
    in_a_group("dropping_ends_the_children", dropping_ends),
    in_a_group("the_process_comes_back_with_all_its_threads", with_all_threads),
    in_a_group("guards_nest_by_themselves", guards_nest),
    in_a_group("a_fork_cleans_nothing_up", a_fork_cleans_nothing_up),
    Scenario {
        ended_by: Some(Signal::TERM),
        ..in_a_group("a_signal_waits_for_the_end_of_the_clean_up", signal_during_clean_up)
    },
    in_a_group("what_was_there_before_is_left_alone", what_was_there_before),
    in_a_group("a_name_that_is_taken_is_refused", a_taken_name),
    in_a_group("one_group_is_entered_and_left", one_group_is_entered),
    in_a_group("a_group_that_was_made_from_inside_another_is_recovered", made_from_inside),
    Scenario {
        on: &[Backend::Hybrid],
        ..in_a_group("a_hybrid_group_is_left_in_every_hierarchy", hybrid_is_entered)
    },
    in_a_group("one_call_takes_the_group_where_it_can", one_call_takes_the_group),
    on_pgrp("one_call_sweeps_where_there_is_no_group", one_call_sweeps),
    on_pgrp("a_sweep_by_drop_ends_a_daemon", a_sweep_by_drop),
    on_pgrp("one_call_does_nothing_where_it_could_hit_others", one_call_does_nothing),
    on_pgrp("a_worker_that_panics_ends_itself_alone", a_worker_that_panics),
    on_pgrp("a_worker_that_is_given_no_memory_ends_itself_alone", a_worker_without_memory),
];

const fn in_a_group(name: &'static str, run: fn()) -> Scenario {
    let on = &[Backend::CgroupV2, Backend::Hybrid, Backend::CgroupV1];
    Scenario { name, on, run, ended_by: None }
}

const fn on_pgrp(name: &'static str, run: fn()) -> Scenario {
    Scenario { name, on: &[Backend::ProcessGroup], run, ended_by: None }
}

fn main() {
    if let Ok(name) = std::env::var(SCENARIO) {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        return (scenario.expect("it was asked for by name").run)();
    }
    let trials = SCENARIOS.iter().flat_map(|scenario| {
        scenario.on.iter().map(move |backend| {
            Trial::test(format!("{backend}::{}", scenario.name), move || {
                show(scenario, backend.name());
                Ok(())
            })
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// Runs a scenario as a process of its own, and checks how it ended and that nothing is left.
fn show(scenario: &Scenario, backend: &str) {
    if let Some(reason) = backends::unusable(backend) {
        return backends::skip(backend, &reason);
    }
    let mark = format!("guards-{}-{}-{backend}", std::process::id(), scenario.name);
    let own = std::env::current_exe().expect("this binary has a path");
    let mut process = Command::new(own)
        .env(SCENARIO, scenario.name)
        .env(BACKEND, backend)
        .env(MARK, &mark)
        .process_group(0)
        .spawn()
        .expect("this binary can be run");
    let pid = process.id();
    let status = process.wait().expect("it is our child");
    let expected = match scenario.ended_by {
        Some(signal) => status.signal() == Some(signal.as_raw()),
        None => status.success(),
    };
    let left = traces::marked(&mark);
    for process in &left {
        support::job::signal(process.pid, Signal::KILL);
    }
    assert!(expected, "{status:?}");
    assert_eq!(left, [], "processes are left");
    assert_eq!(groups_of(pid), [] as [PathBuf; 0], "groups are left");
}

/// The groups that the process `pid` made, by their names.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    let prefix = format!("children-{pid}-");
    let is_ours = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.starts_with(&prefix))
    };
    traces::groups().into_iter().filter(is_ours).collect()
}

/// The backend that this scenario is played on.
fn backend() -> Backend {
    let name = std::env::var(BACKEND).expect("a scenario is told its backend");
    let known = [Backend::CgroupV2, Backend::Hybrid, Backend::CgroupV1, Backend::ProcessGroup];
    known.into_iter().find(|backend| backend.name() == name).expect("it is a backend")
}

fn builder() -> Builder {
    Containment::builder().backend(backend())
}

/// The group that this process, or this thread, is in: of the unified hierarchy, or of the first one of
/// version 1 that holds processes.
fn own_group() -> String {
    let text = std::fs::read_to_string("/proc/thread-self/cgroup").expect("/proc is mounted");
    let path = |controller: &str| {
        text.lines().find_map(|line| Some(line.split_once(controller)?.1.to_owned()))
    };
    let path = match backend() {
        Backend::CgroupV1 => path(":freezer:").or_else(|| path(":pids:")),
        _ => path("0::"),
    };
    path.expect("the backend has a hierarchy")
}

fn is_alive(pid: i32) -> bool {
    traces::runs(pid)
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("pids are positive")
}

fn sleeper() -> Child {
    Command::new("sleep").arg("1000").spawn().expect("sleep can be run")
}

/// Starts a script, and gives the number that it writes once it has done what it is for.
fn told(script: &str) -> (Child, i32) {
    let mut command = Command::new("sh");
    let mut child =
        command.args(["-c", script]).stdout(Stdio::piped()).spawn().expect("sh can be run");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("the script writes a line");
    (child, line.trim().parse().expect("a pid"))
}

/// A process that left its parent, its session and its process group; the script itself is waited for.
fn daemon() -> i32 {
    let (mut child, daemon) = told("setsid sh -c 'echo $$; exec sleep 1000' 2>/dev/null & exit 0");
    assert!(child.wait().expect("it is our child").success());
    daemon
}

fn whoever_starts_them() {
    let before = own_group();
    let step = builder().contain_children().unwrap();
    let mut direct = sleeper();
    let from_a_thread = std::thread::spawn(daemon).join().unwrap();
    let (mut stubborn, deaf) = told("trap '' TERM; echo $$; while :; do sleep 1000; done");
    let report = step.leave(&Policy::graceful(Duration::from_millis(200))).unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    assert_eq!(own_group(), before);
    assert!(!is_alive(from_a_thread) && !is_alive(deaf));
    let status = direct.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "it was asked first");
    assert_eq!(stubborn.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
}

fn dropping_ends() {
    let before = own_group();
    let step = builder().contain_children().unwrap();
    let (mut child, daemon) = (sleeper(), daemon());
    drop(step);
    assert!(!is_alive(daemon));
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
    assert_eq!(own_group(), before);
}

fn with_all_threads() {
    let (ask, asked) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<String>>();
    let thread = std::thread::spawn(move || {
        for answer in asked {
            answer.send(own_group()).unwrap();
        }
    });
    let of_the_thread = || {
        let (send, receive) = std::sync::mpsc::channel();
        ask.send(send).unwrap();
        receive.recv().unwrap()
    };
    let before = of_the_thread();
    let step = builder().contain_children().unwrap();
    assert!(of_the_thread().ends_with(step.id().name.as_str()));
    assert!(step.leave(&Policy::kill()).unwrap().is_clean());
    assert_eq!(of_the_thread(), before);
    drop(ask);
    thread.join().unwrap();
}

fn guards_nest() {
    let outer = builder().contain_children().unwrap();
    let (around, mut outer_child) = (own_group(), sleeper());
    let inner = builder().contain_children().unwrap();
    assert_eq!(own_group(), format!("{around}/{}", inner.id().name));
    let mut inner_child = sleeper();
    assert!(inner.leave(&Policy::kill()).unwrap().is_clean());
    assert_eq!(own_group(), around);
    assert_eq!(inner_child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
    assert!(outer_child.try_wait().unwrap().is_none(), "the outer guard's child lives");
    assert!(outer.leave(&Policy::kill()).unwrap().is_clean());
    outer_child.wait().unwrap();
}

fn a_fork_cleans_nothing_up() {
    let mut step = Some(builder().contain_children().unwrap());
    let (group, mut child) = (own_group(), sleeper());
    let by_drop = worker::fork(|| {
        drop(step.take());
        u8::from(own_group() != group)
    });
    assert_eq!(ended(&by_drop.unwrap()), Some(0), "the fork is where it was");
    let by_leave = worker::fork(|| {
        let refused = step.take().map(|step| step.leave(&Policy::kill()));
        let refused = refused.and_then(Result::err).map(|error| error.kind());
        u8::from(refused != Some(ErrorKind::NotOwner) || own_group() != group)
    });
    assert_eq!(ended(&by_leave.unwrap()), Some(0), "the fork is told so");
    assert!(child.try_wait().unwrap().is_none(), "nobody was killed");
    assert_eq!(own_group(), group);
    let step: ContainChildren = step.take().expect("the forks took copies");
    assert!(step.leave(&Policy::kill()).unwrap().is_clean());
    child.wait().unwrap();
}

fn ended(process: &PidFd) -> Option<i32> {
    match process.wait().unwrap() {
        Waited::Ended(containment::Outcome::Exited(status)) => Some(status),
        _ => None,
    }
}

/// The child's answer to being asked to end is a signal that would end this process half way.
fn signal_during_clean_up() {
    let step = builder().contain_children().unwrap();
    let own = std::process::id();
    let script = format!("trap 'kill -TERM {own}' TERM; echo $$; while :; do sleep 0.01; done");
    let (mut child, pid) = told(&script);
    let report = step.leave(&Policy::graceful(Duration::from_millis(300)));
    unreachable!("the signal is delivered first: {report:?} {pid} {:?}", child.wait());
}

fn what_was_there_before() {
    let mut earlier = sleeper();
    let step = builder().contain_children().unwrap();
    let mut later = sleeper();
    assert!(step.leave(&Policy::kill()).unwrap().is_clean());
    later.wait().unwrap();
    assert!(earlier.try_wait().unwrap().is_none(), "it was never a member");
    earlier.kill().unwrap();
    earlier.wait().unwrap();
}

fn a_taken_name() {
    let before = own_group();
    let step = builder().contain_children().unwrap();
    let name = step.id().name.clone();
    let beside = builder().parent(&before).contain_children_in(&name).unwrap_err();
    assert_eq!(beside.kind(), ErrorKind::AlreadyExists);
    assert!(own_group().ends_with(name.as_str()), "it stays where it is");
    assert!(step.leave(&Policy::kill()).unwrap().is_clean());
}

fn one_group_is_entered() {
    let (before, host) = (own_group(), builder().build().unwrap());
    let group = host.group(format!("children-{}-entered", std::process::id())).create().unwrap();
    let inside = group.enter().unwrap();
    let mut child = sleeper();
    assert!(own_group().ends_with(group.id().name.as_str()));
    assert_eq!(group.ops().kill().unwrap_err().kind(), ErrorKind::HoldsCaller);
    inside.leave().unwrap();
    assert_eq!(own_group(), before);
    let member = Pid::new(pid_of(&child)).unwrap();
    assert_eq!(group.members().unwrap().iter().map(|m| m.pid).collect::<Vec<_>>(), [member]);
    assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
    child.wait().unwrap();
    // A driver that was probed here serves as well.
    let step = ContainChildren::with(host.driver()).unwrap();
    assert_eq!(host.driver().backend(), step.id().backend);
    drop(step);
    assert_eq!(own_group(), before);
}

/// A driver makes its groups where this process was when it was found, and that is where they are looked for when
/// their owner has died, wherever it was by then.
fn made_from_inside() {
    let state = tempfile::tempdir().unwrap();
    let owner = || {
        let registry = Registry::open(Some(state.path())).unwrap();
        let host = builder().registry(&registry, Tenure::Owner).build().unwrap();
        let name = |what: &str| format!("children-{}-{what}", std::os::unix::process::parent_id());
        let outer = host.group(name("outer")).create().unwrap();
        let inside = outer.enter().unwrap();
        let step = host.group(name("step")).create().unwrap();
        step.spawn(&Program::new("sleep").arg("1000")).unwrap();
        // It dies with both of them, and has cleaned up nothing.
        std::mem::forget((registry, host, outer, inside, step));
        0
    };
    let owner = worker::fork_apart(owner).unwrap();
    assert_eq!(owner.wait().unwrap(), Waited::Ended(Outcome::Exited(0)));
    assert!(!groups_of(std::process::id()).is_empty(), "its groups are there");
    let registry = Registry::open(Some(state.path())).unwrap();
    let collected = registry.collect(false).unwrap();
    assert_eq!((collected.removed.len(), collected.errors.len()), (2, 0), "{collected:?}");
    assert_eq!(groups_of(std::process::id()), [] as [PathBuf; 0], "its groups are gone");
}

fn hybrid_is_entered() {
    let whole = || std::fs::read_to_string("/proc/thread-self/cgroup").expect("/proc is mounted");
    let before = whole();
    let limits = Limits::new().pids_max(50).memory_max(Bytes::mib(512));
    let builder = Containment::builder().backend(Backend::Hybrid).best_effort();
    let host = builder.build().unwrap();
    let name = format!("children-{}-hybrid", std::process::id());
    let mut degraded = Vec::new();
    let group = host.group(&name).limits(&limits).best_effort(&mut degraded).create().unwrap();
    let inside = group.enter().unwrap();
    let hierarchies = whole().lines().filter(|line| line.ends_with(&name)).count();
    assert_eq!(hierarchies, 3 - degraded.len());
    let mut child = sleeper();
    inside.leave().unwrap();
    assert_eq!(whole(), before);
    assert_eq!(group.members().unwrap().len(), 1);
    assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
    child.wait().unwrap();
}

fn one_call_takes_the_group() {
    let before = own_group();
    let step = builder().contain_children_at_best();
    assert_eq!(step.how(), HowHeld::Group);
    assert!(step.degraded().is_empty());
    assert_ne!(own_group(), before);
    let daemon = daemon();
    assert!(step.leave(&Policy::kill()).unwrap().unwrap().is_clean());
    assert!(!is_alive(daemon));
    drop(containment::contain_children());
    assert_eq!(own_group(), before);
}

/// No group can be had of process groups: what is left is descent.
fn swept() -> containment::SimpleContainChildren {
    let step = Containment::builder().backend(Backend::ProcessGroup).contain_children_at_best();
    assert_eq!(step.how(), HowHeld::Swept, "{:?}", step.degraded());
    step
}

fn one_call_sweeps() {
    let step = swept();
    let lost: Vec<_> = step.degraded().iter().map(|lost| lost.what.as_str()).collect();
    assert_eq!(lost, ["escape=impossible", "kill=frozen", "reaping"]);
    let (mut direct, daemon) = (sleeper(), daemon());
    let (mut script, grandchild) = told("trap '' TERM; sleep 1000 & echo $!; wait");
    assert_eq!(traces::parent(daemon), i32::try_from(std::process::id()).ok(), "it was adopted");
    let report = step.leave(&Policy::graceful(Duration::from_millis(200))).unwrap().unwrap();
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    assert_eq!(report.left_behind.len(), 4, "{report:?}");
    assert!(!is_alive(daemon) && !is_alive(grandchild));
    eventually("the adopted grandchild is reaped", || traces::state(grandchild).is_none());
    assert!(!direct.wait().unwrap().success(), "its end is told to whoever started it");
    assert!(!script.wait().unwrap().success());
    // And nothing is adopted any more.
    let after = self::daemon();
    assert_ne!(traces::parent(after), i32::try_from(std::process::id()).ok());
    support::job::signal(after, Signal::KILL);
    eventually("the last daemon is gone", || !is_alive(after));
}

fn a_sweep_by_drop() {
    let step = swept();
    let daemon = daemon();
    drop(step);
    assert!(!is_alive(daemon));
}

fn one_call_does_nothing() {
    let mut earlier = sleeper();
    let step = Containment::builder().backend(Backend::ProcessGroup).contain_children_at_best();
    assert_eq!(step.how(), HowHeld::Not);
    let lost: Vec<_> = step.degraded().iter().map(|lost| lost.what.as_str()).collect();
    assert_eq!(lost, ["containment", "sweep"]);
    assert!(step.degraded()[1].why.remedy().is_some());
    let mut later = sleeper();
    assert!(step.leave(&Policy::kill()).unwrap().is_none());
    for child in [&mut earlier, &mut later] {
        assert!(child.try_wait().unwrap().is_none(), "nobody was touched");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Nothing of it is unwound: without that a build that aborts would signal whom its libc takes it for.
fn a_worker_that_panics() {
    struct Unwound;
    impl Drop for Unwound {
        fn drop(&mut self) {
            std::process::exit(7);
        }
    }
    let work = || {
        let _unwound = Unwound;
        panic!("as it was told")
    };
    let worker = worker::fork_apart(work).unwrap();
    assert_eq!(worker.wait().unwrap(), Waited::Ended(Outcome::Exited(125)));
}

/// As in `contain`, with whose allocator: who is given nothing aborts.
fn a_worker_without_memory() {
    let work = || {
        std::hint::black_box(Vec::<u8>::with_capacity(1 << 62));
        0
    };
    let worker = worker::fork_apart(work).unwrap();
    assert_eq!(worker.wait().unwrap(), Waited::Ended(Outcome::Exited(125)));
}
