//! Tests that cannot run here say so, with a name; `CONTAIN_MUST_RUN` makes the skips that it names failures.
//! For every suite of the workspace, each of which includes this file.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "every test binary compiles this and uses a part of it"
)]

use std::fmt::Display;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

/// Says past the capturing of output that this test did not run for want of `what`, and why; fails where it
/// must run.
#[track_caller]
pub(crate) fn skip(what: &str, reason: &dyn Display) {
    assert!(!what.contains([',', ' ']), "nobody can demand {what:?}");
    assert!(!demanded(what), "{what} must run here (CONTAIN_MUST_RUN), and cannot: {reason}");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    writeln!(std::io::stderr(), "SKIPPED {test}: {what}: {reason}").expect("stderr is open");
}

/// Whether `CONTAIN_MUST_RUN` names `what`.
pub(crate) fn demanded(what: &str) -> bool {
    let names = std::env::var("CONTAIN_MUST_RUN").unwrap_or_default();
    names.split(',').any(|name| name.trim() == what)
}

/// Whether this is root; skips the test where not, for `why`.
pub(crate) fn is_root(why: &str) -> bool {
    let root = std::fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0;
    if !root {
        skip("root", &why);
    }
    root
}

/// Whether there is what a file system of this process's own takes (FUSE); skips the test where not.
pub(crate) fn has_fuse() -> bool {
    let found = std::path::Path::new("/dev/fuse").exists();
    if !found {
        skip("fuse", &"there is no /dev/fuse");
    }
    found
}

/// Whether there is a python3; skips the test where not.
pub(crate) fn has_python() -> bool {
    let found = std::process::Command::new("python3").arg("-V").output().is_ok();
    if !found {
        skip("python3", &"python3 is not installed");
    }
    found
}
