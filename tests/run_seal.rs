//! `contain run --seal`: what it refuses, what it leaves, and what it is worth where it cannot be whole.
//! The ways out themselves are tried in `tests/seal/`.

mod support;

use containment_process::spawn::separates_processes;

use support::backends::{skip, unusable};
use support::isolation::{assert_refused, can_isolate};
use support::job::Job;

/// Whether a seal can be whole here; says why not.
fn can_seal() -> bool {
    if let Some(reason) = unusable("cgroup-v2") {
        skip("cgroup-v2", &reason);
        return false;
    }
    if !separates_processes() {
        skip("isolation", "this kernel has no Landlock of Linux 5.19");
        return false;
    }
    can_isolate()
}

#[test]
fn a_directory_on_a_standard_stream_is_no_seal() {
    if !can_seal() {
        return;
    }
    let job = Job::on("cgroup-v2");
    let ended = job.sh(&["--seal", "--stdin", "/"], "echo > DIR/ran");
    assert_refused(&job, ended, &["descriptor 0", "redirect"]);
    let ended = job.sh(&["--seal", "--stdin", "/sys/fs/cgroup"], "echo > DIR/ran");
    assert_refused(&job, ended, &["descriptor 0"]);
}

#[test]
fn a_seal_leaves_the_descriptors_that_were_asked_for() {
    if !can_seal() {
        return;
    }
    let job = Job::on("cgroup-v2");
    let words = ["sh", "-c", "exec 9</etc/passwd; exec \"$@\"", "sh"];
    let job = job.behind(&words);
    let script = "test -e /proc/self/fd/9 && echo inherited; echo out; echo err >&2";
    let ended = job.sh(&["--seal", "--user", "65534:65534"], script).expect(0);
    assert_eq!((&*ended.stdout, &*ended.stderr), ("out\n", "err\n"));
    let report = ended.report();
    assert_eq!(report["guarantees"]["leave_by"], "none");
    assert_eq!(report["degraded"].as_array().map(Vec::len), Some(0));
    let ended = job.sh(&[], script).expect(0);
    assert_eq!(ended.stdout, "inherited\nout\n");
}

#[test]
fn a_process_group_is_sealed_as_far_as_it_goes_when_that_will_do() {
    if !can_isolate() {
        return;
    }
    let job = Job::on("process-group");
    let ended = job.sh(&["--seal"], "echo > DIR/ran");
    assert_refused(&job, ended, &["descent", "cgroup backend"]);
    let script = "grep NoNewPrivs /proc/self/status; echo x > /proc/sys/kernel/core_pattern";
    let ended = job.sh(&["--seal", "--best-effort"], script);
    assert_eq!(ended.stdout, "NoNewPrivs:\t1\n");
    assert!(ended.stderr.contains("Read-only"), "{}", ended.stderr);
    let degraded = ended.report()["degraded"].as_array().unwrap();
    assert_eq!(degraded[0]["what"], "seal");
}
