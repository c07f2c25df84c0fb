//! Tasks that go on when their agent is killed, and how they ended.

use std::fs;
use std::io::Write as _;

use containment::registry::{Registry, Tenure};
use containment::{ErrorKind, Outcome, Program, Signal, Stream};

use crate::agent::{Own, Stage, figure, heard, say};
use crate::support::job::signal;
use crate::support::{eventually, traces};

/// Every other task has ended before the agent is killed; the others do when a line is theirs to read. Every
/// seventh is killed by a signal of its own.
fn script(task: usize) -> String {
    let wait = if task.is_multiple_of(2) { "" } else { "read go <GATE; " };
    let end =
        if task.is_multiple_of(7) { "kill -USR1 $$" } else { &format!("exit {}", task % 251) };
    format!("echo $$ >>PIDS.{task}; {wait}{end}")
}

fn expected(task: usize) -> Outcome {
    if task.is_multiple_of(7) {
        Outcome::Signaled("USR1".parse().expect("a signal"))
    } else {
        Outcome::Exited(i32::try_from(task % 251).expect("it is small"))
    }
}

/// The agent: starts its tasks, and is killed.
pub(crate) fn agent(own: &Own) {
    let host = own.host(Tenure::Lasting);
    let tasks: usize = own.words[0].parse().expect("a number");
    for task in 0..tasks {
        let group = host.group(own.name(task)).create().expect("it can be made");
        let script = script(task);
        let script = script.replace("GATE", &own.words[1]).replace("PIDS", &own.words[2]);
        let program = Program::new("sh").args(["-c", &script]).stdin(Stream::Null);
        group.spawn(&program).expect("it can be started");
        group.keep();
    }
    say("ready");
    heard();
}

/// The agent has started its tasks, and was killed.
fn orphaned(stage: &Stage, tasks: usize) -> Registry {
    let gate = stage.path("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).expect("a pipe can be made");
    let (gate, pids) = (gate.display().to_string(), stage.path("pid").display().to_string());
    let mut agent = stage.agent(&[], "tasks", &[&tasks.to_string(), &gate, &pids]);
    assert_eq!(agent.answer(), "ready");
    agent.kill();
    stage.registry()
}

/// Lets so many tasks go on, for as long as it is held: also one that has not come to the gate yet.
fn open_gate(stage: &Stage, tasks: usize) -> fs::File {
    let gate = fs::File::options().read(true).write(true).open(stage.path("gate"));
    let mut gate = gate.expect("it was made");
    gate.write_all("\n".repeat(tasks).as_bytes()).expect("a pipe takes that much");
    gate
}

pub(crate) fn restart(backend: &str) {
    let stage = Stage::on(backend);
    let tasks = figure(100).max(8);
    let registry = orphaned(&stage, tasks);
    let entries: Vec<_> = registry.entries().unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(entries.len(), tasks);
    let mut groups: Vec<_> = entries.iter().map(|entry| registry.reopen(entry).unwrap()).collect();
    let _gate = open_gate(&stage, tasks);
    for (entry, (_, programs)) in entries.iter().zip(&mut groups) {
        let task = entry.name.as_str().rsplit_once('-').unwrap().1.parse().unwrap();
        let [program] = &programs[..] else { panic!("{} has {programs:?}", entry.name) };
        assert_eq!(program.wait().unwrap(), expected(task), "task {task}");
        // It ran once, and was not started again by anybody.
        let pids = fs::read_to_string(stage.path(&format!("pid.{task}"))).unwrap();
        assert_eq!(pids.trim(), program.pid().to_string(), "task {task}");
    }
    for entry in &entries {
        eventually("its keeper has ended, too", || registry.remove(entry).is_ok());
    }
    eventually("the helper has ended", || traces::marked(&stage.mark).is_empty());
    assert!(stage.groups().is_empty(), "{:?}", stage.groups());
    assert_eq!(fs::read_dir(stage.path("state")).unwrap().count(), 0, "nothing is on record");
}

pub(crate) fn keeper_lost(backend: &str) {
    let stage = Stage::on(backend);
    let registry = orphaned(&stage, 4);
    let entry = |task: usize| {
        let entries = registry.entries().unwrap().into_iter().map(Result::unwrap);
        let end = format!("-{task}");
        entries.into_iter().find(|entry| entry.name.as_str().ends_with(&end)).unwrap()
    };
    let keeper = registry.programs(&entry(1)).unwrap()[0].keeper;
    signal(keeper.pid, Signal::KILL);
    eventually("it is dead", || traces::state(keeper.pid).is_none_or(|state| state == 'Z'));
    let (_, lost) = registry.reopen(&entry(1)).unwrap();
    let (_, other) = registry.reopen(&entry(3)).unwrap();
    // A helper that keeps lets what a lost keeper had go on, or be ended by its group.
    let _gate = open_gate(&stage, 4);
    let error = lost[0].wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StatusLost, "{error}");
    assert_eq!(other[0].wait().unwrap(), expected(3));
    for entry in registry.entries().unwrap().into_iter().map(Result::unwrap) {
        registry.remove_by_force(&entry).unwrap();
    }
    eventually("nothing lives", || traces::marked(&stage.mark).is_empty());
}
