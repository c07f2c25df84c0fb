//! A sequence being played in one world: the groups and programs in play, what a step comes to, and all
//! that can be observed at a barrier.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use containment_core::{
    ChildOps, ControllerSet, Error, FreezeState, GroupName, GroupOps, Kill, KillStep, Member,
    Outcome, Policy, ProcessState, Result, Teardown, TeardownReport, Watch,
};

use crate::acts::{Asking, OnGroup, OnProgram, Step};
use crate::helper::Birth;
use crate::support::scaled;
use crate::world::World;

/// What is observed at a barrier, by what it is about. Two worlds are alike where these are.
pub(crate) type Facts = BTreeMap<String, String>;

/// Of a helper that has done everything that it was told.
pub(crate) const OBEYS: &str = "obeys";
/// Of one that has not.
pub(crate) const STANDS_STILL: &str = "stands still";

/// A sequence being played.
pub(crate) struct Stage<'a> {
    world: &'a dyn World,
    /// What the names of groups at the top begin with, which nobody else uses.
    prefix: &'a str,
    /// By handle; a group may have several.
    groups: Vec<Arc<dyn GroupOps>>,
    programs: BTreeMap<Birth, Box<dyn ChildOps>>,
}

/// How long those who are asked to end get for it, where there are some who never will.
const GRACE: Duration = Duration::from_millis(400);
/// How long an end may take. On version 1 nobody dies below a frozen group, and it is waited out.
const GIVE_UP: Duration = Duration::from_secs(3);
/// How long a freeze may take that a kill asked for.
const FREEZE: Duration = Duration::from_secs(1);

impl<'a> Stage<'a> {
    pub(crate) fn new(world: &'a dyn World, prefix: &'a str) -> Self {
        Self { world, prefix, groups: Vec::new(), programs: BTreeMap::new() }
    }

    /// How many handles there are.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The programs that were spawned.
    pub(crate) fn programs(&self) -> impl Iterator<Item = Birth> {
        self.programs.keys().copied()
    }

    /// Takes a step, and says what came of it.
    pub(crate) fn take(&mut self, step: &Step) -> String {
        match step {
            Step::Create { name } => {
                let name = name_of(&format!("{}-{name}", self.prefix));
                let made = self.world.driver().create(&name, ControllerSet::EMPTY);
                self.add(made)
            }
            Step::StartOutside { birth } => {
                self.world.start_outside(*birth);
                done()
            }
            Step::Order { birth, order } => {
                self.world.tell(*birth, *order);
                done()
            }
            Step::OnProgram { birth, what: OnProgram::Signal(signal) } => {
                told(self.programs[birth].signal(*signal), |()| done())
            }
            Step::OnProgram { birth, what: OnProgram::Wait { vague } } => {
                told(self.programs[birth].try_wait(), |outcome| match outcome {
                    Some(Outcome::Signaled(_)) if *vague => "ended by a signal".to_owned(),
                    outcome => format!("{outcome:?}"),
                })
            }
            Step::OnGroup { group, what } => self.act_on(&Arc::clone(&self.groups[*group]), what),
        }
    }

    fn act_on(&mut self, group: &Arc<dyn GroupOps>, what: &OnGroup) -> String {
        match what {
            OnGroup::Nest(name) => self.add(group.subgroup(&name_of(name), ControllerSet::EMPTY)),
            OnGroup::Open => self.add(self.world.driver().open(group.id())),
            OnGroup::Spawn(birth) => self.spawn(&**group, *birth),
            OnGroup::SpawnNothing { there } => {
                told(group.spawn(&self.world.nothing(*there)), |child| child.pid().to_string())
            }
            OnGroup::Attach(birth) => self.attach(&**group, *birth),
            OnGroup::Signal(signal) => told(group.signal(*signal), |pass| {
                let failed: Vec<_> = pass.failed.iter().map(refusal).collect();
                format!("{} got it, failed {failed:?}", pass.count)
            }),
            OnGroup::Freeze => told(group.request_freeze(), |()| done()),
            OnGroup::Thaw => told(group.request_thaw(), |()| done()),
            OnGroup::Kill => told(self.kill(&**group), |()| done()),
            OnGroup::Reap => told(group.reap(), |reaped| {
                let counts = group.capabilities().nesting;
                // With a keeper it is keepers that are reaped, and when is theirs to say.
                if counts { format!("{} reaped", reaped.count) } else { done() }
            }),
            OnGroup::Remove => told(group.remove(), |()| done()),
            OnGroup::Terminate(asking) => self.terminate(&**group, asking.as_ref()),
        }
    }

    /// All that can be observed now. Helpers in `expected` are given a moment to do what they were told.
    pub(crate) fn facts(&self, expected: &BTreeSet<Birth>) -> Facts {
        let mut facts = Facts::new();
        for (birth, obeys) in self.world.look(expected) {
            let how = if obeys { OBEYS } else { STANDS_STILL };
            facts.insert(format!("p{birth}"), how.to_owned());
        }
        for (number, group) in self.groups.iter().enumerate() {
            let mut fact = |about: &str, text| facts.insert(format!("#{number} {about}"), text);
            fact("populated", told(group.populated(), |populated| populated.to_string()));
            fact("frozen", told(group.frozen(), |state: FreezeState| format!("{state:?}")));
            fact("members", told(group.members(), |members| self.listed(&members)));
            fact(
                "sub-groups",
                told(group.subgroups(), |groups| self.names(groups.iter().map(|g| &g.id().name))),
            );
        }
        let listed = self.world.driver().list();
        let listed = told(listed, |ids| self.names(ids.iter().map(|id| &id.name)));
        facts.insert("groups".to_owned(), listed);
        facts
    }

    fn add(&mut self, made: Result<Box<dyn GroupOps>>) -> String {
        told(made, |group| {
            self.groups.push(group.into());
            format!("#{}", self.groups.len() - 1)
        })
    }

    fn attach(&self, group: &dyn GroupOps, birth: Birth) -> String {
        match self.world.pid(birth) {
            Some(pid) => told(group.attach(pid), |()| done()),
            None => "no such process".to_owned(),
        }
    }

    fn spawn(&mut self, group: &dyn GroupOps, birth: Birth) -> String {
        let spawned = group.spawn(&self.world.helper(birth));
        told(spawned, |child| {
            self.world.spawned(birth, child.pid());
            self.programs.insert(birth, child);
            done()
        })
    }

    /// Kills, step by step as the backend wants it: what it freezes first is awaited, and thawed after.
    fn kill(&self, group: &dyn GroupOps) -> Result<()> {
        let waiter = self.world.driver().waiter();
        let until = waiter.now() + scaled(FREEZE);
        while matches!(group.kill()?, KillStep::Freezing) && waiter.now() < until {
            while group.frozen()? != FreezeState::Frozen && waiter.now() < until {
                waiter.wait(waiter.now() + Duration::from_micros(200), &Watch::Backoff);
            }
        }
        match group.capabilities().kill {
            Kill::Frozen { .. } => group.request_thaw(),
            Kill::Repeated | Kill::Atomic => Ok(()),
        }
    }

    fn terminate(&self, group: &dyn GroupOps, asking: Option<&Asking>) -> String {
        let policy = match asking {
            None => Policy::kill(),
            Some(_) => Policy::graceful(scaled(GRACE)),
        };
        let policy = policy.give_up_after(scaled(GIVE_UP));
        let report = Teardown::new(policy).run(group, &*self.world.driver().waiter());
        self.reported(&report, asking.and_then(|asking| asking.outlive.as_deref()))
    }

    /// Neither rounds nor times; of those left behind only `certain` ones where it is given.
    fn reported(&self, report: &TeardownReport, certain: Option<&[Birth]>) -> String {
        let births = |members: &[Member]| -> BTreeSet<_> {
            members.iter().map(|member| self.world.who(member)).collect()
        };
        let mut left_behind = births(&report.left_behind);
        if let Some(certain) = certain {
            left_behind.retain(|birth| birth.is_some_and(|birth| certain.contains(&birth)));
        }
        let errors: BTreeSet<_> = report.errors.iter().map(refusal).collect();
        format!(
            "removed {}, left behind {}, escaped {}, survivors {}, errors {errors:?}",
            report.removed,
            births_text(&left_behind),
            births_text(&births(&report.escaped)),
            births_text(&births(&report.survivors)),
        )
    }

    /// Ends a group whatever there is in it; what is left all the same is looked for when all is over.
    fn end(&self, group: &dyn GroupOps) {
        let policy = Policy::kill().give_up_after(scaled(GIVE_UP));
        drop(Teardown::new(policy).run(group, &*self.world.driver().waiter()));
    }

    fn listed(&self, members: &[Member]) -> String {
        let member = |member: &Member| {
            let parent = self.world.who_has(member.parent);
            let parent = parent.map_or(String::new(), |parent| format!(" of p{parent}"));
            let class = class(member.state);
            format!("{}{parent} {:?} {class}", birth_text(self.world.who(member)), member.standing)
        };
        let members: BTreeSet<_> = members.iter().map(member).collect();
        members.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Those of this sequence, in the order of the alphabet.
    fn names<'n>(&self, names: impl Iterator<Item = &'n GroupName>) -> String {
        let ours = |name: &GroupName| {
            Some(name.as_str().strip_prefix(self.prefix)?.strip_prefix('-')?.to_owned())
        };
        let names: BTreeSet<_> = names.filter_map(ours).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// Nothing is left of a sequence that was broken off.
impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.groups.iter().rev().for_each(|group| self.end(&**group));
        // A group that was removed through another handle leaves the levels above that were made for it.
        let driver = self.world.driver();
        let listed = driver.list().unwrap_or_default().into_iter();
        for id in listed.filter(|id| id.name.as_str().starts_with(&format!("{}-", self.prefix))) {
            if let Ok(group) = driver.open(&id) {
                self.end(&*group);
            }
        }
    }
}

fn name_of(text: &str) -> GroupName {
    text.parse().expect("it is a name")
}

fn done() -> String {
    "done".to_owned()
}

/// What a result says: kind and operation of an error, which every backend shares.
fn told<T>(result: Result<T>, say: impl FnOnce(T) -> String) -> String {
    result.map_or_else(|error| refusal(&error), say)
}

fn refusal(error: &Error) -> String {
    format!("{:?} in {:?}", error.kind(), error.operation())
}

fn class(state: ProcessState) -> &'static str {
    match state.0 {
        'D' => "held",
        _ if state.is_stopped() => "stopped",
        _ => "runs",
    }
}

fn birth_text(birth: Option<Birth>) -> String {
    birth.map_or_else(|| "a stranger".to_owned(), |birth| format!("p{birth}"))
}

fn births_text(births: &BTreeSet<Option<Birth>>) -> String {
    let births: Vec<_> = births.iter().map(|birth| birth_text(*birth)).collect();
    format!("[{}]", births.join(", "))
}
