//! Who is asked where members come from: while they live, and only when there is somebody to ask about.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backend_fake::{Fake, Persona, Script};
use common::{group_with, ms, secs};
use containment_core::{
    CgroupOps as _, Group, Hold, Member, MockWitness, Origin, Policy, TeardownReport,
};

fn end(fake: &Fake, programs: &[&str], witness: MockWitness, policy: &Policy) -> TeardownReport {
    let group = Group::new(group_with(fake, programs), fake.waiter());
    fake.advance(ms(10));
    group.witnessed_by(Arc::new(witness)).terminate(policy).unwrap()
}

fn told(members: &mut [Member]) {
    for member in members {
        member.origin = Some(Box::default());
    }
}

#[test]
fn nobody_is_asked_about_where_nobody_is_left() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().exits(ms(5), 0));
        let mut witness = MockWitness::new();
        witness.expect_trace().never();
        witness.expect_explain().never();
        let report = end(&fake, &["job"], witness, &Policy::graceful(secs(1)));
        assert!(report.is_clean() && report.left_behind.is_empty(), "{persona:?}");
    }
}

#[test]
fn who_is_left_is_asked_about_once_and_alive() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        let child = Script::new().named("child");
        fake.program("job", Script::new().forks(Duration::ZERO, child).exits(ms(5), 0));
        let living = Arc::new(AtomicUsize::new(0));
        let mut witness = MockWitness::new();
        let (world, seen) = (fake.clone(), Arc::clone(&living));
        witness.expect_trace().times(1).returning(move |found, all| {
            assert_eq!((found.len(), all.len()), (1, 1), "{persona:?}");
            seen.store(world.snapshot().living().count(), Ordering::SeqCst);
            told(found);
        });
        let report = end(&fake, &["job"], witness, &Policy::graceful(secs(1)));
        assert_eq!(living.load(Ordering::SeqCst), 1, "{persona:?}: it lived");
        assert!(report.left_behind[0].origin.is_some(), "{persona:?}");
    }
}

#[test]
fn a_survivor_keeps_its_origin_and_is_told_what_holds_it() {
    let fake = Fake::v2();
    let stuck = Script::new().named("stuck").sleeps_uninterruptibly(Duration::ZERO, Duration::MAX);
    fake.program("job", Script::new().forks(Duration::ZERO, stuck).exits(ms(5), 0));
    let mut witness = MockWitness::new();
    witness.expect_trace().times(1).returning(|found, _| told(found));
    witness.expect_explain().times(1).returning(|survivors| {
        let hold = Hold { wchan: Some("nfs_wait".to_owned()), ..Hold::default() };
        survivors[0].origin.as_mut().unwrap().held_by = Some(hold);
    });
    let report = end(&fake, &["job"], witness, &Policy::graceful(secs(1)).give_up_after(secs(2)));
    assert_eq!((report.left_behind.len(), report.survivors.len()), (0, 1), "{report:?}");
    let origin: &Origin = report.survivors[0].origin.as_ref().unwrap();
    assert_eq!(origin.held_by.as_ref().unwrap().to_string(), "waits in nfs_wait");
    fake.release(report.survivors[0].pid);
}

#[test]
fn a_witness_is_told_of_every_program() {
    let fake = Fake::v2();
    fake.program("job", Script::new());
    let mut witness = MockWitness::new();
    witness.expect_spawned().times(2).returning(|_| ());
    let name = "job".parse().unwrap();
    let ops = fake.create(&name, containment_core::ControllerSet::EMPTY).unwrap();
    let group = Group::new(ops, fake.waiter()).witnessed_by(Arc::new(witness));
    for _ in 0..2 {
        group.spawn(&containment_core::Program::new("job")).unwrap();
    }
    assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
}
