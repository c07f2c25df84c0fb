//! Process groups with a keeper, on real processes. Each case is played in a process of its own, which is this
//! program started again: its keepers are forks of it, so that it must have one thread.

mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use backend_pgrp::{Keeper, KeeperConfig, KeeperSpawner, Order, ProcessGroups, keep};
use containment_core::{
    Change, Error, ErrorKind, FreezeState, Group, KillStep, Member, Outcome, Pid, ProcessGroup,
    Program, Result, Signal, SignalSet, Source, Standing, Watch,
};
use containment_process::pidfd::PidFd;
use containment_process::proc::Stat;
use containment_process::reap::become_sub_reaper;
use containment_process::worker;
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::event::{Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getpgrp, getrlimit, setrlimit};
use support::{
    await_end_of_first_thread, clean_kill, create, eventually, is_alive, sh, told_pid,
    without_first_thread,
};

/// The case that this process is to play.
const CASE: &str = "KEPT_CASE";

type Case = (&'static str, fn());

macro_rules! cases {
    ($($case:ident),+ $(,)?) => { &[$((stringify!($case), $case)),+] };
}

const CASES: &[Case] = cases![
    k10_who_lives_without_its_first_thread_is_a_member,
    programs_that_are_over_cost_no_descriptors,
    a_program_that_cannot_run_costs_no_figure,
    a_program_that_runs_though_its_start_failed_is_a_member,
    k49_nothing_runs_once_the_kill_returned,
    k32_however_few_descriptors_whoever_left_dies,
    a_member_that_became_another_user_is_told_by_the_first_kill,
    a_program_that_joined_another_process_group_is_met_by_the_first_kill,
    who_left_the_process_group_of_a_program_that_came_after_the_list_is_met_by_the_first_kill,
    who_ended_or_began_since_a_freeze_is_known_to_the_next_list,
    who_was_stopped_with_the_process_group_is_listed_by_that,
    a_keeper_that_is_over_wakes_nobody_who_waits_for_others,
    its_keeper_is_not_told_that_a_program_stops_and_goes_on,
    what_lets_its_keeper_go_on_is_not_kept_for_it,
    what_a_program_used_counts_once_beside_a_crowd,
    who_lives_without_its_first_thread_has_its_memory,
    who_got_the_pid_of_a_keeper_that_is_gone_is_a_member,
    a_process_group_that_cannot_be_named_is_not_joined,
];

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(CASE) {
        let (_, play) = CASES.iter().find(|(case, _)| *case == name).expect("it is a case");
        play();
        return ExitCode::SUCCESS;
    }
    let trials = CASES.iter().map(|(name, _)| Trial::test(*name, || play_apart(name)));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A panic is what it says on the standard error output that it shares with us.
fn play_apart(case: &str) -> std::result::Result<(), Failed> {
    let mut player = Command::new(std::env::current_exe()?);
    let status = player.env(CASE, case).stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

fn driver() -> ProcessGroups {
    let driver = ProcessGroups::probe(Keeper::Worker).expect("Linux has process groups");
    driver.prove().expect("/proc is there");
    driver
}

/// Keepers that are forks of this process, too, but none of the group's business; and what happens before one is
/// handed over.
struct Forks<F>(F);

impl<F: Fn() + Send + Sync> Forks<F> {
    fn driver(meanwhile: F) -> ProcessGroups
    where
        F: 'static,
    {
        become_sub_reaper().unwrap();
        driver().kept_by(Arc::new(Self(meanwhile)), false)
    }
}

impl<F> std::fmt::Debug for Forks<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forks")
    }
}

impl<F: Fn() + Send + Sync> KeeperSpawner for Forks<F> {
    fn spawn_keeper(&self, order: &Order<'_>, pipe: PipeWriter) -> Result<PidFd> {
        let supervisor = PidFd::open(Pid::current()).unwrap().unwrap();
        let config = KeeperConfig { order: *order, supervisor, guardian: None, recorder: None };
        let keeper = worker::fork(move || keep(config, pipe)).unwrap();
        (self.0)();
        Ok(keeper)
    }

    fn sub_reaper(&self) -> Pid {
        Pid::current()
    }

    fn keepers(&self) -> Vec<Pid> {
        Vec::new()
    }
}

fn limit_descriptors(to: u64) {
    let limit = Rlimit { current: Some(to), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// K10 the other way round: the first thread has ended, and the process has not. It has left the process group,
/// so that nothing but a look at it finds it.
fn k10_who_lives_without_its_first_thread_is_a_member() {
    let Some(program) = without_first_thread() else { return };
    let driver = driver();
    let group = create(&driver, "threads");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let script = "setsid sh -c 'echo $$; exec \"$@\"' sh \"$@\" & exec sleep 1000";
    let start = sh(script).arg("sh").arg(program.name());
    let start = start.args(program.arguments()).stdout(writer);
    let sleeper = group.spawn(&start).unwrap();
    let daemon = told_pid(&mut reader);
    await_end_of_first_thread(daemon);
    let members = group.members().unwrap();
    let standing = |pid| members.iter().find(|m| m.pid == pid).map(|member| member.standing);
    assert_eq!(standing(daemon), Some(Standing::Escaped), "{members:?}");
    assert_eq!(standing(sleeper.pid()), Some(Standing::Program), "{members:?}");
    clean_kill(group);
    assert!(!is_alive(daemon));
}

/// The kernel shows none with a first thread that has ended; the others have it still.
fn who_lives_without_its_first_thread_has_its_memory() {
    let Some(program) = without_first_thread() else { return };
    let driver = driver();
    let group = create(&driver, "memory");
    let program = group.spawn(&program).unwrap();
    await_end_of_first_thread(program.pid());
    let members = group.members().unwrap();
    let [member] = &*members else { panic!("it is alone: {members:?}") };
    assert!(member.memory.unwrap() > 1 << 20, "a Python: {member:?}");
    assert!(group.usage().unwrap().memory.unwrap() > 1 << 20);
    clean_kill(group);
}

/// Four hundred in turn, of which each takes three while it runs.
fn programs_that_are_over_cost_no_descriptors() {
    limit_descriptors(64);
    let driver = driver();
    let group = create(&driver, "many");
    let count = "n=0; while [ $n -lt 50000 ]; do n=$((n+1)); done";
    group.spawn(&sh(count)).unwrap().wait().unwrap();
    eventually("it is over", || !group.ops().populated().unwrap());
    let counted = group.usage().unwrap().cpu.unwrap();
    for _ in 0..400 {
        let program = group.spawn(&Program::new("/bin/true")).unwrap();
        assert_eq!(program.wait().unwrap(), Outcome::Exited(0));
    }
    eventually("they are over", || !group.ops().populated().unwrap());
    assert!(group.usage().unwrap().cpu.unwrap() >= counted, "what is forgotten still counts");
    clean_kill(group);
}

fn a_program_that_cannot_run_costs_no_figure() {
    let driver = driver();
    let group = create(&driver, "after");
    let missing = group.spawn(&Program::new("/no/such/program")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ProgramNotFound);
    assert!(group.usage().unwrap().cpu.is_some());
    clean_kill(group);
}

/// The program runs, and no descriptor is left to hold it by.
fn a_program_that_runs_though_its_start_failed_is_a_member() {
    let driver = Forks::driver(|| limit_descriptors(3));
    let group = create(&driver, "unheld");
    let failed = group.spawn(&Program::new("sleep").arg("1000")).unwrap_err();
    limit_descriptors(64);
    assert_eq!(failed.errno(), Some(Errno::MFILE.raw_os_error()));
    let sleeper = || group.members().unwrap().into_iter().find(|member| member.comm == "sleep");
    eventually("it is a member", || sleeper().is_some());
    let sleeper = sleeper().unwrap();
    clean_kill(group);
    assert!(!is_alive(sleeper.pid));
}

/// The kill comes when the program runs already, and its group has no line to its keeper yet.
fn k49_nothing_runs_once_the_kill_returned() {
    let killed: Arc<OnceLock<Group>> = Arc::default();
    let group = Arc::clone(&killed);
    let driver = Forks::driver(move || {
        let ops = killed.get().unwrap().ops();
        ops.kill().unwrap();
        assert!(ops.populated().unwrap(), "what is under way may run");
        assert_eq!(ops.remove().unwrap_err().kind(), ErrorKind::Busy);
    });
    let group = group.get_or_init(|| create(&driver, "killed"));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let program = Program::new("sleep").arg("1000").stdout(writer);
    assert_eq!(group.spawn(&program).unwrap_err().kind(), ErrorKind::Killed);
    drop(program);
    assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0, "nobody holds the pipe");
    eventually("its keeper has ended", || group.ops().remove().is_ok());
}

/// Nobody is in the program's process group: each is opened, and looked at while others are open.
fn k32_however_few_descriptors_whoever_left_dies() {
    let driver = driver();
    let group = create(&driver, "few");
    let script = "n=0; while [ $n -lt 40 ]; do n=$((n+1)); setsid sleep 1000 & done; wait";
    group.spawn(&sh(script)).unwrap();
    let has_left = |member: &&Member| member.standing == Standing::Escaped;
    let left = || group.members().unwrap().iter().filter(has_left).count();
    eventually("all have left", || left() == 40);
    limit_descriptors(20);
    clean_kill(group);
}

/// It stands still and was listed, but the signal to the process group that it led reaches its child alone.
fn a_program_that_joined_another_process_group_is_met_by_the_first_kill() {
    const SCRIPT: &str = "import os, sys, time\n\
        if os.fork():\n    os.setpgid(0, int(sys.argv[1]))\n    print(os.getpid(), flush=True)\n\
        time.sleep(1000)";
    if !support::must_run::has_python() {
        return;
    }
    let driver = driver();
    let group = create(&driver, "joined");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let ours = getpgrp().as_raw_pid().to_string();
    let start = Program::new("python3").args(["-c", SCRIPT, &*ours]).stdout(writer);
    let program = group.spawn(&start).unwrap();
    assert_eq!(told_pid(&mut reader), program.pid());
    let ops = group.ops();
    ops.request_freeze().unwrap();
    assert_eq!(ops.members().unwrap().len(), 2);
    ops.kill().unwrap();
    eventually("everybody is dead", || !ops.populated().unwrap());
    clean_kill(group);
}

/// Everybody stands still and was listed when it starts. Where all of that takes longer than a list is good for, it is
/// met anyway.
fn who_left_the_process_group_of_a_program_that_came_after_the_list_is_met_by_the_first_kill() {
    let listed: Arc<OnceLock<Group>> = Arc::default();
    let told: Arc<Mutex<Option<PipeReader>>> = Arc::default();
    let leaver: Arc<OnceLock<Pid>> = Arc::default();
    let group = Arc::clone(&listed);
    let (reader, known) = (Arc::clone(&told), Arc::clone(&leaver));
    let driver = Forks::driver(move || {
        let Some(mut reader) = reader.lock().unwrap().take() else { return };
        known.set(told_pid(&mut reader)).unwrap();
        assert_eq!(listed.get().unwrap().members().unwrap().len(), 1, "it has no line yet");
    });
    let group = group.get_or_init(|| create(&driver, "later"));
    group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    group.ops().request_freeze().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    *told.lock().unwrap() = Some(reader);
    let start = sh("setsid sh -c 'echo $$; exec sleep 1000' & exec sleep 1000").stdout(writer);
    group.spawn(&start).unwrap();
    group.ops().kill().unwrap();
    let leaver = *leaver.get().unwrap();
    eventually("who left is dead", || !is_alive(leaver));
    eventually("its keepers have ended", || group.ops().remove().is_ok());
}

fn who_ended_or_began_since_a_freeze_is_known_to_the_next_list() {
    let driver = driver();
    let group = create(&driver, "frozen");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let start = sh("sleep 1000 & echo $!; exec sleep 1000").stdout(writer);
    let program = group.spawn(&start).unwrap();
    let child = told_pid(&mut reader);
    let listed = || -> BTreeSet<Pid> { group.members().unwrap().iter().map(|m| m.pid).collect() };
    group.ops().request_freeze().unwrap();
    assert_eq!(listed(), BTreeSet::from([program.pid(), child]));
    group.ops().request_freeze().unwrap();
    assert!(PidFd::open(child).unwrap().unwrap().signal(Signal::KILL).unwrap());
    eventually("it is dead", || Stat::read(child).unwrap().is_none_or(|stat| stat.is_dead()));
    assert_eq!(listed(), BTreeSet::from([program.pid()]));
    group.ops().request_freeze().unwrap();
    let second = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    assert_eq!(listed(), BTreeSet::from([program.pid(), second.pid()]));
    clean_kill(group);
}

/// Whoever has left has to be stopped first, and may have started others meanwhile.
fn who_was_stopped_with_the_process_group_is_listed_by_that() {
    let driver = driver();
    let group = create(&driver, "still");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let start = sh("sleep 1000 & echo $!; read line; setsid sleep 1000 & exec sleep 1000");
    let (stdin, mut line) = std::io::pipe().unwrap();
    let program = group.spawn(&start.stdin(stdin).stdout(writer)).unwrap();
    let child = told_pid(&mut reader);
    let ops = group.ops();
    let listed = ops.hold_still().unwrap();
    // Where the signal to a process group reaches all of it for certain (Linux 6.9, as root).
    if let Some(listed) = &listed {
        let pids: BTreeSet<Pid> = listed.iter().map(|member| member.pid).collect();
        assert_eq!(pids, BTreeSet::from([program.pid(), child]));
    }
    eventually("both stand still", || ops.frozen().unwrap() == FreezeState::Frozen);
    ops.request_thaw().unwrap();
    writeln!(line, "go").unwrap();
    let has_left = |member: &Member| member.standing == Standing::Escaped;
    eventually("one has left", || ops.members().unwrap().iter().any(has_left));
    assert_eq!(ops.hold_still().unwrap(), None);
    eventually("all stand still", || ops.frozen().unwrap() == FreezeState::Frozen);
    clean_kill(group);
}

/// Whose end is announced for as long as it is known.
fn a_keeper_that_is_over_wakes_nobody_who_waits_for_others() {
    let driver = driver();
    let group = create(&driver, "over");
    group.spawn(&Program::new("true")).unwrap().wait().unwrap();
    let other = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    let is_announced = || {
        let watch = group.ops().watch(Change::Empty).unwrap();
        assert!(group.ops().populated().unwrap());
        let Watch::Sources(sources) = watch else { panic!("{watch:?}") };
        let mut fds: Vec<_> = sources.iter().map(Source::poll_fd).collect();
        poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
    };
    eventually("all of the first is over", || !is_announced());
    drop(other);
    clean_kill(group);
}

/// It could not do anything about it, and would be woken up by each. What comes while it is stopped itself is pending.
fn its_keeper_is_not_told_that_a_program_stops_and_goes_on() {
    let driver = driver();
    let group = create(&driver, "stops");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (mut answers, answer) = std::io::pipe().unwrap();
    let program = group.spawn(&Program::new("cat").stdin(reader).stdout(answer)).unwrap();
    let stat = |pid| Stat::read(pid).unwrap().unwrap();
    let keeper = Pid::new(stat(program.pid()).parent).unwrap();
    let send = |pid, signal| assert!(PidFd::open(pid).unwrap().unwrap().signal(signal).unwrap());
    let awaits_stop = |pid| eventually("it is stopped", || stat(pid).state.is_stopped());
    // What it does last before it waits.
    eventually("it is ready", || !signals(keeper, "SigBlk:").contains(Signal::CONT));
    send(keeper, Signal::STOP);
    awaits_stop(keeper);
    send(program.pid(), Signal::STOP);
    awaits_stop(program.pid());
    send(program.pid(), Signal::CONT);
    // Before it executes anything its parent is told, if that is to be told.
    writer.write_all(b"?").unwrap();
    answers.read_exact(&mut [0]).unwrap();
    assert!(!pending(keeper).contains(Signal::CHLD), "it was told of a stop");
    drop(writer);
    eventually("the program has ended", || stat(program.pid()).state.is_zombie());
    eventually("it is told of the end", || pending(keeper).contains(Signal::CHLD));
    send(keeper, Signal::CONT);
    assert_eq!(program.wait().unwrap(), Outcome::Exited(0));
    clean_kill(group);
}

/// Whoever asks for news sends it a SIGCONT, which would wake it up if it were blocked.
fn what_lets_its_keeper_go_on_is_not_kept_for_it() {
    let driver = driver();
    let group = create(&driver, "woken");
    let program = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    let keeper = Pid::new(Stat::read(program.pid()).unwrap().unwrap().parent).unwrap();
    eventually("it lets it through", || !signals(keeper, "SigBlk:").contains(Signal::CONT));
    assert!(signals(keeper, "SigBlk:").contains(Signal::TERM));
    assert_eq!(program.try_wait().unwrap(), None);
    assert!(!pending(keeper).contains(Signal::CONT));
    clean_kill(group);
}

/// What waits for a whole process.
fn pending(pid: Pid) -> SignalSet {
    signals(pid, "ShdPnd:")
}

/// The signals of a line of `/proc/PID/status`.
fn signals(pid: Pid, which: &str) -> SignalSet {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let bits = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    SignalSet::from_bits(u64::from_str_radix(bits.trim(), 16).unwrap())
}

/// Its keeper is over, and not reaped yet: it is among all of `/proc`, which is read for a crowd.
fn what_a_program_used_counts_once_beside_a_crowd() {
    let driver = driver();
    let group = create(&driver, "crowd");
    let count = "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done";
    group.spawn(&sh(count)).unwrap().wait().unwrap();
    eventually("it is over", || !group.ops().populated().unwrap());
    let used = group.usage().unwrap().cpu.unwrap();
    // More than are walked to.
    let crowd =
        "n=0; while [ $n -lt 300 ]; do n=$((n+1)); read end <&3 & done 3<&0; echo up; read end";
    let (stdin, writer) = std::io::pipe().unwrap();
    let (mut reader, stdout) = std::io::pipe().unwrap();
    group.spawn(&sh(crowd).stdin(stdin).stdout(stdout)).unwrap();
    reader.read_exact(&mut [0; 3]).unwrap();
    let usage = group.usage().unwrap();
    assert!(usage.pids.unwrap() > 300, "{usage:?}");
    let members = group.members().unwrap();
    let of_the_crowd: Duration = members.iter().filter_map(|member| member.cpu).sum();
    assert!(usage.cpu.unwrap() <= used + of_the_crowd, "{usage:?}: {used:?}, {of_the_crowd:?}");
    drop(writer);
    clean_kill(group);
}

/// Whether this process plays the case as the first one of a pid namespace; else it has had that done, if it can be.
fn is_first_of_a_pid_namespace() -> bool {
    const INSIDE: &str = "KEPT_PIDS";
    let is_inside = std::env::var_os(INSIDE).is_some();
    if !is_inside && support::must_run::is_root("only root can make a pid namespace") {
        let mut player = Command::new("unshare");
        player.args(["--pid", "--fork", "--mount-proc"]).arg(std::env::current_exe().unwrap());
        assert!(player.env(INSIDE, "1").status().unwrap().success());
    }
    is_inside
}

/// Where nobody else takes the pid.
fn who_got_the_pid_of_a_keeper_that_is_gone_is_a_member() {
    const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
    if !Path::new(LAST_PID).exists() {
        return support::must_run::skip("last-pid", &"this kernel lets nobody choose a pid");
    }
    if !is_first_of_a_pid_namespace() {
        return;
    }
    let next_pid = |pid: i32| std::fs::write(LAST_PID, (pid - 1).to_string()).unwrap();
    next_pid(1000);
    let driver = driver();
    let group = create(&driver, "recycled");
    let (reader, writer) = std::io::pipe().unwrap();
    let program = group.spawn(&Program::new("cat").stdin(reader)).unwrap();
    let keeper = Stat::read(program.pid()).unwrap().unwrap().parent;
    drop(writer);
    program.wait().unwrap();
    eventually("its keeper is gone", || group.ops().reap().unwrap().count == 1);
    // A keeper comes before its program.
    next_pid(keeper - 1);
    let program = group.spawn(&Program::new("sleep").arg("1000")).unwrap();
    assert_eq!(program.pid().as_raw(), keeper);
    let members: Vec<_> = group.members().unwrap().iter().map(|member| member.pid).collect();
    assert_eq!(members, [program.pid()]);
    clean_kill(group);
}

/// Ours is led by somebody outside of the pid namespace.
fn a_process_group_that_cannot_be_named_is_not_joined() {
    if !is_first_of_a_pid_namespace() {
        return;
    }
    let group = create(&driver(), "unnamed");
    let program = Program::new("sleep").arg("1000").process_group(ProcessGroup::Inherit);
    let child = group.spawn(&program).unwrap();
    let of = |pid| Stat::read(pid).unwrap().unwrap().group;
    assert_eq!((of(Pid::current()), of(child.pid())), (0, child.pid().as_raw()));
    clean_kill(group);
}

/// Set before the name of a case that is played by an ordinary user.
const SETUID: &str = "KEPT_SETUID";

/// It is in the program's process group, of which the kernel tells only that somebody was signalled.
fn a_member_that_became_another_user_is_told_by_the_first_kill() {
    match std::env::var_os(SETUID) {
        Some(setuid) => as_an_ordinary_user(&setuid),
        None => become_an_ordinary_user(),
    }
}

/// Plays the case in a copy of this program, with a program beside it that makes root of whoever runs it.
fn become_an_ordinary_user() {
    if !support::must_run::is_root("only root can become another user") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [own, setuid] = ["kept", "setuid"].map(|name| directory.path().join(name));
    // Written by another process: a fork of another case's, holding it open, would make it busy.
    let script =
        "chmod 755 . && cp \"$0\" kept && cp \"$(command -v setpriv)\" setuid && chmod 4755 setuid";
    let mut copy = Command::new("sh");
    copy.args(["-c", script]).arg(std::env::current_exe().unwrap()).current_dir(&directory);
    assert!(copy.status().unwrap().success());
    let mut player = Command::new("setpriv");
    player.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(own);
    assert!(player.env(SETUID, setuid).status().unwrap().success());
}

fn as_an_ordinary_user(setuid: &OsStr) {
    let driver = driver();
    let group = create(&driver, "setuid");
    let (reader, writer) = std::io::pipe().unwrap();
    let start = sh("\"$0\" --reuid 0 --clear-groups cat <&3 & exec sleep 1000");
    group.spawn(&start.arg(setuid).descriptor(3, reader)).unwrap();
    let member = || group.members().unwrap().into_iter().find(|member| member.comm == "cat");
    eventually("there is a member of root's", || member().is_some());
    let KillStep::Signalled(pass) = group.ops().kill().unwrap() else { panic!("not by signals") };
    let denied = |error: &Error| error.errno() == Some(Errno::PERM.raw_os_error());
    // The program may be dead by the time that it is looked who is left; the other one is not counted.
    assert!(pass.count <= 1 && pass.failed.iter().filter(|e| denied(e)).count() == 1, "{pass:?}");
    drop(writer);
    eventually("it has ended", || group.ops().remove().is_ok());
}
