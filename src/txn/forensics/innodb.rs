//! InnoDB's dumps: `LATEST DETECTED DEADLOCK` of the status, and the error log.
//!
//! Decides: which section a line belongs to, and who waits for whom. MariaDB names the conflicting
//! locks with their transactions (its own among them, which conflict with nobody); MySQL prints
//! the transactions in the order of the cycle, so each waits for the next.
//! Never does: end a statement by what it contains, only by the headings that follow it.

use super::DeadlockReport;
use super::model::Unread;
use super::postgres::prefix;
use super::scan;
use dump::{Dump, Section, Transaction};

mod dump;
mod lock;

/// Most transactions of one report.
const TRANSACTIONS: usize = 256;
/// Lines after which a dump that nothing ended is over.
const DUMP_LINES: usize = 20_000;

/// The dump that grows while lines are read.
#[derive(Debug, Default)]
pub(super) struct Dumps {
    dump: Option<Dump>,
    pub(super) reports: Vec<DeadlockReport>,
    pub(super) unread: Vec<Unread>,
}

/// What a line is, its log prefix taken away.
enum Heading {
    Begin,
    TooDeep,
    Transaction(Option<usize>),
    Holds(Option<usize>),
    Waits(Option<usize>),
    Conflicts,
    RollBack(usize),
    End,
}

/// The text of a line of the error log after its prefix, and whether there was one.
fn body(line: &str) -> (&str, bool) {
    for mark in ["[InnoDB] ", "] InnoDB: "] {
        if let Some((before, body)) = line.split_once(mark)
            && before.len() < 120
            && prefix::time(before).is_some()
        {
            return (body, true);
        }
    }
    (line.strip_prefix("InnoDB: ").unwrap_or(line), false)
}

fn heading(text: &str) -> Option<Heading> {
    let text = text.trim();
    if text == "LATEST DETECTED DEADLOCK" || text.contains("deadlock detected, dumping detailed") {
        return Some(Heading::Begin);
    }
    if text.starts_with("TOO DEEP OR LONG SEARCH IN THE LOCK TABLE") {
        return Some(Heading::TooDeep);
    }
    if matches!(text, "TRANSACTIONS" | "FILE I/O" | "END OF INNODB MONITOR OUTPUT") {
        return Some(Heading::End);
    }
    let text = text.strip_prefix("*** ")?;
    if let Some(rest) = text.strip_prefix("WE ROLL BACK TRANSACTION (") {
        let (number, rest) = scan::number(rest)?;
        return rest.starts_with(')').then_some(Heading::RollBack(usize::try_from(number).ok()?));
    }
    let (number, text) = match text.strip_prefix('(') {
        Some(rest) => {
            let (number, rest) = scan::number(rest)?;
            (Some(usize::try_from(number).ok()?), rest.strip_prefix(") ")?)
        }
        None => (None, text),
    };
    match text {
        "TRANSACTION:" => Some(Heading::Transaction(number)),
        "HOLDS THE LOCK(S):" => Some(Heading::Holds(number)),
        "WAITING FOR THIS LOCK TO BE GRANTED:" => Some(Heading::Waits(number)),
        "CONFLICTING WITH:" => Some(Heading::Conflicts),
        text if text.starts_with("TOO DEEP OR LONG SEARCH") => Some(Heading::TooDeep),
        _ => None,
    }
}

impl Dumps {
    /// Whether a dump is open, so that lines belong to it.
    pub(super) fn open(&self) -> bool {
        self.dump.is_some()
    }

    /// Takes a line; whether it belonged to a dump.
    pub(super) fn line(&mut self, number: usize, line: &str) -> bool {
        if self.dump.is_none()
            && !line.contains("***")
            && !line.contains("DEADLOCK")
            && !line.contains("dumping detailed")
            && !line.contains("TOO DEEP")
        {
            return false;
        }
        let (text, logged) = body(line);
        match heading(text) {
            Some(heading) => self.heading(&heading, number, line),
            None if self.dump.is_some() => {
                self.text(text, logged);
                true
            }
            None => false,
        }
    }

    fn begin(&mut self, number: usize, line: &str) -> &mut Dump {
        self.finish();
        self.dump.insert(Dump {
            transactions: Vec::new(),
            section: Section::Header,
            at: 0,
            time: prefix::time(line),
            line: number,
            excerpt: scan::excerpt(line),
            victim: None,
            too_deep: false,
        })
    }

    fn heading(&mut self, heading: &Heading, number: usize, line: &str) -> bool {
        if self.dump.as_ref().is_some_and(|dump| number.saturating_sub(dump.line) > DUMP_LINES) {
            self.finish();
        }
        match heading {
            Heading::Begin => {
                self.begin(number, line);
            }
            Heading::TooDeep => {
                let fresh = self.dump.as_ref().is_none_or(|dump| !dump.transactions.is_empty());
                if fresh {
                    self.begin(number, line);
                }
                if let Some(dump) = &mut self.dump {
                    dump.too_deep = true;
                }
            }
            Heading::Transaction(ordinal) => return self.transaction(*ordinal, number, line),
            Heading::End => {
                let open = self.dump.is_some();
                self.finish();
                return open;
            }
            Heading::RollBack(victim) => {
                let Some(dump) = &mut self.dump else { return false };
                dump.victim = Some(*victim);
                self.finish();
            }
            Heading::Holds(ordinal) => return self.section(Section::Holds, *ordinal),
            Heading::Waits(ordinal) => return self.section(Section::Waits, *ordinal),
            Heading::Conflicts => return self.section(Section::Conflicts, None),
        }
        true
    }

    /// `*** (n) TRANSACTION:`. A number out of turn stands in a statement, or begins another dump.
    fn transaction(&mut self, ordinal: Option<usize>, number: usize, line: &str) -> bool {
        let next = self.dump.as_ref().map_or(1, |dump| dump.transactions.len() + 1);
        match ordinal {
            Some(1) if next != 1 => {
                self.begin(number, line);
            }
            Some(ordinal) if self.dump.is_some() && ordinal != next && next != 1 => {
                self.text(line, false);
                return true;
            }
            _ if self.dump.is_none() => {
                self.begin(number, line);
            }
            _ => {}
        }
        let Some(dump) = &mut self.dump else { return false };
        if dump.time.is_none() {
            dump.time = prefix::time(line);
        }
        if dump.transactions.len() < TRANSACTIONS {
            dump.transactions.push(Transaction::default());
        }
        dump.at = dump.transactions.len() - 1;
        dump.section = Section::Transaction;
        true
    }

    fn section(&mut self, section: Section, ordinal: Option<usize>) -> bool {
        let Some(dump) = &mut self.dump else { return false };
        if let Some(at) = ordinal.and_then(|ordinal| ordinal.checked_sub(1)) {
            dump.at = at.min(dump.transactions.len().saturating_sub(1));
        }
        dump.section = section;
        true
    }

    fn text(&mut self, text: &str, logged: bool) {
        let Some(dump) = &mut self.dump else { return };
        if dump.section == Section::Header {
            if dump.time.is_none() {
                dump.time = prefix::time(text);
            }
            return;
        }
        // A line of some other part of the server between the lines of the dump.
        if !logged && text.contains("] [MY-") && prefix::time(text).is_some() {
            return;
        }
        let Some(transaction) = dump.transactions.get_mut(dump.at) else { return };
        match dump.section {
            Section::Header => {}
            Section::Transaction => {
                if transaction.head(text) {
                    dump.section = Section::Statement;
                }
            }
            Section::Statement => {
                if !text.trim().is_empty() || !transaction.statement.is_empty() {
                    scan::append(&mut transaction.statement, text);
                }
            }
            Section::Waits | Section::Holds | Section::Conflicts => {
                transaction.lock_line(dump.section, text);
            }
        }
    }

    /// The dump is over: it becomes a report, or an unread entry.
    pub(super) fn finish(&mut self) {
        let Some(dump) = self.dump.take() else { return };
        let (line, excerpt) = (dump.line, dump.excerpt.clone());
        match dump.report() {
            Ok(Some(report)) => self.reports.push(report),
            Ok(None) => {}
            Err(why) => self.unread.push(Unread::new(line, why, excerpt)),
        }
    }
}
