//! Process groups with a keeper, on real processes. Each case is played in a process of its own, which is this
//! program started again: its keepers are forks of it, so that it must have one thread.

mod support;

use std::process::{Command, ExitCode, Stdio};

use backend_pgrp::{Keeper, ProcessGroups};
use containment_core::{Outcome, Program, Standing};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::process::{Resource, Rlimit, setrlimit};
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
fn play_apart(case: &str) -> Result<(), Failed> {
    let mut player = Command::new(std::env::current_exe()?);
    let status = player.env(CASE, case).stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

fn driver() -> ProcessGroups {
    let driver = ProcessGroups::probe(Keeper::Worker).expect("Linux has process groups");
    driver.prove().expect("/proc is there");
    driver
}

/// K10 the other way round: the first thread has ended, and the process has not. It has left the process group,
/// so that nothing but a look at it finds it.
fn k10_who_lives_without_its_first_thread_is_a_member() {
    let Some(program) = without_first_thread() else { return };
    let driver = driver();
    let group = create(&driver, "threads");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let start = sh("setsid \"$@\" & exec sleep 1000").arg("sh").arg(program.name());
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

/// Four hundred in turn, of which each takes three while it runs.
fn programs_that_are_over_cost_no_descriptors() {
    let limit = Rlimit { current: Some(64), maximum: Some(64) };
    setrlimit(Resource::Nofile, limit).unwrap();
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
