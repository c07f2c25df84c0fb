//! Playing a sequence on a pair: here, or where the backend asks for it in a process of its own of a
//! single thread, which is this executable once more.

use std::io::Read as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::acts::Act;
use crate::pairs::Pair;
use crate::play::Script;
use crate::search::{Patience, Played};
use crate::support::scaled;

/// The sequence that this process is to play, and where.
pub(crate) const SEQUENCE: &str = "DIFFERENTIAL_SEQUENCE";

#[derive(Debug, Serialize, Deserialize)]
struct Assignment {
    pair: String,
    acts: Vec<Act>,
    patience: Duration,
}

/// Plays the sequence on both sides of the pair.
pub(crate) fn play(pair: &Pair, acts: &[Act], patience: Patience) -> Played {
    let time = scaled(match patience {
        Patience::Long => Duration::from_millis(1500),
        Patience::Short => Duration::from_millis(300),
    });
    if pair.rules.one_group {
        play_elsewhere(pair, acts, time)
    } else {
        play_here(pair, acts, time)
    }
}

fn play_here(pair: &Pair, acts: &[Act], patience: Duration) -> Played {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let prefix = format!("{}{}--{serial}", prefix_of_all(), pair.name);
    let script = Script::of(acts, &pair.fake(), pair.rules, &prefix);
    Played { steps: script.len(), difference: script.compare(&pair.real(), &prefix, patience) }
}

/// What the names of all groups begin with that this process makes.
pub(crate) fn prefix_of_all() -> String {
    format!("contain-diff-{}-", std::process::id())
}

/// Plays what it was started for, and says on stdout how it went.
pub(crate) fn play_alone(assignment: &str) -> ExitCode {
    let Assignment { pair, acts, patience } =
        serde_json::from_str(assignment).expect("it was written by this executable");
    let played = play_here(Pair::named(&pair).expect("it is in the table"), &acts, patience);
    println!("{}", serde_json::to_string(&played).expect("it can be written"));
    ExitCode::SUCCESS
}

/// How long a sequence may take: generous, since it is there for a hang only.
const DEADLINE: Duration = Duration::from_secs(60);

fn play_elsewhere(pair: &Pair, acts: &[Act], patience: Duration) -> Played {
    let assignment = Assignment { pair: pair.name.to_owned(), acts: acts.to_vec(), patience };
    let assignment = serde_json::to_string(&assignment).expect("it can be written");
    let mut player = Command::new("/proc/self/exe")
        .env(SEQUENCE, assignment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this executable can be executed");
    let mut stdout = player.stdout.take().expect("it is piped");
    // Read elsewhere, so that a pipe that is held open makes nobody wait for it.
    let (send, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text);
        send.send(read.map(|_| text))
    });
    let said = said.recv_timeout(scaled(DEADLINE));
    if said.is_err() {
        drop(player.kill());
    }
    let status = player.wait().expect("it is ours to wait for");
    let text = said.ok().and_then(Result::ok).filter(|_| status.success());
    let played = text.and_then(|text| serde_json::from_str(&text).ok());
    played.unwrap_or_else(|| Played {
        steps: 0,
        difference: Some(format!("the sequence was not played to its end ({status}): {acts:?}")),
    })
}
