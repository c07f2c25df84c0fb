//! Hosts of several shapes, made on this one: what `contain doctor` says there, and that a run works with
//! the backend that is expected, and leaves nothing.

mod support;

use serde_json::Value;
use support::backends::{entry, unusable};
use support::job::Job;
use support::shapes;

/// A host, and what is expected there.
struct Shape {
    prefix: Vec<String>,
    /// What `auto` takes.
    selected: &'static str,
    /// Words of the reason and of the remedy why cgroup v2 cannot be used, unless it can.
    v2: Option<(&'static str, &'static str)>,
}

const NOT_MOUNTED: (&str, &str) =
    ("no cgroup2 file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup");

fn namespace(prepare: &str, v2: Option<(&'static str, &'static str)>) -> Shape {
    let selected = if v2.is_some() { "process-group" } else { "cgroup-v2" };
    Shape { prefix: shapes::namespace(prepare), selected, v2 }
}

#[test]
fn without_cgroups_process_groups_are_taken() {
    check(&namespace(shapes::NO_CGROUPS, Some(NOT_MOUNTED)));
}

#[test]
fn the_unified_hierarchy_alone_is_enough() {
    check(&namespace(shapes::PURE_V2, None));
}

#[test]
fn k44_a_read_only_mount_is_named_with_its_remedy() {
    check(&namespace(shapes::READ_ONLY_V2, Some(("read-only", "remount,rw"))));
}

#[test]
fn k43_a_tmpfs_instead_of_the_hierarchies_is_not_taken_for_one() {
    check(&namespace(shapes::TMPFS_TRAP, Some(NOT_MOUNTED)));
    check_nothing_is_made_on_the_tmpfs(shapes::TMPFS_TRAP);
}

#[test]
fn k43_a_tmpfs_over_the_hierarchy_is_not_taken_for_it() {
    let covered = format!("{} && mount -t tmpfs none /sys/fs/cgroup", shapes::PURE_V2);
    check(&namespace(&covered, Some(("", "unmount what is mounted over"))));
    check_nothing_is_made_on_the_tmpfs(&covered);
}

#[test]
fn an_unprivileged_user_has_process_groups() {
    check(&Shape {
        prefix: shapes::UNPRIVILEGED.map(str::to_owned).to_vec(),
        selected: "process-group",
        v2: Some(("Permission denied", "delegate")),
    });
}

/// Programs that may gain no privileges run all the same.
#[test]
fn no_new_privileges_change_nothing() {
    let prefix = [&shapes::UNPRIVILEGED[..], &["--no-new-privs"]].concat();
    check(&Shape {
        prefix: prefix.into_iter().map(str::to_owned).collect(),
        selected: "process-group",
        v2: Some(("Permission denied", "delegate")),
    });
}

/// The v2 mount lacks the controllers that v1 hierarchies have.
#[test]
fn on_a_hybrid_host_hybrid_goes_first() {
    if let Some(reason) = unusable("hybrid") {
        return support::backends::skip("hybrid", &reason);
    }
    let doctor = doctor(&Job::on("auto"));
    assert_eq!(doctor["selected"], "hybrid");
    assert_eq!(doctor["backends"][0]["name"], "hybrid");
    let ended = Job::on("auto").sh(&[], "setsid sleep 1000.MARK & exit 3").expect(3);
    assert_eq!(ended.report()["backend"], "hybrid");
    // A backend that serves the limit is looked for further down.
    let ended = Job::on("auto").sh(&["--memory-high", "64M"], "exit 3").expect(125);
    assert!(ended.error_line().contains("limits.memory-high"), "{}", ended.stderr);
    let words = ["run", "--log", "debug", "--backend", "auto", "--", "true"];
    let told = support::run(&words).stderr;
    assert!(told.contains("chosen: hybrid"), "{told}");
}

#[test]
fn without_a_unified_mount_there_is_no_hybrid() {
    check_hybrid(&shapes::namespace(shapes::NO_UNIFIED), NOT_MOUNTED);
}

#[test]
fn without_v1_hierarchies_there_is_no_hybrid() {
    let nothing = ("no cgroup v1 hierarchy is mounted with a controller", "use cgroup-v2");
    check_hybrid(&shapes::namespace(shapes::PURE_V2), nothing);
}

#[test]
fn k44_read_only_v1_hierarchies_are_named_with_their_remedy() {
    let prefix = shapes::namespace(shapes::READ_ONLY_V1);
    check_hybrid(&prefix, ("the mount is read-only", "remount,rw,bind"));
}

#[test]
fn an_unprivileged_user_has_no_hybrid() {
    let prefix = shapes::UNPRIVILEGED.map(str::to_owned);
    check_hybrid(&prefix, ("Permission denied", "delegate"));
}

/// Hybrid is unusable behind these words, for this reason and with this remedy; nothing runs on it, and
/// what is chosen instead works.
fn check_hybrid(prefix: &[String], (reason, remedy): (&str, &str)) {
    if !shapes::can_be_made("host-shapes") {
        return;
    }
    if let Some(reason) = unusable("hybrid") {
        return support::backends::skip("hybrid", &reason);
    }
    let job = |backend| Job::on(backend).behind(prefix).with_reachable_binary();
    let found = doctor(&job("auto"));
    let hybrid = entry(&found, "hybrid");
    assert_eq!(hybrid["usable"], false, "{hybrid:#}");
    assert!(hybrid["reason"].as_str().unwrap().contains(reason), "{hybrid:#}");
    assert!(hybrid["remedy"].as_str().unwrap().contains(remedy), "{hybrid:#}");
    let refused = job("hybrid");
    let ended = refused.sh(&[], "touch DIR/ran").expect(125);
    let line = ended.error_line();
    assert!(line.contains(reason) && line.contains(remedy), "{line}");
    assert!(!refused.path("ran").exists());
    let ended = job("auto").sh(&[], "exit 3").expect(3);
    assert_eq!(ended.report()["backend"], found["selected"]);
}

/// Inside a run of any backend the best one is taken as it is outside.
#[test]
fn inside_another_run_the_choice_is_the_same() {
    let host = support::backends::doctor();
    let selected = host["selected"].as_str().expect("one is always usable");
    let contain = support::binary();
    for outer in host["backends"].as_array().expect("a list") {
        if outer["usable"] == true {
            let outer = outer["name"].as_str().expect("a name");
            let words = [contain.to_str().expect("it is UTF-8"), "run", "--backend", outer, "--"];
            let job = Job::on("auto").behind(&words);
            assert_eq!(doctor(&job)["selected"], selected, "inside {outer}");
            check_run(&job, selected);
        }
    }
}

/// Runs what leaves a daemon behind.
fn check_run(job: &Job, selected: &str) {
    let ended = job.sh(&[], "setsid sleep 1000.MARK & exit 3").expect(3);
    assert_eq!(ended.report()["backend"], selected);
}

fn check(shape: &Shape) {
    if !shapes::can_be_made("host-shapes") {
        return;
    }
    if unusable("cgroup-v2").is_some() && shape.v2.is_none() {
        return support::backends::skip("cgroup-v2", "this host has no unified hierarchy to mount");
    }
    let job = |backend| Job::on(backend).behind(&shape.prefix).with_reachable_binary();
    check_doctor(shape, &doctor(&job("auto")));
    check_run(&job("auto"), shape.selected);
    if let Some((reason, remedy)) = shape.v2 {
        let refused = job("cgroup-v2");
        let ended = refused.sh(&[], "touch DIR/ran").expect(125);
        let line = ended.error_line();
        assert!(line.contains(reason) && line.contains(remedy), "{line}");
        assert!(!refused.path("ran").exists());
    }
}

fn doctor(job: &Job) -> Value {
    job.launch(job.bare_command().args(["doctor", "--json"])).finish().expect(0).document()
}

fn check_doctor(shape: &Shape, doctor: &Value) {
    assert_eq!(doctor["selected"], shape.selected, "{doctor:#}");
    assert_eq!(entry(doctor, "process-group")["usable"], true);
    let v2 = entry(doctor, "cgroup-v2");
    assert_eq!(v2["usable"], shape.v2.is_none(), "{v2:#}");
    if let Some((reason, remedy)) = shape.v2 {
        assert!(v2["reason"].as_str().unwrap().contains(reason), "{v2:#}");
        assert!(v2["remedy"].as_str().unwrap().contains(remedy), "{v2:#}");
    }
}

/// Whatever is tried, nothing appears on the file system that stands where the hierarchy should.
fn check_nothing_is_made_on_the_tmpfs(prepare: &str) {
    if !shapes::can_be_made("host-shapes") {
        return;
    }
    let job = Job::on("auto");
    let words = shapes::namespace(prepare);
    let binary = support::binary();
    let mut command = std::process::Command::new(&words[0]);
    command.args(&words[1..]).args(["sh", "-c", TRIES]).arg(binary).env("NAME", job.name());
    let output = command.output().expect("a namespace can be made");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "none 125 125 0\n");
}

/// Tries what could make a directory; tells what is there then, and the statuses.
const TRIES: &str = "
    \"$0\" doctor >/dev/null
    \"$0\" run --backend cgroup-v2 --name $NAME true; explicit=$?
    \"$0\" run --backend cgroup-v2 --parent / --name $NAME true; parent=$?
    \"$0\" run --name $NAME true; auto=$?
    found=$(find /sys/fs/cgroup -mindepth 1)
    echo ${found:-none} $explicit $parent $auto";
