//! `contain doctor`: what can be used on this host, what cannot and why, and what each guarantees.

use containment::{Backend, Capabilities, Containment, Element, Error, Escape, Finding, Set};
use serde::Serialize;

use crate::cli::{Doctor, Global};
use crate::guarantees::Guarantees;
use crate::table::Table;
use crate::{exit, output};

/// Tries every backend and prints what was found.
pub(crate) fn doctor(global: &Global, options: &Doctor) -> u8 {
    let diagnosis = diagnose(global);
    let printed = if options.json {
        output::print_json(WHAT, &diagnosis)
    } else {
        output::print(WHAT, &for_a_person(&diagnosis))
    };
    if diagnosis.is_usable() { printed } else { exit::FAILED }
}

const WHAT: &str = "the findings";

/// The JSON document.
#[derive(Debug, Serialize)]
struct Diagnosis {
    kernel: String,
    selected: Option<&'static str>,
    backends: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: &'static str,
    usable: bool,
    reason: Option<String>,
    remedy: Option<String>,
    lacking: Vec<String>,
    scope: Option<String>,
    capabilities: Option<CapabilitiesEntry>,
}

#[derive(Debug, Serialize)]
struct CapabilitiesEntry {
    #[serde(flatten)]
    guarantees: Guarantees,
    limits: Vec<&'static str>,
    usage: Vec<&'static str>,
}

fn diagnose(global: &Global) -> Diagnosis {
    let mut builder = Containment::builder()
        .keeper(containment::Keeper::Worker)
        .measuring(Set::all())
        .systemd(global.systemd.into());
    if let Some(parent) = &global.parent {
        builder = builder.parent(parent);
    }
    let findings = builder.survey();
    let asked_for = |backend: Backend| global.backend.explicit().is_none_or(|only| only == backend);
    let selected = findings.iter().find(|f| f.usable.is_ok() && asked_for(f.backend));
    Diagnosis {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        selected: selected.map(|finding| finding.backend.name()),
        backends: findings.iter().map(Entry::new).collect(),
    }
}

/// Why the order is another one on some hosts.
const HYBRID_FIRST: &str =
    "hybrid goes first: v1 hierarchies carry controllers that the unified one lacks\n";

impl Diagnosis {
    fn prefers_hybrid(&self) -> bool {
        let hybrid = Backend::Hybrid.name();
        self.selected == Some(hybrid) && self.backends.first().is_some_and(|it| it.name == hybrid)
    }

    fn is_usable(&self) -> bool {
        self.backends.iter().any(|entry| entry.usable)
    }
}

impl Entry {
    fn new(finding: &Finding) -> Self {
        let error = finding.usable.as_ref().err();
        Self {
            name: finding.backend.name(),
            usable: finding.usable.is_ok(),
            reason: error.map(Error::located),
            remedy: error.and_then(|error| error.remedy()).map(str::to_owned),
            lacking: finding.lacking.clone(),
            scope: finding.scope.clone(),
            capabilities: finding.usable.as_ref().ok().map(CapabilitiesEntry::new),
        }
    }
}

impl CapabilitiesEntry {
    fn new(capabilities: &Capabilities) -> Self {
        Self {
            guarantees: Guarantees::new(capabilities),
            limits: names(capabilities.limits),
            usage: names(capabilities.usage),
        }
    }
}

fn names<T: Element>(set: Set<T>) -> Vec<&'static str> {
    set.iter().map(T::name).collect()
}

/// The whole page for a person: the table, then a paragraph for each backend.
fn for_a_person(diagnosis: &Diagnosis) -> String {
    let mut table = Table::default();
    table.row(["BACKEND", "USABLE", "KILL", "ESCAPE", "EMPTY", "FREEZE", "LEAVE BY"]);
    for entry in &diagnosis.backends {
        let usable = if entry.usable { "yes" } else { "no" };
        let mut cells = vec![entry.name, usable];
        if let Some(CapabilitiesEntry { guarantees: it, .. }) = &entry.capabilities {
            // Who leaves by itself needs nobody to move it.
            let leave_by =
                if it.escape == Escape::Impossible.to_string() { &*it.leave_by } else { "-" };
            cells.extend([&*it.kill, &it.escape, &it.empty, &it.freeze, leave_by]);
        }
        table.row(cells);
    }
    let selected = diagnosis.selected.unwrap_or("none");
    let details: String = diagnosis.backends.iter().map(details).collect();
    let order = if diagnosis.prefers_hybrid() { HYBRID_FIRST } else { "" };
    format!("kernel {}, selected: {selected}\n{order}\n{table}\n{details}", diagnosis.kernel)
}

fn details(entry: &Entry) -> String {
    let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(" ") };
    let lines: Vec<_> = match &entry.capabilities {
        Some(it) => {
            let known =
                [format!("limits: {}", list(&it.limits)), format!("usage:  {}", list(&it.usage))];
            let lacking = entry.lacking.iter().map(|what| format!("lacking: {what}"));
            let scope = entry.scope.iter().map(|scope| format!("scope: {scope}"));
            known.into_iter().chain(scope).chain(lacking).collect()
        }
        None => [("not usable: ", &entry.reason), ("remedy: ", &entry.remedy)]
            .into_iter()
            .filter_map(|(what, text)| Some(format!("{what}{}", text.as_ref()?)))
            .collect(),
    };
    format!("{}\n  {}\n", entry.name, lines.join("\n  "))
}
