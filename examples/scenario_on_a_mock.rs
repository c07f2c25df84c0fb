//! Code of one's own against mocks of the drivers (feature `mock` of `containment-core`): exactly these calls are made
//! to the host, and what it answers is what is to be tried.
//!
//! `cargo run --example scenario_on_a_mock`

use std::sync::Arc;

use containment::{
    Backend, Containment, Error, ErrorKind, Group, GroupId, GroupName, GroupOps, Identity,
    Operation, Result, SystemWaiter,
};
use containment_core::{MockCgroupOps, MockGroupOps};

/// What is to be tried: a job gets the first of its names that is free.
fn group_for(host: &Containment, job: &str) -> Result<Group> {
    let taken = |error: &Error| error.kind() == ErrorKind::AlreadyExists;
    let mut made = host.group(format!("{job}-1")).create();
    for number in 2..10 {
        if !made.as_ref().is_err_and(taken) {
            break;
        }
        made = host.group(format!("{job}-{number}")).create();
    }
    made
}

pub(crate) fn main() -> Result<()> {
    let mut driver = MockCgroupOps::new();
    driver.expect_backend().return_const(Backend::CgroupV2);
    driver.expect_waiter().returning(|| Arc::new(SystemWaiter::new()));
    driver.expect_create().times(2).returning(|name, _| match name.as_str() {
        "build-1" => Err(Error::new(ErrorKind::AlreadyExists, Operation::Create).with_group(name)),
        _ => Ok(group(name)),
    });

    let made = group_for(&Containment::with(driver), "build")?;
    println!("{}", made.id().name);
    assert_eq!(made.id().name.as_str(), "build-2");
    made.keep();
    Ok(())
}

/// A group that can tell its identity, and is asked for nothing else.
fn group(name: &GroupName) -> Box<dyn GroupOps> {
    let mut group = MockGroupOps::new();
    let id = GroupId {
        backend: Backend::CgroupV2,
        name: name.clone(),
        identity: Identity::Cgroup(4711),
    };
    group.expect_id().return_const(id);
    Box::new(group)
}
