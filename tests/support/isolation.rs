//! What the tests of isolation share: a root directory to run in, and the look for what is left.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::backends::skip;
use super::job::{Ended, Job};
use super::shapes::is_root;

/// Whether the tests can change users and mount; says why not.
pub(crate) fn can_isolate() -> bool {
    if is_root() {
        return true;
    }
    skip("isolation", "only root changes users and mounts");
    false
}

/// A root directory with the host's programs in it, by binds.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    options: Vec<String>,
}

impl Root {
    /// Makes one in the job's directory.
    pub(crate) fn of(job: &Job) -> Self {
        let path = job.path("root");
        let mut options = vec!["--root".to_owned(), text(&path)];
        for name in ["proc", "sys", "dev", "etc", "desk"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        for name in ["/usr", "/bin", "/lib", "/lib64"] {
            let Ok(kind) = fs::symlink_metadata(name) else { continue };
            let place = path.join(&name[1..]);
            if kind.is_symlink() {
                symlink(fs::read_link(name).unwrap(), place).unwrap();
            } else {
                fs::create_dir(place).unwrap();
                options.extend(["--bind-ro".to_owned(), name.to_owned()]);
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { path, options }
    }

    /// Runs a script with this root, and checks that no mount is left.
    pub(crate) fn sh(&self, job: &Job, options: &[&str], script: &str) -> Ended {
        let all: Vec<&str> =
            self.options.iter().map(String::as_str).chain(options.iter().copied()).collect();
        let ended = job.sh(&all, script);
        assert_no_mounts(job);
        ended
    }
}

/// A path as an option.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("temporary paths are UTF-8").to_owned()
}

/// Nothing is mounted at or below the job's directory in this mount namespace.
#[track_caller]
pub(crate) fn assert_no_mounts(job: &Job) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let directory = text(&job.path(""));
    assert!(!mounts.contains(directory.trim_end_matches('/')), "{mounts}");
}

/// The run failed before the program: one line with these words, and no file was made.
#[track_caller]
pub(crate) fn assert_refused(job: &Job, ended: Ended, words: &[&str]) {
    let ended = ended.expect(125);
    for word in words {
        assert!(ended.error_line().contains(word), "{word} in {}", ended.stderr);
    }
    assert!(!job.path("ran").exists(), "the program ran");
    assert_no_mounts(job);
}
