//! Several groups under one guard, on real hierarchies of both versions (rows T1 to T5).

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};

use containment::{Backend, CgroupGroup, Containment, CpuSet, ErrorKind, Limit, Pid, Signal};
use support::{backends, traces};

/// The host's cgroup backends; each that it has not says so.
fn hosts() -> impl Iterator<Item = Containment> {
    [Backend::CgroupV2, Backend::CgroupV1].into_iter().filter_map(
        |backend| match backends::unusable(backend.name()) {
            None => Some(Containment::builder().backend(backend).build().unwrap()),
            Some(reason) => {
                backends::skip(backend.name(), &reason);
                None
            }
        },
    )
}

fn name(test: &str) -> String {
    format!("contain-test-{test}-{}", std::process::id())
}

fn sleepers(count: usize) -> (Vec<Child>, Vec<Pid>) {
    let start = |_| Command::new("sleep").arg("1000").spawn().unwrap();
    let children: Vec<_> = (0..count).map(start).collect();
    let pid = |child: &Child| Pid::new(child.id().try_into().unwrap()).unwrap();
    let pids = children.iter().map(pid).collect();
    (children, pids)
}

#[test]
fn nested_groups_go_with_their_guard() {
    for host in hosts() {
        let outer = name("outer");
        let mut groups = CgroupGroup::new(host.driver());
        for name in [outer.clone(), format!("{outer}/a"), format!("{outer}/a/b")] {
            groups.add_cgroup_no_cpuset(name).unwrap();
        }
        assert_eq!(groups.names().len(), 3);
        assert!(!traces::groups_called(&outer).is_empty());
        drop(groups);
        assert_eq!(traces::groups_called(&outer), [] as [PathBuf; 0]);
    }
}

#[test]
fn many_processes_are_moved_in_and_ended_with_the_guard() {
    for host in hosts() {
        let name = name("many");
        let mut groups = CgroupGroup::new(host.driver()).kill_on_drop();
        groups.add_cgroup_no_cpuset(&name).unwrap();
        let (mut children, pids) = sleepers(8);
        let mut over = Command::new("true").spawn().unwrap();
        let ended = Pid::new(over.id().try_into().unwrap()).unwrap();
        over.wait().unwrap();
        let attached = groups.attach(&name, pids.iter().copied().chain([ended])).unwrap();
        assert!(attached.is_complete(), "{attached:?}");
        assert_eq!((&attached.moved, &attached.gone), (&pids, &vec![ended]));
        assert_eq!(groups.group(&name).unwrap().members().unwrap().len(), 8);
        drop(groups);
        assert_eq!(traces::groups_called(&name), [] as [PathBuf; 0]);
        for child in &mut children {
            assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
        }
    }
}

#[test]
fn a_group_with_members_outlives_a_guard_that_only_removes() {
    for host in hosts() {
        let name = name("busy");
        let mut groups = CgroupGroup::new(host.driver());
        let id = groups.add_cgroup_no_cpuset(&name).unwrap().id().clone();
        let (mut children, pids) = sleepers(1);
        assert!(groups.attach(&name, pids).unwrap().is_complete());
        drop(groups);
        assert!(children[0].try_wait().unwrap().is_none(), "nobody was killed");
        let group = host.open(&id).unwrap();
        assert!(group.populated().unwrap());
        children[0].kill().unwrap();
        children[0].wait().unwrap();
        support::eventually("the last member has left", || !group.populated().unwrap());
        group.remove().unwrap();
        assert_eq!(traces::groups_called(&name), [] as [PathBuf; 0]);
    }
}

#[test]
fn cpus_that_cannot_be_set_are_an_error_and_leave_nothing() {
    for host in hosts() {
        let name = name("cpus");
        let mut groups = CgroupGroup::new(host.driver());
        // No CPU has this number: whether or not the driver serves CPUs, this cannot be had.
        let far: CpuSet = "65535".parse().unwrap();
        let refused = groups.add_cgroup(&name, &far).unwrap_err();
        assert_ne!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
        drop(groups);
        assert_eq!(traces::groups_called(&name), [] as [PathBuf; 0]);
    }
}

/// T5: members run on the CPUs that their group was dealt, and on no other.
#[test]
fn cpus_are_in_force_on_members() {
    let deals = |host: &Containment| host.capabilities().limits.contains(Limit::Cpuset);
    for host in hosts().filter(deals) {
        let name = name("dealt");
        let mut groups = CgroupGroup::new(host.driver()).kill_on_drop();
        groups.add_cgroup(&name, &"0".parse().unwrap()).unwrap();
        let (mut children, pids) = sleepers(1);
        assert!(groups.attach(&name, pids.iter().copied()).unwrap().is_complete());
        let status = std::fs::read_to_string(format!("/proc/{}/status", pids[0])).unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        assert_eq!(allowed.map(str::trim), Some("0"));
        drop(groups);
        children[0].wait().unwrap();
        assert_eq!(traces::groups_called(&name), [] as [PathBuf; 0]);
    }
}
