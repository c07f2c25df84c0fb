//! Random small worlds on every persona, with freezes that stick and operations that fail: whatever
//! the world, the teardown keeps its promises. `PROPTEST_CASES` asks for more worlds than 256.

mod common;

use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use common::{assert_members_only, assert_one_list_each, group_with, ms, secs, tear_down};
use containment_core::{CgroupOps, ControllerSet, GroupOps, Operation, Policy, Program, Signal};
use proptest::prelude::*;
use proptest::sample::select;

/// One thing that a program does, in numbers.
#[derive(Debug, Clone)]
enum Habit {
    Exits(u64),
    Forks(u64),
    Daemonises(u64),
    Respawns(u64),
    Multiplies(u64, usize),
    Stops(u64),
    Freezes(u64),
    IgnoresTerm,
    Lingers(u64),
    DiesWithin(u64),
    Dodges(u32),
    /// For so many milliseconds, or for ever.
    Sleeps(u64, Option<u64>),
}

fn habit() -> impl Strategy<Value = Habit> {
    let at = || 0u64..120;
    prop_oneof![
        at().prop_map(Habit::Exits),
        at().prop_map(Habit::Forks),
        at().prop_map(Habit::Daemonises),
        (1u64..20).prop_map(Habit::Respawns),
        (1u64..20, 1usize..12).prop_map(|(period, most)| Habit::Multiplies(period, most)),
        at().prop_map(Habit::Stops),
        at().prop_map(Habit::Freezes),
        Just(Habit::IgnoresTerm),
        at().prop_map(Habit::Lingers),
        at().prop_map(Habit::DiesWithin),
        (1u32..4).prop_map(Habit::Dodges),
        (at(), proptest::option::of(1u64..3000)).prop_map(|(at, for_)| Habit::Sleeps(at, for_)),
    ]
}

fn script(habits: &[Habit]) -> Script {
    let child = || Script::new().ignores(Signal::TERM);
    habits.iter().fold(Script::new(), |script, habit| match *habit {
        Habit::Exits(at) => script.exits(ms(at), 0),
        Habit::Forks(at) => script.forks(ms(at), child()),
        Habit::Daemonises(at) => script.daemonises(ms(at), child()),
        Habit::Respawns(period) => script.respawns(ms(period)),
        Habit::Multiplies(period, most) => script.multiplies(ms(period), most),
        Habit::Stops(at) => script.stops_itself(ms(at)),
        Habit::Freezes(at) => script.freezes_its_group(ms(at)),
        Habit::IgnoresTerm => script.ignores(Signal::TERM),
        Habit::Lingers(time) => script.lingers(ms(time)),
        Habit::DiesWithin(time) => script.dies_within(ms(time)),
        Habit::Dodges(times) => script.dodges(times),
        Habit::Sleeps(at, time) => {
            script.sleeps_uninterruptibly(ms(at), time.map_or(Duration::MAX, ms))
        }
    })
}

/// A whole case.
#[derive(Debug, Clone)]
struct World {
    persona: Persona,
    programs: Vec<Vec<Habit>>,
    nested: Option<Vec<Habit>>,
    age: u64,
    grace: u64,
    freezing_takes: u64,
    sticking: u32,
    faults: Vec<(Operation, i32, usize)>,
}

fn fault() -> impl Strategy<Value = (Operation, i32, usize)> {
    use Operation::{Freeze, Kill, Members, Populated, Reap, Remove, Signal, Thaw, Usage, Watch};
    let operations =
        vec![Freeze, Kill, Members, Populated, Reap, Remove, Signal, Thaw, Usage, Watch];
    let errnos = vec![libc::EIO, libc::EMFILE, libc::EBUSY, libc::EACCES];
    (select(operations), select(errnos), prop_oneof![1usize..4, Just(usize::MAX)])
}

fn world() -> impl Strategy<Value = World> {
    let habits = || prop::collection::vec(habit(), 0..4);
    let numbers = (0u64..150, 0u64..300, 0u64..700, 0u32..4);
    let programs = (prop::collection::vec(habits(), 0..4), proptest::option::of(habits()));
    let faults = prop::collection::vec(fault(), 0..3);
    (select(Persona::ALL.to_vec()), programs, numbers, faults).prop_map(
        |(persona, (programs, nested), (age, grace, freezing_takes, sticking), faults)| World {
            persona,
            programs,
            nested,
            age,
            grace,
            freezing_takes,
            sticking,
            faults,
        },
    )
}

/// A stranger, the group with its programs, and everything that is to go wrong from now on.
fn build(world: &World) -> (Fake, Box<dyn GroupOps>) {
    let fake = Fake::with_persona(world.persona);
    fake.start_outside(Script::new().named("stranger"));
    let group = group_with(&fake, &[]);
    for (index, habits) in world.programs.iter().enumerate() {
        fake.program(format!("p{index}"), script(habits));
        // One that froze the group shuts the others out.
        let _ = group.spawn(&Program::new(format!("p{index}")));
    }
    if let Some(habits) = world.nested.as_ref().filter(|_| fake.capabilities().nesting) {
        fake.program("nested", script(habits));
        let nested = group.subgroup(&"in/side".parse().unwrap(), ControllerSet::EMPTY).unwrap();
        let _ = nested.spawn(&Program::new("nested"));
    }
    fake.freezing_takes(ms(world.freezing_takes));
    fake.freezes_stick(world.sticking);
    fake.advance(ms(world.age));
    for (operation, errno, times) in &world.faults {
        fake.fail(*operation, *errno, *times);
    }
    (fake, group)
}

const KILL_TIMEOUT: Duration = secs(5);

fn check(world: &World) -> Result<(), TestCaseError> {
    let (fake, group) = build(world);
    let policy = Policy::graceful(ms(world.grace)).give_up_after(KILL_TIMEOUT).measuring();
    let (report, _) = tear_down(&fake, &*group, &policy);
    let after = fake.snapshot();
    let strangers = after.living().filter(|p| p.comm == "stranger").count();
    let members = after.living().count() - strangers;

    prop_assert_eq!(strangers, 1);
    prop_assert!(report.elapsed <= ms(world.grace) + KILL_TIMEOUT * 2, "{:?}", report);
    prop_assert_eq!(report.removed, after.groups.is_empty(), "{:?}", report);
    prop_assert!(!report.removed || members == 0, "{:?}", report);
    assert_members_only(&fake);
    assert_one_list_each(&report);
    if world.faults.is_empty() {
        prop_assert_eq!(report.survivors.len(), members, "{:?}", report);
        let held = after.living().all(|p| p.comm == "stranger" || p.state.0 == 'D');
        prop_assert!(held, "healthy members live: {:?} {:?}", report, after);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_world_ends_within_its_bounds_and_never_at_a_strangers_cost(world in world()) {
        check(&world)?;
    }
}
