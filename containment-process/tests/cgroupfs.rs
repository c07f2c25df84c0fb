//! `cgroupfs` against the hierarchies of this host: one of each version that we may write to. A
//! version that is missing is skipped with its reason, or fails when `CONTAIN_MUST_RUN` names it.

#[path = "../../tests/support/must_run.rs"]
mod must_run;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use containment_core::{ErrorKind, Operation, Pid};
use containment_process::cgroupfs::parse::Events;
use containment_process::cgroupfs::{Access, Dir, Version};
use containment_process::proc::{cgroup, mountinfo};

/// A group of its own for one test, removed with everything in it.
struct Scratch {
    parent: Dir,
    name: String,
    dir: Dir,
}

impl Scratch {
    fn new(parent: &Dir) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("contain-test-{}-{serial}", Pid::current());
        let dir = parent.create(&name).map_err(|failure| failure.to_string())?;
        Ok(Self { parent: parent.clone(), name, dir })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = self.parent.remove_tree(&self.name);
        if !std::thread::panicking() {
            removed.expect("a test leaves no group behind");
        }
    }
}

/// Runs a test in a scratch group of each version that this host has.
fn on_each_version(test: impl Fn(&Dir)) {
    for version in [Version::V2, Version::V1] {
        on(version, &test);
    }
}

fn on(version: Version, test: impl Fn(&Dir)) {
    match own_group(version).and_then(|own| Scratch::new(&own)) {
        Ok(scratch) => test(&scratch.dir),
        Err(reason) => must_run::skip(backend(version), &reason),
    }
}

fn backend(version: Version) -> &'static str {
    match version {
        Version::V1 => "cgroup-v1",
        Version::V2 => "cgroup-v2",
    }
}

/// The group that this process is in.
fn own_group(version: Version) -> Result<Dir, String> {
    let (mounts, groups) = (mountinfo::read().unwrap(), cgroup::read_self().unwrap());
    let (mount, group) = cgroup::memberships(&groups)
        .filter(|group| group.is_unified() == (version == Version::V2))
        .find_map(|group| {
            let serves = |mount: &mountinfo::Mount<'_>| match version {
                Version::V2 => mount.is_type("cgroup2"),
                // Groups of the freezer and of named hierarchies need no set-up before they take members.
                Version::V1 => ["freezer", "name=systemd"]
                    .iter()
                    .any(|name| group.serves(name) && mount.has_super_option(name)),
            };
            mountinfo::mounts(&mounts).filter(serves).last().map(|mount| (mount, group))
        })
        .ok_or("no such hierarchy is mounted")?;
    let below = cgroup::below_mount(group.path, &mount.root()).ok_or("our group is not mounted")?;
    Dir::open_mount(&mount.mount_point(), version)
        .and_then(|mount| mount.open_beneath(below))
        .map_err(|failure| failure.to_string())
}

/// A process that sleeps in a group until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn within(group: &Dir) -> Self {
        let sleeper = Self(Command::new("sleep").arg("1000").spawn().unwrap());
        group.write("cgroup.procs", sleeper.0.id().to_string()).unwrap();
        sleeper
    }

    fn pid(&self) -> Pid {
        Pid::new(i32::try_from(self.0.id()).unwrap()).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn names(dir: &Dir) -> BTreeSet<String> {
    let names = dir.subdirectories().unwrap();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

/// Makes `a/b/c…` below a group and opens the last.
fn nest(dir: &Dir, path: &str) -> Dir {
    path.split('/').fold(dir.clone(), |above, name| {
        above.create(name).or_else(|_| above.open_beneath(name)).unwrap()
    })
}

#[test]
fn k43_a_plain_directory_is_refused() {
    let plain = tempfile::tempdir().unwrap();
    for version in [Version::V1, Version::V2] {
        let refused = Dir::open_mount(plain.path(), version).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotCgroupfs);
        assert_eq!(refused.path(), plain.path());
    }
    let missing = Dir::open_mount(&plain.path().join("x"), Version::V2).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(plain.path()).unwrap().count(), 0, "something was made there");
}

#[test]
fn the_versions_are_told_apart() {
    on_each_version(|dir| {
        let other = if dir.version() == Version::V1 { Version::V2 } else { Version::V1 };
        let refused = Dir::open_mount(dir.path(), other).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotCgroupfs);
    });
}

#[test]
fn a_group_is_made_found_and_removed() {
    on_each_version(|dir| {
        let made = dir.create("a").unwrap();
        let found = dir.open_beneath("a").unwrap();
        assert_eq!(made.inode().unwrap(), found.inode().unwrap());
        assert_eq!(made.path(), dir.path().join("a"));
        assert_eq!(std::fs::canonicalize(made.handle_path()).unwrap(), made.path());
        assert_eq!(names(dir), BTreeSet::from(["a".to_owned()]));
        dir.remove_child("a").unwrap();
        assert_eq!(names(dir), BTreeSet::new());
        assert_eq!(dir.remove_child("a").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(dir.open_beneath("a").unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn k08_a_namesake_is_never_adopted() {
    on_each_version(|dir| {
        let first = dir.create("a").unwrap();
        let refused = dir.create("a").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(refused.errno(), Some(libc::EEXIST));
        assert!(!first.is_gone());
    });
}

#[test]
fn a_handle_does_not_follow_a_name_that_is_used_again() {
    on_each_version(|dir| {
        let old = dir.create("a").unwrap();
        dir.remove_child("a").unwrap();
        let new = dir.create("a").unwrap();
        assert!(old.is_gone() && !new.is_gone());
        assert_eq!(old.write("cgroup.procs", "0").unwrap_err().kind(), ErrorKind::Gone);
        assert_eq!(old.read("cgroup.procs").unwrap_err().kind(), ErrorKind::Gone);
        assert!(old.create("b").is_err());
        assert_eq!(old.subdirectories().unwrap(), [""; 0]);
        assert_eq!(names(&new), BTreeSet::new());
    });
}

#[test]
fn k40_names_that_leave_the_parent_are_refused() {
    on_each_version(|dir| {
        for name in ["", ".", "..", "a/b", "/", "../x"] {
            assert_eq!(dir.create(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
            assert_eq!(dir.remove_tree(name).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(dir.remove_child(name).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        for path in ["..", "/", "a/../..", "../x"] {
            assert!(dir.open_beneath(path).is_err(), "{path:?}");
        }
        assert_eq!(dir.open_beneath("").unwrap().inode().unwrap(), dir.inode().unwrap());
        assert!(dir.read("../cgroup.procs").is_err());
        assert_eq!(dir.open_beneath("cgroup.procs").unwrap_err().kind(), ErrorKind::NotCgroupfs);
    });
}

#[test]
fn members_are_listed() {
    on_each_version(|dir| {
        assert!(dir.pids("cgroup.procs").unwrap().is_empty());
        let sleeper = Sleeper::within(dir);
        let listing = dir.pids("cgroup.procs").unwrap();
        assert_eq!((listing.pids, listing.outside), (vec![sleeper.pid()], 0));
        let threads = if dir.version() == Version::V1 { "tasks" } else { "cgroup.threads" };
        assert_eq!(dir.pids(threads).unwrap().pids, [sleeper.pid()]);
    });
}

#[test]
fn files_are_read_and_written_and_never_created() {
    on(Version::V2, |dir| {
        assert_eq!(dir.parse("cgroup.events", Events::parse).unwrap().populated, Some(0));
        let _sleeper = Sleeper::within(dir);
        assert_eq!(dir.parse("cgroup.events", Events::parse).unwrap().populated, Some(1));
    });
    on_each_version(|dir| {
        assert!(dir.exists("cgroup.procs") && !dir.exists("no.such"));
        let missing = dir.write("no.such", "1").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Unsupported);
        assert_eq!(missing.path(), dir.path().join("no.such"));
        assert_eq!(missing.clone().during(Operation::SetLimits).errno(), Some(libc::ENOENT));
        let refused = dir.write("cgroup.procs", "junk").unwrap_err();
        assert_eq!(refused.errno(), Some(libc::EINVAL));
        assert!(dir.open_file("cgroup.procs", Access::Write).is_ok());
    });
}

#[test]
fn k11_a_tree_five_levels_deep_is_removed_deepest_first() {
    on_each_version(|dir| {
        let bottom = nest(dir, "a/b/c/d/e");
        nest(dir, "a/b/x/y");
        nest(dir, "a/z");
        dir.remove_tree("a").unwrap();
        assert!(bottom.is_gone());
        assert_eq!(names(dir), BTreeSet::new());
        dir.remove_tree("a").expect("what is gone already is removed");
    });
}

#[test]
fn k11_a_live_member_below_is_named_and_everything_else_goes() {
    on_each_version(|dir| {
        let live = nest(dir, "a/b/c/d/e");
        nest(dir, "a/b/x/y");
        let sleeper = Sleeper::within(&live);
        let busy = dir.remove_tree("a").unwrap_err();
        assert_eq!((busy.kind(), busy.errno()), (ErrorKind::Busy, Some(libc::EBUSY)));
        assert_eq!(busy.path(), dir.path().join("a/b/c/d/e"));
        assert_eq!(names(&dir.open_beneath("a/b").unwrap()), BTreeSet::from(["c".to_owned()]));
        drop(sleeper);
        dir.remove_tree("a").unwrap();
    });
}

#[test]
fn a_deep_tree_takes_no_descriptor_a_level() {
    const DEPTH: usize = 200;
    on_each_version(|dir| {
        (0..DEPTH).fold(dir.clone(), |above, _| above.create("d").unwrap());
        let mut descriptors = Vec::new();
        dir.walk(|group| {
            // The lowest number that is free rises with the descriptors that are held.
            descriptors.push(group.as_fd().as_raw_fd());
            Ok(())
        })
        .unwrap();
        assert_eq!(descriptors.len(), DEPTH);
        assert!(descriptors.iter().all(|number| *number < 150), "{descriptors:?}");
        dir.remove_tree("d").unwrap();
        assert_eq!(names(dir), BTreeSet::new());
    });
}

#[test]
fn a_walk_visits_a_group_before_those_in_it() {
    on_each_version(|dir| {
        nest(dir, "a/b");
        nest(dir, "a/c/d");
        nest(dir, "e");
        let mut visited = Vec::new();
        dir.walk(|group| {
            visited.push(group.path().strip_prefix(dir.path()).unwrap().to_owned());
            Ok(())
        })
        .unwrap();
        for group in &visited {
            let above = group.parent().unwrap();
            let before = visited.iter().take_while(|other| *other != group);
            assert!(above == Path::new("") || before.into_iter().any(|other| other == above));
        }
        let visited: BTreeSet<_> = visited.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(visited, BTreeSet::from(["a", "a/b", "a/c", "a/c/d", "e"]));
    });
}

#[test]
fn k13_groups_that_vanish_during_a_walk_are_skipped() {
    on_each_version(|dir| {
        nest(dir, "a/b/c/d");
        nest(dir, "e");
        let mut visited = BTreeSet::new();
        dir.walk(|group| {
            let name = group.path().file_name().unwrap().to_str().unwrap().to_owned();
            if name == "c" {
                // The groups on the way back up vanish, and the one that is visited.
                dir.remove_tree("a").unwrap();
            }
            visited.insert(name);
            group.read("cgroup.procs").map(drop)
        })
        .unwrap();
        assert_eq!(visited, ["a", "b", "c", "e"].map(str::to_owned).into());
    });
}

#[test]
fn k13_groups_that_vanish_on_the_way_back_up_are_skipped() {
    on_each_version(|dir| {
        nest(dir, "a/b/c/d");
        dir.walk(|group| {
            if group.path().ends_with("d") {
                dir.remove_tree("a").unwrap();
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(names(dir), BTreeSet::new());
    });
}

/// Root is not stopped by permissions, unless its thread does without the capability to pass over them.
fn heed_permissions() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    let mut sets = capabilities(None).unwrap();
    let passing_over = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    sets.effective.remove(passing_over);
    set_capabilities(None, sets).unwrap();
}

/// A program may take the rights to its own groups away.
#[test]
fn k02_groups_and_files_that_their_owner_shut_are_opened_up() {
    use rustix::fs::{Mode, chmod};

    on_each_version(|dir| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let shut = nest(dir, "a/b");
                nest(dir, "a/b/c");
                chmod(shut.handle_path().join("cgroup.procs"), Mode::empty()).unwrap();
                chmod(shut.handle_path(), Mode::empty()).unwrap();
                heed_permissions();
                assert_eq!(shut.create("x").unwrap_err().kind(), ErrorKind::PermissionDenied);
                let mut visited = 0;
                dir.walk(|_| {
                    visited += 1;
                    Ok(())
                })
                .unwrap();
                assert_eq!(visited, 3);
                assert!(shut.pids("cgroup.procs").unwrap().is_empty());
                chmod(shut.handle_path(), Mode::empty()).unwrap();
                dir.remove_tree("a").unwrap();
                assert_eq!(names(dir), BTreeSet::new());
            });
        });
    });
}

/// Also one with nothing in it, of which nobody lists the directories.
#[test]
fn k02_a_leaf_that_its_owner_shut_is_looked_into() {
    use rustix::fs::{Mode, chmod};

    on_each_version(|dir| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let leaf = nest(dir, "leaf");
                let shut = || chmod(leaf.handle_path(), Mode::empty()).unwrap();
                heed_permissions();
                shut();
                assert!(!leaf.is_gone());
                shut();
                assert!(leaf.pids("cgroup.procs").unwrap().is_empty());
                shut();
                let notes = leaf.leave_mark("ours").unwrap();
                shut();
                assert_eq!(leaf.mark().unwrap(), notes.then(|| "ours".to_owned()));
                shut();
                dir.remove_tree("leaf").unwrap();
                assert!(leaf.is_gone());
            });
        });
    });
}

/// A read-only mount takes a namespace: `tests/host_shapes.rs` of the workspace makes one.
#[test]
fn a_directory_that_we_may_not_write_to_is_told() {
    use rustix::fs::{Mode, chmod};

    on_each_version(|dir| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                dir.check_writable().unwrap();
                chmod(dir.handle_path(), Mode::RUSR | Mode::XUSR).unwrap();
                heed_permissions();
                let failure = dir.check_writable().unwrap_err();
                assert_eq!(failure.kind(), ErrorKind::PermissionDenied);
                assert!(!failure.is_read_only() && failure.path() == dir.path(), "{failure}");
                chmod(dir.handle_path(), Mode::RWXU).unwrap();
            });
        });
    });
}

#[test]
fn levels_of_a_name_are_made_and_unmade_from_where_they_were_missing() {
    on_each_version(|dir| {
        let name = "a/b/c/group".parse().unwrap();
        dir.create("a").unwrap();
        let mut seen = Vec::new();
        let (group, above) = dir
            .create_levels(&name, |level| {
                seen.push((level.depth, level.is_new));
                assert!(level.dir.path().starts_with(level.around.path()));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, vec![(0, false), (1, true), (2, true), (3, true)]);
        let inode = |path| dir.open_beneath(path).unwrap().inode().unwrap();
        assert_eq!(above, vec![inode("a/b"), inode("a/b/c")]);
        let taken = dir.create_levels(&name, |_| Ok(())).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        assert_eq!(dir.open_beneath("a/b/c").unwrap().groups().unwrap().len(), 1);
        dir.remove_named(&name, group.inode().unwrap() + 1).unwrap();
        assert!(!group.is_gone(), "a namesake stays");
        dir.remove_named(&name, group.inode().unwrap()).unwrap();
        dir.remove_levels_above(&name, &above);
        assert_eq!(dir.open_beneath("a").unwrap().groups().unwrap(), []);
        assert_eq!(group.groups().unwrap_err().kind(), ErrorKind::Gone);
    });
}

#[test]
fn a_namesake_of_a_level_that_was_made_stays() {
    on_each_version(|dir| {
        let name = "a/b/group".parse().unwrap();
        let (_, above) = dir.create_levels(&name, |_| Ok(())).unwrap();
        dir.open_beneath("a").unwrap().remove_tree("b").unwrap();
        let another = dir.open_beneath("a").unwrap().create("b").unwrap();
        dir.remove_levels_above(&name, &above);
        assert!(!another.is_gone());
        dir.open_beneath("a").unwrap().remove_child("b").unwrap();
        dir.remove_levels_above(&name, &above);
        assert_eq!(dir.groups().unwrap(), [], "the level around it is the one that was made");
    });
}

/// Whichever level it fails at, what was made is gone again, and nothing else.
#[test]
fn levels_that_were_made_go_when_one_fails() {
    on_each_version(|dir| {
        let name = "a/b/group".parse().unwrap();
        for failing in 0..3 {
            let failure = dir.create_levels(&name, |level| {
                if level.depth < failing { Ok(()) } else { level.dir.write("none", "x") }
            });
            assert_eq!(failure.unwrap_err().kind(), ErrorKind::Unsupported);
            assert_eq!(dir.groups().unwrap(), []);
        }
    });
}
