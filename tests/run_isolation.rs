//! `contain run` with a user, a root directory, binds and resource limits: what the program sees, and
//! what is told when a step fails.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use containment_process::spawn::separates_processes;

use support::backends::{have, on_each_backend, skip};
use support::isolation::{Root, assert_no_mounts, assert_refused, can_isolate, text};
use support::job::Job;
use support::shapes::{UNPRIVILEGED, can_be_made};

on_each_backend! {
    a_user_has_its_group_and_its_others,
    a_user_may_be_ids_without_an_entry,
    an_unknown_user_is_named_and_nothing_is_left,
    a_directory_is_entered_as_the_user,
    a_user_takes_root,
    resource_limits_are_in_force,
    a_resource_limit_above_the_hard_one_is_refused_to_users,
    privileges_are_not_gained_when_they_are_not_to_be,
    a_root_directory_has_the_kernels_file_systems,
    a_root_directory_shows_nothing_of_the_host,
    binds_are_writable_or_not,
    a_bind_is_read_only_with_everything_below_it,
    a_link_in_a_place_does_not_lead_out_of_the_root,
    a_way_that_others_mounts_disturb_is_walked_again,
    a_bind_needs_no_root_directory,
    a_missing_object_is_named,
    mounts_take_root_or_a_user_namespace,
    each_system_call_that_fails_is_told_and_nothing_runs,
}

fn a_user_has_its_group_and_its_others(backend: &str) {
    if !can_isolate() || !have("isolation", &["getent", "id"]) {
        return;
    }
    let job = Job::on(backend);
    let ended = job.run(&["--user", "nobody"], &["id"]).expect(0);
    let known =
        String::from_utf8(std::process::Command::new("id").arg("nobody").output().unwrap().stdout);
    assert_eq!(ended.stdout, known.unwrap());
    let ended = job.run(&["--user", "nobody:daemon"], &["id", "-gn"]).expect(0);
    assert_eq!(ended.stdout, "daemon\n");
}

fn a_user_may_be_ids_without_an_entry(backend: &str) {
    if !can_isolate() {
        return;
    }
    let job = Job::on(backend);
    let script = "grep -E '^(Uid|Gid|Groups|CapPrm|CapEff)' /proc/self/status";
    let ended = job.sh(&["--user", "3000001:3000002"], script).expect(0);
    let expected = "Uid:\t3000001\t3000001\t3000001\t3000001\n\
                    Gid:\t3000002\t3000002\t3000002\t3000002\n\
                    Groups:\t3000002 \n\
                    CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n";
    assert_eq!(ended.stdout, expected);
    let ended = job.sh(&["--user", "3000001"], "echo > DIR/ran");
    assert_refused(&job, ended, &["3000001", "USER:GROUP"]);
}

fn an_unknown_user_is_named_and_nothing_is_left(backend: &str) {
    let job = Job::on(backend);
    for (user, named) in [("nobody2", "\"nobody2\""), ("root:nogroup2", "\"nogroup2\"")] {
        let ended = job.sh(&["--user", user], "echo > DIR/ran");
        assert_refused(&job, ended, &["no such", named, "; see getent"]);
    }
}

fn a_directory_is_entered_as_the_user(backend: &str) {
    if !can_isolate() {
        return;
    }
    let job = Job::on(backend);
    let private = job.path("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let path = text(&private);
    job.sh(&["--chdir", &path], "test \"$PWD\" = DIR/private").expect(0);
    let ended = job.sh(&["--user", "65534:65534", "--chdir", &path], "echo > DIR/ran");
    assert_refused(&job, ended, &["directory", "EACCES", &path]);
}

fn a_user_takes_root(backend: &str) {
    if backend != "process-group" || !can_be_made("isolation") {
        return;
    }
    let job = Job::on(backend).behind(&UNPRIVILEGED).with_reachable_binary();
    let ended = job.sh(&["--user", "0:0"], "echo > DIR/ran");
    assert_refused(&job, ended, &["cannot become user 0", "EPERM", "as root"]);
    // Who one is already takes nothing.
    job.run(&["--user", "65534:65534"], &["true"]).expect(0);
}

fn resource_limits_are_in_force(backend: &str) {
    let job = Job::on(backend);
    let options = ["--rlimit", "nofile=100:200", "--rlimit", "core=0"];
    let ended = job.sh(&options, "ulimit -n; ulimit -Hn; ulimit -c").expect(0);
    assert_eq!(ended.stdout, "100\n200\n0\n");
    for wrong in ["nofiles=1", "nofile=2:1", "nofile"] {
        let ended = job.sh(&["--rlimit", wrong], "echo > DIR/ran");
        assert_refused(&job, ended, &["--rlimit"]);
    }
}

fn a_resource_limit_above_the_hard_one_is_refused_to_users(backend: &str) {
    if backend != "process-group" || !can_be_made("isolation") {
        return;
    }
    let mut words = UNPRIVILEGED.map(str::to_owned).to_vec();
    words.splice(0..0, ["sh", "-c", "ulimit -n 300; exec \"$@\"", "sh"].map(str::to_owned));
    let job = Job::on(backend).behind(&words).with_reachable_binary();
    let ended = job.sh(&["--rlimit", "nofile=301"], "echo > DIR/ran");
    assert_refused(&job, ended, &["resource limit nofile", "EPERM", "hard limit"]);
}

fn privileges_are_not_gained_when_they_are_not_to_be(backend: &str) {
    let job = Job::on(backend);
    let script = "grep NoNewPrivs /proc/self/status";
    let ended = job.sh(&["--no-new-privileges"], script).expect(0);
    assert_eq!(ended.stdout, "NoNewPrivs:\t1\n");
    let before = job.directly(&["sh", "-c", script]);
    assert_eq!(job.sh(&[], script).expect(0).stdout, before);
}

fn a_root_directory_has_the_kernels_file_systems(backend: &str) {
    if !can_isolate() {
        return;
    }
    let job = Job::on(backend);
    let root = Root::of(&job);
    let script = "pwd; cat /proc/self/comm; ls -d /sys/kernel; echo > /dev/null && echo written";
    let ended = root.sh(&job, &[], script).expect(0);
    assert_eq!(ended.stdout, "/\ncat\n/sys/kernel\nwritten\n");
    // What the caller puts there himself stays.
    fs::write(root.path.join("proc/own"), "").unwrap();
    let own = format!("{}:/proc", text(&root.path.join("proc")));
    let ended = root.sh(&job, &["--bind", &own], "ls /proc").expect(0);
    assert_eq!(ended.stdout, "own\n");
}

fn a_root_directory_shows_nothing_of_the_host(backend: &str) {
    if !can_isolate() {
        return;
    }
    let job = Job::on(backend);
    let root = Root::of(&job);
    fs::write(job.path("secret"), "").unwrap();
    let script = "ls DIR; cd ..; pwd; ls; cat /proc/self/mountinfo | wc -l";
    let ended = root.sh(&job, &["--user", "65534:65534", "--chdir", "/desk"], script).expect(0);
    assert!(ended.stderr.contains("No such file"), "{}", ended.stderr);
    let names: Vec<_> =
        ended.stdout.lines().take_while(|line| line.parse::<u32>().is_err()).collect();
    assert_eq!(names[0], "/");
    assert!(names.contains(&"desk") && !names.contains(&"root"), "{names:?}");
    let ended = root.sh(&job, &["--chdir", "/nowhere"], "true");
    assert_refused(&job, ended, &["cannot change to its directory", "/nowhere"]);
}

fn binds_are_writable_or_not(backend: &str) {
    if !can_isolate() {
        return;
    }
    let job = Job::on(backend);
    let root = Root::of(&job);
    for name in ["from", "file"] {
        fs::create_dir(job.path(name)).unwrap();
    }
    fs::write(job.path("one"), "one\n").unwrap();
    fs::write(root.path.join("etc/one"), "").unwrap();
    let [from, one] = ["from", "one"].map(|name| text(&job.path(name)));
    let (writable, only) = (format!("{from}:/desk"), format!("{one}:/etc/one"));
    let options = ["--bind", &*writable, "--bind-ro", &*only];
    let script = "cat /etc/one; echo x > /desk/made; echo x > /etc/one || echo refused";
    let ended = root.sh(&job, &options, script).expect(0);
    assert_eq!(ended.stdout, "one\nrefused\n");
    assert_eq!(fs::read_to_string(job.path("from/made")).unwrap(), "x\n");
    assert_eq!(fs::read_dir(root.path.join("desk")).unwrap().count(), 0, "nothing was left there");
}

fn a_bind_is_read_only_with_everything_below_it(backend: &str) {
    if !can_isolate() {
        return;
    }
    // The host's /dev has mounts below it, which its tmpfs at /dev/shm is one of.
    let below = Path::new("/dev/shm");
    if fs::metadata(below).map(|it| it.dev()).ok() == fs::metadata("/dev").map(|it| it.dev()).ok() {
        return skip("isolation", "nothing is mounted at /dev/shm");
    }
    let job = Job::on(backend);
    let script = "touch /mnt/shm/MARK && echo written; touch /dev/shm/MARK && rm /dev/shm/MARK";
    let ended = job.sh(&["--bind-ro", "/dev:/mnt"], script).expect(0);
    assert!(ended.stderr.contains("Read-only"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

fn a_link_in_a_place_does_not_lead_out_of_the_root(backend: &str) {
    if !can_isolate() {
        return;
    }
    let job = Job::on(backend);
    let root = Root::of(&job);
    fs::create_dir(job.path("out")).unwrap();
    symlink(job.path("out"), root.path.join("link")).unwrap();
    symlink("../../../desk", root.path.join("climb")).unwrap();
    fs::write(job.path("here"), "").unwrap();
    let here = text(&job.path(""));
    // An absolute link is taken from the root, where there is no such place.
    let ended = root.sh(&job, &["--bind", &format!("{here}:/link")], "echo > /desk/ran");
    assert_refused(&job, ended, &["no such place below its root", "/link"]);
    let ended = root.sh(&job, &["--bind", &format!("{here}:/climb")], "ls -d /desk/here").expect(0);
    assert_eq!(ended.stdout, "/desk/here\n");
}

/// The kernel's EAGAIN, by strace's injection. Of a run on process groups only the child makes that call.
fn a_way_that_others_mounts_disturb_is_walked_again(backend: &str) {
    if backend != "process-group" || !can_isolate() || !have("strace", &["strace"]) {
        return;
    }
    let words = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=openat2"];
    let job =
        Job::on(backend).behind(&words).behind(&["-e", "inject=openat2:error=EAGAIN:when=1..9"]);
    let root = Root::of(&job);
    fs::write(job.path("here"), "").unwrap();
    let bind = format!("{}:/desk", text(&job.path("")));
    assert_eq!(
        root.sh(&job, &["--bind", &bind], "ls -d /desk/here").expect(0).stdout,
        "/desk/here\n"
    );
}

fn a_bind_needs_no_root_directory(backend: &str) {
    if !can_isolate() {
        return;
    }
    let job = Job::on(backend);
    fs::write(job.path("mine"), "mine\n").unwrap();
    let bind = format!("{}:/etc/hostname", text(&job.path("mine")));
    let before = fs::read("/etc/hostname").unwrap();
    let ended = job.sh(&["--bind", &bind], "cat /etc/hostname; pwd").expect(0);
    assert!(ended.stdout.starts_with("mine\n"), "{}", ended.stdout);
    assert_eq!(fs::read("/etc/hostname").unwrap(), before, "the host sees its own");
    assert_no_mounts(&job);
}

fn a_missing_object_is_named(backend: &str) {
    if !can_isolate() {
        return;
    }
    let job = Job::on(backend);
    let missing = text(&job.path("missing"));
    let (file, directory) = (text(&job.path("file")), text(&job.path("")));
    fs::write(&file, "").unwrap();
    let loop_of_links = text(&job.path("loop"));
    symlink(&loop_of_links, &loop_of_links).unwrap();
    let exists = "; name a directory that exists";
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--root", &missing], &["root directory", "ENOENT", &missing, exists]),
        (&["--root", &file], &["root directory", "ENOTDIR", &file, exists]),
        (&["--root", &loop_of_links], &["root directory", "ELOOP", "; name it by a path without"]),
        (&["--root", "/"], &["root directory", "EBUSY", "; leave the root directory out"]),
        (&["--bind", &format!("{missing}:/tmp")], &["cannot bind", "ENOENT", &missing, "; name a"]),
        (&["--bind-ro", &format!("{directory}:{missing}")], &["no such place", "ENOENT", "; make"]),
        (&["--bind", &format!("{directory}:{file}")], &["do not match", &file, "; bind a"]),
        (&["--bind", &format!("{directory}:relative")], &["--bind", "absolute", "--help"]),
        (&["--chdir", &missing], &["cannot change to its directory", &missing, "; name a"]),
    ];
    for (options, words) in cases {
        let ended = job.sh(options, "echo > DIR/ran");
        assert_refused(&job, ended, words);
        assert!(!Path::new(&missing).exists(), "a directory was made");
    }
}

fn mounts_take_root_or_a_user_namespace(backend: &str) {
    if backend != "process-group" || !can_be_made("isolation") {
        return;
    }
    let job = Job::on(backend).behind(&UNPRIVILEGED).with_reachable_binary();
    let ended = job.sh(&["--bind", "/usr:/mnt"], "echo > DIR/ran");
    assert_refused(&job, ended, &["mount namespace", "EPERM", "--map-root-user"]);
    let words = ["unshare", "--user", "--map-root-user"];
    let job = Job::on(backend).behind(&UNPRIVILEGED).behind(&words).with_reachable_binary();
    let ended = job.sh(&["--bind-ro", "/usr:/mnt"], "ls -d /mnt/bin");
    if ended.stderr.contains("unshare: ") {
        return skip("user-namespace", "users may make none here");
    }
    assert_eq!(ended.expect(0).stdout, "/mnt/bin\n");
}

/// The calls that no other part of `contain` makes, failing by strace's injection, and the words that tell the step.
const CALLS: [(&str, &str); 17] = [
    ("unshare", "mount namespace of its own"),
    ("mount", "mount namespace of its own"),
    ("open_tree", "cannot bind"),
    ("move_mount", "cannot bind"),
    ("mount_setattr", "a mount stays writable"),
    ("fchdir", "root directory"),
    ("pivot_root", "root directory"),
    ("umount2", "root directory"),
    ("setgroups", "cannot become user 3000001"),
    ("setresgid", "cannot become user 3000001"),
    ("setresuid", "cannot become user 3000001"),
    ("capget", "capabilities"),
    ("capset", "capabilities"),
    ("chdir", "directory"),
    ("close_range", "descriptors"),
    ("landlock_restrict_self", "processes outside"),
    ("seccomp", "namespaces can be made inside"),
];

fn each_system_call_that_fails_is_told_and_nothing_runs(backend: &str) {
    if !can_isolate() || !have("strace", &["strace"]) {
        return;
    }
    let seals = separates_processes();
    if !seals {
        skip("isolation", "this kernel has no Landlock of Linux 5.19, so no seal fails");
    }
    for (call, step) in CALLS {
        if !seals && ["landlock_restrict_self", "seccomp"].contains(&call) {
            continue;
        }
        let inject = format!("inject={call}:error=EXDEV");
        let words = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}")];
        let job = Job::on(backend).behind(&words).behind(&["-e", &*inject]);
        let root = Root::of(&job);
        let options = [
            "--user",
            "3000001:3000002",
            "--chdir",
            "/desk",
            "--seal",
            "--best-effort",
            "--rlimit",
            "core=0",
        ];
        let ended = root.sh(&job, &options, "echo > /desk/ran");
        assert!(!root.path.join("desk/ran").exists(), "{call}");
        let said = ended.stderr.lines().find(|line| line.starts_with("contain: ")).unwrap_or("");
        assert!(said.contains(step) && said.contains("EXDEV"), "{call}: {}", ended.stderr);
        ended.expect(125);
    }
}
