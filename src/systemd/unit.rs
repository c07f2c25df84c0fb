//! The unit of systemd that this process is in, read off its group's path: units are groups of the same
//! name, below slices (systemd.slice(5)), and those of a user's manager below its service.

use std::path::Path;

use super::manager::Whose;

/// A service or scope that a process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    /// The slice around it; none at the root of its manager's groups.
    pub(super) slice: Option<String>,
}

impl Unit {
    /// The unit of a process of this group, as this manager knows it: to the system's, whatever is in a
    /// user's unit is in the service of that user's manager. `Ok(None)` where it is not this manager's.
    ///
    /// # Errors
    /// Where the group is not a unit's own: whoever made a group *inside* of a unit, or in a container,
    /// holds the process there, and nobody asks to be let out.
    pub(super) fn of(group: &Path, whose: Whose) -> Result<Option<Self>, NoUnit> {
        let path = group.to_str().and_then(|path| path.strip_prefix('/')).ok_or(NoUnit)?;
        let names: Vec<_> = path.split('/').collect();
        let (name, above) = names.split_last().ok_or(NoUnit)?;
        let is_unit = is_a(name, ".service") || is_a(name, ".scope");
        if !is_unit || !above.iter().all(|name| is_a(name, ".slice") || is_manager(name)) {
            return Err(NoUnit);
        }
        let users = above.iter().position(|name| is_manager(name));
        Ok(match (whose, users) {
            (Whose::System, Some(manager)) => Some(Self::at(&names[..=manager])),
            (Whose::System, None) | (Whose::User, Some(_)) => Some(Self::at(&names)),
            (Whose::User, None) => None,
        })
    }

    fn at(path: &[&str]) -> Self {
        let slice = path.iter().rev().nth(1).filter(|name| is_a(name, ".slice"));
        let name = path.last().copied().unwrap_or_default();
        Self { name: name.to_owned(), slice: slice.map(|slice| (*slice).to_owned()) }
    }

    /// Whether it ends with its main process, whatever else is in it. A scope ends with its last one.
    pub(super) fn is_service(&self) -> bool {
        is_a(&self.name, ".service")
    }
}

/// A group that is not a unit's own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoUnit;

fn is_manager(name: &str) -> bool {
    is_a(name, ".service") && name.starts_with("user@")
}

fn is_a(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, slice: &str) -> Unit {
        let slice = (!slice.is_empty()).then(|| slice.to_owned());
        Unit { name: name.to_owned(), slice }
    }

    #[test]
    fn a_unit_is_known_by_the_path_of_its_group() {
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        for (path, to_system, to_user) in [
            ("/system.slice/cron.service", unit("cron.service", "system.slice"), None),
            (
                "/user.slice/user-0.slice/session-3.scope",
                unit("session-3.scope", "user-0.slice"),
                None,
            ),
            (
                &format!("{manager}/app.slice/run-7.scope"),
                unit("user@1000.service", "user-1000.slice"),
                Some(unit("run-7.scope", "app.slice")),
            ),
            (
                &format!("{manager}/init.scope"),
                unit("user@1000.service", "user-1000.slice"),
                Some(unit("init.scope", "")),
            ),
            ("/init.scope", unit("init.scope", ""), None),
        ] {
            assert_eq!(Unit::of(Path::new(path), Whose::System), Ok(Some(to_system)), "{path}");
            assert_eq!(Unit::of(Path::new(path), Whose::User), Ok(to_user), "{path}");
        }
    }

    #[test]
    fn whoever_is_held_inside_of_a_unit_is_in_none_that_can_be_left() {
        for path in [
            "/",
            "/system.slice",
            "/.scope",
            "/system.slice/docker-1.scope/init.scope",
            "/system.slice/x.service/build-42",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/contain-1-2.scope/job",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/contain-1-2.scope/job.scope",
            "/../x.scope",
            "relative.scope",
        ] {
            assert_eq!(Unit::of(Path::new(path), Whose::User), Err(NoUnit), "{path}");
        }
    }
}
