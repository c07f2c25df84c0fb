//! Signals to `contain`: which it takes, what each means, and what is done about it.

use containment::{Signal, SignalSet};
use containment_process::signals::Received;

use super::supervise::Supervisor;

/// The signals that we take by reading. The others do what they do by default: a terminal's Ctrl-Z
/// stops us with the rest of the job.
pub(super) fn taken() -> SignalSet {
    let ours = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::CHLD];
    let passed_on = [Signal::USR1, Signal::USR2, Signal::WINCH, Signal::CONT];
    ours.into_iter().chain(passed_on).collect()
}

/// The most signals that are read before something else gets its turn.
const SIGNALS: usize = 64;

/// What a signal to us means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    End,
    PassOn,
    Reap,
    /// The terminal sent it to the program, too.
    Leave,
}

impl Supervisor<'_> {
    /// Acts on the signals that have arrived, up to one that asks for the end: that is returned.
    ///
    /// Under a fork storm children end all the time: one pass reaps some of them, so that the bounds of the
    /// run are looked at in between.
    pub(super) fn read_inbox(&self) -> Option<Signal> {
        let mut reap = self.behind.get();
        for _ in 0..SIGNALS {
            let Some(received) = self.next_signal() else { break };
            match meaning(received, self.outcome.is_none()) {
                Meaning::End => return Some(received.signal),
                Meaning::PassOn => self.pass_on(received.signal),
                Meaning::Reap => reap = true,
                Meaning::Leave => {}
            }
        }
        if reap {
            self.reap();
        }
        None
    }

    fn next_signal(&self) -> Option<Received> {
        self.resources.inbox.next().unwrap_or_else(|error| {
            tracing::warn!(%error, "signals to contain cannot be read");
            None
        })
    }

    fn pass_on(&self, signal: Signal) {
        if let Err(error) = self.child.signal(signal) {
            tracing::warn!(%error, %signal, "a signal could not be passed on");
        }
    }
}

/// What `received` means, while the program runs or after its end. What the kernel itself sends
/// (`SI_KERNEL`) comes from the terminal, and goes to the program as well as to us.
fn meaning(received: Received, program_runs: bool) -> Meaning {
    let from_terminal = received.from_kernel && program_runs;
    match received.signal {
        Signal::CHLD => Meaning::Reap,
        Signal::INT | Signal::QUIT | Signal::WINCH if from_terminal => Meaning::Leave,
        Signal::USR1 | Signal::USR2 | Signal::WINCH | Signal::CONT => Meaning::PassOn,
        _ => Meaning::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(signal: Signal, from_kernel: bool) -> Received {
        Received { signal, from_kernel, sender: None }
    }

    #[test]
    fn what_the_terminal_sends_is_left_to_the_program_while_it_runs() {
        for signal in [Signal::INT, Signal::QUIT] {
            assert_eq!(meaning(received(signal, true), true), Meaning::Leave);
            assert_eq!(meaning(received(signal, true), false), Meaning::End);
            assert_eq!(meaning(received(signal, false), true), Meaning::End);
        }
    }

    #[test]
    fn a_hangup_ends_the_group_whoever_sends_it() {
        assert_eq!(meaning(received(Signal::HUP, true), true), Meaning::End);
        assert_eq!(meaning(received(Signal::TERM, false), true), Meaning::End);
    }

    #[test]
    fn signals_for_the_program_are_passed_on() {
        for signal in [Signal::USR1, Signal::USR2, Signal::WINCH, Signal::CONT] {
            assert_eq!(meaning(received(signal, false), true), Meaning::PassOn);
            assert!(taken().contains(signal));
        }
        assert_eq!(meaning(received(Signal::CHLD, false), true), Meaning::Reap);
    }
}
