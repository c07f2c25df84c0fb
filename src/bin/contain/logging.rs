//! Diagnostics: `tracing` events to stderr. The plain filter of targets and levels, without regular
//! expressions: start-up is where a small tool's time goes.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// From now on events that pass `filter` are written to stderr.
pub(crate) fn start(filter: &Targets) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(wants_color())
        .without_time();
    let subscriber = tracing_subscriber::registry().with(lines).with(filter.clone());
    // Fails only when a subscriber was set before, and then events have where to go.
    let _ = subscriber.try_init();
}

fn wants_color() -> bool {
    match anstream::ColorChoice::global() {
        anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi => true,
        anstream::ColorChoice::Never => false,
        anstream::ColorChoice::Auto => {
            stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
        }
    }
}
