//! Usage: each figure that is advertised is there, each that is not is none, never zero for unknown.

use std::time::Duration;

use containment_core::{Element, Measure, Policy, Pressure, Usage};

use super::{Case, Need, case};
use crate::world::{Deed, World};

pub(super) const CASES: &[Case] = &[
    case!(each_figure_is_there_or_none),
    case!(members_are_measured_each),
    case!(memory_is_measured, needs[Need::Measure(Measure::Memory)]),
    case!(the_report_holds_the_usage),
    case!(cpu_time_is_counted, needs[Need::Measure(Measure::Cpu)]),
    case!(members_are_counted, needs[Need::Measure(Measure::Pids)]),
];

fn each_figure_is_there_or_none(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Exits(0));
    world.emptied(group.ops());
    let usage = group.usage().unwrap();
    for measure in Measure::ALL {
        let advertised = group.capabilities().usage.contains(*measure);
        let (needed, others) = figures(*measure, &usage);
        assert!(needed.iter().all(|there| *there == advertised), "{measure}: {usage:?}");
        assert!(advertised || !others.contains(&true), "{measure}: {usage:?}");
    }
    world.end_all(group, &[]);
}

/// Which figures of a measure are there: those that it consists of, and those that a kernel may lack.
fn figures(measure: Measure, usage: &Usage) -> (Vec<bool>, Vec<bool>) {
    let Usage { cpu, cpu_user, cpu_system, .. } = usage;
    match measure {
        Measure::Cpu => (vec![cpu.is_some(), cpu_user.is_some(), cpu_system.is_some()], vec![]),
        Measure::Throttling => {
            (vec![usage.throttled_periods.is_some(), usage.throttled.is_some()], vec![])
        }
        Measure::Memory => {
            let parts = [usage.memory_anon, usage.memory_file, usage.memory_kernel];
            (vec![usage.memory.is_some()], parts.map(|part| part.is_some()).to_vec())
        }
        Measure::MemoryPeak => (vec![usage.memory_peak.is_some()], vec![]),
        Measure::Swap => (vec![usage.swap.is_some()], vec![]),
        Measure::Pids => (vec![usage.pids.is_some()], vec![usage.pids_peak.is_some()]),
        Measure::Io => (vec![usage.io_read.is_some(), usage.io_write.is_some()], vec![]),
        Measure::Oom => (vec![usage.oom_kills.is_some()], vec![]),
        Measure::Pressure => {
            let Pressure { cpu, memory, io } = usage.pressure;
            (vec![usage.pressure.is_measured()], [cpu, memory, io].map(|s| s.is_some()).to_vec())
        }
        other => panic!("no case looks at {other} yet"),
    }
}

fn members_are_measured_each(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Forks(1));
    for member in world.members(group.ops(), 2) {
        assert!(member.memory.is_some(), "{member:?}");
    }
    world.end_all(group, &[]);
}

fn memory_is_measured(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Forks(1));
    world.members(group.ops(), 2);
    // A process that is just being executed has no memory of its own yet.
    world.eventually("the group has memory where its members have", || {
        let members = group.members().unwrap();
        let memory = group.usage().unwrap().memory;
        (memory > Some(0)) == members.iter().any(|member| member.memory > Some(0))
    });
    world.end_all(group, &[]);
}

fn the_report_holds_the_usage(world: &dyn World) {
    let group = world.group();
    let measured = !group.capabilities().usage.is_empty();
    world.start(&group, Deed::Exits(0));
    let report = world.killed(group, &[]);
    assert_eq!(report.usage.is_some(), measured, "{report:?}");
    let unasked = world.finish(world.group(), &Policy::kill());
    assert_eq!(unasked.usage, None, "it takes time that nobody asked for");
}

fn cpu_time_is_counted(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Exits(0));
    world.emptied(group.ops());
    let usage = group.usage().unwrap();
    let sum = usage.cpu_user.unwrap() + usage.cpu_system.unwrap();
    assert!(!usage.cpu.unwrap().is_zero(), "{usage:?}");
    // The kernel rounds each of the three to microseconds by itself.
    assert!(usage.cpu.unwrap().abs_diff(sum) <= Duration::from_micros(2), "{usage:?}");
    world.end_all(group, &[]);
}

fn members_are_counted(world: &dyn World) {
    let group = world.group();
    world.start(&group, Deed::Forks(2));
    world.members(group.ops(), 3);
    assert_eq!(group.usage().unwrap().pids, Some(3));
    let report = world.killed(group, &[]);
    assert_eq!(report.usage.unwrap().pids, Some(0));
}
