//! `contain init`: mounts what is missing and nothing else, for root alone. In private mount namespaces:
//! nothing of this host is touched.

mod support;

use std::process::{Command, Output};

use support::shapes;

/// The lock is in /run, and so are mounts that find no room elsewhere.
const NO_FREEZER: &str = "mount -t tmpfs -o mode=755 none /run && umount -l /sys/fs/cgroup/freezer";

/// Runs a script, whose `$0` is `contain`, in a mount namespace after `prepare`; none where that or the
/// freezer of version 1 cannot be had.
fn script(prepare: &str, script: &str) -> Option<Output> {
    if !shapes::can_be_made("host-shapes") {
        return None;
    }
    if !has_freezer() {
        support::backends::skip("cgroup-v1", "no freezer of version 1 is mounted here");
        return None;
    }
    let words = shapes::namespace(prepare);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["sh", "-c", script]).arg(support::binary());
    Some(command.output().expect("a namespace can be made"))
}

fn has_freezer() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts.lines().any(|line| line.contains(" - cgroup ") && line.ends_with("freezer"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_dry_run_mounts_nothing_and_says_what_it_would() {
    let tries = "\"$0\" init --dry-run || exit; grep -c 'cgroup rw,freezer' /proc/self/mountinfo";
    let Some(output) = script(NO_FREEZER, tries) else { return };
    assert_eq!(output.status.code(), Some(1), "grep found none: {output:?}");
    let said = stdout(&output);
    assert!(said.contains("would be mounted  /sys/fs/cgroup/freezer\n"), "{said}");
    assert!(said.contains("present           /sys/fs/cgroup/cpuset\n"), "{said}");
    assert!(said.ends_with("\n0\n"), "{said}");
}

#[test]
fn what_was_mounted_serves_groups_at_once() {
    let tries = "\"$0\" run --backend cgroup-v1 --require kill=frozen true 2>/dev/null && exit 9
        \"$0\" init && \"$0\" run --backend cgroup-v1 --require kill=frozen -- sh -c 'exit 4'";
    let Some(output) = script(NO_FREEZER, tries) else { return };
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let said = stdout(&output);
    assert_eq!(
        said,
        "freezer  mounted  /sys/fs/cgroup/freezer\ncpuset   present  /sys/fs/cgroup/cpuset\n"
    );
}

#[test]
fn of_two_at_once_one_mounts() {
    let tries = "cd /run; \"$0\" init >a & \"$0\" init >b && wait $! && cat a b";
    let Some(output) = script(NO_FREEZER, tries) else { return };
    assert!(output.status.success(), "{output:?}");
    let said = stdout(&output);
    let lines = |state: &str| {
        said.lines().filter(|line| line.starts_with(&format!("freezer  {state} "))).count()
    };
    assert_eq!((lines("mounted"), lines("present")), (1, 1), "{said}");
}

#[test]
fn who_is_not_root_is_refused_and_nothing_is_mounted() {
    let user = shapes::UNPRIVILEGED.join(" ");
    let tries = format!("cp \"$0\" /run/contain; {user} /run/contain init");
    let Some(output) = script(NO_FREEZER, &tries) else { return };
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let line = stderr(&output);
    assert!(line.starts_with("contain: ") && line.lines().count() == 1, "{line}");
    assert!(line.contains("/run/contain-init.lock") && line.contains("as root"), "{line}");
}

#[test]
fn a_kernel_without_the_controller_is_told_as_unsupported() {
    let hidden = format!(
        "{NO_FREEZER} && grep -v freezer /proc/cgroups >/run/known && \
         mount --bind /run/known /proc/cgroups"
    );
    let Some(output) = script(&hidden, "exec \"$0\" init") else { return };
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(stdout(&output).contains("freezer  missing  this kernel has no controller freezer"));
    assert!(stderr(&output).contains("boot a kernel that has it"), "{output:?}");
}

#[test]
fn what_takes_no_mount_is_a_failure_that_names_it() {
    // A file where the mount point should be, on a tmpfs that is not the host's.
    let in_the_way = "mount -t tmpfs -o mode=755 none /run && umount -R -l /sys/fs/cgroup && \
        mount -t tmpfs none /sys/fs/cgroup && : >/sys/fs/cgroup/freezer";
    let Some(output) = script(in_the_way, "exec \"$0\" init") else { return };
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = stderr(&output);
    assert!(line.contains("/sys/fs/cgroup/freezer") && line.contains("mount -t cgroup"), "{line}");
    assert!(stdout(&output).contains("cpuset   mounted  /sys/fs/cgroup/cpuset\n"), "{output:?}");
}
