//! The teardown machine against mocks: exactly these calls, in this order, and no others.

mod common;

use common::mock::{
    Expect, acting, acting_with, alive, announced, atomic, dead, drive, error, frozen, group,
    group_naming, member, passed, removal, repeated,
};
use common::{ms, secs};
use containment_core::{
    Capabilities, Change, ErrorKind, FreezeState, KillStep, Member, Operation, Policy, Signal,
    Signalled, Standing, Step, Teardown, TeardownReport, Time,
};

/// The calls of a list of parts.
macro_rules! calls {
    ($($part:expr),* $(,)?) => {{
        let mut calls: Vec<Expect> = Vec::new();
        $(calls.extend($part);)*
        calls
    }};
}

fn one(call: Expect) -> [Expect; 1] {
    [call]
}

/// The beginning, with members that are held still and looked at once.
fn begins() -> Vec<Expect> {
    calls![alive(), holds_still(), one(members())]
}

fn holds_still() -> [Expect; 1] {
    one(Expect::HoldStill(Ok(None)))
}

fn members() -> Expect {
    Expect::Members(Ok(vec![member(7, Standing::Program)]))
}

fn kills(step: KillStep) -> [Expect; 1] {
    one(Expect::Kill(Ok(step)))
}

fn signals(signal: Signal) -> [Expect; 1] {
    one(Expect::Signal(signal, Ok(passed())))
}

fn thaws() -> [Expect; 1] {
    one(Expect::Thaw(Ok(())))
}

fn is(state: FreezeState) -> [Expect; 1] {
    one(Expect::Frozen(Ok(state)))
}

fn gone(operation: Operation) -> containment_core::Error {
    error(ErrorKind::Gone, operation)
}

fn run(capabilities: Capabilities, policy: Policy, calls: Vec<Expect>) -> TeardownReport {
    drive(Teardown::new(policy.measuring()), &group(capabilities, calls)).0
}

#[test]
fn an_empty_group_is_measured_and_removed() {
    let report = run(atomic(), Policy::graceful(secs(5)), calls![dead(), removal()]);
    assert!(report.is_clean() && report.errors.is_empty() && report.usage.is_some());
    assert_eq!(report.rounds, 0);
}

#[test]
fn an_atomic_kill_is_one_step_and_one_announcement() {
    let calls = calls![
        begins(),
        kills(KillStep::Killed),
        one(announced(Change::Empty)),
        alive(),
        dead(),
        removal(),
    ];
    let mock = group(atomic(), calls);
    let (report, waits) = drive(Teardown::new(Policy::kill().measuring()), &mock);
    assert!(report.is_clean() && report.errors.is_empty());
    assert_eq!((report.rounds, waits.len()), (1, 1));
    assert!(!waits[0].timed_out(), "{waits:?}");
}

#[test]
fn what_dies_during_the_watch_is_not_waited_for() {
    let calls = calls![
        begins(),
        kills(KillStep::Killed),
        one(announced(Change::Empty)),
        dead(),
        removal(),
    ];
    let (report, waits) = drive(Teardown::new(Policy::kill().measuring()), &group(atomic(), calls));
    assert!(report.is_clean() && waits.is_empty());
}

#[test]
fn who_was_listed_while_told_to_hold_still_is_not_looked_for_again() {
    let listed = vec![member(7, Standing::Inside), member(8, Standing::Escaped)];
    let calls = calls![
        alive(),
        one(Expect::HoldStill(Ok(Some(listed)))),
        kills(KillStep::Killed),
        one(announced(Change::Empty)),
        dead(),
        removal(),
    ];
    let mock = group(atomic(), calls);
    let (report, _) = drive(Teardown::new(Policy::kill().measuring()), &mock);
    let pids = |members: &[Member]| members.iter().map(|it| it.pid.as_raw()).collect::<Vec<_>>();
    assert_eq!(pids(&report.escaped), [8]);
    assert_eq!(pids(&report.left_behind), [7], "its program has ended");
}

#[test]
fn where_nobody_has_to_be_named_a_kill_at_once_is_the_first_act() {
    let calls = calls![
        one(Expect::Reap),
        kills(KillStep::Killed),
        one(announced(Change::Empty)),
        dead(),
        removal()
    ];
    let mock = group_naming(false, atomic(), calls);
    let (report, _) = drive(Teardown::new(Policy::kill().measuring()), &mock);
    assert!(report.is_clean() && report.errors.is_empty() && report.left_behind.is_empty());
}

/// Somebody else may have frozen the group, which is looked at only where somebody lives on.
#[test]
fn a_few_who_die_of_a_signal_are_not_thawed() {
    let begins = calls![one(Expect::Reap), kills(KillStep::Signalled(passed()))];
    let calls = calls![begins, one(announced(Change::Empty)), dead(), removal()];
    let mock = group_naming(false, frozen(), calls);
    let (report, waits) = drive(Teardown::new(Policy::kill().measuring()), &mock);
    assert!(report.is_clean() && waits.is_empty(), "{waits:?}");
}

#[test]
fn who_lives_on_after_a_signal_is_thawed_within_a_millisecond() {
    let calls = calls![
        one(Expect::Reap),
        kills(KillStep::Signalled(passed())),
        one(announced(Change::Empty)),
        alive(),
        alive(),
        thaws(),
        one(announced(Change::Empty)),
        dead(),
        removal(),
    ];
    let mut teardown = Teardown::new(Policy::kill().measuring());
    let mock = group_naming(false, frozen(), calls);
    let Step::Wait { until, .. } = teardown.step(Time::ZERO, &mock) else { panic!("it waits") };
    assert_eq!(until, Time::ZERO + ms(1));
    let Step::Done(report) = teardown.step(until, &mock) else { panic!("it ends") };
    assert!(report.is_clean() && report.rounds == 1, "{report:?}");
}

#[test]
fn many_who_are_signalled_are_thawed_at_once() {
    let many = Signalled { count: 11, failed: Vec::new() };
    let calls = calls![
        one(Expect::Reap),
        kills(KillStep::Signalled(many)),
        thaws(),
        one(announced(Change::Empty)),
        dead(),
        removal(),
    ];
    let mock = group_naming(false, frozen(), calls);
    let (report, _) = drive(Teardown::new(Policy::kill().measuring()), &mock);
    assert!(report.is_clean(), "{report:?}");
}

fn asked_with_grace() -> Vec<Expect> {
    calls![begins(), signals(Signal::TERM), thaws(), signals(Signal::CONT), one(members())]
}

#[test]
fn the_grace_is_left_at_once_when_all_die() {
    let calls = calls![
        asked_with_grace(),
        one(announced(Change::Empty)),
        alive(),
        one(members()),
        one(announced(Change::Empty)),
        dead(),
        removal()
    ];
    let policy = Policy::graceful(secs(100_000));
    let (report, waits) = drive(Teardown::new(policy.measuring()), &group(atomic(), calls));
    assert!(report.is_clean() && report.rounds == 0);
    assert_eq!(waits[0].bound, secs(100_000));
    assert!(report.elapsed < ms(1));
}

#[test]
fn a_grace_that_has_not_begun_yet_can_be_bounded() {
    let calls = calls![asked_with_grace(), one(announced(Change::Empty)), dead(), removal()];
    let mut teardown = Teardown::new(Policy::graceful(secs(100_000)).measuring());
    teardown.end_grace_by(Time::since_epoch(secs(5)));
    teardown.end_grace_by(Time::since_epoch(secs(9)));
    let (report, waits) = drive(teardown, &group(atomic(), calls));
    assert!(report.is_clean());
    assert!(waits.iter().all(|wait| wait.bound <= secs(5)), "{waits:?}");
}

#[test]
fn hurry_ends_the_grace() {
    let calls = calls![
        asked_with_grace(),
        one(announced(Change::Empty)),
        alive(),
        one(members()),
        alive(),
        kills(KillStep::Killed),
        one(announced(Change::Empty)),
        dead(),
        removal(),
    ];
    let mock = group(atomic(), calls);
    let mut teardown = Teardown::new(Policy::graceful(secs(100_000)).measuring());
    let now = Time::since_epoch(ms(1));
    assert!(matches!(teardown.step(now, &mock), Step::Again));
    assert!(matches!(teardown.step(now, &mock), Step::Wait { .. }));
    teardown.hurry();
    match teardown.step(now, &mock) {
        Step::Done(report) => assert!(report.is_clean() && report.rounds == 1),
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_group_that_is_gone_at_any_step_is_done_without_an_error() {
    let kill = || calls![begins(), kills(KillStep::Killed)];
    // What was made besides the group is still to be removed.
    let lost = || {
        calls![
            one(Expect::Reap),
            one(Expect::Populated(Err(gone(Operation::Populated)))),
            one(Expect::Remove(Ok(())))
        ]
    };
    let cases: Vec<(&str, Vec<Expect>)> = vec![
        ("at first", lost()),
        ("at reaping", calls![one(Expect::ReapFails(ErrorKind::Gone)), lost().into_iter().skip(1)]),
        (
            "at listing",
            calls![
                alive(),
                holds_still(),
                one(Expect::Members(Err(gone(Operation::Members)))),
                one(Expect::Kill(Err(gone(Operation::Kill)))),
                one(announced(Change::Empty)),
                lost()
            ],
        ),
        (
            "at the kill",
            calls![
                begins(),
                one(Expect::Kill(Err(gone(Operation::Kill)))),
                one(announced(Change::Empty)),
                lost()
            ],
        ),
        (
            "at the watch",
            calls![kill(), one(Expect::Watch(Change::Empty, Err(gone(Operation::Watch)))), lost()],
        ),
        (
            "at the usage",
            calls![
                dead(),
                one(Expect::Usage(Err(gone(Operation::Usage)))),
                one(Expect::Remove(Ok(())))
            ],
        ),
        (
            "at the removal",
            calls![
                dead(),
                one(Expect::Usage(Ok(()))),
                one(Expect::Remove(Err(gone(Operation::Remove))))
            ],
        ),
        (
            "not found at the removal",
            calls![
                dead(),
                one(Expect::Usage(Ok(()))),
                one(Expect::Remove(Err(error(ErrorKind::NotFound, Operation::Remove))))
            ],
        ),
    ];
    for (case, calls) in cases {
        let report = run(atomic(), Policy::kill(), calls);
        assert!(report.is_clean() && report.errors.is_empty(), "{case}: {report:?}");
    }
}

#[test]
fn a_group_that_is_gone_during_a_freeze_is_done_without_an_error() {
    let lost = calls![
        one(Expect::Reap),
        one(Expect::Populated(Err(gone(Operation::Populated)))),
        one(Expect::Remove(Ok(())))
    ];
    let calls = calls![
        begins(),
        kills(KillStep::Freezing),
        one(announced(Change::Frozen)),
        alive(),
        one(Expect::Frozen(Err(gone(Operation::Freeze)))),
        lost,
    ];
    let report = run(frozen(), Policy::kill(), calls);
    assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
}

#[test]
fn a_frozen_kill_freezes_signals_and_thaws() {
    let calls = calls![
        begins(),
        kills(KillStep::Freezing),
        one(announced(Change::Frozen)),
        alive(),
        is(FreezeState::Freezing),
        alive(),
        one(announced(Change::Frozen)),
        alive(),
        is(FreezeState::Frozen),
        kills(KillStep::Signalled(passed())),
        thaws(),
        alive(),
        one(announced(Change::Empty)),
        dead(),
        removal(),
    ];
    let report = run(frozen(), Policy::kill(), calls);
    assert!(report.is_clean() && report.errors.is_empty());
    assert_eq!(report.rounds, 1);
}

#[test]
fn after_two_freezes_that_stick_the_running_are_signalled() {
    let (mock, acts) =
        acting(frozen(), |acts| !acts.contains(&"SIGKILL"), || Ok(KillStep::Freezing));
    let (report, _) = drive(Teardown::new(Policy::kill().measuring()), &mock);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(acts.list(), ["freeze", "kill", "thaw", "kill", "thaw", "SIGKILL", "remove"]);
    assert_eq!(kinds(&report), [(ErrorKind::TimedOut, Operation::Freeze)]);
    assert!(report.elapsed < ms(1_050), "{report:?}");
}

#[test]
fn a_kill_may_take_five_rounds() {
    let lives = |acts: &[&str]| acts.iter().filter(|act| **act == "kill").count() < 5;
    let (mock, acts) = acting(repeated(), lives, || Ok(KillStep::Signalled(passed())));
    let (report, _) = drive(Teardown::new(Policy::kill().measuring()), &mock);
    assert!(report.is_clean() && report.rounds == 5, "{report:?}");
    assert_eq!(acts.list(), ["freeze", "kill", "kill", "kill", "kill", "kill", "remove"]);
    assert!(report.elapsed < ms(40), "{report:?}");
}

#[test]
fn what_refuses_to_die_is_a_survivor() {
    let (mock, acts) = acting(atomic(), |_| true, || Ok(KillStep::Killed));
    let policy = Policy::kill().give_up_after(secs(3));
    let (report, _) = drive(Teardown::new(policy), &mock);
    assert_eq!(report.survivors.len(), 1);
    assert!(!report.removed && report.elapsed <= ms(3_001), "{report:?}");
    assert_eq!(kinds(&report), [(ErrorKind::TimedOut, Operation::Kill)]);
    assert_eq!(acts.list(), ["freeze", "kill", "kill", "kill", "thaw"]);
}

/// As version 2 does for members that `cgroup.kill` passes over; here the freeze does not complete.
#[test]
fn a_kill_of_all_that_did_not_reach_all_freezes_the_next_time() {
    let steps = std::sync::atomic::AtomicUsize::new(0);
    let lives = |acts: &[&str]| acts.iter().filter(|act| **act == "kill").count() < 3;
    let (mock, acts) = acting(atomic(), lives, move || {
        Ok(match steps.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => KillStep::Killed,
            1 => KillStep::Freezing,
            _ => KillStep::Signalled(passed()),
        })
    });
    let (report, _) = drive(Teardown::new(Policy::kill()), &mock);
    assert_eq!(acts.list(), ["freeze", "kill", "kill", "thaw", "kill", "remove"]);
    assert!(report.is_clean() && report.elapsed < secs(2), "{report:?}");
    assert_eq!(kinds(&report), [(ErrorKind::TimedOut, Operation::Freeze)]);
}

#[test]
fn a_kill_of_all_is_repeated_once_before_it_is_given_up() {
    let (mock, acts) = acting(atomic(), |_| true, || Ok(KillStep::Killed));
    let (report, _) = drive(Teardown::new(Policy::kill().give_up_after(ms(100))), &mock);
    assert_eq!(acts.list(), ["freeze", "kill", "kill", "thaw"]);
    assert!(report.elapsed <= ms(101), "{report:?}");
}

/// Nobody is listed, and yet the group is said to be populated: the kernel's answer to the removal decides.
#[test]
fn what_the_kernel_removes_was_empty() {
    for is_removed in [true, false] {
        let calls = calls![
            one(Expect::Reap),
            kills(KillStep::Killed),
            one(announced(Change::Empty)),
            alive(),
            alive(),
            thaws(),
            one(Expect::Members(Ok(Vec::new()))),
            one(Expect::Populated(Ok(true))),
            one(Expect::Usage(Ok(()))),
            one(Expect::Remove(if is_removed {
                Ok(())
            } else {
                Err(error(ErrorKind::Busy, Operation::Remove))
            })),
        ];
        let mock = group_naming(false, atomic(), calls);
        let policy = Policy::kill().measuring().give_up_after(std::time::Duration::ZERO);
        let (report, _) = drive(Teardown::new(policy), &mock);
        assert_eq!((report.emptied, report.removed), (is_removed, is_removed), "{report:?}");
    }
}

#[test]
fn a_removal_that_is_busy_is_tried_again() {
    let busy = || one(Expect::Remove(Err(error(ErrorKind::Busy, Operation::Remove))));
    let still_empty = || one(Expect::Populated(Ok(false)));
    let endings =
        [Ok(()), Err(error(ErrorKind::NotFound, Operation::Remove)), Err(gone(Operation::Remove))];
    for ending in endings {
        let calls = calls![
            dead(),
            one(Expect::Usage(Ok(()))),
            busy(),
            one(announced(Change::Empty)),
            still_empty(),
            busy(),
            still_empty(),
            one(Expect::Remove(ending)),
        ];
        let (report, waits) =
            drive(Teardown::new(Policy::kill().measuring()), &group(atomic(), calls));
        assert!(report.is_clean() && report.errors.is_empty() && waits.len() == 2, "{report:?}");
    }
}

#[test]
fn a_removal_that_is_refused_is_reported() {
    let refused = error(ErrorKind::PermissionDenied, Operation::Remove);
    let calls = calls![dead(), one(Expect::Usage(Ok(()))), one(Expect::Remove(Err(refused)))];
    let report = run(atomic(), Policy::kill(), calls);
    assert!(!report.is_clean() && report.survivors.is_empty());
    assert_eq!(kinds(&report), [(ErrorKind::PermissionDenied, Operation::Remove)]);
}

#[test]
fn members_that_could_not_be_signalled_are_named() {
    let refused = error(ErrorKind::PermissionDenied, Operation::Signal);
    let pass = Signalled { count: 0, failed: vec![refused] };
    let calls = calls![
        begins(),
        kills(KillStep::Signalled(pass)),
        one(announced(Change::Empty)),
        dead(),
        removal(),
    ];
    let report = run(repeated(), Policy::kill(), calls);
    assert_eq!(kinds(&report), [(ErrorKind::PermissionDenied, Operation::Signal)]);
}

#[test]
fn a_kill_without_time_still_strikes_once() {
    let (mock, acts) = acting(atomic(), |_| true, || Ok(KillStep::Killed));
    let policy = Policy::kill().give_up_after(std::time::Duration::ZERO);
    let (report, _) = drive(Teardown::new(policy), &mock);
    assert_eq!(acts.list(), ["freeze", "kill", "thaw"]);
    assert_eq!(report.survivors.len(), 1);

    let (mock, acts) = acting(frozen(), |_| true, || Ok(KillStep::Freezing));
    let policy = Policy::kill().give_up_after(std::time::Duration::ZERO);
    drive(Teardown::new(policy), &mock).0.survivors.pop().expect("the one member");
    assert_eq!(acts.list(), ["freeze", "kill", "thaw", "SIGKILL", "thaw"]);
}

#[test]
fn giving_up_during_a_freeze_leaves_nobody_frozen() {
    let (mock, acts) = acting(frozen(), |_| true, || Ok(KillStep::Freezing));
    let policy = Policy::kill().give_up_after(ms(100));
    let (report, _) = drive(Teardown::new(policy), &mock);
    assert_eq!(acts.list(), ["freeze", "kill", "thaw", "SIGKILL"]);
    assert!(report.elapsed <= ms(100) && !report.removed, "{report:?}");
}

/// Somebody puts a member in whenever the group is to be removed: each is killed, up to a bound.
#[test]
fn members_that_come_in_during_the_removal_are_killed_for_a_bounded_time() {
    let lives = |acts: &[&str]| acts.last() == Some(&"remove");
    let busy = || Err(error(ErrorKind::Busy, Operation::Remove));
    let (mock, _) = acting_with(atomic(), lives, || Ok(KillStep::Killed), busy);
    let policy = Policy::kill().give_up_after(secs(1));
    let (report, _) = drive(Teardown::new(policy), &mock);
    assert!(!report.is_clean() && report.rounds > 10, "{report:?}");
    assert!(report.elapsed <= ms(2_001), "{report:?}");
}

/// For one, by a freeze that the kernel calls busy.
#[test]
fn a_kill_that_fails_is_made_up_for_by_signals_and_soon_repeated() {
    let cases = [
        (atomic(), ErrorKind::PermissionDenied, &["kill", "SIGKILL"][..]),
        (repeated(), ErrorKind::PermissionDenied, &["kill", "SIGKILL"]),
        (frozen(), ErrorKind::Busy, &["kill", "SIGKILL", "thaw"]),
    ];
    for (capabilities, kind, round) in cases {
        let lives = |acts: &[&str]| acts.iter().filter(|act| **act == "SIGKILL").count() < 3;
        let refused = move || Err(error(kind, Operation::Kill));
        let (mock, acts) = acting(capabilities, lives, refused);
        let (report, _) = drive(Teardown::new(Policy::kill().measuring()), &mock);
        assert_eq!(acts.list(), [&["freeze"], round, round, round, &["remove"]].concat());
        assert_eq!(kinds(&report), [(kind, Operation::Kill)]);
        assert!(report.is_clean() && report.elapsed < ms(20), "{report:?}");
    }
}

fn kinds(report: &TeardownReport) -> Vec<(ErrorKind, Operation)> {
    report.errors.iter().map(|error| (error.kind(), error.operation())).collect()
}
