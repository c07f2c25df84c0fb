//! `contain create` and `contain rm`.

use containment::registry::{Registry, Tenure};
use containment::{
    Backend, Builder, Containment, Error, ErrorKind, Group, GroupName, Operation, Result, Systemd,
};

use super::options::{Create, Rm};
use super::{Found, find};
use crate::cli::Global;

/// Makes a group, and leaves it.
pub(super) fn create(global: &Global, options: &Create) -> Result<()> {
    let limits = options.limits.limits()?.of_new_group();
    if global.backend.explicit() == Some(Backend::ProcessGroup) {
        return Err(holds_nothing(&options.name));
    }
    let registry = Registry::open(global.state_dir.as_deref())?;
    let builder = builder(global).limits(&limits).registry(&registry, Tenure::Lasting);
    let host = builder.build().map_err(|error| error.with_group(&options.name))?;
    if host.backend() == Backend::ProcessGroup {
        return Err(holds_nothing(&options.name));
    }
    // Until all of it is there, what was made is removed again by its guards.
    let around = make_around(&host, &options.name)?;
    let group = host.group(options.name.as_str()).limits(&limits).any_limit_later().create()?;
    around.into_iter().chain([group]).for_each(Group::keep);
    Ok(())
}

/// Makes the groups around it that are missing: groups like any other, which stay until they are removed.
fn make_around(host: &Containment, name: &GroupName) -> Result<Vec<Group>> {
    let mut made = Vec::new();
    for (end, _) in name.as_str().match_indices('/') {
        match host.group(&name.as_str()[..end]).any_limit_later().create() {
            Ok(group) => made.push(group),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    // What is inside goes first, should the guards have to remove it.
    made.reverse();
    Ok(made)
}

fn builder(global: &Global) -> Builder {
    // A scope of systemd would be gone with us, and the group with it.
    let builder = Containment::builder().systemd(Systemd::Never);
    let builder = global.backend.explicit().into_iter().fold(builder, Builder::backend);
    global.parent.iter().fold(builder, Builder::parent)
}

/// A process group is there as long as its processes are.
fn holds_nothing(name: &GroupName) -> Error {
    Error::new(ErrorKind::Unsupported, Operation::Create)
        .with_backend(Backend::ProcessGroup)
        .with_group(name)
        .because("a process group cannot be empty")
        .advise("take a cgroup backend, or start its first program with contain run --name")
}

/// Removes a group.
pub(super) fn remove(global: &Global, options: &Rm) -> Result<()> {
    let Found { registry, entry } = find(global, &options.name)?;
    if options.force {
        return registry.remove_by_force(&entry);
    }
    registry.remove(&entry).map_err(|error| match error.kind() {
        ErrorKind::Busy => error.advise("end them with contain kill, or remove it with --force"),
        _ => error,
    })
}
