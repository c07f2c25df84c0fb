//! What a run on cgroup v1 does that no other backend does.

mod support;

use std::path::Path;

use support::backends::{have, run_on, skip};
use support::job::Job;

/// The controllers whose hierarchies a run with these options joins, by what its program sees.
fn joined(options: &[&str]) -> Vec<String> {
    let job = Job::on("cgroup-v1");
    let mut command = job.bare_command();
    command.args(["run", "--backend", "cgroup-v1", "--name", job.name()]).args(options);
    command.args(["--", "cat", "/proc/self/cgroup"]);
    let ended = job.launch(&mut command).finish().expect(0);
    let inside = ended.stdout.lines().filter(|line| line.contains(job.name()));
    let controllers = inside.filter_map(|line| line.split(':').nth(1)?.split(',').next());
    let mut controllers: Vec<_> = controllers.map(str::to_owned).collect();
    controllers.sort_unstable();
    controllers
}

/// Each hierarchy costs a directory, and a write at the spawn.
#[test]
fn a_run_joins_the_hierarchies_that_it_needs_and_no_other() {
    run_on("cgroup-v1", |_| {
        let holding = joined(&[]);
        assert!((1..=2).contains(&holding.len()), "{holding:?}");
        assert!(holding.iter().all(|name| ["freezer", "pids"].contains(&&**name)), "{holding:?}");
        let reporting = joined(&["--report", "/dev/null"]);
        assert!(reporting.len() > holding.len() && !reporting.contains(&"cpu".to_owned()));
        assert_eq!(joined(&["--stats"]), reporting);
        for (controller, limit) in [("cpu", "--cpus=1"), ("cpuset", "--cpuset=0")] {
            if Path::new("/sys/fs/cgroup").join(controller).join("tasks").exists() {
                let mut expected = holding.clone();
                expected.push(controller.to_owned());
                expected.sort_unstable();
                assert_eq!(joined(&[limit]), expected);
            }
        }
    });
}

/// K16: what the kernel does not move (EINVAL) is an error that says what to do; and nothing is
/// measured at the price of such a program.
#[test]
fn k16_a_real_time_program_is_held_unless_a_limit_on_cpus_is_asked_for() {
    run_on("cgroup-v1", |backend| {
        if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
            return skip("real-time", "this kernel shares no real-time among groups");
        }
        if !have("real-time", &["chrt"]) {
            return;
        }
        let job = || Job::on(backend).behind(&["chrt", "-f", "1"]);
        let ended = job().sh(&[], "setsid sleep 1000.MARK & exit 3").expect(3);
        assert_eq!(ended.listed("left_behind").len(), 1);
        let refused = job();
        let ended = refused.sh(&["--cpus", "1"], "touch DIR/ran").expect(125);
        let line = ended.error_line();
        assert!(line.contains("EINVAL") && line.contains("chrt -o 0"), "{line}");
        assert!(!refused.path("ran").exists());
    });
}

/// K37: the figures of a name that is used again are those of its last run alone.
#[test]
fn k37_a_name_that_is_used_again_starts_from_nothing() {
    run_on("cgroup-v1", |backend| {
        let job = Job::on(backend);
        let busy = "head -c 20M /dev/zero | tail >/dev/null; i=0; \
                    while [ $i -lt 50000 ]; do i=$((i+1)); done";
        let first = job.sh(&[], busy).expect(0).report()["usage"].clone();
        let second = job.sh(&[], "exit 0").expect(0).report()["usage"].clone();
        for figure in ["cpu_seconds", "memory_peak_bytes"] {
            let (first, second) = (first[figure].as_f64(), second[figure].as_f64());
            let (Some(first), Some(second)) = (first, second) else { continue };
            assert!(second < first / 2.0, "{figure}: {first}, then {second}");
        }
    });
}
