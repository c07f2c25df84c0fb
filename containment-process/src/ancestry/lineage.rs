//! Who was started by whom, out of what the kernel told: of the living descendants of one process, and
//! of those of their ancestors that have ended.
//!
//! A birth is kept for as long as somebody lives who descends from it, so that a build of a million short
//! compilers takes no more room than what runs at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use containment_core::{Link, Pid};

use super::records::{Name, Record, What};

/// The most generations that are kept: who re-spawns for ever has ever more dead ancestors.
const GENERATIONS: usize = 256;

/// The living descendants of one process.
#[derive(Debug)]
pub(super) struct Lineage {
    root: i32,
    living: HashMap<i32, Living>,
}

#[derive(Debug)]
struct Living {
    birth: Arc<Birth>,
    name: Name,
    threads: u32,
}

/// That a process was made, and by whom.
#[derive(Debug)]
struct Birth {
    pid: i32,
    time: u64,
    /// The parent, and its name then; `None` for the root, and for who was cut off from it.
    by: Option<(Arc<Birth>, Name)>,
    /// How many births it is away from the root's, which is 0, or from where it was cut off.
    generation: usize,
}

impl Lineage {
    /// That of `root`, of which nobody descends yet.
    pub(super) fn of(root: Pid) -> Self {
        let root = root.as_raw();
        let birth = Arc::new(Birth { pid: root, time: 0, by: None, generation: 0 });
        let origin = Living { birth, name: Name::default(), threads: 1 };
        Self { root, living: HashMap::from([(root, origin)]) }
    }

    /// Takes in what happened. Records come in the order of their times.
    pub(super) fn apply(&mut self, record: &Record) {
        match record.what {
            What::Forked { pid, parent } => self.fork(pid, parent, record.time),
            What::Threaded { pid } => {
                self.living.entry(pid).and_modify(|process| process.threads += 1);
            }
            What::Named { pid, name } => {
                self.living.entry(pid).and_modify(|process| process.name = name);
            }
            What::Ended { pid } => self.end(pid),
            What::Lost => {}
        }
    }

    fn fork(&mut self, pid: i32, parent: i32, time: u64) {
        let made = self.living.get_mut(&parent).map(|parent| {
            if parent.birth.generation >= GENERATIONS {
                parent.birth = cut(&parent.birth, GENERATIONS / 2);
            }
            let by = Arc::clone(&parent.birth);
            let generation = by.generation + 1;
            let birth = Birth { pid, time, by: Some((by, parent.name)), generation };
            Living { birth: Arc::new(birth), name: parent.name, threads: 1 }
        });
        match made {
            Some(made) => drop(self.living.insert(pid, made)),
            // A stranger, perhaps of a pid that one of ours had.
            None if pid != self.root => drop(self.living.remove(&pid)),
            None => {}
        }
    }

    fn end(&mut self, pid: i32) {
        let Some(process) = self.living.get_mut(&pid).filter(|_| pid != self.root) else { return };
        process.threads = process.threads.saturating_sub(1);
        if process.threads == 0 {
            self.living.remove(&pid);
        }
    }

    /// Forgets whom `lives` does not know any more, by pid and time of birth: their end was lost.
    pub(super) fn retain(&mut self, lives: impl Fn(Pid, Duration) -> bool) {
        let root = self.root;
        self.living.retain(|pid, process| {
            let born = Duration::from_nanos(process.birth.time);
            *pid == root || Pid::new(*pid).is_some_and(|pid| lives(pid, born))
        });
    }

    /// The ancestors of the process that has this pid and started at this time since boot, outermost
    /// first, from below the root on; `None` when its birth was not seen.
    pub(super) fn ancestors(&self, pid: Pid, started: Duration) -> Option<Vec<Link>> {
        let process = self.living.get(&pid.as_raw()).filter(|_| pid.as_raw() != self.root)?;
        // A start after the last birth that was seen of this pid is another process's.
        if started > Duration::from_nanos(process.birth.time) {
            return None;
        }
        let mut links = Vec::new();
        let mut here = &process.birth;
        while let Some((parent, name)) = &here.by {
            if parent.generation == 0 {
                links.reverse();
                return Some(links);
            }
            links.push(link(parent.pid, name));
            here = parent;
        }
        links.push(Link::Unknown);
        links.reverse();
        Some(links)
    }
}

/// A copy of a birth that goes back no further than so many generations.
fn cut(birth: &Birth, generations: usize) -> Arc<Birth> {
    let by = birth.by.as_ref().filter(|_| generations > 1);
    let by = by.map(|(parent, name)| (cut(parent, generations - 1), *name));
    Arc::new(Birth { pid: birth.pid, time: birth.time, by, generation: generations })
}

fn link(pid: i32, name: &Name) -> Link {
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    match Pid::new(pid) {
        Some(pid) => {
            Link::Process { pid, comm: String::from_utf8_lossy(&name[..length]).into_owned() }
        }
        None => Link::Unknown,
    }
}

#[cfg(test)]
impl Lineage {
    pub(super) fn living(&self) -> Vec<Pid> {
        self.living.keys().filter_map(|pid| Pid::new(*pid)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: &str = "sh";

    /// A lineage of this process, in which times count up.
    struct Story(Lineage, u64);

    impl Story {
        fn begin() -> Self {
            Self(Lineage::of(Pid::new(1).unwrap()), 0)
        }

        fn tell(&mut self, what: What) -> &mut Self {
            self.1 += 1;
            self.0.apply(&Record { time: self.1, what });
            self
        }

        fn fork(&mut self, pid: i32, parent: i32) -> &mut Self {
            self.tell(What::Forked { pid, parent })
        }

        fn exec(&mut self, pid: i32, text: &str) -> &mut Self {
            let mut name = Name::default();
            name[..text.len()].copy_from_slice(text.as_bytes());
            self.tell(What::Named { pid, name })
        }

        fn end(&mut self, pid: i32) -> &mut Self {
            self.tell(What::Ended { pid })
        }

        fn ancestors(&self, pid: i32) -> Option<String> {
            self.started(pid, 0)
        }

        fn started(&self, pid: i32, nanos: u64) -> Option<String> {
            let links = self.0.ancestors(Pid::new(pid).unwrap(), Duration::from_nanos(nanos))?;
            Some(links.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
    }

    #[test]
    fn dead_ancestors_are_known_by_the_names_that_they_had() {
        let mut story = Story::begin();
        story.fork(10, 1).exec(10, "make").fork(11, 10).exec(11, SHELL).fork(12, 11);
        story.exec(11, "tail").exec(12, "java").end(11).end(10);
        assert_eq!(story.ancestors(12).as_deref(), Some("make sh"));
        assert_eq!(story.ancestors(11), None);
        assert_eq!(story.0.living.len(), 2, "who has ended is no longer among the living");
    }

    #[test]
    fn a_process_ends_with_its_last_thread() {
        let mut story = Story::begin();
        story.fork(10, 1).tell(What::Threaded { pid: 10 }).end(10);
        assert_eq!(story.ancestors(10).as_deref(), Some(""));
        assert_eq!(story.end(10).ancestors(10), None);
    }

    #[test]
    fn a_recycled_pid_is_another_process() {
        let mut story = Story::begin();
        story.fork(10, 1).exec(10, "old").fork(11, 10).end(10).fork(10, 1).exec(10, "new");
        story.fork(12, 10);
        assert_eq!(story.ancestors(11).as_deref(), Some("old"));
        assert_eq!(story.ancestors(12).as_deref(), Some("new"));
        assert_eq!(story.started(12, 1000), None, "started after every birth that was seen");
        assert_eq!(story.fork(12, 99).ancestors(12), None, "a stranger's");
    }

    #[test]
    fn whose_end_was_lost_is_forgotten_when_asked_for() {
        let mut story = Story::begin();
        story.fork(10, 1).fork(11, 1).fork(12, 11);
        story.0.retain(|pid, _| pid.as_raw() == 12);
        assert_eq!((story.ancestors(10), story.ancestors(12).as_deref()), (None, Some("")));
        story.fork(13, 1);
        assert_eq!(story.ancestors(13).as_deref(), Some(""), "the root is never forgotten");
    }

    #[test]
    fn who_respawns_for_ever_is_remembered_for_some_generations_only() {
        let mut story = Story::begin();
        story.fork(2, 1).exec(2, "first").fork(3, 2).exec(3, "next");
        for pid in 4..5000 {
            story.fork(pid, pid - 1).end(pid - 1);
        }
        let chain = story.ancestors(4999).unwrap();
        let links: Vec<_> = chain.split(' ').collect();
        assert!((GENERATIONS / 2..=GENERATIONS + 1).contains(&links.len()), "{}", links.len());
        assert_eq!((links[0], links[1]), ("unknown", "next"));
    }
}
