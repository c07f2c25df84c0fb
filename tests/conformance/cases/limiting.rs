//! Limits: each that is advertised is applied, each that is not is refused, and none is dropped.

use std::time::Duration;

use containment_core::{
    Bytes, CpuSet, Cpus, Device, Element, ErrorKind, Group, HugePage, IoMax, Limit, Limits,
    Measure, Most, Operation, Outcome, Rate, Sample, Signal, Weight,
};

use super::{Case, Need, case};
use crate::stage::{A_WHILE, fresh_name};
use crate::world::{Deed, World};

pub(super) const CASES: &[Case] = &[
    case!(each_limit_is_applied_or_refused),
    case!(limits_that_are_asked_for_together_are_each_answered),
    case!(no_limit_asks_for_nothing),
    case!(a_value_that_is_no_limit_changes_nothing),
    case!(limits_are_changed_and_lifted, needs[Need::Limit(Limit::Pids)]),
    case!(
        the_share_of_cpu_time_holds,
        needs [Need::Limit(Limit::Cpus), Need::Limit(Limit::CpuWeight), Need::Measure(Measure::Cpu)]
    ),
    case!(the_limit_on_processes_holds, needs[Need::Limit(Limit::Pids)]),
    case!(
        the_limit_on_memory_holds,
        needs [Need::Limit(Limit::Memory), Need::Measure(Measure::Oom)]
    ),
];

fn each_limit_is_applied_or_refused(world: &dyn World) {
    let group = limited(world);
    let advertised = group.capabilities().limits;
    for limit in Limit::ALL {
        let answer = group.ops().set_limits(&asking(*limit)).unwrap();
        let refused: Vec<_> = answer.refused.iter().map(|(limit, _)| *limit).collect();
        let expected = if advertised.contains(*limit) {
            (vec![*limit], vec![])
        } else {
            (vec![], vec![*limit])
        };
        assert_eq!((answer.applied, refused), expected);
        let told = group.set_limits(&asking(*limit));
        assert_eq!(told.is_ok(), advertised.contains(*limit), "{limit}");
        for (_, error) in answer.refused {
            let name = &group.id().name;
            world.refused::<()>(Err(error), ErrorKind::Unsupported, Operation::SetLimits, name);
        }
    }
    world.end_all(group, &[]);
}

fn limits_that_are_asked_for_together_are_each_answered(world: &dyn World) {
    let group = limited(world);
    let all = Limits {
        memory_high: asking(Limit::MemoryHigh).memory_high,
        swap_max: asking(Limit::Swap).swap_max,
        cpu_weight: asking(Limit::CpuWeight).cpu_weight,
        cpuset: asking(Limit::Cpuset).cpuset,
        mems: asking(Limit::Mems).mems,
        io_weight: asking(Limit::IoWeight).io_weight,
        io_max: asking(Limit::IoMax).io_max,
        hugetlb: asking(Limit::Hugetlb).hugetlb,
        cpus: asking(Limit::Cpus).cpus,
        ..Limits::new().memory_max(Bytes::mib(64)).pids_max(100)
    };
    let answer = group.ops().set_limits(&all).unwrap();
    let mut answered: Vec<_> = answer.refused.iter().map(|(limit, _)| *limit).collect();
    answered.extend(answer.applied);
    answered.sort_by_key(|limit| Limit::ALL.iter().position(|other| other == limit));
    assert_eq!(answered, Limit::ALL, "each once");
    world.end_all(group, &[]);
}

fn no_limit_asks_for_nothing(world: &dyn World) {
    let group = world.group();
    let answer = group.ops().set_limits(&Limits::new()).unwrap();
    assert!(answer.applied.is_empty() && answer.refused.is_empty(), "{answer:?}");
    world.end_all(group, &[]);
}

fn a_value_that_is_no_limit_changes_nothing(world: &dyn World) {
    let group = limited(world);
    let wrong = Limits::new().memory_max(Bytes(0)).pids_max(0);
    let name = group.id().name.clone();
    let error = group.set_limits(&wrong).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, Operation::SetLimits));
    assert_eq!(error.group(), Some(name.as_str()));
    // Had the limit on processes been set, nothing could start.
    world.start(&group, Deed::Forks(1));
    world.members(group.ops(), 2);
    world.end_all(group, &[]);
}

fn limits_are_changed_and_lifted(world: &dyn World) {
    let group = limited(world);
    for most in [Most::At(2), Most::At(4), Most::Lifted, Most::At(3)] {
        group.set_limits(&Limits::new().pids_max(most)).unwrap();
        // Zombies of the round before count until somebody reaps them.
        world.eventually("there is room", || {
            group.usage().unwrap().pids.is_none_or(|pids| pids == 0)
        });
        let child = world.start(&group, Deed::Forks(5));
        match most {
            Most::Lifted => drop(world.members(group.ops(), 6)),
            Most::At(most) => {
                // A shell that cannot fork gives up.
                world.eventually("somebody runs", || !group.members().unwrap().is_empty());
                world.pause(A_WHILE);
                let members = group.members().unwrap();
                assert!(members.len() as u64 <= most, "{members:?}");
            }
        }
        world.kill(group.ops());
        child.wait().unwrap();
    }
    world.end_all(group, &[]);
}

/// Half a CPU for two who would take one each: never more, and no less, as far as this machine, which others
/// keep busy, gives as much to who is not limited.
fn the_share_of_cpu_time_holds(world: &dyn World) {
    let group = limited(world);
    let weight = Limits::new().cpu_weight(Weight::new(10_000).unwrap());
    let half = weight.clone().cpus(Cpus::new(0.5).unwrap());
    group.set_limits(&half).unwrap();
    world.start(&group, Deed::Spins);
    world.start(&group, Deed::Spins);
    world.eventually("it gets its share", || {
        group.set_limits(&weight.clone().cpus(Most::Lifted)).unwrap();
        let given = used_percent(world, &group);
        group.set_limits(&half).unwrap();
        let used = used_percent(world, &group);
        // A sample's clock and its figures are read one after the other.
        assert!(used <= 60.0, "{used}");
        used >= 0.8 * given.min(50.0)
    });
    world.end_all(group, &[]);
}

fn used_percent(world: &dyn World, group: &Group) -> f64 {
    let clock = world.driver().waiter();
    let sample = || Sample { at: clock.now(), usage: group.usage().unwrap() };
    let before = sample();
    world.pause(Duration::from_secs(1));
    sample().cpu_since(&before).unwrap().percent
}

fn the_limit_on_processes_holds(world: &dyn World) {
    let group = limited(world);
    group.set_limits(&Limits::new().pids_max(3)).unwrap();
    world.start(&group, Deed::Forks(10));
    world.eventually("somebody was forked", || group.members().unwrap().len() > 1);
    world.pause(A_WHILE);
    let members = group.members().unwrap();
    assert!(members.len() <= 3, "{members:?}");
    world.end_all(group, &members);
}

fn the_limit_on_memory_holds(world: &dyn World) {
    let group = limited(world);
    group.set_limits(&Limits::new().memory_max(Bytes::mib(32))).unwrap();
    let frugal = world.start(&group, Deed::Allocates(1 << 20));
    assert_eq!(frugal.wait().unwrap(), Outcome::Exited(0));
    assert_eq!(group.usage().unwrap().oom_kills, Some(0));
    let greedy = world.start(&group, Deed::Allocates(256 << 20));
    let killed = [Outcome::Signaled(Signal::KILL), Outcome::Exited(128 + 9)];
    assert!(killed.contains(&greedy.wait().unwrap()));
    world.emptied(group.ops());
    assert!(group.usage().unwrap().oom_kills > Some(0));
    world.end_all(group, &[]);
}

/// A group with every controller that the backend advertises.
fn limited(world: &dyn World) -> Group {
    let driver = world.driver();
    let ops = driver.create(&fresh_name(), driver.capabilities().limits).unwrap();
    world.guard(ops)
}

fn asking(limit: Limit) -> Limits {
    let none = Limits::new();
    let weight = Weight::new(50).unwrap();
    match limit {
        Limit::Memory => none.memory_max(Bytes::mib(64)),
        Limit::MemoryHigh => none.memory_high(Bytes::mib(48)),
        Limit::Swap => none.swap_max(Bytes(0)),
        Limit::Cpus => none.cpus(Cpus::new(1.0).unwrap()),
        Limit::CpuWeight => none.cpu_weight(weight),
        Limit::Cpuset => none.cpuset(CpuSet::from_iter([0])),
        Limit::Mems => none.mems(CpuSet::from_iter([0])),
        Limit::Pids => none.pids_max(100),
        Limit::IoWeight => none.io_weight(weight),
        Limit::IoMax => none.io_max(disk(), IoMax::new().with(Rate::ReadBytes, 1 << 30)),
        Limit::Hugetlb => none.hugetlb(HugePage::new(Bytes::mib(2)).unwrap(), Bytes::mib(64)),
        other => panic!("{other} is asked for by no case yet"),
    }
}

/// A whole disk of this host; on one that has none nobody offers to limit it.
fn disk() -> Device {
    let disks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let numbers = |disk: std::fs::DirEntry| std::fs::read_to_string(disk.path().join("dev")).ok();
    let numbers = disks.filter_map(numbers).find_map(|text| text.trim().parse().ok());
    numbers.unwrap_or(Device { major: 8, minor: 0 })
}
