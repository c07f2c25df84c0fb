//! Several groups under one guard, on the fake and on mocks: tracking, order of removal, and what is
//! warned about (rows T1 to T5).

mod common;

use std::sync::{Arc, Mutex};

use backend_fake::{Fake, Persona, Script};
use common::{assert_members_only, mock, warnings};
use containment_core::{
    Applied, Backend, CgroupGroup, CgroupOps, CpuSet, Error, ErrorKind, GroupId, GroupName,
    Identity, Limit, MockCgroupOps, MockGroupOps, Operation, Pid, Program, Result, SystemWaiter,
    Topology,
};

fn set(text: &str) -> CpuSet {
    text.parse().unwrap()
}

fn names(groups: &CgroupGroup<'_>) -> Vec<String> {
    groups.names().map(ToString::to_string).collect()
}

fn removals(fake: &Fake) -> Vec<String> {
    let calls = fake.calls().into_iter().filter(|call| call.method == "remove");
    calls.filter_map(|call| Some(call.group?.to_string())).collect()
}

#[test]
fn any_driver_will_do_borrowed_or_shared() {
    let fake = Fake::v2();
    let shared: Arc<dyn CgroupOps> = Arc::new(fake.clone());
    let drivers = [
        CgroupGroup::new(&fake),
        CgroupGroup::new(&fake as &dyn CgroupOps),
        CgroupGroup::new(Arc::clone(&shared)),
    ];
    for mut groups in drivers {
        groups.add_cgroup_no_cpuset("job").unwrap();
        assert_eq!(names(&groups), ["job"]);
        drop(groups);
        assert!(fake.snapshot().groups.is_empty());
    }
}

#[test]
fn groups_go_in_reverse_order_of_making() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        let mut groups = CgroupGroup::new(&fake);
        let nests = fake.capabilities().nesting;
        let inner = if nests { "outer/inner" } else { "inner" };
        for name in ["outer", inner, "last"] {
            groups.add_cgroup_no_cpuset(name).unwrap();
        }
        assert_eq!(names(&groups), ["outer", inner, "last"]);
        assert_eq!(groups.groups().len(), 3);
        let warned = warnings::of(|| drop(groups));
        assert_eq!(warned, [] as [&str; 0], "{persona:?}");
        assert_eq!(removals(&fake), ["last", inner, "outer"]);
        assert!(fake.snapshot().groups.is_empty());
    }
}

#[test]
fn a_groups_cpus_are_set_and_members_moved_in() {
    let fake = Fake::v1();
    let dealt = Topology::flat(&set("0-3")).deal(2).unwrap();
    let mut groups = CgroupGroup::new(&fake);
    for (name, cpus) in ["cg_0", "cg_1"].into_iter().zip(&dealt) {
        groups.add_cgroup(name, cpus).unwrap();
    }
    let pids: Vec<_> = (0..3).map(|_| fake.start_outside(Script::new())).collect();
    let nobody = Pid::new(999).unwrap();
    let attached = groups.attach("cg_1", pids.iter().copied().chain([nobody])).unwrap();
    assert!(attached.is_complete());
    assert_eq!((attached.moved, attached.gone), (pids.clone(), vec![nobody]));
    let members = groups.group("cg_1").unwrap().members().unwrap();
    assert_eq!(members.iter().map(|member| member.pid).collect::<Vec<_>>(), pids);
    let unknown = groups.attach("cg_2", pids).unwrap_err();
    assert_eq!((unknown.kind(), unknown.group()), (ErrorKind::NotFound, Some("cg_2")));
    drop(groups.kill_on_drop());
    assert!(fake.snapshot().groups.is_empty());
}

#[test]
fn every_process_that_cannot_be_moved_is_told() {
    let fake = Fake::v2();
    let mut groups = CgroupGroup::new(&fake);
    groups.add_cgroup_no_cpuset("job").unwrap();
    let pids: Vec<_> = (0..3).map(|_| fake.start_outside(Script::new())).collect();
    fake.fail(Operation::Attach, libc::EACCES, 2);
    let attached = groups.attach("job", pids.clone()).unwrap();
    assert!(!attached.is_complete());
    assert_eq!(attached.moved, pids[2..]);
    let failed: Vec<_> = attached.failed.iter().map(Error::pid).collect();
    assert_eq!(failed, [Some(pids[0]), Some(pids[1])]);
    drop(groups.kill_on_drop());
}

/// K16: a newborn is asked for again, so often and no more.
#[test]
fn k16_an_attach_refused_as_invalid_is_tried_again_bounded() {
    let fake = Fake::v2();
    let mut groups = CgroupGroup::new(&fake);
    groups.add_cgroup_no_cpuset("job").unwrap();
    let pid = fake.start_outside(Script::new());
    fake.fail(Operation::Attach, libc::EINVAL, 3);
    assert_eq!(groups.attach("job", [pid]).unwrap().moved, [pid]);
    fake.fail(Operation::Attach, libc::EINVAL, usize::MAX);
    let attached = groups.attach("job", [pid]).unwrap();
    assert_eq!(attached.failed[0].errno(), Some(libc::EINVAL));
    drop(groups.kill_on_drop());
}

#[test]
fn a_group_is_tracked_before_it_is_configured() {
    let fake = Fake::v1();
    let mut groups = CgroupGroup::new(&fake);
    fake.fail(Operation::SetLimits, libc::EINVAL, 1);
    let refused = groups.add_cgroup("job", &set("0")).unwrap_err();
    assert_eq!(refused.errno(), Some(libc::EINVAL));
    assert_eq!(names(&groups), ["job"]);
    drop(groups);
    assert!(fake.snapshot().groups.is_empty());
}

#[test]
fn what_was_not_made_is_not_tracked() {
    let fake = Fake::process_group();
    let mut groups = CgroupGroup::new(&fake);
    assert_eq!(groups.add_cgroup("job", &set("0")).unwrap_err().kind(), ErrorKind::Unsupported);
    let climbing = groups.add_cgroup_no_cpuset("../job").unwrap_err();
    assert_eq!(climbing.kind(), ErrorKind::InvalidInput);
    groups.add_cgroup_no_cpuset("job").unwrap();
    let taken = groups.add_cgroup_no_cpuset("job").unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(&groups), ["job"]);
}

#[test]
fn a_populated_group_stays_with_a_warning_unless_the_guard_kills() {
    for persona in Persona::ALL {
        let fake = Fake::with_persona(persona);
        fake.program("job", Script::new().ignores(containment_core::Signal::TERM));
        let populated = || {
            let mut groups = CgroupGroup::new(&fake);
            groups.add_cgroup_no_cpuset("job").unwrap().spawn(&Program::new("job")).unwrap();
            groups
        };
        let warned = warnings::of(|| drop(populated().kill_on_drop()));
        assert_eq!(warned, [] as [&str; 0], "{persona:?}");
        assert!(fake.snapshot().groups.is_empty() && fake.snapshot().living().count() == 0);
        let before = fake.signals().len();
        let warned = warnings::of(|| drop(populated()));
        assert_eq!(warned.len(), 1, "{persona:?} {warned:?}");
        let told = ["cgroup=job", "EBUSY", "kill_on_drop"];
        assert!(told.iter().all(|part| warned[0].contains(part)), "{warned:?}");
        assert_eq!(fake.signals().len(), before, "nobody was signalled");
        assert_eq!(fake.snapshot().living().count(), 1);
        assert_members_only(&fake);
    }
}

/// A driver of mocked groups whose removals end like this, and the order in which they were removed.
fn removing(
    answer: impl Fn(&str) -> Result<()> + Send + Sync + 'static,
) -> (MockCgroupOps, Arc<Mutex<Vec<String>>>) {
    let (order, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
    let noted = Arc::clone(&order);
    let mut driver = MockCgroupOps::new();
    driver.expect_waiter().returning(|| Arc::new(SystemWaiter::new()));
    driver.expect_create().returning(move |name, _| {
        let (answer, order, own) = (Arc::clone(&answer), Arc::clone(&noted), name.to_string());
        let mut group = mocked(name);
        group.expect_remove().times(1).returning(move || {
            order.lock().unwrap().push(own.clone());
            answer(&own)
        });
        Ok(Box::new(group))
    });
    (driver, order)
}

fn mocked(name: &GroupName) -> MockGroupOps {
    let mut group = MockGroupOps::new();
    let (backend, identity) = (Backend::Fake, Identity::Serial(1));
    group.expect_id().return_const(GroupId { backend, name: name.clone(), identity });
    group.expect_capabilities().return_const(mock::atomic());
    group.expect_program_runs().return_const(false);
    group.expect_set_limits().returning(|_| {
        let applied = vec![Limit::Cpuset];
        Ok(Applied { applied, refused: vec![] })
    });
    group
}

fn errno(number: i32) -> Result<()> {
    Err(Error::from_errno(Operation::Remove, number))
}

#[test]
fn one_failure_is_one_line_and_the_others_go_on() {
    let answer = |name: &str| match name {
        "a" => Ok(()),
        "gone" => errno(libc::ENOENT),
        "vanished" => Err(Error::new(ErrorKind::Gone, Operation::Remove)),
        "busy" => errno(libc::EBUSY),
        "denied" => errno(libc::EACCES),
        _ => errno(libc::EIO).map_err(|error| error.with_group("broken")),
    };
    let (driver, order) = removing(answer);
    let mut groups = CgroupGroup::new(&driver);
    for name in ["a", "gone", "vanished", "busy", "denied", "broken"] {
        groups.add_cgroup(name, &set("0")).unwrap();
    }
    let warned = warnings::of(|| drop(groups));
    let reverse = ["broken", "denied", "busy", "vanished", "gone", "a"];
    assert_eq!(*order.lock().unwrap(), reverse);
    let expected = [
        ["cgroup=broken", "failed to remove group broken: I/O error (EIO)", ""],
        ["cgroup=denied", "Permission denied (EACCES)", "as the user that made it"],
        ["cgroup=busy", "Device or resource busy (EBUSY)", "end its members"],
    ];
    assert_eq!(warned.len(), expected.len(), "{warned:?}");
    for (line, parts) in warned.iter().zip(expected) {
        assert!(line.starts_with("WARN") && parts.iter().all(|p| line.contains(p)), "{line}");
    }
    assert!(!warned[0].contains("remedy"), "none is known: {}", warned[0]);
}

#[test]
fn a_remedy_of_the_driver_goes_before_the_general_one() {
    let advised =
        |_: &str| errno(libc::EBUSY).map_err(|error| error.advise("leave the threaded tree"));
    let (driver, _) = removing(advised);
    let mut groups = CgroupGroup::new(&driver);
    groups.add_cgroup_no_cpuset("job").unwrap();
    let warned = warnings::of(|| drop(groups));
    assert!(warned[0].contains("leave the threaded tree"), "{warned:?}");
    assert!(!warned[0].contains("end its members"), "{warned:?}");
}

#[test]
fn a_drop_while_unwinding_still_removes() {
    let (driver, order) = removing(|_| errno(libc::EBUSY));
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut groups = CgroupGroup::new(&driver);
        groups.add_cgroup_no_cpuset("job").unwrap();
        std::panic::resume_unwind(Box::new("a step failed"));
    }));
    assert!(unwound.is_err());
    assert_eq!(*order.lock().unwrap(), ["job"]);
}
