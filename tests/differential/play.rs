//! Playing a sequence: first on the fake, which decides what each act means and says what is to be
//! seen, then on the real backend, which is given time at each barrier until it shows the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use containment_core::Signal;

use crate::acts::{Act, Asking, GroupAct, INNER_NAMES, NAMES, OnGroup, OnProgram, SIGNALS, Step};
use crate::helper::{Birth, Order};
use crate::pairs::Rules;
use crate::stage::{Facts, OBEYS, STANDS_STILL, Stage};
use crate::world::World;

/// What a step came to on the fake: the result, and what was to be seen after it.
#[derive(Debug)]
struct Scene {
    step: Step,
    result: String,
    facts: Facts,
}

/// A sequence as the fake has played it.
#[derive(Debug)]
pub(crate) struct Script(Vec<Scene>);

impl Script {
    /// Plays the acts on the fake. At the end every group is terminated, and every program waited for.
    pub(crate) fn of(acts: &[Act], fake: &dyn World, rules: Rules, prefix: &str) -> Self {
        let mut author = Author::new(fake, rules, prefix);
        for act in acts {
            if let Some(step) = author.step(*act) {
                author.play(step);
            }
        }
        for group in (0..author.stage.groups()).rev() {
            author.play(Step::OnGroup { group, what: OnGroup::Terminate(None) });
        }
        for birth in author.stage.programs().collect::<Vec<_>>() {
            author.play(author.wait(birth));
        }
        Self(author.scenes)
    }

    /// How many steps it has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Plays the same steps in another world; says how that differs, at the first step where it does. A
    /// barrier waits for what is to be seen as long as `patience`.
    pub(crate) fn compare(
        &self,
        other: &dyn World,
        prefix: &str,
        patience: Duration,
    ) -> Option<String> {
        let mut stage = Stage::new(other, prefix);
        for (number, scene) in self.0.iter().enumerate() {
            let result = stage.take(&scene.step);
            let mut differences = Facts::new();
            if result != scene.result {
                differences.insert("result".to_owned(), beside(&scene.result, &result));
            }
            differences.append(&mut await_alike(&stage, &scene.facts, patience));
            if !differences.is_empty() {
                return Some(self.tell(number, &differences));
            }
        }
        None
    }

    /// The sequence up to the step `last`, and what differs after it.
    fn tell(&self, last: usize, differences: &Facts) -> String {
        let mut text = String::new();
        for (number, scene) in self.0.iter().take(last + 1).enumerate() {
            let (step, result) = (&scene.step, &scene.result);
            writeln!(text, "{:>3}. {step}: {result}", number + 1).expect("a string takes text");
        }
        for (about, values) in differences {
            writeln!(text, "  {about}: {values}").expect("a string takes text");
        }
        text
    }
}

/// Between two looks.
const PAUSE: Duration = Duration::from_micros(300);
/// How long it has to be as expected where some stand still.
const STABLE: Duration = Duration::from_millis(4);

/// Looks until everything is as expected; what is not by the deadline differs.
fn await_alike(stage: &Stage<'_>, expected: &Facts, patience: Duration) -> Facts {
    let obey = |(about, how): (&String, &String)| {
        (how == OBEYS).then(|| about.strip_prefix('p')?.parse().ok())?
    };
    let obedient: BTreeSet<Birth> = expected.iter().filter_map(obey).collect();
    let until = Instant::now() + patience;
    // Who obeys has met its signals by then; who stands still may be about to do what it should not.
    let still = expected.values().any(|how| how == STANDS_STILL);
    let mut alike_since = None;
    loop {
        let differences = differences(expected, &stage.facts(&obedient));
        let now = Instant::now();
        match (differences.is_empty(), alike_since) {
            (true, None) if still && !patience.is_zero() => alike_since = Some(now),
            (true, Some(since)) if now < since + STABLE => {}
            (true, _) => return differences,
            (false, _) if now >= until => return differences,
            (false, _) => alike_since = None,
        }
        std::thread::sleep(PAUSE);
    }
}

fn differences(expected: &Facts, seen: &Facts) -> Facts {
    let abouts: BTreeSet<_> = expected.keys().chain(seen.keys()).collect();
    let value = |facts: &Facts, about: &String| {
        facts.get(about).cloned().unwrap_or_else(|| "nothing".to_owned())
    };
    let differ = |about: &&String| expected.get(*about) != seen.get(*about);
    let pair = |about: &String| beside(&value(expected, about), &value(seen, about));
    abouts.into_iter().filter(differ).map(|about| (about.clone(), pair(about))).collect()
}

fn beside(fake: &str, real: &str) -> String {
    format!("the fake says {fake:?}, the other {real:?}")
}

/// Makes steps out of acts, on the fake.
struct Author<'a> {
    stage: Stage<'a>,
    rules: Rules,
    births: Birth,
    /// Helpers for which SIGTERM is certainly nothing, and those for which it may be.
    term_proof: BTreeMap<Birth, Certainty>,
    /// Those that stood still when there was a signal, or when they were asked to end.
    signalled_standing: BTreeSet<Birth>,
    facts: Facts,
    scenes: Vec<Scene>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Certainty {
    Certain,
    Perhaps,
}

impl<'a> Author<'a> {
    fn new(fake: &'a dyn World, rules: Rules, prefix: &'a str) -> Self {
        Self {
            stage: Stage::new(fake, prefix),
            rules,
            births: 0,
            term_proof: BTreeMap::new(),
            signalled_standing: BTreeSet::new(),
            facts: Facts::new(),
            scenes: Vec::new(),
        }
    }

    fn play(&mut self, step: Step) {
        let is_signal = matches!(
            &step,
            Step::OnProgram { what: OnProgram::Signal(_), .. }
                | Step::OnGroup { what: OnGroup::Signal(_) | OnGroup::Terminate(Some(_)), .. }
        );
        if is_signal {
            let facts = &self.facts;
            let still = |birth: &Birth| {
                facts.get(&format!("p{birth}")).is_some_and(|how| how == STANDS_STILL)
            };
            self.signalled_standing.extend((1..=self.births).filter(still));
        }
        let result = self.stage.take(&step);
        self.facts = self.stage.facts(&BTreeSet::new());
        self.scenes.push(Scene { step, result, facts: self.facts.clone() });
    }

    /// What the act means now; nothing where there is nothing to act on.
    fn step(&mut self, act: Act) -> Option<Step> {
        Some(match act {
            Act::Create(name) => Step::Create { name: self.top_name(name) },
            Act::StartOutside => {
                let birth = self.rules.outsiders.then(|| self.birth())?;
                Step::StartOutside { birth }
            }
            Act::SignalProgram(child, signal) => {
                let what = OnProgram::Signal(signal_of(signal));
                Step::OnProgram { birth: self.program(child)?, what }
            }
            Act::Wait(child) => self.wait(self.program(child)?),
            Act::Fork(process) => {
                let child = self.birth();
                self.order(process, Order::Fork(child))?
            }
            Act::Daemonise(process) => {
                let daemon = self.birth();
                self.order(process, Order::Daemonise(daemon))?
            }
            Act::Exit(process, status) => self.order(process, Order::Exit(status))?,
            Act::LeaveSession(process) => self.order(process, Order::LeaveSession)?,
            Act::IgnoreTerm(process) => self.order(process, Order::IgnoreTerm)?,
            Act::StopItself(process) => self.order(process, Order::StopItself)?,
            Act::OnGroup(group, act) => {
                let group = self.group(group)?;
                Step::OnGroup { group, what: self.on_group(act)? }
            }
        })
    }

    fn on_group(&mut self, act: GroupAct) -> Option<OnGroup> {
        Some(match act {
            GroupAct::Nest(name) => OnGroup::Nest(INNER_NAMES[pick(name, INNER_NAMES.len())]),
            GroupAct::Open => OnGroup::Open,
            GroupAct::Spawn => OnGroup::Spawn(self.birth()),
            GroupAct::SpawnNothing(there) => OnGroup::SpawnNothing { there },
            GroupAct::Attach(process) => {
                OnGroup::Attach(self.living(process).filter(|birth| !self.is_owing(*birth))?)
            }
            GroupAct::Signal(signal) => OnGroup::Signal(signal_of(signal)),
            GroupAct::Freeze => OnGroup::Freeze,
            GroupAct::Thaw => OnGroup::Thaw,
            GroupAct::Kill => OnGroup::Kill,
            GroupAct::Reap => OnGroup::Reap,
            GroupAct::Remove => OnGroup::Remove,
            GroupAct::Terminate(asks) => {
                let owing = (1..=self.births).any(|birth| self.is_owing(birth));
                OnGroup::Terminate((asks && !owing).then(|| self.asking()))
            }
        })
    }

    fn wait(&self, birth: Birth) -> Step {
        let vague = self.rules.frozen_signals_race && self.signalled_standing.contains(&birth);
        Step::OnProgram { birth, what: OnProgram::Wait { vague } }
    }

    fn order(&mut self, choice: u8, order: Order) -> Option<Step> {
        let birth = self.living(choice)?;
        self.note_proof(birth, order);
        Some(Step::Order { birth, order })
    }

    /// Who is frozen or stopped obeys later, after the signals that wait for it.
    fn note_proof(&mut self, birth: Birth, order: Order) {
        let obeys = self.facts.get(&format!("p{birth}")).is_some_and(|how| how == OBEYS);
        let certainty = if obeys { Certainty::Certain } else { Certainty::Perhaps };
        match order {
            Order::IgnoreTerm => {
                self.term_proof.entry(birth).or_insert(certainty);
            }
            Order::Fork(child) | Order::Daemonise(child) => {
                if let Some(parent) = self.term_proof.get(&birth).copied() {
                    self.term_proof.insert(child, parent);
                }
            }
            _ => {}
        }
    }

    /// Whether it was told what it has not done yet, since it stood still already: moved out of a frozen
    /// group it does that while it is being moved, continued in a termination while that goes on.
    fn is_owing(&self, birth: Birth) -> bool {
        let told = |step: &Step| matches!(step, Step::Order { birth: told, .. } if *told == birth);
        let about = format!("p{birth}");
        let stood_still =
            |scene: &Scene| scene.facts.get(&about).is_some_and(|how| how == STANDS_STILL);
        let pairs = self.scenes.windows(2).rev();
        let mut still = pairs.take_while(|pair| pair.iter().all(stood_still));
        still.any(|pair| told(&pair[1].step))
    }

    /// When a program is there to be asked, it is a matter of time who else is left when it has ended.
    fn asking(&self) -> Asking {
        let program = self.stage.programs().any(|birth| self.lives(birth));
        let certain = self.term_proof.iter().filter(|(_, how)| **how == Certainty::Certain);
        Asking { outlive: program.then(|| certain.map(|(birth, _)| *birth).collect()) }
    }

    fn birth(&mut self) -> Birth {
        self.births += 1;
        self.births
    }

    fn lives(&self, birth: Birth) -> bool {
        self.facts.contains_key(&format!("p{birth}"))
    }

    fn top_name(&self, choice: u8) -> &'static str {
        NAMES[if self.rules.one_group { 0 } else { pick(choice, NAMES.len()) }]
    }

    fn group(&self, choice: u8) -> Option<usize> {
        let count = self.stage.groups();
        (count > 0).then(|| pick(choice, count))
    }

    fn living(&self, choice: u8) -> Option<Birth> {
        let living: Vec<_> = (1..=self.births).filter(|birth| self.lives(*birth)).collect();
        (!living.is_empty()).then(|| living[pick(choice, living.len())])
    }

    fn program(&self, choice: u8) -> Option<Birth> {
        let programs: Vec<_> = self.stage.programs().collect();
        (!programs.is_empty()).then(|| programs[pick(choice, programs.len())])
    }
}

fn pick(choice: u8, count: usize) -> usize {
    usize::from(choice) % count
}

fn signal_of(choice: u8) -> Signal {
    SIGNALS[pick(choice, SIGNALS.len())]
}
