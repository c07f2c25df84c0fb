//! What a teardown takes down for its report: who was found, with their origins, and what failed.

use super::{Phase, Teardown};
use crate::{GroupOps, Member, Result, Signalled, Standing};

impl Teardown {
    /// Takes down who left the group's bounds, and who is alive once the program has ended by
    /// itself or by what it was asked; out of those who were just listed, if they were.
    pub(super) fn note_members(&mut self, group: &dyn GroupOps, listed: Option<Vec<Member>>) {
        let members = match listed.map_or_else(|| group.members(), Ok) {
            Ok(members) => members,
            Err(error) => return self.note_failure(Err(error)),
        };
        let striking = matches!(self.phase, Phase::Kill(_));
        let program = group.program_runs()
            || members.iter().any(|member| member.standing == Standing::Program);
        if !self.left_behind_known && !striking && !program {
            self.left_behind_known = true;
            let left = self.report.left_behind_among(&members);
            self.report.left_behind = self.traced(left, &members);
        }
        let escaped = self.report.newly_escaped_among(&members);
        let escaped = self.traced(escaped, &members);
        self.report.escaped.extend(escaped);
    }

    /// Takes down who is alive though everything was tried.
    pub(super) fn note_survivors(&mut self, members: &[Member]) {
        let (mut known, new): (Vec<_>, Vec<_>) = self
            .report
            .with_known_origins(members)
            .into_iter()
            .partition(|member| member.origin.is_some());
        known.extend(self.traced(new, members));
        known.sort_by_key(|member| member.pid);
        if let Some(witness) = &self.witness {
            witness.explain(&mut known);
        }
        self.report.note_survivors(known);
    }

    /// Asks for the origins while they live. Where nobody was found it costs nothing.
    fn traced(&self, mut found: Vec<Member>, all: &[Member]) -> Vec<Member> {
        if let Some(witness) = &self.witness
            && !found.is_empty()
        {
            witness.trace(&mut found, all);
        }
        found
    }

    pub(super) fn note_pass(&mut self, pass: Result<Signalled>) {
        match pass {
            Ok(pass) => pass.failed.into_iter().for_each(|error| self.report.note(error)),
            Err(error) => self.note_failure(Err(error)),
        }
    }

    /// Keeps an error for the report; that the group vanished is none.
    pub(super) fn note_failure(&mut self, result: Result<()>) {
        if let Err(error) = result
            && !error.is_gone()
        {
            self.report.note(error);
        }
    }
}
