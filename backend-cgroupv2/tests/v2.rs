//! The driver on the real unified hierarchy of this host.
//!
//! Where there is none, or no right to it, every test says so; `CONTAIN_MUST_RUN=cgroup-v2` turns that
//! into a failure.

#[path = "../../tests/support/first_thread.rs"]
mod first_thread;
mod support;

use std::time::{Duration, Instant};

use backend_cgroupv2::CgroupV2;
use containment_core::{
    CgroupOps, Change, ControllerSet, ErrorKind, FreezeState, Group, GroupName, KillStep,
    Operation, Outcome, Pid, Policy, Program, Signal, Standing, Teardown,
};
use containment_process::proc::Stat;
use support::*;

/// One kill as core makes it: without `cgroup.kill` it freezes first, and the group is thawed after.
fn kill_once(group: &Group) {
    while let KillStep::Freezing = group.ops().kill().unwrap() {}
    group.ops().request_thaw().unwrap();
}

#[test]
fn a_program_is_a_member_before_its_first_instruction() {
    for driver in drivers() {
        let group = create(&driver, "first");
        let (mut reader, writer) = std::io::pipe().unwrap();
        let child = group.spawn(&sh("cat /proc/self/cgroup").stdout(writer)).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
        assert!(text.contains(group.id().name.as_str()), "{text}");
        let report = group.terminate(&patient(&Policy::kill())).unwrap();
        assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    }
}

#[test]
fn daemons_and_forks_die_with_their_group() {
    for driver in drivers() {
        let group = create(&driver, "daemons");
        let script = "setsid sleep 1000 & (trap '' TERM; sleep 1000) & sleep 1000 & wait";
        group.spawn(&sh(script)).unwrap();
        eventually("four members", || group.members().unwrap().len() >= 4);
        let members = group.members().unwrap();
        let programs = members.iter().filter(|m| m.standing == Standing::Program).count();
        assert_eq!(programs, 1, "{members:?}");
        let started = Instant::now();
        let report = group.terminate(&patient(&Policy::kill())).unwrap();
        assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
        assert!(started.elapsed() < scaled(Duration::from_secs(2)));
        for member in members {
            assert!(!is_alive(member.pid), "{member:?}");
            eventually("nothing but a zombie is left of it", || is_over(member.pid));
        }
    }
}

fn await_end_of_first_thread(pid: Pid) {
    let is_shown = || Stat::read(pid).unwrap().unwrap().state.is_zombie();
    eventually("its first thread has ended", is_shown);
}

fn is_over(pid: Pid) -> bool {
    Stat::read(pid).unwrap().is_none_or(|stat| stat.state.is_zombie())
}

fn is_alive(pid: Pid) -> bool {
    Stat::read(pid).unwrap().is_some_and(|stat| !stat.has_ended())
}

/// The same figures by files that are kept open, which are closed with the group.
#[test]
fn a_group_that_is_sampled_keeps_its_files_open() {
    let Some(driver) = drivers().into_iter().next() else { return };
    let driver = driver.sampling();
    let group = create(&driver, "sampled");
    let open = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        targets.filter(|to| to.to_string_lossy().contains(group.id().name.as_str())).count()
    };
    let before = open();
    let first = group.usage().unwrap();
    let kept = open();
    assert!(kept > before, "{kept}");
    group.spawn(&sh("i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done")).unwrap().wait().unwrap();
    let second = group.usage().unwrap();
    assert!(second.cpu > first.cpu, "{first:?}, {second:?}");
    assert_eq!(open(), kept, "not one more");
    assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
}

#[test]
fn a_name_that_is_taken_is_refused_and_left_alone() {
    for driver in drivers() {
        let group = create(&driver, "taken");
        group.spawn(&Program::new("sleep").arg("1000")).unwrap();
        let refused = driver.create(&group.id().name, ControllerSet::EMPTY).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(group.members().unwrap().len(), 1);
        assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

#[test]
fn a_nested_name_leaves_no_level_behind() {
    for driver in drivers() {
        let outer = name("nested");
        let inner: GroupName = format!("{outer}/b/c").parse().unwrap();
        let group =
            Group::new(driver.create(&inner, ControllerSet::EMPTY).unwrap(), driver.waiter());
        assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
        let names: Vec<_> = driver.list().unwrap().into_iter().map(|id| id.name).collect();
        assert!(!names.contains(&outer), "{outer} is still there");
    }
}

#[test]
fn a_group_that_somebody_else_removed_leaves_no_level_behind() {
    for driver in drivers() {
        let outer = name("vanished");
        let inner: GroupName = format!("{outer}/b/c").parse().unwrap();
        let group =
            Group::new(driver.create(&inner, ControllerSet::EMPTY).unwrap(), driver.waiter());
        std::fs::remove_dir(own_directory().join(inner.as_str())).unwrap();
        let report = group.terminate(&patient(&Policy::kill())).unwrap();
        assert!(report.is_clean() && report.removed && report.errors.is_empty(), "{report:?}");
        assert!(!own_directory().join(outer.as_str()).exists());
    }
}

#[test]
fn subgroups_die_and_go_with_their_group() {
    for driver in drivers() {
        let group = create(&driver, "tree");
        let inner = group.ops().subgroup(&"x/y".parse().unwrap(), ControllerSet::EMPTY).unwrap();
        inner.spawn(&Program::new("sleep").arg("1000")).unwrap();
        assert!(group.ops().populated().unwrap());
        assert_eq!(group.ops().subgroups().unwrap().len(), 1);
        assert_eq!(group.ops().remove().unwrap_err().kind(), ErrorKind::Busy);
        let report = group.terminate(&Policy::kill()).unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(inner.populated().unwrap_err().kind(), ErrorKind::Gone);
    }
}

/// K10 the other way round: the first thread has ended, and the process has not. It is signalled as by older
/// kernels, frozen, and what begins in the group after that is not.
#[test]
fn k10_who_lives_without_its_first_thread_dies() {
    if !must_run::has_python() {
        return;
    }
    for driver in drivers() {
        let group = create(&driver, "threads");
        let program = Program::new("python3").args(["-c", first_thread::LIVES_WITHOUT]);
        let program = group.spawn(&program).unwrap();
        await_end_of_first_thread(program.pid());
        assert!(group.ops().populated().unwrap());
        let [member] = &*group.members().unwrap() else { panic!("it is alone") };
        assert!(member.memory.unwrap() > 1 << 20, "a Python: {member:?}");
        eventually("it dies", || {
            kill_once(&group);
            !group.ops().populated().unwrap()
        });
        assert_eq!(program.wait().unwrap(), Outcome::Signaled(Signal::KILL));
        assert_eq!(group.spawn(&sh("exit 3")).unwrap().wait().unwrap(), Outcome::Exited(3));
        let report = group.terminate(&Policy::kill()).unwrap();
        assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
    }
}

/// The kernel moves the other threads, and lists no process then: a kill would find nobody.
#[test]
fn who_lives_without_its_first_thread_is_not_attached() {
    if !must_run::has_python() {
        return;
    }
    for driver in drivers() {
        let [from, to] = ["from", "to"].map(|test| create(&driver, test));
        let program = Program::new("python3").args(["-c", first_thread::LIVES_WITHOUT]);
        let program = from.spawn(&program).unwrap();
        await_end_of_first_thread(program.pid());
        let refused = to.ops().attach(program.pid()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().contains("its first thread has ended"), "{refused}");
        assert!(from.ops().populated().unwrap() && !to.ops().populated().unwrap());
        for group in [from, to] {
            assert!(group.terminate(&patient(&Policy::kill())).unwrap().is_clean());
        }
    }
}

/// K10: somebody else moves it in all the same. It is a member, and dies.
#[test]
fn k10_who_was_moved_in_without_its_first_thread_is_found_and_dies() {
    if !must_run::has_python() {
        return;
    }
    for driver in drivers() {
        let [from, to] = ["out", "in"].map(|test| create(&driver, test));
        let program = Program::new("python3").args(["-c", first_thread::LIVES_WITHOUT]);
        let program = from.spawn(&program).unwrap();
        await_end_of_first_thread(program.pid());
        let directory = to.ops().handles()[3];
        let procs = format!("/proc/self/fd/{directory}/cgroup.procs");
        std::fs::write(&procs, program.pid().to_string()).unwrap();
        assert_eq!(std::fs::read_to_string(procs).unwrap(), "", "the kernel lists it nowhere");
        let members = to.members().unwrap();
        assert!(matches!(&*members, [member] if member.pid == program.pid()), "{members:?}");
        // Beside others it is found by the kill.
        to.spawn(&sh("trap '' TERM; sleep 1000 & wait")).unwrap();
        let report = to.terminate(&patient(&Policy::kill())).unwrap();
        assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
        assert_eq!(program.wait().unwrap(), Outcome::Signaled(Signal::KILL));
        assert!(from.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

/// K42: a group that was killed and is used again.
#[test]
fn k42_a_killed_group_runs_programs_again() {
    for driver in drivers() {
        let group = create(&driver, "again");
        for _ in 0..3 {
            let child = group.spawn(&sh("exit 3")).unwrap();
            assert_eq!(child.wait().unwrap(), Outcome::Exited(3));
            kill_once(&group);
        }
        assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

/// K42: a child group whose parent was killed.
#[test]
fn k42_a_new_group_below_a_killed_one_runs_programs() {
    for driver in drivers() {
        let group = create(&driver, "below");
        kill_once(&group);
        let inner = group.ops().subgroup(&"inner".parse().unwrap(), ControllerSet::EMPTY).unwrap();
        let child = inner.spawn(&sh("exit 4")).unwrap();
        eventually("the end of the program", || {
            child.try_wait().unwrap() == Some(Outcome::Exited(4))
        });
        assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

/// K42: a supervisor that sits in a group that was once killed. As another process, since the test
/// runner itself must not move.
#[test]
fn k42_a_supervisor_in_a_killed_group_runs_programs() {
    for driver in drivers().into_iter().take(1) {
        let group = create(&driver, "killed");
        kill_once(&group);
        let exe = std::env::current_exe().unwrap();
        let supervisor = Program::new(exe)
            .args(["--exact", "helper_supervises_from_its_own_group", "--nocapture"])
            .env("CONTAIN_TEST_SUPERVISE", "1");
        let child = group.spawn(&supervisor).unwrap();
        assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
        assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

/// Runs inside a killed group; does nothing in an ordinary run.
#[test]
fn helper_supervises_from_its_own_group() {
    if std::env::var_os("CONTAIN_TEST_SUPERVISE").is_none() {
        return;
    }
    let driver = CgroupV2::probe(None).unwrap();
    driver.prove().unwrap();
    let group = create(&driver, "fresh");
    assert_eq!(group.spawn(&sh("exit 5")).unwrap().wait().unwrap(), Outcome::Exited(5));
    assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
}

/// K49: a kill while a spawn is under way.
#[test]
fn k49_nothing_runs_once_the_kill_returned() {
    for driver in drivers() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let group = create(&driver, "race");
            let path = directory.path().join(round.to_string());
            let script = format!("while :; do echo x >> {}; done", path.display());
            std::thread::scope(|scope| {
                let spawner = scope.spawn(|| group.spawn(&sh(&script)).map(|_| ()));
                // A child that was born frozen holds the spawning thread until it is thawed.
                kill_once(&group);
                if let Err(error) = spawner.join().unwrap() {
                    assert!(
                        matches!(error.kind(), ErrorKind::Killed | ErrorKind::Frozen),
                        "{error:?}"
                    );
                }
            });
            // Either the program came after the kill as a whole, or it never ran.
            let report = group.terminate(&Policy::kill()).unwrap();
            assert!(report.is_clean(), "{report:?}");
            let length = || std::fs::metadata(&path).map_or(0, |file| file.len());
            assert_eq!(length(), length(), "a member still writes");
        }
    }
}

#[test]
fn k07_a_frozen_group_takes_no_program() {
    for driver in drivers() {
        let group = create(&driver, "frozen");
        group.ops().request_freeze().unwrap();
        eventually("frozen", || group.ops().frozen().unwrap() == FreezeState::Frozen);
        let refused = group.spawn(&sh("true")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Frozen);
        assert!(refused.remedy().is_some());
        assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

#[test]
fn a_frozen_member_below_ends_gracefully_once_thawed() {
    for driver in drivers() {
        let group = create(&driver, "thaw");
        let inner = group.ops().subgroup(&"inner".parse().unwrap(), ControllerSet::EMPTY).unwrap();
        let child = inner.spawn(&Program::new("sleep").arg("1000")).unwrap();
        inner.request_freeze().unwrap();
        eventually("frozen", || inner.frozen().unwrap() == FreezeState::Frozen);
        let started = Instant::now();
        let report =
            group.terminate(&patient(&Policy::graceful(Duration::from_secs(100)))).unwrap();
        assert!(report.is_clean() && report.rounds == 0, "{report:?}");
        assert!(started.elapsed() < scaled(Duration::from_secs(5)));
        assert_eq!(child.try_wait().unwrap(), Some(Outcome::Signaled(Signal::TERM)));
    }
}

/// Somebody else's freeze around a group saves nobody in it, and is no failure of its end.
#[test]
fn a_group_below_a_frozen_one_is_ended() {
    for driver in drivers() {
        let outer = create(&driver, "outer");
        let inner = outer.ops().subgroup(&"inner".parse().unwrap(), ControllerSet::EMPTY).unwrap();
        let child = inner.spawn(&Program::new("sleep").arg("1000")).unwrap();
        outer.ops().request_freeze().unwrap();
        let report = Teardown::new(Policy::kill()).run(&*inner, &*driver.waiter());
        assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
        assert_eq!(child.try_wait().unwrap(), Some(Outcome::Signaled(Signal::KILL)));
        assert!(outer.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

/// The group's own `cgroup.events` calls it thawed for as long as a killed member takes to die.
#[test]
fn a_thaw_below_a_frozen_group_is_refused_while_a_member_dies_too() {
    for driver in drivers() {
        let outer = create(&driver, "dying");
        let inner = outer.ops().subgroup(&"inner".parse().unwrap(), ControllerSet::EMPTY).unwrap();
        for _ in 0..20 {
            let child = inner.spawn(&Program::new("sleep").arg("1000")).unwrap();
            outer.ops().request_freeze().unwrap();
            eventually("frozen", || inner.frozen().unwrap() == FreezeState::Frozen);
            child.signal(Signal::KILL).unwrap();
            let refused = inner.request_thaw().unwrap_err();
            assert_eq!((refused.kind(), refused.operation()), (ErrorKind::Frozen, Operation::Thaw));
            assert!(refused.path().is_some_and(|path| path.ends_with(outer.id().name.as_str())));
            eventually("dead", || child.try_wait().unwrap().is_some());
            outer.ops().request_thaw().unwrap();
        }
        assert!(outer.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

#[test]
fn the_group_that_holds_the_caller_is_not_killed() {
    // As another process, since the test runner itself must not move.
    for driver in drivers().into_iter().take(1) {
        let group = create(&driver, "caller");
        let exe = std::env::current_exe().unwrap();
        let own = Program::new(exe)
            .args(["--exact", "helper_kills_its_own_group", "--nocapture"])
            .env("CONTAIN_TEST_OWN_GROUP", group.id().name.as_str());
        let child = group.spawn(&own).unwrap();
        assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
        assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
    }
}

/// Runs inside the group that the variable names; does nothing in an ordinary run.
#[test]
fn helper_kills_its_own_group() {
    let Ok(own) = std::env::var("CONTAIN_TEST_OWN_GROUP") else { return };
    let relative = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = relative.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    let parent = std::path::Path::new(path).parent().unwrap();
    let driver = CgroupV2::probe(Some(parent)).unwrap();
    let id = driver.list().unwrap().into_iter().find(|id| id.name.as_str() == own).unwrap();
    let group = driver.open(&id).unwrap();
    assert_eq!(group.kill().unwrap_err().kind(), ErrorKind::HoldsCaller);
    assert_eq!(group.signal(Signal::KILL).unwrap_err().kind(), ErrorKind::HoldsCaller);
    let started = Instant::now();
    let report = Teardown::new(Policy::kill()).run(&*group, &*driver.waiter());
    assert!(!report.removed && started.elapsed() < scaled(Duration::from_secs(5)), "{report:?}");
}

#[test]
fn a_re_used_name_is_another_group() {
    for driver in drivers() {
        let name = name("reuse");
        let first = driver.create(&name, ControllerSet::EMPTY).unwrap();
        let id = first.id().clone();
        first.remove().unwrap();
        assert_eq!(first.kill().unwrap_err().kind(), ErrorKind::Gone);
        let second = driver.create(&name, ControllerSet::EMPTY).unwrap();
        assert_eq!(driver.open(&id).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(driver.open(second.id()).is_ok());
        second.remove().unwrap();
    }
}

#[test]
fn a_running_process_can_be_moved_in() {
    for driver in drivers() {
        let group = create(&driver, "attach");
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
        group.ops().attach(pid).unwrap();
        assert_eq!(group.members().unwrap()[0].pid, pid);
        assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
        child.wait().unwrap();
        assert_eq!(
            create(&driver, "attach").ops().attach(pid).unwrap_err().errno(),
            Some(3),
            "ESRCH"
        );
    }
}

#[test]
fn emptiness_is_an_event() {
    for driver in drivers() {
        let group = create(&driver, "event");
        let (reader, writer) = std::io::pipe().unwrap();
        group.spawn(&Program::new("cat").stdin(reader)).unwrap();
        let watch = group.ops().watch(Change::Empty).unwrap();
        assert!(
            matches!(watch, containment_core::Watch::Sources(ref sources) if sources.len() == 2)
        );
        drop(writer);
        group.wait_empty(scaled(Duration::from_secs(10))).unwrap();
        assert!(group.terminate(&Policy::kill()).unwrap().is_clean());
    }
}
