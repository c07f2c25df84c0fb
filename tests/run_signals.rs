//! Signals: those that end a run, those that are passed on, what the program inherits, and what happens
//! when `contain` or its keeper is killed.

mod support;

use std::fs;
use std::time::Duration;

use containment::Signal;
use support::backends::{on_each_backend, run_on, skip, unusable};
use support::job::{Job, signal};
use support::{eventually, scaled, traces};

on_each_backend!(
    a_signal_to_contain_ends_the_group,
    a_second_signal_kills_at_once,
    a_signal_while_left_overs_have_their_grace_is_passed_on_and_a_second_one_kills,
    the_group_gets_the_signal_that_contain_got,
    signals_for_the_program_are_passed_on_and_to_nobody_else,
    a_signal_that_was_ignored_stays_ignored,
    sigpipe_is_inherited_as_it_is,
    the_signal_mask_is_inherited,
    signals_that_contain_takes_are_the_programs_own,
    the_program_sees_no_descriptor_of_contains,
    a_descriptor_that_contain_inherited_is_the_programs_too,
);

/// A program that has children here and in another session, all of which die of any signal.
const FAMILY: &str = "setsid sleep 1000.MARK & sleep 1001.MARK & echo up >DIR/up; wait";

fn a_signal_to_contain_ends_the_group(backend: &str) {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let job = Job::on(backend);
        let script = format!("ulimit -c 0; trap - INT QUIT; {FAMILY}");
        let running = job.start_sh(&["--grace", "500ms"], &script);
        job.await_line("up");
        running.signal(signal);
        let ended = running.finish().expect(128 + signal.as_raw());
        assert_eq!(ended.report()["reason"], "signal");
        assert_eq!(ended.report()["exit_status"], 128 + signal.as_raw());
    }
}

fn a_second_signal_kills_at_once(backend: &str) {
    let job = Job::on(backend);
    let script = "trap 'echo asked >DIR/asked' TERM
        sh -c 'trap \"\" TERM; echo up >DIR/up; sleep 1000.MARK; sleep 1001.MARK' &
        while :; do wait; done";
    let running = job.start_sh(&["--grace", "100000s"], script);
    job.await_line("up");
    running.signal(Signal::TERM);
    job.await_line("asked");
    running.signal(Signal::INT);
    let ended = running.finish().expect(143);
    assert!(ended.took < scaled(Duration::from_secs(5)), "{ended:#?}");
    assert_eq!(ended.report()["outcome"]["signaled"], 9);
}

/// The program has ended by itself: the signal is the reason all the same, and the exit status.
fn a_signal_while_left_overs_have_their_grace_is_passed_on_and_a_second_one_kills(backend: &str) {
    let job = Job::on(backend);
    let script = "sh -c 'trap \"echo term >DIR/term\" TERM; trap \"echo hup >DIR/hup\" HUP
        echo up >DIR/up; while :; do sleep 0.01; done' &
        until [ -s DIR/up ]; do :; done; exit 3";
    let running = job.start_sh(&["--grace", "100000s"], script);
    assert_eq!(job.await_line("term"), "term");
    running.signal(Signal::HUP);
    assert_eq!(job.await_line("hup"), "hup");
    running.signal(Signal::TERM);
    let ended = running.finish().expect(129);
    assert_eq!(ended.report()["reason"], "signal");
    assert_eq!(ended.report()["outcome"]["exited"], 3);
}

fn the_group_gets_the_signal_that_contain_got(backend: &str) {
    let job = Job::on(backend);
    let script = "trap 'echo INT; exit 1' INT; sleep 1000.MARK & echo up >DIR/up; wait";
    let running = job.start_sh(&[], script);
    job.await_line("up");
    running.signal(Signal::INT);
    // Children of a shell without job control ignore INT (POSIX): they would need the whole grace.
    eventually("the program ended", || job.text("stdout") == "INT\n");
    running.signal(Signal::TERM);
    let ended = running.finish().expect(130);
    assert_eq!(ended.report()["outcome"]["exited"], 1);
}

fn signals_for_the_program_are_passed_on_and_to_nobody_else(backend: &str) {
    let job = Job::on(backend);
    // USR1 and USR2 would end the sleeping child, and with it the run.
    let script = "trap 'echo USR1 >DIR/USR1' USR1; trap 'echo USR2 >DIR/USR2' USR2
        trap 'echo WINCH >DIR/WINCH' WINCH; trap 'echo CONT >DIR/CONT' CONT
        sleep 1000.MARK & child=$!; echo up >DIR/up
        until [ -s DIR/CONT ]; do wait; done
        kill -0 $child && exit 6";
    let running = job.start_sh(&[], script);
    job.await_line("up");
    let passed_on = [
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
        (Signal::CONT, "CONT"),
    ];
    for (signal, name) in passed_on {
        running.signal(signal);
        assert_eq!(job.await_line(name), name);
    }
    running.finish().expect(6);
}

fn a_signal_that_was_ignored_stays_ignored(backend: &str) {
    let job = Job::on(backend).behind(&["env", "--ignore-signal=HUP"]);
    let ignored = same_without_contain(&job, "SigIgn");
    assert_ne!(ignored & bit(1), 0, "the program ignores HUP");
    let running = job.start_sh(&[], "echo up >DIR/up; exec sleep 1000.MARK");
    job.await_line("up");
    running.signal(Signal::HUP);
    running.signal(Signal::USR1);
    running.finish().expect(128 + 10);
}

fn sigpipe_is_inherited_as_it_is(backend: &str) {
    for (disposition, ignored) in [("--default-signal=PIPE", 0), ("--ignore-signal=PIPE", bit(13))]
    {
        let job = Job::on(backend).behind(&["env", disposition]);
        assert_eq!(same_without_contain(&job, "SigIgn") & bit(13), ignored, "{disposition}");
    }
}

fn the_signal_mask_is_inherited(backend: &str) {
    let job = Job::on(backend).behind(&["env", "--block-signal=USR1,ALRM"]);
    assert_eq!(same_without_contain(&job, "SigBlk"), bit(10) | bit(14));
}

fn signals_that_contain_takes_are_the_programs_own(backend: &str) {
    for field in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
        same_without_contain(&Job::on(backend), field);
    }
}

/// The mask in this field of the program's status, which must be the one without `contain`. (Whoever
/// runs the tests may ignore signals: `posix_spawn` of glibc does, two of its own.)
fn same_without_contain(job: &Job, field: &str) -> u64 {
    let program = ["grep", field, "/proc/self/status"];
    let ended = job.run(&[], &program).expect(0);
    assert_eq!(ended.stdout, job.directly(&program));
    let (_, digits) = ended.stdout.split_once(':').expect("a field of the status");
    u64::from_str_radix(digits.trim(), 16).expect("a mask")
}

fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

fn the_program_sees_no_descriptor_of_contains(backend: &str) {
    let job = Job::on(backend);
    let program = ["ls", "-l", "/proc/self/fd"];
    let ended = job.run(&[], &program).expect(0);
    assert_eq!(descriptors(&ended.stdout), descriptors(&job.directly(&program)));
    let leads_to = |what: &str| ended.stdout.contains(what);
    assert!(!leads_to("cgroup") && !leads_to("pidfd"), "{}", ended.stdout);
}

/// The numbers in a long listing of `/proc/self/fd`.
fn descriptors(listing: &str) -> Vec<&str> {
    let links = listing.lines().filter_map(|line| line.split_once(" -> "));
    let mut numbers: Vec<_> = links.filter_map(|(first, _)| first.rsplit(' ').next()).collect();
    numbers.sort_unstable();
    numbers
}

fn a_descriptor_that_contain_inherited_is_the_programs_too(backend: &str) {
    let job = Job::on(backend).behind(&["sh", "-c", "exec 7>&1; exec \"$@\"", "sh"]);
    let ended = job.sh(&[], "echo through >&7").expect(0);
    assert_eq!(ended.stdout, "through\n");
}

#[test]
fn a_keeper_that_is_killed_ends_the_run_with_125_and_nothing_is_left() {
    run_on("process-group", |backend| {
        let job = Job::on(backend);
        let script = "trap '' TERM; setsid sleep 1000.MARK & echo $$ >DIR/pid; sleep 1001.MARK";
        let running = job.start_sh(&["--grace", "200ms"], script);
        let program: i32 = job.await_line("pid").parse().unwrap();
        let keeper = traces::parent(program).expect("the program runs");
        assert_eq!(traces::parent(keeper), Some(running.pid()));
        signal(keeper, Signal::KILL);
        let ended = running.finish().expect(125);
        assert!(ended.error_line().contains("keeper"), "{}", ended.stderr);
    });
}

#[test]
fn the_keeper_holds_no_descriptor_of_the_programs() {
    run_on("process-group", |backend| {
        let job = Job::on(backend);
        let running = job.start_sh(&[], "echo $$ >DIR/pid; exec sleep 1000.MARK");
        let program: i32 = job.await_line("pid").parse().unwrap();
        let keeper = traces::parent(program).expect("the program runs");
        eventually("the keeper has let go of the streams", || {
            let held = links(keeper);
            !held.iter().any(|link| link.ends_with("/stdout") || link.ends_with("/stderr"))
        });
        running.signal(Signal::TERM);
        running.finish().expect(143);
    });
}

fn links(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the keeper lives");
    let link = |entry: fs::DirEntry| Some(fs::read_link(entry.path()).ok()?.display().to_string());
    entries.flatten().filter_map(link).collect()
}

/// The keeper is killed by the very program that it has just started, before it could tell of it.
#[test]
fn a_keeper_that_is_killed_at_once_ends_the_run_with_125_and_nothing_is_left() {
    run_on("process-group", |backend| {
        for _ in 0..20 {
            let job = Job::on(backend);
            let script = "kill -KILL $PPID; setsid sleep 1000.MARK & sleep 1001.MARK";
            let ended = job.start_sh(&["--grace", "0"], script).finish().expect(125);
            assert!(ended.error_line().contains("keeper"), "{}", ended.stderr);
        }
    });
}

/// K36: members that move themselves out of the cgroup are found as descendants, ended and reported.
#[test]
fn k36_who_moves_itself_out_of_the_cgroup_is_ended_and_reported() {
    for (backend, options) in [
        ("cgroup-v2", &[][..]),
        ("cgroup-v1", &[]),
        ("hybrid", &[]),
        // Out of the one hierarchy, or of both.
        ("hybrid", &["--best-effort", "--pids", "50"]),
    ] {
        match unusable(backend) {
            None => {
                for hierarchies in ["cgroup", "cgroup2"] {
                    if hierarchies == "cgroup" || backend != "cgroup-v1" {
                        check_moved_out(backend, options, hierarchies);
                    }
                }
            }
            Some(reason) => skip(backend, &reason),
        }
    }
}

/// Moves a member out of its groups in the hierarchies of this type, or of one that begins so.
fn check_moved_out(backend: &str, options: &[&str], hierarchies: &str) {
    let job = Job::on(backend);
    // In each hierarchy the group's parent is the group of whoever runs this test.
    let groups = format!(
        "find $(awk '$3 ~ /^{hierarchies}/ {{ print $2 }}' /proc/mounts) -type d -name NAME"
    );
    let leave = format!("for g in $({groups}); do echo 0 >${{g%/*}}/cgroup.procs; done");
    // Of the unified hierarchy alone: it is still in the others.
    let inside = if hierarchies == "cgroup2" { "^0::.*NAME" } else { "NAME" };
    let script = format!(
        "({leave}; exec sleep 1000.MARK >/dev/null 2>&1) & \
         while grep -q '{inside}' /proc/$!/cgroup; do :; done; exit 0"
    );
    let script = script.replace("NAME", job.name());
    let options = [&["--grace", "200ms"], options].concat();
    let ended = job.sh(&options, &script).expect(0);
    assert_eq!(ended.listed("escaped").len(), 1, "{backend}: {:?}", ended.report());
}

/// A keeper that its own program stops goes on, however often.
#[test]
fn a_keeper_that_is_stopped_goes_on_and_no_exit_is_lost() {
    run_on("process-group", |backend| {
        let job = Job::on(backend);
        let script = "kill -STOP $PPID; sleep 1000.MARK & kill -STOP $PPID; exit 3";
        let ended = job.sh(&["--grace", "200ms"], script).expect(3);
        assert_eq!(ended.listed("left_behind").len(), 1, "{:?}", ended.report());
    });
}
