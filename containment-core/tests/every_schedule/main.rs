//! The teardown machine under every schedule of a bounded depth: between any two of its calls members end,
//! fork, leave, come in or fall asleep for ever, freezes stick, calls fail, watches are lost or fire in vain,
//! the group vanishes. Whatever the schedule, it never ends while somebody lives of whom it does not tell,
//! never signals who is no member, and always ends.
//!
//! So many things happen in one schedule: one or two, or `CONTAIN_DEPTH` of them.

mod kernel;
mod schedule;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backend_fake::{Fake, Persona};
use containment_core::{CgroupOps as _, Policy, Step, Teardown, TeardownReport, Time, Watch};
use kernel::{Broken, Disturbed, World};
use schedule::Schedules;

const GRACE: Duration = Duration::from_millis(10);

/// Long enough for a second atomic kill; short where a sleeper is looked for after short pauses.
fn kill_timeout(persona: Persona) -> Duration {
    let at_once = matches!(persona, Persona::V2 | Persona::Hybrid);
    Duration::from_millis(if at_once { 2_500 } else { 60 })
}

/// More steps than any teardown takes within its time.
const STEPS: usize = 5_000;

/// Runs every schedule; gives what was explored, or the first schedule that broke a promise.
fn explore(
    persona: Persona,
    broken: Broken,
    policy: &Policy,
    depth: u32,
) -> Result<Schedules, String> {
    let schedules = Mutex::new(Schedules::default());
    let locked = || schedules.lock().unwrap_or_else(PoisonError::into_inner);
    while locked().begin(depth) {
        let world = World::new(persona, broken);
        let ended = run(&world, &schedules, policy);
        let judged = ended.and_then(|ended| ended.map_or(Ok(()), |report| judge(&world, &report)));
        judged.map_err(|why| format!("{persona:?}, {:?}: {why}", locked().trail()))?;
    }
    Ok(schedules.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// One schedule; `None` where it came to a state that is known.
fn run(
    world: &World,
    schedules: &Mutex<Schedules>,
    policy: &Policy,
) -> Result<Option<TeardownReport>, String> {
    let group = Disturbed { world, schedules };
    let waiter = world.fake.waiter();
    let mut machine = Teardown::new(policy.clone());
    for _ in 0..STEPS {
        if known(schedules, || state(&machine, &world.fake)) {
            return Ok(None);
        }
        match machine.step(waiter.now(), &group) {
            Step::Done(report) => return Ok(Some(*report)),
            Step::Again => {}
            Step::Wait { until, on } => wait(world, schedules, until, &on),
        }
        if waiter.now() > Time::ZERO + GRACE + kill_timeout(world.fake.persona()) * 3 {
            return Err(format!("it goes on for ever: {machine:?}"));
        }
    }
    Err(format!("it spins: {machine:?}"))
}

fn known(schedules: &Mutex<Schedules>, state: impl FnOnce() -> u64) -> bool {
    schedules.lock().unwrap_or_else(PoisonError::into_inner).is_known(state)
}

/// A wait that is ended by what is waited for, in vain, or at its end only.
fn wait(world: &World, schedules: &Mutex<Schedules>, until: Time, on: &Watch) {
    let waiter = world.fake.waiter();
    let choice = schedules.lock().unwrap_or_else(PoisonError::into_inner).choose(3);
    match choice {
        0 => waiter.wait(until, on),
        1 => waiter.wait(until, &Watch::Backoff),
        _ => {}
    }
}

/// What the future of a run depends on.
fn state(machine: &Teardown, fake: &Fake) -> u64 {
    let mut hasher = DefaultHasher::new();
    (format!("{machine:?}"), fake.fingerprint()).hash(&mut hasher);
    hasher.finish()
}

fn judge(world: &World, report: &TeardownReport) -> Result<(), String> {
    let living: Vec<_> = world.members().iter().map(|member| member.pid).collect();
    let told = |pid| report.survivors.iter().any(|member| member.pid == pid);
    let untold = living.iter().any(|pid| !told(*pid));
    // Nobody can be told of by who could not list them: that is in the errors.
    if untold && (report.removed || report.errors.is_empty()) {
        return Err(format!("it is over, and {living:?} live: {report:?}"));
    }
    if !report.removed
        && report.elapsed < kill_timeout(world.fake.persona())
        && report.errors.is_empty()
    {
        return Err(format!("it gave up early: {report:?}"));
    }
    let strays: Vec<_> = world.fake.signals().into_iter().filter(|s| !s.to_member).collect();
    if !strays.is_empty() || !world.others_live() {
        return Err(format!("it struck strangers: {strays:?}"));
    }
    Ok(())
}

/// `CONTAIN_DEPTH`, or what takes seconds: looking again after pauses makes many points of one wait.
fn depth(persona: Persona) -> u32 {
    let given = std::env::var("CONTAIN_DEPTH").ok().and_then(|depth| depth.parse().ok());
    let pauses = matches!(persona, Persona::V1 | Persona::V2WithoutKill);
    given.unwrap_or(if pauses { 1 } else { 2 })
}

fn policies(persona: Persona) -> [Policy; 2] {
    [Duration::ZERO, GRACE].map(|grace| Policy {
        freeze_timeout: Duration::from_millis(10),
        ..Policy::graceful(grace).give_up_after(kill_timeout(persona)).measuring()
    })
}

fn every_schedule(persona: Persona) {
    for policy in policies(persona) {
        let explored = explore(persona, Broken::Nothing, &policy, depth(persona));
        let explored = explored.unwrap_or_else(|why| panic!("{why}"));
        println!(
            "{persona:?}, grace {:?}, {} happenings: {} schedules, {} states",
            policy.grace,
            depth(persona),
            explored.runs,
            explored.states()
        );
        assert!(explored.states() > 50, "hardly anything was explored");
    }
}

macro_rules! on_each_persona {
    ($($name:ident: $persona:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            every_schedule(Persona::$persona);
        })+
    };
}

on_each_persona!(
    every_schedule_ends_well_on_v2: V2,
    every_schedule_ends_well_on_v2_without_kill: V2WithoutKill,
    every_schedule_ends_well_on_v1: V1,
    every_schedule_ends_well_on_hybrid: Hybrid,
    every_schedule_ends_well_on_process_groups: ProcessGroup,
    every_schedule_ends_well_on_process_groups_without_keeper: ProcessGroupWithoutKeeper,
);

/// The checker can fail: each promise is broken by a kernel or a driver that breaks a rule.
#[test]
fn broken_rules_are_noticed() {
    let [kill, _] = policies(Persona::V2);
    let cases = [
        (Broken::EmptyAndRemoved, kill.clone(), "it is over"),
        (Broken::KillsNeighbours, kill.clone(), "it struck strangers"),
        (Broken::KillsNobody, Policy::kill().give_up_after(Duration::MAX), "it goes on for ever"),
    ];
    for (broken, policy, complaint) in cases {
        let why = explore(Persona::V2, broken, &policy, 0).expect_err("the rule is broken");
        assert!(why.contains(complaint), "{broken:?}: {why}");
    }
}
