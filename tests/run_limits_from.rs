//! `--limits-from`: a group is never looser than what holds it, by cgroups or by the engine's word.

mod support;

use std::process::Command;

use support::backends::{doctor, entry, on_each_backend, skip};
use support::job::{Ended, Job};

on_each_backend!(
    what_the_enclosing_group_allows_is_taken_over,
    what_a_step_of_slurm_may_use_is_taken_over,
    of_two_limits_the_tighter_holds_and_a_looser_wish_is_told,
);

/// Prints the limits of the group that it is in, of either version: memory in bytes, processes.
const SHOW: &str = r#"
own() { awk -F: -v name="$1" '$2 == name { print $3 }' /proc/self/cgroup; }
show() {
    for file in /sys/fs/cgroup/$1$(own $1)/$2 /sys/fs/cgroup$(own)/$3; do
        [ -e $file ] && cat $file && return
    done
}
show memory memory.limit_in_bytes memory.max
show pids pids.max pids.max
"#;

/// Whether groups of this backend have limits of memory and of processes.
fn has_limits(backend: &str) -> bool {
    let limits = &entry(doctor(), backend)["capabilities"]["limits"];
    let has = |name: &&&str| {
        limits.as_array().is_some_and(|limits| limits.iter().any(|limit| limit == **name))
    };
    let lacking = ["memory", "pids"].into_iter().find(|name| !has(&name));
    if let Some(lacking) = lacking {
        skip(&format!("{backend}.{lacking}"), &format!("{backend} does not have {lacking} here"));
    }
    lacking.is_none()
}

/// A run with what a script of Slurm has in its environment.
fn in_slurm(job: &Job, options: &[&str], environment: &[(&str, &str)], script: &str) -> Ended {
    let mut command: Command = job.command(options, &["sh", "-c", script]);
    command.env("SLURM_JOB_ID", "42").envs(environment.iter().copied());
    job.launch(&mut command).finish()
}

fn what_the_enclosing_group_allows_is_taken_over(backend: &str) {
    if !has_limits(backend) {
        return;
    }
    let contain = support::binary();
    let outer = [contain.to_str().expect("it is UTF-8"), "run", "--backend", backend];
    let limits = ["--memory", "64M", "--pids", "60", "--"];
    let job = Job::on(backend).behind(&[&outer[..], &limits].concat());
    let ended = job.sh(&["--limits-from", "group"], SHOW).expect(0);
    assert_eq!(ended.stdout.split_whitespace().collect::<Vec<_>>(), ["67108864", "60"]);
}

fn what_a_step_of_slurm_may_use_is_taken_over(backend: &str) {
    if !has_limits(backend) {
        return;
    }
    let job = Job::on(backend);
    let step = [("SLURM_MEM_PER_CPU", "32"), ("SLURM_CPUS_ON_NODE", "2")];
    let ended = in_slurm(&job, &["--limits-from", "slurm"], &step, SHOW).expect(0);
    assert_eq!(ended.stdout.split_whitespace().collect::<Vec<_>>(), ["67108864", "max"]);
}

fn of_two_limits_the_tighter_holds_and_a_looser_wish_is_told(backend: &str) {
    if !has_limits(backend) {
        return;
    }
    let job = Job::on(backend);
    let options = ["--limits-from", "group,slurm", "--memory", "1G", "--pids", "70"];
    let ended = in_slurm(&job, &options, &[("SLURM_MEM_PER_NODE", "64")], SHOW).expect(0);
    assert_eq!(ended.stdout.split_whitespace().collect::<Vec<_>>(), ["67108864", "70"]);
    assert!(
        ended.stderr.contains("the step of Slurm allows less than --memory"),
        "{}",
        ended.stderr
    );
    let tighter = ["--limits-from", "slurm", "--memory", "32M"];
    let ended = in_slurm(&job, &tighter, &[("SLURM_MEM_PER_NODE", "64")], SHOW).expect(0);
    assert_eq!((ended.stdout.split_whitespace().next(), &*ended.stderr), (Some("33554432"), ""));
}

#[test]
fn outside_of_slurm_its_limits_cannot_be_taken_over() {
    let ended = Job::on("auto").run(&["--limits-from", "slurm"], &["true"]).expect(125);
    assert!(ended.error_line().contains("SLURM_JOB_ID is not set; start it with srun"));
}

#[test]
fn a_word_of_slurm_that_is_not_understood_is_no_limit_silently() {
    let job = Job::on("auto");
    let ended = in_slurm(&job, &["--limits-from", "slurm"], &[("SLURM_MEM_PER_NODE", "x")], "true");
    let ended = ended.expect(125);
    assert!(ended.error_line().contains("SLURM_MEM_PER_NODE"), "{}", ended.error_line());
}

/// Nothing is to be known of limits where there are no groups.
#[test]
fn without_cgroups_the_enclosing_group_allows_everything() {
    if !support::shapes::can_be_made("host-shapes") {
        return;
    }
    let words = support::shapes::namespace(support::shapes::NO_CGROUPS);
    let job = Job::on("auto").behind(&words);
    job.sh(&["--limits-from", "group"], "exit 5").expect(5);
}
