//! `contain run`: a program in a group of its own, until nothing that it started is left.

mod end;
mod members;
mod post;
pub(crate) mod program;
pub(crate) mod report;
mod resources;
mod signals;
mod spare;
pub(crate) mod stats;
mod supervise;
mod teardown;

use std::time::Instant;

use containment::registry::{Registry, Tenure};
use containment::{
    Builder, Containment, Element, Error, Keeper, Launch, Limits, Measure, Operation, Policy,
    Proof, Requirement, Result,
};

use crate::cli::{Global, Orphans, Run};
use crate::{errors, exit};
use end::End;
use program::Prepared;
use report::ReportFile;
use resources::Resources;
use supervise::Supervisor;

/// Runs the program; gives the exit status.
pub(crate) fn run(global: &Global, options: &Run) -> u8 {
    run_in_group(global, options).unwrap_or_else(|error| {
        errors::print(&error);
        exit::of_failed_run(&error)
    })
}

/// Fails only where no group was made.
fn run_in_group(global: &Global, options: &Run) -> Result<u8> {
    let name = program::group_name(options)?;
    let asked = Asked::read(options).map_err(|error| error.with_group(&name))?;
    let registry = on_record(global);
    let mut resources = Resources::acquire(options, registry.as_ref())
        .map_err(|error| Error::from_io(Operation::Spawn, &error).with_group(&name))?;
    let started = Instant::now();
    let launch = builder(global, options, registry.as_ref())
        .limits(&asked.limits)
        .witnessed_by(resources.ancestry.clone())
        .launch(&name, |group| {
            resources.guard(group);
            asked.program.in_group(group, resources.inbox.original_mask())
        });
    let launch = launch.inspect_err(|_| {
        // Without a group nothing on record is ours.
        registry.iter().for_each(close);
    })?;
    tracing::debug!(selection = %launch.containment.selection(), "launched");
    let end = supervised(launch, options, &mut resources, started);
    if let Some(registry) = &registry {
        leave_record(registry, &end);
    }
    let status = conclude(&end, asked.report, options);
    // A guardian that was dismissed has ended meanwhile.
    drop(resources);
    Ok(status)
}

/// What the options name, found or opened before anything is made: what is wrong with it costs nothing.
#[derive(Debug)]
struct Asked {
    report: Option<ReportFile>,
    program: Prepared,
    limits: Limits,
}

impl Asked {
    fn read(options: &Run) -> Result<Self> {
        Ok(Self {
            report: options.figures.report.as_deref().map(ReportFile::open).transpose()?,
            program: Prepared::new(options)?,
            limits: options.limits.limits()?.of_new_group(),
        })
    }
}

/// The registry; a run does without it where it cannot be used.
fn on_record(global: &Global) -> Option<Registry> {
    Registry::open(global.state_dir.as_deref())
        .inspect_err(|error| {
            tracing::warn!(
                "{}; what contain leaves when it is killed cannot be recovered",
                errors::line(error)
            );
        })
        .ok()
}

/// What was kept is nobody's from now on; what could not be ended stays ours, for `gc`.
fn leave_record(registry: &Registry, end: &End) {
    let left = if end.is_kept() { registry.disown(&end.id.name) } else { Ok(()) };
    if let Err(error) = left {
        tracing::warn!("{}", errors::line(&error));
    }
    close(registry);
}

fn close(registry: &Registry) {
    if let Err(error) = registry.close() {
        tracing::warn!("{}", errors::line(&error));
    }
}

fn builder(global: &Global, options: &Run, registry: Option<&Registry>) -> Builder {
    let mut builder = Containment::builder()
        .keeper(match options.group.orphans {
            Orphans::Kill => Keeper::Worker,
            Orphans::Keep => Keeper::Lasting,
        })
        .proof(Proof::OnUse)
        .systemd(global.systemd.into());
    // Where a figure has its price it is measured for those who look at it. What is throttled has a CPU
    // limit, and is measured by that.
    if options.figures.are_wanted() {
        let figures = Measure::ALL.iter().copied().filter(|figure| *figure != Measure::Throttling);
        builder = builder.measuring(figures.collect());
    }
    if let Some(backend) = global.backend.explicit() {
        builder = builder.backend(backend);
    }
    if let Some(parent) = &global.parent {
        builder = builder.parent(parent);
    }
    if options.isolation.seal {
        builder = builder.seal();
    }
    if options.group.best_effort {
        builder = builder.best_effort();
    }
    if let Some(registry) = registry {
        let tenure = match options.group.orphans {
            Orphans::Kill => Tenure::Owner,
            Orphans::Keep => Tenure::Lasting,
        };
        builder = builder.registry(registry, tenure);
    }
    // Without the figure there is nothing to hold the limit against.
    let measured = options.ending.cpu_time.map(|_| Requirement::Usage(Measure::Cpu));
    options.group.require.iter().copied().chain(measured).fold(builder, Builder::require)
}

/// Sees the program and its group through to their end.
fn supervised(launch: Launch, options: &Run, resources: &mut Resources, started: Instant) -> End {
    let Launch { containment, group, guarantees, mut degraded, child } = launch;
    degraded.extend(resources.post.degradation());
    let mut end = End::new(&group, guarantees, degraded);
    let child = match child {
        Ok(child) => child,
        Err(error) => {
            end.failure = Some(error);
            resources.spare = None;
            end.tear_down(group.terminate(&Policy::kill()));
            return end;
        }
    };
    end.pid = Some(child.pid());
    Supervisor::of(&child, resources, &containment).see_through(group, options, &mut end, started);
    end
}

/// Reports what there is to report; gives the exit status.
fn conclude(end: &End, report: Option<ReportFile>, options: &Run) -> u8 {
    let complaint = end.loss().or_else(|| end.failure.as_ref().map(errors::line));
    if let Some(complaint) = complaint {
        errors::print_line(&complaint);
    }
    for what in &end.degraded {
        tracing::warn!("doing without {what}");
    }
    end.tell_who_was_left();
    if options.figures.stats {
        stats::print(end);
    }
    match report.map_or(Ok(()), |file| file.write(end)) {
        Ok(()) => end.exit_status(),
        Err(message) => {
            errors::print_line(&message);
            exit::RUN_FAILED
        }
    }
}
