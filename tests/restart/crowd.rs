//! K48: many process groups in a host that ignores SIGCHLD, waits for every child and has one of its own;
//! what each group leaves are daemons that nothing but their keeper can tell.

use containment::registry::Tenure;
use containment::{Group, Policy, Program, Signal, Stream};
use nix::sys::wait::{WaitPidFlag, waitpid};

use crate::agent::{Agent, Own, Stage, figure, heard, say};
use crate::support::job::signal;
use crate::support::{eventually, traces};

/// The host. A daemon's name begins like its group's number.
pub(crate) fn agent(own: &Own) {
    let host = own.host(Tenure::Owner);
    let own_child = std::process::Command::new("sleep").arg(format!("2000.{}", own.mark)).spawn();
    drop(own_child.expect("it can be started"));
    std::thread::spawn(|| {
        loop {
            // Whatever there is: that is what makes the host hostile.
            let _ = waitpid(None, Some(WaitPidFlag::empty()));
            std::thread::yield_now();
        }
    });
    let groups = own.words[0].parse().expect("a number");
    let mut all: Vec<Option<Group>> = (0..groups)
        .map(|number| {
            let daemon =
                format!("env -i setsid sh -c 'env -i sleep 1{number:03}.{} & exit'", own.mark);
            let script = format!("{daemon}; read never <&3");
            let group = host.group(own.name(number)).create().expect("it can be made");
            let (reader, writer) = std::io::pipe().expect("a pipe can be made");
            let program = Program::new("sh").args(["-c", &script]).stdin(Stream::Null);
            let child = group.spawn(&program.descriptor(3, reader)).expect("it can be started");
            say(&child.pid().to_string());
            std::mem::forget(writer);
            Some(group)
        })
        .collect();
    say("ready");
    while let Some(number) = heard().and_then(|words| words.parse::<usize>().ok()) {
        let group = all[number].take().expect("it is there");
        let report = group.terminate(&Policy::kill()).expect("it is ours");
        say(&format!("{} {:?}", report.is_clean(), report.survivors));
    }
    drop(all);
}

/// The daemons of a group that live.
fn daemons(stage: &Stage, number: usize) -> usize {
    let name = format!("1{number:03}.{}", stage.mark);
    traces::marked(&name).iter().filter(|process| process.comm == "sleep").count()
}

/// A host with so many groups, and the pids of their programs.
fn host(stage: &Stage, groups: usize) -> (Agent, Vec<i32>) {
    let behind = ["sh", "-c", "trap '' CHLD; exec \"$0\" \"$@\""];
    let mut agent = stage.agent(&behind, "crowd", &[&groups.to_string()]);
    let programs = (0..groups).map(|_| agent.answer().parse().expect("a pid")).collect();
    assert_eq!(agent.answer(), "ready");
    eventually("every daemon sleeps", || (0..groups).all(|number| daemons(stage, number) == 1));
    (agent, programs)
}

fn own_child_lives(stage: &Stage) -> bool {
    !traces::marked(&format!("2000.{}", stage.mark)).is_empty()
}

pub(crate) fn hostile(backend: &str) {
    keepers_are_killed(&Stage::on(backend));
    the_host_is_killed(&Stage::on(backend), false);
    the_host_is_killed(&Stage::on(backend), true);
}

/// Every other keeper is: its group ends whole when it is ended, the others are not touched by that.
fn keepers_are_killed(stage: &Stage) {
    let groups = figure(200);
    let (mut agent, programs) = host(stage, groups);
    for program in programs.iter().step_by(2) {
        signal(traces::parent(*program).expect("it runs"), Signal::KILL);
    }
    for number in (0..groups).step_by(2) {
        let told = agent.ask(&number.to_string());
        assert_eq!(told, "true []", "group {number}");
    }
    let left: Vec<_> = (0..groups).map(|number| daemons(stage, number)).collect();
    let expected: Vec<_> = (0..groups).map(|number| number % 2).collect();
    assert_eq!(left, expected);
    assert!(own_child_lives(stage), "the host's own child");
    for number in (1..groups).step_by(2) {
        assert_eq!(agent.ask(&number.to_string()), "true []", "group {number}");
    }
    assert_eq!((0..groups).map(|number| daemons(stage, number)).sum::<usize>(), 0);
    assert!(own_child_lives(stage), "the host's own child");
    agent.finish();
}

fn the_host_is_killed(stage: &Stage, with_keepers: bool) {
    let groups = figure(200);
    let (mut agent, programs) = host(stage, groups);
    if with_keepers {
        for program in &programs {
            signal(traces::parent(*program).expect("it runs"), Signal::KILL);
        }
    }
    agent.kill();
    let left = || (0..groups).map(|number| daemons(stage, number)).sum::<usize>();
    eventually("nothing is left", || left() == 0 && stage.called("contain").is_empty());
    assert!(own_child_lives(stage), "the host's own child");
}
