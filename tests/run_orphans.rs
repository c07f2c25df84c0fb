//! What becomes of a group when `contain` itself is killed, and when its guardian is.

mod support;

use std::fs;
use std::time::Duration;

use containment::Signal;
use support::backends::{on_each_backend, run_on};
use support::eventually;
use support::job::{Job, Running, signal};

on_each_backend!(
    k22_a_killed_contain_leaves_nothing,
    k22_the_whole_process_group_of_contain_may_be_killed,
    k22_nothing_is_left_when_contain_is_killed_at_any_time,
    orphans_are_kept_where_that_is_asked_for,
);

/// The backends whose groups have no keeper, so that a guardian stands over them.
const CGROUPS: [&str; 2] = ["cgroup-v2", "cgroup-v1"];

/// A program with a daemon, and a member that ignores SIGTERM.
const PROGRAM: &str = "setsid sleep 1000.MARK & (trap '' TERM; exec sleep 1001.MARK) & \
    echo up >DIR/up; exec sleep 1002.MARK";

fn started(job: &Job, options: &[&str]) -> i32 {
    let running = job.start_sh(options, PROGRAM);
    job.await_line("up");
    let pid = running.pid();
    std::mem::forget(running);
    pid
}

fn k22_a_killed_contain_leaves_nothing(backend: &str) {
    let job = Job::on(backend);
    signal(started(&job, &[]), Signal::KILL);
    nothing_left_soon(&job);
}

/// The guardian, or the keeper, has a process group of its own.
fn k22_the_whole_process_group_of_contain_may_be_killed(backend: &str) {
    let job = Job::on(backend);
    // It leads a session, and with it the process group.
    let leader = started(&job, &[]);
    let group = format!("-{leader}");
    let killed = std::process::Command::new("kill").args(["-KILL", "--", &group]).status();
    assert!(killed.expect("kill can be run").success());
    nothing_left_soon(&job);
}

/// Within 100 ms on an idle machine; the tests share theirs, so the deadline is generous.
fn nothing_left_soon(job: &Job) {
    let left = || {
        let groups = support::traces::groups_called(job.name());
        job.processes().len() + groups.len()
    };
    eventually("nothing is left of it", || left() == 0);
}

/// Killed after a pause that grows from nothing to longer than a start takes.
fn k22_nothing_is_left_when_contain_is_killed_at_any_time(backend: &str) {
    for step in 0..40 {
        let job = Job::on(backend);
        let running = job.start_sh(&[], PROGRAM);
        std::thread::sleep(Duration::from_micros(150 * step));
        kill(&running);
        drop(running);
        // A group that was just made and holds nobody yet is left to `gc`.
        eventually("no process is left", || job.processes().is_empty());
        for group in support::traces::groups_called(job.name()) {
            eventually("the group is gone, or empty", || {
                fs::remove_dir(&group).is_ok() || !group.exists()
            });
        }
    }
}

fn kill(running: &Running<'_>) {
    signal(running.pid(), Signal::KILL);
}

fn orphans_are_kept_where_that_is_asked_for(backend: &str) {
    let job = Job::on(backend);
    let pid = started(&job, &["--orphans", "keep"]);
    let sleeping = || job.processes().iter().filter(|process| process.comm == "sleep").count();
    eventually("all of them are what they are to be", || sleeping() == 3);
    signal(pid, Signal::KILL);
    eventually("contain is dead", || {
        !job.processes().iter().any(|process| process.comm == "contain" && process.pid == pid)
    });
    // Whoever would have ended them has had the time to.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(sleeping(), 3, "{:?}", job.processes());
}

/// The guardian: it carries the mark as we do, and is our only child that does not run the program.
fn guardian_of(job: &Job, contain: i32) -> Option<i32> {
    let ours = |process: &&support::traces::Process| process.comm == "contain";
    let processes = job.processes();
    processes.iter().filter(ours).map(|process| process.pid).find(|pid| *pid != contain)
}

#[test]
fn a_guardian_that_is_killed_is_replaced() {
    for backend in CGROUPS {
        run_on(backend, |backend| {
            let job = Job::on(backend);
            let contain = started(&job, &[]);
            let first = guardian_of(&job, contain).expect("there is a guardian");
            signal(first, Signal::KILL);
            eventually("there is another one", || {
                guardian_of(&job, contain).is_some_and(|guardian| guardian != first)
            });
            signal(contain, Signal::KILL);
            nothing_left_soon(&job);
        });
    }
}

/// Stopped it cannot end anything; `gc`, which leaves to a guardian what is its, has it go on. The kernel does, too, when
/// it is left alone in its session: whoever stops it has to be quick.
#[test]
fn a_guardian_that_was_stopped_goes_on_with_gc() {
    for backend in CGROUPS {
        run_on(backend, |backend| assert!((0..50).any(|_| is_stopped_and_goes_on(backend))));
    }
}

/// Whether it stood still when `contain` was dead.
fn is_stopped_and_goes_on(backend: &str) -> bool {
    let job = Job::on(backend);
    let contain = started(&job, &[]);
    let guardian = guardian_of(&job, contain).expect("there is a guardian");
    let stop = || {
        // It may have ended.
        let guardian = guardian.to_string();
        std::process::Command::new("kill")
            .args(["-STOP", &guardian])
            .output()
            .expect("kill can be run")
    };
    stop();
    signal(contain, Signal::KILL);
    stop();
    let state = support::traces::state;
    eventually("contain is dead", || state(contain).is_none_or(|state| state == 'Z'));
    stop();
    let stands_still = state(guardian) == Some('T');
    let mut gc = job.bare_command();
    assert!(gc.arg("gc").status().expect("contain can be run").success());
    nothing_left_soon(&job);
    stands_still
}

/// A member moves `contain` itself into the group, which refuses to be killed by a member (K38): that is a
/// loss of containment, and over once `contain` is gone.
#[test]
fn k38_what_contain_cannot_end_from_within_its_guardian_ends() {
    run_on("cgroup-v2", |backend| {
        let job = Job::on(backend);
        let script = "d=$(find $(awk '$8==\"cgroup2\"||$9==\"cgroup2\"{print $5}' /proc/self/mountinfo) \
            -type d -name NAME); echo $PPID >$d/cgroup.procs; sleep 1000.MARK & exit 3";
        let running = job.start_sh(&["--grace", "0"], &script.replace("NAME", job.name()));
        let ended = running.finish_unchecked().expect(125);
        assert!(ended.error_line().contains("still alive"), "{}", ended.stderr);
        nothing_left_soon(&job);
    });
}

/// It has no pipe of anybody's open, and no file.
#[test]
fn a_guardian_holds_nobody_up() {
    for backend in CGROUPS {
        run_on(backend, |backend| {
            let job = Job::on(backend);
            let contain = started(&job, &["--grace", "0"]);
            let guardian = guardian_of(&job, contain).expect("there is a guardian");
            let open = || {
                let listed = fs::read_dir(format!("/proc/{guardian}/fd")).expect("it runs");
                let target = |entry: fs::DirEntry| fs::read_link(entry.path()).ok();
                let targets: Vec<_> = listed.filter_map(|entry| target(entry.ok()?)).collect();
                targets
                    .iter()
                    .map(|target| target.to_string_lossy().into_owned())
                    .collect::<Vec<_>>()
            };
            // Besides its handles, the record of the group.
            let record = job.path("state").display().to_string();
            let harmless = |target: &String| {
                ["/dev/null", "anon_inode:", "pidfd:", "/sys/fs/cgroup", &record]
                    .iter()
                    .any(|start| target.starts_with(start))
            };
            eventually("only handles are open", || open().iter().all(harmless));
            let directory = fs::read_link(format!("/proc/{guardian}/cwd")).expect("it runs");
            assert_eq!(directory, std::path::Path::new("/"));
            signal(contain, Signal::TERM);
            nothing_left_soon(&job);
        });
    }
}
