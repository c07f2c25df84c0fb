//! Ends several groups on one reaper thread while tokio goes on with other work: each end is a future that
//! any executor polls, and that can be awaited beside a timer.
//!
//! `cargo run --example on_tokio`

use std::time::Duration;

use containment::{Containment, Policy, Program, Reaper, Reaping, Result, Stream, TeardownReport};
use tokio::time::timeout;

/// How often whoever waits is told how far it has come.
const TICK: Duration = Duration::from_millis(100);

pub(crate) fn main() -> Result<()> {
    let reaper = Reaper::start()?;
    let reapings = start(&Containment::auto()?, &reaper, 3)?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let executor = executor.expect("an executor with a clock needs a few descriptors");
    let ended = executor.block_on(async {
        let mut ended = Vec::new();
        for reaping in reapings {
            ended.push(awaited(reaping).await);
        }
        ended
    });
    // Every group is gone; what was dropped before it was awaited would be waited for here.
    reaper.finish();
    for report in ended {
        let report = report?;
        println!("gone in {:?}, survivors: {}", report.elapsed, report.survivors.len());
        assert!(report.is_clean(), "somebody survived: {:?}", report.survivors);
    }
    Ok(())
}

/// Starts groups that take SIGTERM their time, and has them ended.
fn start(host: &Containment, reaper: &Reaper, groups: usize) -> Result<Vec<Reaping>> {
    let politely = Policy::graceful(Duration::from_secs(10));
    let started = (0..groups).map(|number| {
        let job = host.group(format!("tokio-{}-{number}", std::process::id())).create()?;
        let script = "trap 'sleep 0.3; exit' TERM; while :; do sleep 0.1; done";
        job.spawn(&Program::new("sh").args(["-c", script]).stderr(Stream::Null))?;
        Ok(reaper.submit(job, politely.clone()))
    });
    started.collect()
}

/// Awaits the end of a group beside a timer, and tells at each tick how far it is. A tick drops its timer,
/// never the teardown.
async fn awaited(mut reaping: Reaping) -> Result<TeardownReport> {
    loop {
        match timeout(TICK, &mut reaping).await {
            Ok(report) => return report,
            Err(_) => println!("still ending: {:?}", reaping.stage()),
        }
    }
}
