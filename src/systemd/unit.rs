//! The unit of systemd that this process is in, read off its group's path: units are groups of the same
//! name, below slices (systemd.slice(5)), and those of a user's manager below its service.

use std::path::Path;

use super::manager::Whose;

/// A service or scope that a process is directly in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    /// The slice around it; none at the root of its manager's groups.
    pub(super) slice: Option<String>,
    /// Which manager it is of.
    pub(super) whose: Whose,
}

impl Unit {
    /// The unit of a process of this group. `None` where the group is not a unit's own: whoever made a group
    /// *inside* of a unit, or in a container, holds the process there, and nobody asks to be let out.
    pub(super) fn of(group: &Path) -> Option<Self> {
        let mut above: Vec<_> = group.to_str()?.strip_prefix('/')?.split('/').collect();
        let name = above.pop()?;
        if !(is_a(name, ".service") || is_a(name, ".scope")) {
            return None;
        }
        let is_manager = |name: &str| is_a(name, ".service") && name.starts_with("user@");
        if !above.iter().all(|name| is_a(name, ".slice") || is_manager(name)) {
            return None;
        }
        let users = above.iter().any(|name| is_manager(name));
        let slice = above.pop().filter(|name| is_a(name, ".slice"));
        Some(Self {
            name: name.to_owned(),
            slice: slice.map(str::to_owned),
            whose: if users { Whose::User } else { Whose::System },
        })
    }

    /// Whether it ends with its main process, whatever else is in it. A scope ends with its last one.
    pub(super) fn is_service(&self) -> bool {
        is_a(&self.name, ".service")
    }
}

fn is_a(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_known_by_the_path_of_its_group() {
        for (path, name, slice, whose) in [
            ("/system.slice/cron.service", "cron.service", Some("system.slice"), Whose::System),
            (
                "/user.slice/user-0.slice/session-3.scope",
                "session-3.scope",
                Some("user-0.slice"),
                Whose::System,
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/run-7.scope",
                "run-7.scope",
                Some("app.slice"),
                Whose::User,
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/init.scope",
                "init.scope",
                None,
                Whose::User,
            ),
            ("/init.scope", "init.scope", None, Whose::System),
        ] {
            let slice = slice.map(str::to_owned);
            let expected = Unit { name: name.to_owned(), slice, whose };
            assert_eq!(Unit::of(Path::new(path)), Some(expected), "{path}");
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
            assert_eq!(Unit::of(Path::new(path)), None, "{path}");
        }
    }
}
