//! Groups made, used, killed and removed, again and again: what that takes is given back.

use std::fs;
use std::path::Path;

use containment::registry::Tenure;
use containment::{Policy, Program, Stream};

use crate::agent::{Own, Stage, figure, heard, say};
use crate::support::{deadline, eventually, traces};

/// Everything that could add up.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    descriptors: usize,
    threads: usize,
    children: usize,
    groups: usize,
    files: usize,
}

impl Taken {
    fn by(own: &Own) -> Self {
        let count = |path: &Path| fs::read_dir(path).expect("it can be read").count();
        let groups = traces::groups().into_iter();
        Self {
            descriptors: count(Path::new("/proc/self/fd")),
            threads: count(Path::new("/proc/self/task")),
            children: traces::children_of_this_process().len(),
            groups: groups.filter(|path| path.to_string_lossy().contains(&own.mark)).count(),
            files: count(own.registry.path()),
        }
    }
}

/// Half of the groups are to outlive it, and do not: two helpers run all the while.
pub(crate) fn agent(own: &Own) {
    let hosts = [own.host(Tenure::Owner), own.host(Tenure::Lasting)];
    let cycle = |number: usize| {
        let host = &hosts[number % 2];
        let group = host.group(own.name(number)).create().expect("it can be made");
        let program = Program::new("sleep").arg(format!("1000.{}", own.mark)).stdin(Stream::Null);
        let child = group.spawn(&program).expect("it can be started");
        let report = group.terminate(&Policy::kill()).expect("it is ours");
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(child.wait().expect("its end is known").shell_status(), 137);
    };
    (0..4).for_each(cycle);
    let before = Taken::by(own);
    (4..own.words[0].parse().expect("a number")).for_each(cycle);
    let until = std::time::Instant::now() + deadline();
    while Taken::by(own) != before {
        let now = Taken::by(own);
        assert!(std::time::Instant::now() < until, "it was {before:?}, and is {now:?}");
        std::thread::yield_now();
    }
    own.registry.close().expect("it is ours");
    say("ready");
    heard();
}

pub(crate) fn flat(backend: &str) {
    let stage = Stage::on(backend);
    let mut agent = stage.agent(&[], "cycles", &[&figure(10_000).to_string()]);
    assert_eq!(agent.answer(), "ready");
    // A keeper, the helper's child and not the agent's, ends a moment after the status it told.
    eventually("the two helpers are alone", || stage.called("contain").len() == 2);
    let zombies = traces::zombies(agent.pid(), &[]);
    assert!(zombies.is_empty(), "{zombies:?}");
    agent.finish();
    eventually("the helpers have ended", || traces::marked(&stage.mark).is_empty());
}
