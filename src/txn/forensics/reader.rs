//! Reads reports from bytes of any origin, line by line.
//!
//! Decides: what kind of line each is (JSON, a record of csvlog, text), and which reader takes it.
//! Never does: hold more than one line and the reports that may still grow, or fail.

use super::lines::{LINE_BYTES, interesting, texts, uncontained};
use super::mentions;
use super::model::Unread;
use super::postgres::assembly::Assembly;
use super::structured::{self, Json};
use super::{DeadlockReport, event, innodb, postgres, scan};

/// Lines that one record of csvlog may have.
const CSV_LINES: usize = 4096;
/// Most reports and most unread entries of one input.
const KEPT: usize = 200_000;

/// Everything that an input told.
///
/// ```
/// let reading = cupping::txn::forensics::read(b"nothing of interest");
/// assert!(reading.reports.is_empty() && reading.unread.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// The reports, in the order of their first lines.
    pub reports: Vec<DeadlockReport>,
    /// What looked like a report and could not be read, in the order of lines.
    pub unread: Vec<Unread>,
}

/// A record of csvlog whose quotes are still open.
struct Csv {
    number: usize,
    lines: Vec<String>,
    closed: bool,
    bytes: usize,
}

/// Reads an input line by line, for inputs that do not fit into memory; [`read`] for those that do.
///
/// ```
/// use cupping::txn::forensics::Reader;
///
/// let mut reader = Reader::new();
/// reader.line(b"Process 7 waits for ShareLock on transaction 768; blocked by process 12.");
/// reader.line(b"Process 12 waits for ShareLock on transaction 767; blocked by process 7.");
/// assert_eq!(reader.finish().reports.len(), 1);
/// ```
pub struct Reader {
    number: usize,
    assembly: Assembly,
    dumps: innodb::Dumps,
    csv: Option<Csv>,
    events: Vec<DeadlockReport>,
    unread: Vec<Unread>,
    full: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("line", &self.number).finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader at the start of an input. Example: see [`Reader`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            number: 0,
            assembly: Assembly::new(),
            dumps: innodb::Dumps::default(),
            csv: None,
            events: Vec::new(),
            unread: Vec::new(),
            full: false,
        }
    }

    /// Takes one line, with or without its line break. Bytes that are no UTF-8 are replaced; what
    /// goes beyond 2 MiB is left out. Example: see [`Reader`].
    pub fn line(&mut self, bytes: &[u8]) {
        self.number += 1;
        let number = self.number;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let cut = &bytes[..bytes.len().min(LINE_BYTES)];
        let text = String::from_utf8_lossy(cut);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let reports = self.assembly.reports.len() + self.dumps.reports.len() + self.events.len();
        if reports >= KEPT {
            if interesting(text) && !self.full {
                self.full = true;
                let why = format!("{KEPT} reports were read; what follows was left out");
                self.unread(number, why, text);
            }
            return;
        }
        if cut.len() < bytes.len() && interesting(text) {
            let why = format!("the line is longer than {LINE_BYTES} bytes; its rest was left out");
            self.unread(number, why, text);
        }
        if !self.csv(number, text) {
            self.physical(number, text);
        }
    }

    /// Whether a record of csvlog took the line.
    fn csv(&mut self, number: usize, text: &str) -> bool {
        let begins = structured::begins_csv(text);
        if let Some(mut csv) = self.csv.take() {
            if begins {
                // A record inside a record: the first was cut.
                self.flush_csv(csv);
            } else {
                csv.push(text);
                if csv.closed || csv.lines.len() >= CSV_LINES || csv.bytes > LINE_BYTES {
                    self.flush_csv(csv);
                } else {
                    self.csv = Some(csv);
                }
                return true;
            }
        }
        if begins {
            let mut csv = Csv { number, lines: Vec::new(), closed: true, bytes: 0 };
            csv.push(text);
            if csv.closed {
                self.flush_csv(csv);
            } else {
                self.csv = Some(csv);
            }
        }
        begins
    }

    fn flush_csv(&mut self, csv: Csv) {
        let text = csv.lines.join("\n");
        match structured::csv(csv.number, &text).filter(|_| csv.closed) {
            Some(record) => self.assembly.record(&record),
            None => {
                for (at, line) in csv.lines.iter().enumerate() {
                    self.physical(csv.number + at, line);
                }
            }
        }
    }

    fn physical(&mut self, number: usize, line: &str) {
        let line = uncontained(line);
        let trimmed = line.trim();
        if trimmed.starts_with('{')
            && let Some(found) = structured::json(number, trimmed)
        {
            match found {
                Json::Record(record) => self.assembly.record(&record),
                Json::Event(report) => self.events.push(*report),
                Json::Texts(all) => {
                    for text in &all {
                        for line in texts(text) {
                            self.text(number, uncontained(&line));
                        }
                    }
                }
            }
            return;
        }
        if line.contains("graph=\"")
            && let Some(report) = event::text(line, number)
        {
            self.events.push(report);
            return;
        }
        for line in texts(line) {
            self.text(number, &line);
        }
    }

    fn text(&mut self, number: usize, line: &str) {
        if self.dumps.open()
            && (!postgres::waits(line).is_empty()
                || (mentions::engine(line).is_some() && !line.contains("***")))
        {
            self.dumps.finish();
        }
        if self.dumps.line(number, line) {
            return;
        }
        let broken = line.contains("blocked by process") && postgres::waits(line).is_empty();
        if broken {
            self.unread(number, "a line of a report whose parts are missing".into(), line);
        }
        self.assembly.line(number, line);
    }

    fn unread(&mut self, line: usize, why: String, text: &str) {
        if self.unread.len() < KEPT {
            self.unread.push(Unread::new(line, why, scan::excerpt(text)));
        }
    }

    /// The input ends here: reports that were still growing are completed. Example: see [`Reader`].
    #[must_use]
    pub fn finish(mut self) -> Reading {
        if let Some(csv) = self.csv.take() {
            self.flush_csv(csv);
        }
        self.dumps.finish();
        self.assembly.end();
        let mut reports = self.assembly.reports;
        reports.append(&mut self.dumps.reports);
        reports.append(&mut self.events);
        reports.sort_by_key(|report| report.line);
        let mut unread = self.unread;
        unread.append(&mut self.assembly.unread);
        unread.append(&mut self.dumps.unread);
        unread.sort_by_key(|unread| unread.line);
        Reading { reports, unread }
    }
}

impl Csv {
    fn push(&mut self, line: &str) {
        self.bytes += line.len();
        if !structured::quotes_closed(line) {
            self.closed = !self.closed;
        }
        self.lines.push(line.to_owned());
    }
}

/// Reads all reports of an input: server logs, status dumps, application logs, pasted fragments.
///
/// Takes any bytes, in time linear in their number; see [`Reader`] for its limits.
///
/// ```
/// use cupping::txn::forensics::read;
///
/// let reading = read(b"nothing of the kind\n\xff\xfe\n");
/// assert!(reading.reports.is_empty() && reading.unread.is_empty());
/// ```
#[must_use]
pub fn read(bytes: &[u8]) -> Reading {
    let mut reader = Reader::new();
    bytes.split(|byte| *byte == b'\n').for_each(|line| reader.line(line));
    reader.finish()
}
