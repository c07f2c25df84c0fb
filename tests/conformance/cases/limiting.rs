//! Limits: each that is advertised is applied, each that is not is refused, and none is dropped.

use containment_core::{
    Bytes, Element, ErrorKind, Group, Limit, Limits, Measure, Operation, Outcome, Signal,
};

use super::{Case, Need, case};
use crate::stage::{A_WHILE, fresh_name};
use crate::world::{Deed, World};

pub(super) const CASES: &[Case] = &[
    case!(each_limit_is_applied_or_refused),
    case!(limits_that_are_asked_for_together_are_each_answered),
    case!(no_limit_asks_for_nothing),
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
        ..Limits::new().memory_max(Bytes::mib(64)).pids_max(100).cpus(1.0)
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
    match limit {
        Limit::Memory => none.memory_max(Bytes::mib(64)),
        Limit::MemoryHigh => Limits { memory_high: Some(Bytes::mib(48)), ..none },
        Limit::Swap => Limits { swap_max: Some(Bytes(0)), ..none },
        Limit::Cpus => none.cpus(1.0),
        Limit::CpuWeight => Limits { cpu_weight: Some(50), ..none },
        Limit::Cpuset => Limits { cpuset: "0".parse().ok(), ..none },
        Limit::Mems => Limits { mems: "0".parse().ok(), ..none },
        Limit::Pids => none.pids_max(100),
        Limit::IoWeight => Limits { io_weight: Some(50), ..none },
        other => panic!("{other} is asked for by no case yet"),
    }
}
