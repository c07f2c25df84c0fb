//! Under other engines than Slurm, which has `tests/slurm`: in the shape of a Kubernetes pod, and by GNU parallel.

mod support;

use std::process::Command;

use serde_json::Value;
use support::backends::{have, skip};
use support::job::Job;
use support::shapes;

/// A pod's container: a group of its own that it sees as the root of a read-only hierarchy, in a cgroup
/// namespace of its own. `exec` goes on without any capability.
fn pod(then: &[&str]) -> Vec<String> {
    let contain = support::binary();
    let contain = contain.to_str().expect("it is UTF-8");
    let group = [contain, "run", "--backend", "cgroup-v2", "--"];
    let script = format!("{} && exec \"$@\"", shapes::READ_ONLY_V2);
    let namespaces = ["unshare", "-C", "-m", "sh", "-c", &script, "sh"];
    let bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
    [&group[..], &namespaces, &bare, then].concat().iter().map(|word| (*word).to_owned()).collect()
}

/// Whether pods can be made here; skips the test where not.
fn can_be_made() -> bool {
    if let Some(reason) = support::backends::unusable("cgroup-v2") {
        skip("cgroup-v2", &reason);
        return false;
    }
    shapes::can_be_made("host-shapes")
}

/// As root and as a user, who both are nobody without capabilities.
const WHO: [&[&str]; 2] = [&[], &["--reuid", "65534", "--regid", "65534", "--clear-groups"]];

#[test]
fn in_a_pod_a_step_is_contained_by_descent_and_says_why() {
    if !can_be_made() {
        return;
    }
    for who in WHO {
        let job = Job::on("auto").behind(&pod(who)).with_reachable_binary();
        let script = "setsid sleep 1000.MARK & (trap '' TERM; exec sleep 1000.MARK) & exit 3";
        let ended = job.sh(&["--grace", "100ms"], script).expect(3);
        let report = ended.report();
        assert_eq!(
            (&report["backend"], &report["containment"]),
            (&"process-group".into(), &"held".into())
        );
        let doctor = job.launch(job.bare_command().args(["doctor", "--json"])).finish().expect(0);
        let doctor = doctor.document();
        let unified = support::backends::entry(&doctor, "cgroup-v2");
        let reason = unified["reason"].as_str().expect("it cannot be used");
        assert!(reason.contains("read-only") || reason.contains("not ours to write"), "{reason}");
    }
}

#[test]
fn in_a_pod_what_the_pod_allows_is_taken_over_as_far_as_it_can_be() {
    if !can_be_made() {
        return;
    }
    let job = Job::on("auto").behind(&pod(WHO[1])).with_reachable_binary();
    let ended =
        job.sh(&["--limits-from", "group", "--best-effort", "--pids", "9"], "exit 4").expect(4);
    let degraded = ended.report()["degraded"].clone();
    assert_eq!(degraded[0]["what"], "limits.pids", "{degraded}");
}

/// Whether `parallel` is here, and GNU's; skips the test where not.
fn has_gnu_parallel() -> bool {
    if !have("parallel", &["parallel"]) {
        return false;
    }
    let version = Command::new("parallel").arg("--version").output().expect("it is installed");
    let is_gnu = String::from_utf8_lossy(&version.stdout).contains("GNU");
    if !is_gnu {
        skip("parallel", "this parallel is not GNU's");
    }
    is_gnu
}

/// `parallel OPTIONS contain run … -- sh -c SCRIPT ::: 1 2 … COUNT`, with a report of each.
fn parallel(job: &Job, options: &[&str], script: &str, count: usize) -> std::process::ExitStatus {
    let reports = job.path("{#}.json");
    let contain = support::binary();
    let mut command = Command::new("parallel");
    command.args(["--will-cite", "-j4"]).args(options).arg("-q").arg(contain);
    command.args(["run", "--grace", "100ms", "--report"]).arg(reports);
    command.args(["--", "sh", "-c", &job.script(script), "sh", "{}", ":::"]);
    command.args((1..=count).map(|number| number.to_string()));
    command.env("CONTAIN_TEST_MARK", job.mark()).env("CONTAIN_STATE_DIR", job.path("state"));
    command.status().expect("parallel can be run")
}

fn merged(job: &Job, count: usize) -> Value {
    let files = (1..=count).map(|number| job.path(&format!("{number}.json")));
    support::Ran::of(support::contain().args(["report", "--json"]).args(files)).json()
}

#[test]
fn under_gnu_parallel_no_step_leaves_anything_and_each_has_its_number() {
    if !has_gnu_parallel() {
        return;
    }
    let job = Job::on("auto");
    let script = "setsid -f sleep 1000.MARK; [ $1 != 3 ]";
    let status = parallel(&job, &[], script, 12);
    assert_eq!(status.code(), Some(1), "one step failed");
    job.check_nothing_left();
    let merged = merged(&job, 12);
    assert_eq!((&merged["totals"]["runs"], &merged["totals"]["lost"]), (&12.into(), &0.into()));
    let mut steps: Vec<u32> = merged["runs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|run| run["step"].as_str().expect("a step").parse().expect("a number"))
        .collect();
    steps.sort_unstable();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
}

/// It sends SIGTERM three times within half a second, and SIGKILL at last.
#[test]
fn a_time_limit_of_gnu_parallel_leaves_nothing() {
    if !has_gnu_parallel() {
        return;
    }
    let job = Job::on("auto");
    let script = "trap '' TERM; setsid -f sleep 1000.MARK; sleep 1000.MARK";
    let status = parallel(&job, &["--timeout", "1"], script, 3);
    assert!(!status.success());
    support::eventually("nothing is left", || job.processes().is_empty());
    job.check_nothing_left();
}
