//! Hosts of other shapes on this machine: mount namespaces with other cgroup mounts, and another user.
//! Nothing outside the namespace is changed.

use std::os::unix::fs::MetadataExt as _;

use super::backends::{have, skip};

/// Without any cgroup mount.
pub(crate) const NO_CGROUPS: &str = "umount -R -l /sys/fs/cgroup";
/// A plain tmpfs where the hierarchies are expected.
pub(crate) const TMPFS_TRAP: &str =
    "umount -R -l /sys/fs/cgroup && mount -t tmpfs none /sys/fs/cgroup";
/// The unified hierarchy alone, at the usual place.
pub(crate) const PURE_V2: &str =
    "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup";
/// The same, read-only.
pub(crate) const READ_ONLY_V2: &str = "umount -R -l /sys/fs/cgroup && \
    mount -t cgroup2 none /sys/fs/cgroup && mount -o remount,ro,bind /sys/fs/cgroup";

/// A hybrid host without its unified hierarchy.
pub(crate) const NO_UNIFIED: &str =
    "umount -l $(awk '/ - cgroup2 / { print $5 }' /proc/self/mountinfo)";
/// A hybrid host whose v1 hierarchies are read-only.
pub(crate) const READ_ONLY_V1: &str = "for mount in $(awk '/ - cgroup / { print $5 }' /proc/self/mountinfo); do \
    mount -o remount,ro,bind $mount || exit; done";

/// The user that unprivileged runs are made as.
pub(crate) const UNPRIVILEGED: [&str; 6] =
    ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// The words before a command that make it run where `prepare` was run in a mount namespace.
pub(crate) fn namespace(prepare: &str) -> Vec<String> {
    let script = format!("{prepare} && exec \"$@\"");
    ["unshare", "-m", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// Whether host shapes can be made here: for that one has to be root, with the tools. Skips `what`
/// where not.
pub(crate) fn can_be_made(what: &str) -> bool {
    if !is_root() {
        skip(what, "only root can make mount namespaces and change the user");
        return false;
    }
    if !have(what, &["unshare", "umount", "mount", "setpriv"]) {
        return false;
    }
    let words = namespace("true");
    let tried = std::process::Command::new(&words[0]).args(&words[1..]).arg("true").output();
    let made = tried.is_ok_and(|output| output.status.success());
    if !made {
        skip(what, "unshare -m is refused here");
    }
    made
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0
}
