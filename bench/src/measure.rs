//! Ways of doing the same work, timed in turn.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::results::{Absent, Bound, Kind, Line, Table};

pub type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// One way of doing the work of a contest. It is set up, timed by itself, and cleaned up in each round.
pub struct Way<'a> {
    name: String,
    kind: Kind,
    guarantee: String,
    bounds: Vec<Bound>,
    work: Box<dyn FnMut() -> Result<Duration> + 'a>,
}

impl<'a> Way<'a> {
    /// The bare system calls.
    pub fn floor(name: impl Into<String>, work: impl FnMut() -> Result<Duration> + 'a) -> Self {
        Self::new(name.into(), Kind::Floor, work)
    }

    pub fn ours(name: impl Into<String>, work: impl FnMut() -> Result<Duration> + 'a) -> Self {
        Self::new(name.into(), Kind::Ours, work)
    }

    /// Somebody else's way, and what holds when it was taken.
    pub fn peer(
        name: impl Into<String>,
        guarantee: &str,
        work: impl FnMut() -> Result<Duration> + 'a,
    ) -> Self {
        Self::new(name.into(), Kind::Peer, work).giving(guarantee)
    }

    fn new(name: String, kind: Kind, work: impl FnMut() -> Result<Duration> + 'a) -> Self {
        let (guarantee, bounds) = (String::new(), Vec::new());
        Self { name, kind, guarantee, bounds, work: Box::new(work) }
    }

    /// Says what holds when it was taken.
    #[must_use]
    pub fn giving(mut self, guarantee: impl Into<String>) -> Self {
        self.guarantee = guarantee.into();
        self
    }

    /// Has to take at most so many times what `floor` takes.
    #[must_use]
    pub fn at_most(mut self, target: f64, floor: &str) -> Self {
        self.bounds.push(Bound { floor: floor.to_owned(), target: Some(target) });
        self
    }

    /// Is told beside `floor`, without a target.
    #[must_use]
    pub fn beside(mut self, floor: &str) -> Self {
        self.bounds.push(Bound { floor: floor.to_owned(), target: None });
        self
    }
}

/// A contest of several ways.
pub struct Contest<'a> {
    title: String,
    series: Option<(String, u64)>,
    rounds: usize,
    pause: Duration,
    ways: Vec<Way<'a>>,
    absent: Vec<Absent>,
}

impl<'a> Contest<'a> {
    pub fn new(title: impl Into<String>, rounds: usize) -> Self {
        let (title, series, pause) = (title.into(), None, Duration::ZERO);
        Self { title, series, rounds, pause, ways: Vec::new(), absent: Vec::new() }
    }

    /// Is one point of a plot of cost against size.
    #[must_use]
    pub fn at(mut self, series: &str, size: u64) -> Self {
        self.series = Some((series.to_owned(), size));
        self
    }

    /// Rests before each run: what follows at once hides what a sporadic one waits for.
    #[must_use]
    pub fn resting(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    #[must_use]
    pub fn way(mut self, way: Way<'a>) -> Self {
        self.ways.push(way);
        self
    }

    /// A way that can be had here, or the reason why not.
    #[must_use]
    pub fn way_if(self, name: &str, way: Result<Way<'a>>) -> Self {
        match way {
            Ok(way) => self.way(way),
            Err(why) => self.without(name, chain(&*why)),
        }
    }

    /// Notes who cannot take part.
    #[must_use]
    pub fn without(mut self, name: &str, why: impl Into<String>) -> Self {
        let why = why.into();
        eprintln!("    without {name}: {why}");
        self.absent.push(Absent { name: name.to_owned(), why });
        self
    }

    /// Times every way once a round: forwards in one, backwards in the next, so that none always follows
    /// the same other one. The first round warms up and does not count. A peer that fails is noted as
    /// absent; a floor or way of ours that fails is an error.
    pub fn run(mut self) -> Result<Table> {
        eprintln!("  {}", self.title);
        let mut times = vec![Vec::new(); self.ways.len()];
        for round in 0..=self.rounds {
            let mut order: Vec<_> = (0..self.ways.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            let mut failed = Vec::new();
            for index in order {
                std::thread::sleep(self.pause);
                let way = &mut self.ways[index];
                match (way.work)() {
                    Ok(time) if round > 0 => times[index].push(time.as_secs_f64() * 1e6),
                    Ok(_) => {}
                    Err(error) if way.kind == Kind::Peer => failed.push((index, error)),
                    Err(error) => return Err(format!("{}: {}", way.name, chain(&*error)).into()),
                }
            }
            failed.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
            for (index, error) in failed {
                let way = self.ways.remove(index);
                times.remove(index);
                self = self.without(&way.name, chain(&*error));
            }
        }
        let lines = self.ways.into_iter().zip(times).map(|(way, times)| Line {
            name: way.name,
            kind: way.kind,
            guarantee: way.guarantee,
            bounds: way.bounds,
            micros: times.into_iter().map(|time| (time * 100.0).round() / 100.0).collect(),
        });
        let table = Table {
            title: self.title,
            series: self.series,
            lines: lines.collect(),
            absent: self.absent,
        };
        table.print();
        Ok(table)
    }
}

/// How long it takes.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let started = Instant::now();
    let done = work()?;
    Ok((done, started.elapsed()))
}

/// An error with what it came from.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
