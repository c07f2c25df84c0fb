//! The paths that everything else goes through, each for a second: so that a change which makes one several times as
//! slow is noticed before it lands. What they cost beside bare calls and peers is `bench/`.
//!
//! `cargo bench --bench hot_paths [-- FILTER]`. Before anything is told, each path is run in turn with a floor, which
//! is a program that is started by the standard library (and looked for among all processes, where groups are); ends with 1 where the ratio of the medians shows a collapse.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use containment::{Backend, Containment, Group, Policy, Program, Result};
use containment_core::Pid;
use containment_process::proc::{Snapshot, Stat, cgroup, mountinfo};
use criterion::Criterion;

const BACKENDS: [Backend; 4] =
    [Backend::CgroupV2, Backend::Hybrid, Backend::CgroupV1, Backend::ProcessGroup];

/// So many times its floor is no path's usual cost (1.1 to 2.2 where it was measured at rest).
const COLLAPSED: f64 = 5.0;

/// How often a path and its floor are run in turn.
const ROUNDS: usize = 60;

fn main() -> ExitCode {
    let hosts = BACKENDS.into_iter().filter_map(host).collect::<Vec<_>>();
    let mut collapsed = false;
    for host in &hosts {
        let looks = host.backend() == Backend::ProcessGroup;
        let floor_of_a_group =
            || drop(floor().and_then(|()| looks.then(Snapshot::take).transpose()));
        let fresh = ratio(|| group_with_a_program(host), floor_of_a_group);
        let spawn = {
            let group = group(host);
            let ratio = ratio(|| run(&group), || drop(floor()));
            end(group);
            ratio
        };
        for (what, ratio) in [("a program in a group", spawn), ("a group for a program", fresh)] {
            println!("{}: {what} takes {ratio:.2} times its floor", host.backend());
            collapsed |= ratio > COLLAPSED;
        }
    }
    if collapsed {
        eprintln!("a path takes more than {COLLAPSED} times its floor");
        return ExitCode::FAILURE;
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for host in &hosts {
        of_groups(&mut criterion, host);
    }
    of_texts(&mut criterion);
    criterion.final_summary();
    ExitCode::SUCCESS
}

fn of_groups(criterion: &mut Criterion, host: &Containment) {
    let mut paths = criterion.benchmark_group(host.backend().name());
    paths.bench_function("group, program, end", |b| b.iter(|| group_with_a_program(host)));
    let idle = group(host);
    paths.bench_function("program", |b| b.iter(|| run(&idle)));
    end(idle);
    let busy = group(host);
    let sleeper = busy.spawn(&Program::new("sleep").arg("1000")).expect("it can be run");
    paths.bench_function("is anybody there", |b| b.iter(|| busy.ops().populated()));
    paths.bench_function("members", |b| b.iter(|| busy.members()));
    paths.bench_function("usage", |b| b.iter(|| busy.usage()));
    end(busy);
    sleeper.wait().expect("it was killed with its group");
    paths.finish();
}

fn of_texts(criterion: &mut Criterion) {
    let us = Pid::current();
    let text = mountinfo::read().expect("/proc is mounted");
    let hierarchies = || mountinfo::mounts(&text).filter(|mount| mount.is_type("cgroup")).count();
    let mut paths = criterion.benchmark_group("proc");
    paths.bench_function("own stat", |b| b.iter(|| Stat::read(us)));
    paths.bench_function("mountinfo, read", |b| b.iter(mountinfo::read));
    paths.bench_function("mountinfo, understood", |b| b.iter(hierarchies));
    paths.bench_function("own groups", |b| b.iter(cgroup::read_self));
    paths.bench_function("family", |b| b.iter(|| Snapshot::below(&[us], &[])));
    paths.bench_function("everybody", |b| b.iter(Snapshot::take));
    paths.finish();
}

/// `None` where this host has no such backend.
fn host(backend: Backend) -> Option<Containment> {
    let host = Containment::builder().backend(backend).build();
    if let Err(error) = &host {
        println!("{backend}: not on this host ({error})");
    }
    host.ok()
}

fn group(host: &Containment) -> Group {
    let name = format!("hot-{}", std::process::id());
    host.group(name).create().expect("a group can be made")
}

fn end(group: Group) {
    let report = group.terminate(&Policy::kill()).expect("this process made it");
    assert!(report.is_clean(), "it does not end: {:?}", report.errors);
}

fn run(group: &Group) {
    let ended = group.spawn(&Program::new("/bin/true")).and_then(|program| program.wait());
    assert!(ended.expect("it can be run").success());
    group.ops().reap().expect("it is ours");
}

fn group_with_a_program(host: &Containment) {
    let group = group(host);
    run(&group);
    end(group);
}

/// What a program costs that nobody contains.
fn floor() -> Result<(), std::io::Error> {
    Command::new("/bin/true").status().map(|status| assert!(status.success()))
}

/// The ratio of the medians of two ways that are run in turn.
fn ratio(mut ours: impl FnMut(), mut floor: impl FnMut()) -> f64 {
    let timed = |way: &mut dyn FnMut()| {
        let started = Instant::now();
        way();
        started.elapsed()
    };
    let (mut of_ours, mut of_floor): (Vec<_>, Vec<_>) =
        (0..ROUNDS).map(|_| (timed(&mut ours), timed(&mut floor))).unzip();
    of_ours.sort_unstable();
    of_floor.sort_unstable();
    of_ours[ROUNDS / 2].as_secs_f64() / of_floor[ROUNDS / 2].as_secs_f64()
}
