//! The variable that tells a program which group holds it, and that tells `gc` which processes are left of
//! a process group whose keeper is dead.

use std::ffi::OsString;

use containment_core::{GroupId, Program};

/// The variable that tells a program which group holds it: `outer:inner` where groups are nested.
pub const GROUP_VARIABLE: &str = "CONTAIN_GROUP";

/// A program of `group` that is told so: the variable names that group, inside of those that hold this process.
///
/// ```
/// use containment::{GROUP_VARIABLE, Program, with_group_variable};
/// # let host = containment::Containment::with(backend_fake::Fake::new());
/// let job = host.group("job").create()?;
/// let make = with_group_variable(Program::new("make"), job.id());
/// let (name, told) = make.environment([]).next().expect("it has this variable");
/// assert_eq!(name, GROUP_VARIABLE);
/// assert!(told.to_str().is_some_and(|told| told.ends_with(&job.id().to_string())));
/// # Ok::<(), containment::Error>(())
/// ```
#[must_use]
pub fn with_group_variable(program: Program, group: &GroupId) -> Program {
    program.env(GROUP_VARIABLE, inside(std::env::var_os(GROUP_VARIABLE), group))
}

fn inside(outer: Option<OsString>, group: &GroupId) -> OsString {
    let mut mark = outer.filter(|outer| !outer.is_empty()).unwrap_or_default();
    if !mark.is_empty() {
        mark.push(":");
    }
    mark.push(group.to_string());
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use containment_core::{Backend, Identity};

    #[test]
    fn groups_that_are_nested_are_named_from_the_outside_in() {
        let name = "job".parse().unwrap();
        let group = GroupId { backend: Backend::CgroupV2, name, identity: Identity::Cgroup(7) };
        for outer in [None, Some("")] {
            assert_eq!(inside(outer.map(Into::into), &group), "cgroup-v2.7");
        }
        assert_eq!(inside(Some("hybrid.3".into()), &group), "hybrid.3:cgroup-v2.7");
    }
}
