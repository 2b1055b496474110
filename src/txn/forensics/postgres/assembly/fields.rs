//! The fields of a report after its first wait: more waits, statements, context.
//!
//! Decides: what a line inside a field is. Never does: begin a report of its own accord.

use super::{AGE, Assembly, Field, Meta, Owner};
use crate::txn::forensics::model::Context;
use crate::txn::forensics::postgres::waits;
use crate::txn::forensics::scan;

impl Assembly {
    /// A line inside a field: a wait, a process with its statement, or more of the same text.
    pub(super) fn detail_line(&mut self, number: usize, text: &str, tabbed: bool) {
        let expected = |assembly: &Self, waiter: &str| {
            assembly.drafts.iter().any(|draft| draft.expects(waiter))
        };
        let edges = waits(text);
        if let Some(first) = edges.first()
            && (matches!(self.field, Field::Detail(_) | Field::None)
                || expected(self, &first.waiter))
        {
            let meta = Meta { line: number, ..Meta::default() };
            let key = edges.first().map(|edge| edge.waiter.clone()).unwrap_or_default();
            let known = self.drafts.iter().rev().find(|draft| draft.expects(&key));
            let key = known.map_or_else(String::new, |draft| draft.key.clone());
            self.wait_line(&key, &meta, text);
            return;
        }
        if let Some((pid, statement)) = process(text)
            && let Some(draft) = self.drafts.iter_mut().rev().find(|draft| draft.lacks(pid))
        {
            draft.statements.insert(pid.to_owned(), String::new());
            let target = draft.statements.entry(pid.to_owned()).or_default();
            scan::append(target, statement);
            self.field = Field::Process(draft.id, pid.to_owned());
            return;
        }
        if tabbed || !text.is_empty() {
            self.more(text);
        }
    }

    pub(super) fn more(&mut self, text: &str) {
        let field = self.field.clone();
        match field {
            Field::None | Field::Detail(_) => {}
            Field::Process(id, pid) => {
                if let Some(statement) =
                    self.draft(id).and_then(|draft| draft.statements.get_mut(&pid))
                {
                    scan::append(statement, text);
                }
            }
            Field::Context(id) => {
                if let Some(draft) = self.draft(id) {
                    scan::append(&mut draft.inner, text);
                }
            }
            Field::Statement(id) => {
                if let Some(draft) = self.draft(id) {
                    scan::append(&mut draft.own_statement, text);
                }
            }
        }
    }

    pub(super) fn context(&mut self, key: &str, line: usize, found: Option<Context>, text: &str) {
        self.field = Field::None;
        match self.owners.get(key).cloned() {
            Some(Owner::Report(id)) => {
                if let Some(draft) = self.draft(id).filter(|draft| {
                    draft.context.is_none() && line.saturating_sub(draft.touched) <= AGE / 4
                }) {
                    if found.is_none() {
                        scan::append(&mut draft.inner, text);
                    }
                    draft.context = found;
                    self.field = Field::Context(id);
                }
            }
            Some(Owner::LockWait(pid)) => {
                if let Some(wait) = self.waits.get_mut(&pid) {
                    wait.context = found;
                }
            }
            Some(Owner::Mention) | None => {}
        }
    }

    pub(super) fn statement(&mut self, key: &str, line: usize, text: &str) {
        self.field = Field::None;
        match self.owners.get(key).cloned() {
            Some(Owner::Report(id)) => {
                if let Some(draft) = self.draft(id).filter(|draft| draft.own_statement.is_empty()) {
                    scan::append(&mut draft.own_statement, text);
                    self.field = Field::Statement(id);
                }
            }
            Some(Owner::Mention) => self.mentions.statement(key, line, text),
            Some(Owner::LockWait(_)) | None => {}
        }
    }
}

/// `Process 25082: update …`, in any language: a word, a number, a colon.
fn process(text: &str) -> Option<(&str, &str)> {
    let start = text.find(|c: char| c.is_ascii_digit()).filter(|at| (1..=40).contains(at))?;
    let (pid, rest) = scan::digits(&text[start..])?;
    let statement = rest.trim_start().strip_prefix(':')?;
    let word = text[..start].trim();
    let plain = !word.contains([':', '"', '\'', '(', ',', '=']) && pid.len() <= 10;
    plain.then(|| (pid, statement.strip_prefix(' ').unwrap_or(statement)))
}
