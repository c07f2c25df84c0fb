//! What a supervisor's threads, memory and signals mean to its programs.

use std::fs;
use std::process::Command;

use containment::{Backend, Containment, Policy, Program};

use crate::support::backends::have;
use crate::support::job::Job;
use crate::support::{binary, eventually};

/// No signal of the parent's death is bound to that thread.
pub(crate) fn k28_a_program_outlives_the_thread_that_spawned_it(backend: &str) {
    let job = Job::on(backend);
    let host = Containment::builder().backend(known(backend)).build().expect("it is usable");
    let group = host.group(job.name()).create().expect("it can be made");
    let script = job.script("until [ -e DIR/go ]; do sleep 0.005; done; echo done >DIR/done");
    let spawned = std::thread::scope(|scope| {
        let spawn = || group.spawn(&Program::new("sh").args(["-c", &script]));
        scope.spawn(spawn).join().expect("it does not panic")
    });
    let program = spawned.expect("it can be spawned");
    fs::write(job.path("go"), "").expect("the directory is ours");
    assert_eq!(job.await_line("done"), "done");
    program.wait().expect("it ends by itself");
    let report = group.terminate(&Policy::kill()).expect("it can be ended");
    assert!(report.is_clean(), "{report:?}");
}

fn known(backend: &str) -> Backend {
    let all = [Backend::CgroupV2, Backend::CgroupV1, Backend::Hybrid, Backend::ProcessGroup];
    all.into_iter().find(|known| known.name() == backend).expect("it is one of ours")
}

/// So that its size does not matter: no page table is copied for the program.
pub(crate) fn k46_a_spawn_shares_the_memory_of_the_supervisor(backend: &str) {
    if !have("strace", &["strace"]) {
        return;
    }
    let spawn = traced_spawn(backend, &[]);
    assert!(spawn.contains("CLONE_VM|") && spawn.contains("CLONE_CHILD_CLEARTID"), "{spawn}");
}

/// The OOM killer takes whoever shares the memory of its victim, unless that is in vfork(2).
pub(crate) fn k46_a_group_with_limited_memory_has_the_supervisor_in_vfork(backend: &str) {
    if !have("strace", &["strace"]) {
        return;
    }
    let spawn = traced_spawn(backend, &["--memory", "1G"]);
    assert!(spawn.contains("CLONE_VM|") && spawn.contains("CLONE_VFORK"), "{spawn}");
}

/// The call by which a run with these options started its program.
fn traced_spawn(backend: &str, options: &[&str]) -> String {
    let job = Job::on(backend);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-e", "trace=clone3,execve", "-o"]).arg(job.path("trace")).arg(binary());
    traced.args(["run", "--backend", backend, "--name", job.name()]).args(options);
    traced.args(["--", "true"]).env("CONTAIN_STATE_DIR", job.path("state"));
    assert!(traced.status().expect("strace can be run").success());
    eventually("nothing is left", || job.processes().is_empty());
    let trace = job.text("trace");
    let spawn = trace.lines().find(|line| line.contains("clone3(")).expect("it spawns by clone3");
    spawn.to_owned()
}

/// Who started `contain` ignores SIGCHLD, which children inherit.
pub(crate) fn k48_an_ignored_sigchld_loses_nothing(backend: &str) {
    let ignoring = ["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"];
    let job = Job::on(backend).behind(&ignoring);
    job.sh(&["--grace", "1s"], "setsid sleep 1000.MARK & sleep 1001.MARK & exit 5").expect(5);
}
