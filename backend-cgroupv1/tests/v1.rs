//! The driver on the real hierarchies of this host: what a group is, and who is in it.
//!
//! Where there are none, or no right to them, every test says so; `CONTAIN_MUST_RUN=cgroup-v1` turns
//! that into a failure.

mod support;

use std::io::Read;
use std::time::Duration;

use backend_cgroupv1::CgroupV1;
use containment_core::{
    CgroupOps, Change, ControllerSet, ErrorKind, Freeze, Group, GroupName, Kill, Limit, Measure,
    Outcome, Pid, Policy, Set, Signal, Standing, Teardown, Watch,
};
use support::*;

/// What a program sees of its own groups.
fn seen_by_a_program(group: &Group) -> String {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let child = group.spawn(&sh("cat /proc/self/cgroup").stdout(writer)).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
    text
}

/// Of each hierarchy with the name the first controller: many hosts mount `cpu,cpuacct` together.
fn lines_with<'a>(text: &'a str, name: &GroupName) -> Vec<&'a str> {
    let lines = text.lines().filter(|line| line.contains(name.as_str()));
    let mut controllers: Vec<_> =
        lines.filter_map(|line| line.split(':').nth(1)?.split(',').next()).collect();
    controllers.sort_unstable();
    controllers
}

#[test]
fn a_program_is_a_member_before_its_first_instruction() {
    for bench in benches("first") {
        let group = bench.group();
        let text = seen_by_a_program(&group);
        assert_eq!(lines_with(&text, &bench.name).len(), bench.directories().len(), "{text}");
        end(group);
    }
}

#[test]
fn a_group_joins_no_hierarchy_that_it_does_not_need() {
    let Some(bench) = bench_with("needed", &[Limit::Memory, Limit::Cpus]) else { return };
    let group = bench.group();
    let text = seen_by_a_program(&group);
    assert_eq!(lines_with(&text, &bench.name), ["freezer", "pids"], "{text}");
    end(group);
    let limits: Set<Limit> = [Limit::Memory, Limit::Cpus].into_iter().collect();
    let group = bench.group_with(limits);
    let text = seen_by_a_program(&group);
    assert_eq!(lines_with(&text, &bench.name), ["cpu", "freezer", "memory", "pids"], "{text}");
    end(group);
}

#[test]
fn without_a_freezer_a_kill_is_repeated() {
    let Some(driver) = driver() else { return };
    assert_eq!(driver.capabilities().kill, Kill::Frozen { thaw_after: true });
    let lacking = driver.without("freezer").unwrap();
    let capabilities = lacking.capabilities();
    assert_eq!((capabilities.kill, capabilities.freeze), (Kill::Repeated, Freeze::None));
    let bench = Bench::of(lacking, "freezer");
    let group = bench.group();
    assert_eq!(group.ops().request_freeze().unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(group.ops().frozen().unwrap_err().kind(), ErrorKind::Unsupported);
    end(group);
}

#[test]
fn daemons_and_forks_die_with_their_group() {
    for bench in benches("daemons") {
        let group = bench.group();
        let script = "setsid sleep 1000 & (trap '' TERM; sleep 1000) & sleep 1000 & wait";
        group.spawn(&sh(script)).unwrap();
        eventually("four members", || group.members().unwrap().len() >= 4);
        let members = group.members().unwrap();
        let programs = members.iter().filter(|m| m.standing == Standing::Program).count();
        assert_eq!(programs, 1, "{members:?}");
        end(group);
        for member in members {
            assert!(!is_alive(member.pid), "{member:?}");
            eventually("nothing but a zombie is left of it", || is_over(member.pid));
        }
    }
}

#[test]
fn a_name_that_is_taken_is_refused_and_left_alone() {
    for bench in benches("taken") {
        let group = bench.group();
        group.spawn(&sleeper()).unwrap();
        let refused = bench.driver.create(&bench.name, ControllerSet::EMPTY).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert!(refused.remedy().is_some());
        assert_eq!(group.members().unwrap().len(), 1);
        end(group);
    }
}

#[test]
fn a_namesake_in_any_hierarchy_refuses_the_name() {
    let Some(bench) = bench("namesake") else { return };
    let group = bench.group();
    let (freezer, pids) = (directory(&bench, "freezer"), directory(&bench, "pids"));
    end(group);
    std::fs::create_dir(&pids).unwrap();
    let refused = bench.driver.create(&bench.name, ControllerSet::EMPTY).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert!(!freezer.exists(), "what was made is removed again");
    assert!(pids.exists(), "the namesake is left alone");
    std::fs::remove_dir(&pids).unwrap();
}

/// By a release agent, say: the levels above it that were made for it go all the same.
#[test]
fn a_group_that_somebody_else_removed_leaves_no_level_behind() {
    for bench in benches("vanished") {
        let name = format!("{}/b/c", bench.name).parse().unwrap();
        let made = bench.driver.create(&name, ControllerSet::EMPTY).unwrap();
        let group = Group::new(made, bench.driver.waiter());
        for directory in bench.directories() {
            std::fs::remove_dir(directory.join("b/c")).unwrap();
        }
        let report = group.terminate(&patient(&Policy::kill())).unwrap();
        assert!(report.is_clean() && report.removed && report.errors.is_empty(), "{report:?}");
    }
}

#[test]
fn a_nested_name_leaves_no_level_behind() {
    for bench in benches("nested") {
        let inner: GroupName = format!("{}/b/c", bench.name).parse().unwrap();
        let group = bench.driver.create(&inner, ControllerSet::EMPTY).unwrap();
        let group = Group::new(group, bench.driver.waiter());
        group.spawn(&sleeper()).unwrap();
        end(group);
    }
}

#[test]
fn subgroups_die_and_go_with_their_group() {
    for bench in benches("tree") {
        let group = bench.group();
        let inner = group.ops().subgroup(&"x/y".parse().unwrap(), ControllerSet::EMPTY).unwrap();
        inner.spawn(&sleeper()).unwrap();
        assert!(group.ops().populated().unwrap());
        assert_eq!(group.ops().subgroups().unwrap().len(), 1);
        assert_eq!(group.ops().remove().unwrap_err().kind(), ErrorKind::Busy);
        end(group);
        assert_eq!(inner.populated().unwrap_err().kind(), ErrorKind::Gone);
    }
}

/// A group inside may need a hierarchy that the group around it does without.
#[test]
fn directories_that_only_a_subgroup_needed_go_with_the_group() {
    let Some(bench) = bench_with("deeper", &[Limit::Memory]) else { return };
    let group = bench.group();
    let memory = Set::EMPTY.with(Limit::Memory);
    let inner = group.ops().subgroup(&"x".parse().unwrap(), memory).unwrap();
    inner.spawn(&sleeper()).unwrap();
    assert!(bench.directories().len() == 3, "{:?}", bench.directories());
    let again = bench.driver.open(group.id()).unwrap();
    group.keep();
    drop(inner);
    end(Group::new(again, bench.driver.waiter()));
}

#[test]
fn k07_a_frozen_group_takes_no_program() {
    let Some(bench) = bench("frozen") else { return };
    let group = bench.group();
    let inner = group.ops().subgroup(&"inner".parse().unwrap(), ControllerSet::EMPTY).unwrap();
    freeze(group.ops());
    for frozen in [group.ops(), &*inner] {
        let refused = frozen.spawn(&sh("true")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Frozen);
        assert!(refused.remedy().is_some());
    }
    end(group);
}

#[test]
fn k38_the_group_that_holds_the_caller_is_not_killed() {
    // As another process, since the test runner itself must not move.
    let Some(bench) = bench("caller") else { return };
    let group = bench.group();
    let own = this_test("helper_kills_its_own_group");
    let own = own.env("CONTAIN_TEST_OWN_GROUP", bench.name.as_str());
    let child = group.spawn(&own).unwrap();
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
    end(group);
}

/// Runs inside the group that the variable names; does nothing in an ordinary run.
#[test]
fn helper_kills_its_own_group() {
    let Ok(own) = std::env::var("CONTAIN_TEST_OWN_GROUP") else { return };
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = text.lines().find_map(|line| line.split_once(":freezer:")).unwrap().1;
    let parent = std::path::Path::new(path).parent().unwrap();
    let driver = CgroupV1::probe(Some(parent)).unwrap();
    let id = driver.list().unwrap().into_iter().find(|id| id.name.as_str() == own).unwrap();
    let group = driver.open(&id).unwrap();
    assert_eq!(group.kill().unwrap_err().kind(), ErrorKind::HoldsCaller);
    assert_eq!(group.signal(Signal::KILL).unwrap_err().kind(), ErrorKind::HoldsCaller);
    assert_eq!(group.request_freeze().unwrap_err().kind(), ErrorKind::HoldsCaller);
    let report = Teardown::new(Policy::kill()).run(&*group, &*driver.waiter());
    assert!(!report.removed, "{report:?}");
}

#[test]
fn a_re_used_name_is_another_group() {
    for bench in benches("reuse") {
        let first = bench.driver.create(&bench.name, ControllerSet::EMPTY).unwrap();
        let id = first.id().clone();
        first.remove().unwrap();
        assert_eq!(first.kill().unwrap_err().kind(), ErrorKind::Gone);
        let second = bench.driver.create(&bench.name, ControllerSet::EMPTY).unwrap();
        assert_eq!(bench.driver.open(&id).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(bench.driver.open(second.id()).is_ok());
        second.remove().unwrap();
    }
}

/// After a crash only the id is known; which hierarchies were joined is read off the directories.
#[test]
fn a_group_opened_by_id_has_its_directories_and_no_namesake() {
    let Some(bench) = bench_with("reopen", &[Limit::Memory]) else { return };
    let group = bench.group_with(Set::EMPTY.with(Limit::Memory));
    let joined = bench.directories();
    let stranger = joined[0].parent().unwrap().parent().unwrap();
    assert!(stranger.exists());
    let namesake = mount_of("cpu").join(bench.name.as_str());
    std::fs::create_dir(&namesake).unwrap();
    let again = bench.driver.open(group.id()).unwrap();
    assert!(again.capabilities().usage.contains(Measure::Memory));
    group.keep();
    end(Group::new(again, bench.driver.waiter()));
    assert!(namesake.exists(), "a namesake in another hierarchy is not ours");
    std::fs::remove_dir(&namesake).unwrap();
}

#[test]
fn a_running_process_can_be_moved_in() {
    for bench in benches("attach") {
        let group = bench.group();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
        group.ops().attach(pid).unwrap();
        assert_eq!(group.members().unwrap()[0].pid, pid);
        end(group);
        child.wait().unwrap();
        let group = bench.group();
        assert_eq!(group.ops().attach(pid).unwrap_err().errno(), Some(3), "ESRCH");
        end(group);
    }
}

/// K16: a kernel thread cannot be moved (EINVAL), and nothing is left half done.
#[test]
fn k16_what_the_kernel_does_not_move_is_a_typed_error() {
    let Some(bench) = bench_with("kthread", &[Limit::Cpuset]) else { return };
    let kernel_thread = Pid::new(2).unwrap();
    let comm = std::fs::read_to_string("/proc/2/comm").unwrap_or_default();
    if comm.trim() != "kthreadd" {
        let reason = "no kernel thread is seen in this pid namespace";
        return must_run::skip("kernel-threads", &reason);
    }
    let before = std::fs::read_to_string("/proc/2/cgroup").unwrap();
    let group = bench.group_with(Set::EMPTY.with(Limit::Cpuset));
    let refused = group.ops().attach(kernel_thread).unwrap_err();
    assert_eq!((refused.kind(), refused.errno()), (ErrorKind::InvalidInput, Some(22)));
    assert_eq!(std::fs::read_to_string("/proc/2/cgroup").unwrap(), before);
    end(group);
}

#[test]
fn emptiness_is_announced_by_a_member() {
    for bench in benches("event") {
        let group = bench.group();
        group.spawn(&sh("sleep 0.05")).unwrap();
        let watch = group.ops().watch(Change::Empty).unwrap();
        assert!(matches!(watch, Watch::Members(ref sources) if sources.len() == 1), "{watch:?}");
        group.wait_empty(scaled(Duration::from_secs(10))).unwrap();
        end(group);
    }
}

/// By root, say: it would never announce that the others have ended.
#[test]
fn whoever_was_moved_out_is_watched_no_more() {
    for bench in benches("moved") {
        let (group, waiter) = (bench.group(), bench.driver.waiter());
        let moved = group.spawn(&sleeper()).unwrap();
        group.ops().watch(Change::Empty).unwrap();
        let stays = group.spawn(&sleeper()).unwrap();
        group.ops().home().unwrap().take_back(moved.pid()).unwrap();
        let watch = group.ops().watch(Change::Empty).unwrap();
        stays.signal(Signal::KILL).unwrap();
        let until = waiter.now() + scaled(Duration::from_secs(20));
        waiter.wait(until, &watch);
        assert!(waiter.now() < until, "the end of the other one was not announced");
        group.wait_empty(Duration::ZERO).unwrap();
        moved.signal(Signal::KILL).unwrap();
        moved.wait().unwrap();
        end(group);
    }
}

/// An unprivileged user with a group of its own in each hierarchy. As another process, since the test
/// runner itself must not move.
#[test]
fn a_user_with_delegated_groups_needs_no_privilege() {
    let Some(bench) = bench("user") else { return };
    if !must_run::is_root("to delegate groups takes root") {
        return;
    }
    let group = bench.group_with(offered(&bench.driver, &[Limit::Memory, Limit::Cpuset]));
    for directory in bench.directories() {
        std::os::unix::fs::chown(&directory, Some(65534), Some(65534)).unwrap();
        for file in ["tasks", "cgroup.procs"] {
            std::os::unix::fs::chown(directory.join(file), Some(65534), Some(65534)).unwrap();
        }
    }
    let runner = tempfile::tempdir().unwrap();
    let copy = runner.path().join("runner");
    // Written by another process: a fork of another test's, holding it open, would make it busy.
    let mut copying = std::process::Command::new("cp");
    copying.arg(std::env::current_exe().unwrap()).arg(&copy);
    assert!(copying.status().unwrap().success());
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(runner.path(), open).unwrap();
    let program = containment_core::Program::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", "helper_works_unprivileged", "--nocapture"])
        .current_dir("/")
        .env("CONTAIN_TEST_USER", "1");
    let child = group.spawn(&program).unwrap();
    assert_eq!(child.wait().unwrap(), Outcome::Exited(0));
    end(group);
}

/// Those of these limits that the kernel has for version 1.
fn offered(driver: &CgroupV1, limits: &[Limit]) -> ControllerSet {
    limits.iter().copied().filter(|limit| driver.capabilities().limits.contains(*limit)).collect()
}

/// Runs unprivileged inside a delegated group; does nothing in an ordinary run.
#[test]
fn helper_works_unprivileged() {
    if std::env::var_os("CONTAIN_TEST_USER").is_none() {
        return;
    }
    let driver = CgroupV1::probe(None).unwrap();
    driver.prove().unwrap();
    assert!(driver.unusable().count() > 0, "hierarchies that were not delegated are told");
    assert!(driver.unusable().all(|error| error.remedy().is_some()));
    let bench = Bench::of(driver, "inner");
    let group = bench.group_with(offered(&bench.driver, &[Limit::Memory]));
    let inner = group.ops().subgroup(&"frozen".parse().unwrap(), ControllerSet::EMPTY).unwrap();
    inner.spawn(&sleeper()).unwrap();
    freeze(&*inner);
    // K02: shut by a program of the same user, to escape its end.
    let state = directory(&bench, "freezer").join("frozen");
    for file in ["freezer.state", "cgroup.procs"] {
        let shut = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        std::fs::set_permissions(state.join(file), shut).unwrap();
    }
    end(group);
}
