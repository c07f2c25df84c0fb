//! Killing on real hierarchies: frozen members, members that fork, groups that vanish or that others
//! meddle with.

#[path = "../../tests/support/first_thread.rs"]
mod first_thread;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use containment_core::{
    CgroupOps, ControllerSet, ErrorKind, FreezeState, Group, KillStep, Limit, Outcome, Pid, Policy,
    Program, Set, Signal, Teardown,
};
use containment_process::proc::Stat;
use support::*;

/// Makes a kill step that is through with freezing.
fn strike(group: &Group) {
    let deadline = Instant::now() + scaled(Duration::from_secs(10));
    while let KillStep::Freezing = group.ops().kill().unwrap() {
        assert!(Instant::now() < deadline, "never frozen");
    }
    group.ops().request_thaw().unwrap();
}

#[test]
fn k01_a_frozen_group_dies() {
    let Some(bench) = bench("k01") else { return };
    let group = bench.group();
    let child = group.spawn(&sleeper()).unwrap();
    freeze(group.ops());
    let started = Instant::now();
    end(group);
    assert!(started.elapsed() < scaled(Duration::from_secs(2)));
    assert_eq!(child.try_wait().unwrap(), Some(Outcome::Signaled(Signal::KILL)));
}

#[test]
fn k02_a_nested_frozen_group_dies_even_behind_shut_files() {
    let Some(bench) = bench("k02") else { return };
    let group = bench.group();
    let inner = group.ops().subgroup(&"inner".parse().unwrap(), ControllerSet::EMPTY).unwrap();
    let child = inner.spawn(&sleeper()).unwrap();
    freeze(&*inner);
    let directory = directory(&bench, "freezer").join("inner");
    for entry in fs::read_dir(&directory).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o000)).unwrap();
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o000)).unwrap();
    let started = Instant::now();
    end(group);
    assert!(started.elapsed() < scaled(Duration::from_secs(2)));
    assert_eq!(child.try_wait().unwrap(), Some(Outcome::Signaled(Signal::KILL)));
}

#[test]
fn a_frozen_member_below_ends_gracefully_once_thawed() {
    let Some(bench) = bench("thaw") else { return };
    let group = bench.group();
    let inner = group.ops().subgroup(&"inner".parse().unwrap(), ControllerSet::EMPTY).unwrap();
    let child = inner.spawn(&sleeper()).unwrap();
    freeze(&*inner);
    let report = group.terminate(&Policy::graceful(Duration::from_secs(100))).unwrap();
    assert!(report.is_clean() && report.rounds == 0, "{report:?}");
    assert_eq!(child.try_wait().unwrap(), Some(Outcome::Signaled(Signal::TERM)));
}

/// K03, K23: members fork all the time while they are killed. The bomb caps itself.
#[test]
fn k03_members_that_fork_all_the_time_die() {
    for bench in benches("k03") {
        let group = bench.group();
        let bomb = "n=0; while [ $n -lt 200 ]; do n=$((n+1)); sleep 1000 & done; wait";
        group.spawn(&sh(bomb)).unwrap();
        eventually("some members", || group.members().unwrap().len() >= 20);
        end(group);
    }
}

/// K24: every member starts another one and ends, over and over, for as long as it is let.
#[test]
fn k24_members_that_replace_themselves_die() {
    for bench in benches("k24") {
        let group = bench.group();
        let relay = "r() { n=$1; [ $n -gt 0 ] && (r $((n-1))) & sleep 0.01; }; r 2000; wait";
        group.spawn(&sh(relay)).unwrap();
        eventually("a member", || group.ops().populated().unwrap());
        end(group);
    }
}

/// K06: what a supervisor leaves that dies between freeze and thaw.
#[test]
fn k06_recovery_ends_a_group_that_was_left_frozen() {
    let Some(bench) = bench("k06") else { return };
    let group = bench.group();
    let child = group.spawn(&sleeper()).unwrap();
    group.ops().kill().unwrap();
    let other = bench.another_group();
    other.spawn(&sleeper()).unwrap();
    freeze(other.ops());
    for left in [group, other] {
        let id = left.id().clone();
        left.keep();
        let found = bench.driver.open(&id).unwrap();
        end(Group::new(found, bench.driver.waiter()));
    }
    assert_eq!(child.wait().unwrap(), Outcome::Signaled(Signal::KILL));
}

/// Forks are stopped for a kill alone: whoever aborts it, this process or a later one, lets them go on.
#[test]
fn the_brake_on_forks_is_released_when_a_kill_is_aborted() {
    let Some(bench) = bench("brake") else { return };
    let group = bench.group();
    let pids_max = directory(&bench, "pids").join("pids.max");
    fs::write(&pids_max, "77").unwrap();
    let hold = |group: &Group| {
        group.ops().kill().unwrap();
        group.ops().kill().unwrap();
        assert_eq!(fs::read_to_string(&pids_max).unwrap(), "0\n");
    };
    hold(&group);
    group.ops().request_thaw().unwrap();
    assert_eq!(fs::read_to_string(&pids_max).unwrap(), "77\n");
    hold(&group);
    let again = bench.driver.open(group.id()).unwrap();
    again.request_thaw().unwrap();
    assert_eq!(fs::read_to_string(&pids_max).unwrap(), "77\n");
    assert_eq!(again.frozen().unwrap(), FreezeState::Thawed);
    end(group);
}

/// K47, as far as version 1 goes: a group around ours is frozen by somebody else. Its members do not
/// die, and it is said who holds them; once it is thawed they are gone.
#[test]
fn k47_a_group_held_frozen_from_outside_is_reported_with_its_holder() {
    let Some(bench) = bench("k47") else { return };
    let outer = bench.group();
    let inner = outer.ops().subgroup(&"inner".parse().unwrap(), ControllerSet::EMPTY).unwrap();
    let child = inner.spawn(&sleeper()).unwrap();
    freeze(outer.ops());
    let policy = patient(&Policy::kill().give_up_after(Duration::from_millis(300)));
    let report = Teardown::new(policy).run(&*inner, &*bench.driver.waiter());
    assert_eq!(report.survivors.len(), 1, "{report:?}");
    let held = report.errors.iter().find(|error| error.kind() == ErrorKind::Frozen).unwrap();
    assert_eq!(held.path(), Some(&*directory(&bench, "freezer")));
    assert!(held.remedy().is_some());
    outer.ops().request_thaw().unwrap();
    eventually("its end", || child.try_wait().unwrap().is_some());
    end(outer);
}

/// B6: a release agent may remove the directories at any moment.
#[test]
fn b6_a_directory_that_is_gone_already_is_removed() {
    let Some(bench) = bench("b6") else { return };
    for controllers in [&["freezer"][..], &["pids"], &["freezer", "pids"]] {
        let group = bench.group();
        for controller in controllers {
            fs::remove_dir(directory(&bench, controller)).unwrap();
        }
        end(group);
    }
}

/// B7, and a member that somebody moved: it stands in one hierarchy and is a member all the same.
#[test]
fn b7_every_hierarchy_is_cleaned_though_one_cannot_be() {
    let Some(bench) = bench("b7") else { return };
    let group = bench.group();
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pids = directory(&bench, "pids");
    fs::write(pids.join("cgroup.procs"), stranger.id().to_string()).unwrap();
    assert_eq!(group.ops().remove().unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(bench.directories(), [pids]);
    let members = group.members().unwrap();
    assert_eq!(members[0].pid, Pid::new(stranger.id().try_into().unwrap()).unwrap());
    assert!(group.ops().populated().unwrap());
    let report = group.terminate(&Policy::kill()).unwrap();
    assert!(report.is_clean(), "{report:?}");
    stranger.wait().unwrap();
}

/// Its members left one hierarchy, and somebody removed the directory there.
#[test]
fn a_group_that_lost_a_hierarchy_is_struck_in_the_others() {
    for (lost, kept) in [("freezer", "pids"), ("pids", "freezer")] {
        let Some(bench) = bench(&format!("lost-{lost}")) else { return };
        let group = bench.group();
        // The first strike is over: the next ones stop forks, and freeze.
        strike(&group);
        fs::remove_dir(directory(&bench, lost)).unwrap();
        let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let procs = directory(&bench, kept).join("cgroup.procs");
        fs::write(procs, stranger.id().to_string()).unwrap();
        let report = group.terminate(&Policy::kill()).unwrap();
        assert!(report.is_clean() && report.errors.is_empty(), "{lost}: {report:?}");
        stranger.wait().unwrap();
    }
}

/// K13: groups inside vanish while they are looked at.
#[test]
fn k13_groups_that_vanish_are_no_error() {
    let Some(bench) = bench("k13") else { return };
    let group = bench.group();
    group.spawn(&sleeper()).unwrap();
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            for round in 0..300 {
                let name = format!("x{round}").parse().unwrap();
                let inner = group.ops().subgroup(&name, ControllerSet::EMPTY).unwrap();
                inner.remove().unwrap();
            }
        });
        while !churn.is_finished() {
            assert_eq!(group.members().unwrap().len(), 1);
            assert!(group.ops().populated().unwrap());
            group.ops().request_thaw().unwrap();
        }
    });
    end(group);
}

#[test]
fn a_killed_group_runs_programs_again() {
    for bench in benches("again") {
        let group = bench.group();
        let freezes = group.ops().frozen().is_ok();
        for _ in 0..3 {
            let child = group.spawn(&sh("exit 3")).unwrap();
            assert_eq!(child.wait().unwrap(), Outcome::Exited(3));
            if freezes {
                strike(&group);
            } else {
                group.ops().kill().unwrap();
            }
        }
        end(group);
    }
}

/// K09: what a member owned takes the kernel a while to take back, and until then rmdir says EBUSY.
#[test]
fn k09_a_large_member_is_waited_for_before_the_removal() {
    let size = 256 << 20;
    let Some(bench) = bench_with("k09", &[Limit::Memory]) else { return };
    for _ in 0..3 {
        let group = bench.group_with(Set::EMPTY.with(Limit::Memory));
        // It takes as much as it reads at a time, again and again.
        let script = format!("exec dd if=/dev/zero of=/dev/null bs={size}");
        group.spawn(&sh(&script)).unwrap();
        eventually("it is large", || group.usage().unwrap().memory > Some(size / 2));
        end(group);
        assert_eq!(bench.directories(), [] as [PathBuf; 0]);
    }
}

/// K10, K41: what has ended and was not reaped is no member, though the kernel may list it.
#[test]
fn k10_a_zombie_is_no_member() {
    for bench in benches("k10") {
        let group = bench.group();
        // Its parent, which is this process, waits for it at the end.
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        group.ops().attach(Pid::new(child.id().try_into().unwrap()).unwrap()).unwrap();
        child.kill().unwrap();
        eventually("it is dead", || !group.ops().populated().unwrap());
        // The pids controller gives its place back when it is reaped (`pids_release` in pids.c).
        let counted = group.usage().unwrap().pids;
        assert!(counted.is_none_or(|pids| pids == 1), "{counted:?}");
        let report = group.terminate(&patient(&Policy::kill().measuring())).unwrap();
        assert!(report.is_clean() && report.errors.is_empty(), "{report:?}");
        assert_eq!(report.usage.and_then(|usage| usage.pids), counted.and(Some(0)));
        assert!(!child.wait().unwrap().success());
    }
}

/// K10 the other way round: the first thread has ended, and the process has not.
#[test]
fn k10_who_lives_without_its_first_thread_is_a_member() {
    if !must_run::has_python() {
        return;
    }
    for bench in benches("k10-threads") {
        let group = bench.group();
        let program = Program::new("python3").args(["-c", first_thread::LIVES_WITHOUT]);
        let program = group.spawn(&program).unwrap();
        let has_ended = || Stat::read(program.pid()).unwrap().unwrap().state.is_zombie();
        eventually("its first thread has ended", has_ended);
        assert!(group.ops().populated().unwrap());
        assert_eq!(group.members().unwrap().len(), 1);
        end(group);
        assert_eq!(program.wait().unwrap(), Outcome::Signaled(Signal::KILL));
    }
}

/// K32: many more members than descriptors. As another process, whose limit is lowered.
#[test]
fn k32_a_kill_finishes_with_few_descriptors() {
    if driver().is_none() {
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let script = "ulimit -n 40; exec \"$0\" --exact helper_kills_with_few_descriptors --nocapture";
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", script])
        .arg(exe)
        .env("CONTAIN_TEST_FEW", "1")
        .status();
    assert!(status.unwrap().success());
}

/// Runs with few descriptors; does nothing in an ordinary run.
#[test]
fn helper_kills_with_few_descriptors() {
    if std::env::var_os("CONTAIN_TEST_FEW").is_none() {
        return;
    }
    for bench in benches("k32") {
        let group = bench.group();
        group
            .spawn(&sh("n=0; while [ $n -lt 100 ]; do n=$((n+1)); sleep 1000 & done; wait"))
            .unwrap();
        eventually("all members", || group.members().unwrap().len() > 100);
        let report = group.terminate(&patient(&Policy::kill())).unwrap();
        assert!(report.is_clean() && report.removed, "{report:?}");
    }
}

/// K49: a kill while a spawn is under way.
#[test]
fn k49_nothing_runs_once_the_kill_returned() {
    let Some(bench) = bench("k49") else { return };
    let directory = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let group = bench.group();
        let path = directory.path().join(round.to_string());
        let script = format!("while :; do echo x >> {}; done", path.display());
        std::thread::scope(|scope| {
            let spawner = scope.spawn(|| group.spawn(&sh(&script)).map(|_| ()));
            strike(&group);
            if let Err(error) = spawner.join().unwrap() {
                let kinds = [ErrorKind::Killed, ErrorKind::Frozen];
                assert!(kinds.contains(&error.kind()), "{error:?}");
            }
        });
        // Either the program came after the kill as a whole, or it never ran.
        end(group);
        let length = || fs::metadata(&path).map_or(0, |file| file.len());
        assert_eq!(length(), length(), "a member still writes");
    }
}
