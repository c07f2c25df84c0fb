//! Two supervisors with one state directory: each sees its own groups change by what it does itself, and by
//! nothing else.

use std::collections::BTreeMap;

use containment::registry::{Owner, Tenure};
use containment::{ErrorKind, Group, Policy, Program, Stream};

use crate::agent::{Own, Stage, figure, heard, say};
use crate::support::{eventually, traces};

/// Numbers that look random, the same each time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).expect("it is small")).expect("it is small")
    }
}

/// Groups by number, each with how many programs it holds.
type Groups = BTreeMap<usize, (Group, usize)>;

/// The most groups at a time.
const WIDTH: usize = 6;

pub(crate) fn agent(own: &Own) {
    let host = own.host(Tenure::Owner);
    let seed: u64 = own.words[0].parse().expect("a number");
    let name = |number: usize| format!("{}-{seed}", own.name(number));
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut groups = Groups::new();
    let rounds: usize = own.words[1].parse().expect("a number");
    for _ in 0..rounds {
        let number = random.below(WIDTH);
        match (random.below(6), groups.remove(&number)) {
            (0 | 1, None) => {
                let group = host.group(name(number)).create().expect("it is free");
                groups.insert(number, (group, 0));
            }
            (2, Some((group, _))) => {
                let report = group.terminate(&Policy::kill()).expect("it is ours");
                assert!(report.is_clean(), "{report:?}");
            }
            (3, kept) => {
                groups.extend(kept.map(|kept| (number, kept)));
                let collected = own.registry.collect(false).expect("it can be read");
                assert!(collected.removed.is_empty(), "everybody lives: {collected:?}");
            }
            (4, Some(kept)) => {
                let taken = host.group(name(number)).create().expect_err("it is taken");
                assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
                groups.insert(number, kept);
            }
            (_, Some((group, programs))) if programs < 3 => {
                let program = Program::new("sleep").arg(format!("1000.{}", own.mark));
                group.spawn(&program.stdin(Stream::Null)).expect("it can be started");
                groups.insert(number, (group, programs + 1));
            }
            (_, kept) => groups.extend(kept.map(|kept| (number, kept))),
        }
        check(own, &groups, seed);
    }
    // Until both are: whoever looks at what was just ended sees it half gone.
    say("done");
    heard();
    groups.clear();
    own.registry.close().expect("it is ours");
}

/// What is on record of us, and who lives in it, is what we did.
fn check(own: &Own, groups: &Groups, seed: u64) {
    let end = format!("-{seed}");
    let entries = own.registry.entries().expect("it can be read").into_iter();
    // The other's may be half gone.
    let ours = entries.flatten().filter(|entry| entry.name.as_str().ends_with(&end));
    let mut ours: Vec<_> = ours.collect();
    ours.sort_by(|one, other| one.name.cmp(&other.name));
    let known: Vec<_> = groups.values().map(|(group, _)| &group.id().name).collect();
    assert_eq!(ours.iter().map(|entry| &entry.name).collect::<Vec<_>>(), known);
    for entry in &ours {
        assert_eq!(own.registry.owner(entry).expect("it can be read"), Owner::Alive);
    }
    for (group, programs) in groups.values() {
        assert_eq!(group.members().expect("it is there").len(), *programs, "{:?}", group.id());
    }
}

pub(crate) fn two(backend: &str) {
    let stage = Stage::on(backend);
    let rounds = figure(2_000).to_string();
    let mut agents = ["1", "2"].map(|seed| stage.agent(&[], "random", &[seed, &rounds]));
    for agent in &mut agents {
        assert_eq!(agent.answer(), "done");
    }
    agents.into_iter().for_each(crate::agent::Agent::finish);
    eventually("nothing is left", || {
        traces::marked(&stage.mark).is_empty() && stage.groups().is_empty()
    });
    let left = std::fs::read_dir(stage.path("state")).expect("it can be read").count();
    assert_eq!(left, 0, "nothing is on record");
}
