//! Limits of `contain run` against programs that want more: they hold, and nothing else is harmed. On every
//! backend that has the limit; the others are skipped with that reason.

mod support;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use support::backends::{doctor, entry, on_each_backend, skip};
use support::job::Job;

on_each_backend!(
    a_memory_hog_dies_within_its_limit,
    a_fork_bomb_cannot_pass_its_limit,
    a_cpu_hog_gets_its_share,
    a_program_runs_on_its_cpus_only,
    a_disk_is_read_no_faster_than_its_limit,
    what_the_machine_does_not_have_is_no_limit,
    more_processes_than_there_can_be_are_no_limit,
    a_limit_that_is_lifted_asks_for_nothing,
);

/// Whether the backend has these limits and figures; says which one it lacks.
fn has(backend: &str, limits: &[&str], figures: &[&str]) -> bool {
    let capabilities = &entry(doctor(), backend)["capabilities"];
    let listed = |list: &str, name: &str| {
        capabilities[list].as_array().is_some_and(|names| names.iter().any(|one| one == name))
    };
    let lacking = limits.iter().find(|name| !listed("limits", name));
    let lacking = lacking.or_else(|| figures.iter().find(|name| !listed("usage", name)));
    if let Some(lacking) = lacking {
        skip(&format!("{backend}.{lacking}"), &format!("{backend} does not have {lacking} here"));
    }
    lacking.is_none()
}

fn a_memory_hog_dies_within_its_limit(backend: &str) {
    if !has(backend, &["memory"], &[]) {
        return;
    }
    let mut options = vec!["--memory", "64M"];
    if has(backend, &["swap"], &[]) {
        options.extend(["--swap", "0"]);
    }
    let job = Job::on(backend);
    // It takes as much as it reads at a time.
    let ended =
        job.sh(&options, "dd if=/dev/zero of=/dev/null bs=256M count=1; exit $?").expect(137);
    let usage = &ended.report()["usage"];
    assert!(usage["oom_kills"].as_u64().is_none_or(|kills| kills > 0), "{usage}");
    if let Some(peak) = usage["memory_peak_bytes"].as_u64() {
        let most = 64 << 20;
        assert!(peak <= most && peak >= most / 100 * 95, "{usage}");
    }
}

/// A shell gives up where it cannot fork: each of the many forks for itself.
fn a_fork_bomb_cannot_pass_its_limit(backend: &str) {
    if !has(backend, &["pids"], &[]) {
        return;
    }
    let job = Job::on(backend);
    let script = "n=0; while [ $n -lt 100 ]; do (sleep 1000.MARK &) || :; n=$((n+1)); done; \
                  echo done; exec sleep 1000.MARK";
    let options = ["--pids", "50", "--grace", "0"];
    let running = job.start_sh(&options, script);
    let mut most = 0;
    support::eventually("the bomb goes off", || {
        most = most.max(job.processes().len());
        most >= 40
    });
    for _ in 0..20 {
        most = most.max(job.processes().len());
    }
    // `contain` itself and its helpers bear the mark in their arguments, too.
    assert!(most <= 50 + 3, "{most}");
    running.signal(containment::Signal::TERM);
    let ended = running.finish();
    let peak = ended.report()["usage"]["pids_peak"].as_u64();
    assert!(peak.is_none_or(|peak| peak <= 50), "{peak:?}");
}

/// Never more than its share, and its whole share within its time, of which an emulated machine needs a part
/// to start it; with a weight that makes way on a busy machine.
fn a_cpu_hog_gets_its_share(backend: &str) {
    if !has(backend, &["cpus", "cpu-weight"], &["cpu"]) {
        return;
    }
    let script = "(while :; do :; done) & while :; do :; done";
    let seconds = 3.0 * support::scaled(Duration::from_secs(1)).as_secs_f64().sqrt();
    let time = format!("{seconds}s");
    let options = ["--cpus", "0.5", "--cpu-weight", "10000", "--timeout", &time, "--grace", "0"];
    let number = |value: &serde_json::Value| value.as_f64().expect("it is measured");
    support::eventually("a whole share", || {
        let ended = Job::on(backend).sh(&options, script).expect(124);
        let report = ended.report();
        let (used, wall) = (&report["usage"]["cpu_seconds"], &report["wall_seconds"]);
        assert!(number(used) <= 0.55 * number(wall), "{report}");
        number(used) >= 0.45 * seconds
    });
}

fn a_program_runs_on_its_cpus_only(backend: &str) {
    if !has(backend, &["cpuset"], &[]) {
        return;
    }
    if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        return skip("two-cpus", "this machine has one CPU");
    }
    let ended = Job::on(backend).sh(&["--cpuset", "1"], "grep Cpus_allowed_list /proc/self/status");
    let ended = ended.expect(0);
    assert_eq!(ended.stdout.split_whitespace().last(), Some("1"), "{}", ended.stdout);
}

/// A whole disk, as the kernel names it; its number.
fn disk() -> Option<(String, String)> {
    let disks = std::fs::read_dir("/sys/block").ok()?.flatten();
    let read =
        |file: PathBuf| std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned());
    disks.map(|disk| disk.path()).find_map(|disk| {
        let name = disk.file_name()?.to_str()?.to_owned();
        let filled = read(disk.join("size"))? != "0" && File::open(format!("/dev/{name}")).is_ok();
        filled.then_some((name, read(disk.join("dev"))?))
    })
}

/// A mebibyte, past the cache, at a quarter of that in a second; without the limit it is there earlier.
fn a_disk_is_read_no_faster_than_its_limit(backend: &str) {
    if !has(backend, &["io-max"], &[]) {
        return;
    }
    let Some((name, number)) = disk() else {
        return skip(&format!("{backend}.disk"), "this host has no disk that can be read");
    };
    let script = format!("dd if=/dev/{name} of=/dev/null bs=64k count=16 iflag=direct");
    let seconds = |options: &[&str]| {
        let ended = Job::on(backend).sh(options, &script).expect(0);
        ended.report()["wall_seconds"].as_f64().expect("it is measured")
    };
    let limited = seconds(&["--io-max", &format!("{number}:rbps=256K")]);
    assert!(limited >= 3.0, "{limited}");
    support::eventually("it is read at once without", || seconds(&[]) < limited / 2.0);
}

/// What only the kernel can tell: the limit, its value, and the words of the line, what to do among them.
const NOT_THERE: [(&str, [&str; 2], &str, &str); 4] = [
    ("cpuset", ["--cpuset", "9999"], "the group around it", "; ask for no more than"),
    ("mems", ["--mems", "1000"], "the group around it", "; ask for no more than"),
    ("io-max", ["--io-max", "8:4095:rbps=1M"], "8:4095 is no disk", "; name a whole disk"),
    ("hugetlb", ["--hugetlb", "8K:4M"], "no huge pages of", "; name a size that"),
];

fn what_the_machine_does_not_have_is_no_limit(backend: &str) {
    for (limit, option, cause, remedy) in NOT_THERE {
        if !has(backend, &[limit], &[]) {
            continue;
        }
        let job = Job::on(backend);
        let ended = job.sh(&option, "touch DIR/ran").expect(125);
        let line = ended.error_line();
        let object = format!("failed to set the limits of group {}: ", job.name());
        for words in [&*object, cause, remedy] {
            assert!(line.contains(words), "{words:?} in {line}");
        }
        assert!(!job.path("ran").exists());
    }
}

fn more_processes_than_there_can_be_are_no_limit(backend: &str) {
    if has(backend, &["pids"], &[]) {
        Job::on(backend).sh(&["--pids", "5000000000"], "exit 3").expect(3);
    }
}

fn a_limit_that_is_lifted_asks_for_nothing(backend: &str) {
    let lifting = ["--memory", "max", "--memory-high", "max", "--swap", "max", "--cpus", "max"];
    let more = ["--pids", "max", "--io-max", "8:0:rbps=max", "--hugetlb", "2M:max"];
    let ended = Job::on(backend).sh(&[&lifting[..], &more].concat(), "exit 5").expect(5);
    assert_eq!(ended.report()["degraded"], serde_json::json!([]));
}
