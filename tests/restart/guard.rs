//! The helper that ends the groups of an agent that dies.

use std::fs;

use containment::registry::Tenure;
use containment::{Group, Program, Signal, Stream};

use crate::agent::{Own, Stage, figure, heard, say};
use crate::support::job::signal;
use crate::support::{eventually, traces};

/// A task with a daemon, in groups that end with their agent.
pub(crate) fn agent(own: &Own) {
    let host = own.host(Tenure::Owner);
    let groups = own.words[0].parse().expect("a number");
    let mark = &own.mark;
    let script = format!("setsid sleep 1000.{mark} & exec sleep 1001.{mark}");
    let start = |number| {
        let group = host.group(own.name(number)).create().expect("it can be made");
        let program = Program::new("sh").args(["-c", &script]).stdin(Stream::Null);
        group.spawn(&program).expect("it can be started");
        group
    };
    let mut all: Vec<Group> = (0..groups).map(start).collect();
    say("ready");
    while heard().is_some_and(|words| words == "more") {
        all.push(start(all.len()));
        say("more");
    }
    for group in all {
        let report = group.terminate(&containment::Policy::kill()).expect("it is ours");
        assert!(report.is_clean(), "{report:?}");
    }
    own.registry.close().expect("it is ours");
}

/// An agent with so many groups, in all of which both sleep.
fn started(stage: &Stage, groups: usize) -> crate::agent::Agent {
    let mut agent = stage.agent(&[], "guarded", &[&groups.to_string()]);
    assert_eq!(agent.answer(), "ready");
    eventually("all are started", || stage.sleepers() == 2 * groups);
    agent
}

fn nothing_is_left(stage: &Stage) {
    let left = || (traces::marked(&stage.mark), stage.groups());
    eventually("nothing is left", || {
        let (processes, groups) = left();
        processes.is_empty() && groups.is_empty()
    });
    assert_eq!(fs::read_dir(stage.path("state")).unwrap().count(), 0, "nothing is on record");
}

/// The helper: keepers are its children.
fn helper(stage: &Stage, agent: i32) -> Option<i32> {
    stage.called("contain").into_iter().find(|pid| traces::parent(*pid) == Some(agent))
}

pub(crate) fn killed(backend: &str) {
    let stage = Stage::on(backend);
    let mut agent = started(&stage, figure(200));
    agent.kill();
    nothing_is_left(&stage);
}

pub(crate) fn replaced(backend: &str) {
    let stage = Stage::on(backend);
    let mut agent = started(&stage, 1);
    let first = helper(&stage, agent.pid()).expect("there is a helper");
    signal(first, Signal::KILL);
    eventually("it is dead", || traces::state(first).is_none_or(|state| state == 'Z'));
    assert_eq!(agent.ask("more"), "more");
    eventually("there is another one", || {
        helper(&stage, agent.pid()).is_some_and(|helper| helper != first)
    });
    agent.kill();
    nothing_is_left(&stage);
}

/// An agent that lets its hosts go while their tasks run, and begins anew.
pub(crate) fn forgetful_agent(own: &Own) {
    let begin = |number| {
        let group = own.host(Tenure::Lasting).group(own.name(number)).create();
        let group = group.expect("it can be made");
        let task = Program::new("sleep").arg(format!("1000.{}", own.mark)).stdin(Stream::Null);
        group.spawn(&task).expect("it can be started");
        group.keep();
    };
    (0..3).for_each(begin);
    let children = traces::children_of_this_process;
    assert_eq!(children().len(), 3, "a helper for each");
    say("ready");
    heard();
    eventually("all helpers have ended", || {
        children().into_iter().all(|pid| traces::state(pid) == Some('Z'))
    });
    begin(3);
    assert_eq!(children().len(), 1, "those of the past are reaped");
}

pub(crate) fn forgotten(backend: &str) {
    let stage = Stage::on(backend);
    let mut agent = stage.agent(&[], "forgetful", &[]);
    assert_eq!(agent.answer(), "ready");
    stage.called("sleep").into_iter().for_each(|task| signal(task, Signal::KILL));
    agent.finish();
}

pub(crate) fn ends(backend: &str) {
    let stage = Stage::on(backend);
    let agent = started(&stage, 2);
    let helper = helper(&stage, agent.pid()).expect("there is a helper");
    let children = stage.called("contain").into_iter();
    let beside = children.filter(|pid| traces::parent(*pid) == Some(agent.pid())).count();
    assert_eq!(beside, 1, "one, however many groups");
    let in_groups = fs::read_to_string(format!("/proc/{helper}/cgroup")).unwrap();
    assert!(!in_groups.contains(&stage.mark), "{in_groups}");
    let open = fs::read_dir(format!("/proc/{helper}/fd")).unwrap();
    let targets: Vec<_> = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).collect();
    let state = stage.path("state");
    let harmless = |target: &std::path::PathBuf| {
        let text = target.to_string_lossy();
        target.starts_with(&state)
            || ["/dev/null", "anon_inode:", "pidfd:", "socket:"].iter().any(|s| text.starts_with(s))
    };
    assert!(targets.iter().all(harmless), "{targets:?}");
    agent.finish();
    nothing_is_left(&stage);
}
