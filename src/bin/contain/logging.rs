//! Diagnostics: `tracing` events to stderr. The plain filter of targets and levels, without regular
//! expressions, and nothing to write them before there is one to write: start-up is where a small tool's time goes.

use std::io::{IsTerminal as _, Stderr, stderr};
use std::sync::OnceLock;

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{DefaultFields, Format};

/// From now on events that pass `filter` are written to stderr.
pub(crate) fn start(filter: &Targets) {
    let log = Log { filter: filter.clone(), lines: OnceLock::new() };
    // Fails only when a subscriber was set before, and then events have where to go.
    let _ = tracing::subscriber::set_global_default(log);
}

/// Writes a line for each event.
type Lines = tracing_subscriber::fmt::Subscriber<
    DefaultFields,
    Format<tracing_subscriber::fmt::format::Full, ()>,
    LevelFilter,
    fn() -> Stderr,
>;

/// Asks for lines, which take 40 KiB, with the first event that passes.
struct Log {
    filter: Targets,
    lines: OnceLock<Lines>,
}

impl Log {
    fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| {
            tracing_subscriber::fmt()
                .with_max_level(LevelFilter::TRACE)
                .with_writer(stderr as fn() -> Stderr)
                .with_ansi(wants_color())
                .without_time()
                // It would panic for what cannot be written.
                .log_internal_errors(false)
                .finish()
        })
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.would_enable(metadata.target(), metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = self.filter.iter().map(|(_, level)| level);
        levels.chain(self.filter.default_level()).max()
    }

    fn event(&self, event: &Event<'_>) {
        self.lines().event(event);
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.lines().new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.lines().record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.lines().record_follows_from(span, follows);
    }

    fn enter(&self, span: &Id) {
        self.lines().enter(span);
    }

    fn exit(&self, span: &Id) {
        self.lines().exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.lines().clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.lines().try_close(span)
    }
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
