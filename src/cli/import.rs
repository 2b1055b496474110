//! `cupping import`: beans into the catalogue, from JSON lines or CSV.
//!
//! Decides: the format by the file's extension, and what a bad line means. Never does: compute
//! lists; it publishes messages when asked to, or says how.

use super::failure::Told;
use super::session::Session;
use super::{ExitStatus, Global, Output, output, progress, publish};
use crate::app::import::{Imported, Importer, SAMPLE};
use crate::app::{AppError, Database, open_transport};
use crate::store::import::{ImportRecord, ImportReport, LineError, csv_records, json_lines};
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::mpsc;

/// Records imported in one go.
const CHUNK: usize = 500;
/// Bad lines shown one by one; the rest are counted.
const SHOWN: usize = 50;

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "A JSON line:\n  \
    {\"id\":\"…\",\"name\":\"…\",\"roaster\":\"…\",\"regions\":[\"Ethiopia/Guji\"],\
    \"processing\":[\"Washed\"],\n   \"roast\":[\"Medium-Light\"],\"varieties\":[\"Bourbon\"],\
    \"notes\":[\"Blackberry\",\"cherry cola\"]}\n\
    CSV has a header with the same names; lists are separated by | or ;.\n\
    Values the catalogue does not know yet are added and reported. A bad line is reported with\n\
    its number and left out; the exit code is 1 when nothing could be read, or with --strict.")]
pub(crate) struct ImportArgs {
    /// The file; `-` for stdin.
    #[arg(value_name = "FILE", required_unless_present = "sample", conflicts_with = "sample")]
    file: Option<PathBuf>,
    /// The format; without it `.csv` means CSV and anything else JSON lines.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Import nothing when any line is bad.
    #[arg(long)]
    strict: bool,
    /// Import the sample catalogue that comes with the program.
    #[arg(long)]
    sample: bool,
    /// Publish a message for every bean created or changed.
    #[arg(long)]
    publish: bool,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
}

/// A record with the number of its line, or what is wrong with the line.
type Line = Result<(u64, ImportRecord), LineError>;

/// Imports.
pub(crate) fn run(global: &Global, args: ImportArgs) -> anyhow::Result<ExitStatus> {
    let session = Session::open(global)?;
    session.block_on(import(&session, args))
}

async fn import(session: &Session, args: ImportArgs) -> anyhow::Result<ExitStatus> {
    let mut lines = open(&args)?;
    let database = Database::open(&session.config).await?;
    let store = database.store();
    let allowed = |(line, record): (u64, ImportRecord)| match store.accepts(&record.id) {
        Ok(()) => Ok(record),
        Err(why) => Err(LineError { line, reason: format!("the id {}: {why}", record.id) }),
    };
    if args.strict {
        lines = strictly(lines, &allowed).await?;
    }
    let bar = progress::spinner("importing", session.quiet);
    let mut importer = Importer::begin(&database).await?;
    let mut bad = Vec::new();
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        let line = lines.recv().await;
        let ended = line.is_none();
        match line.map(|line| line.and_then(&allowed)) {
            Some(Ok(record)) => chunk.push(record),
            Some(Err(error)) => bad.push(error),
            None => {}
        }
        if chunk.len() == CHUNK || (ended && !chunk.is_empty()) {
            importer.take(&chunk).await?;
            bar.inc(chunk.len() as u64);
            chunk.clear();
        }
        if ended {
            break;
        }
    }
    bar.finish_and_clear();
    let done = importer.end();
    let published = if args.publish { announce(session, &database, &done).await? } else { 0 };
    said(session, &args, &done.report, &bad, published)?;
    let report = &done.report;
    let nothing = report.created + report.updated + report.unchanged == 0;
    Ok(if nothing && !bad.is_empty() { ExitStatus::Failure } else { ExitStatus::Success })
}

/// Reads everything first; a bad line ends it before anything is written.
async fn strictly(
    mut lines: mpsc::Receiver<Line>,
    allowed: impl Fn((u64, ImportRecord)) -> Result<ImportRecord, LineError>,
) -> anyhow::Result<mpsc::Receiver<Line>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    while let Some(line) = lines.recv().await {
        match line.and_then(|(line, record)| Ok((line, allowed((line, record))?))) {
            Ok(record) => good.push(record),
            Err(error) => bad.push(error),
        }
    }
    if !bad.is_empty() {
        complain(&bad);
        let count = output::count(bad.len() as u64, "line");
        let what = format!("{count} cannot be read; nothing was imported");
        let advice = "correct them, or leave --strict out to import the others";
        return Err(Told::new(ExitStatus::Failure, what, advice).into());
    }
    Ok(feed(good.into_iter().map(Ok)))
}

/// Opens what is to be read; a thread of its own reads it.
fn open(args: &ImportArgs) -> anyhow::Result<mpsc::Receiver<Line>> {
    let Some(path) = &args.file else {
        return Ok(feed(numbered_json(SAMPLE.as_bytes())));
    };
    let format = args.format.unwrap_or_else(|| by_extension(path));
    let input: Box<dyn BufRead + Send> = if path.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Box::new(BufReader::new(file))
    };
    Ok(match format {
        Format::Jsonl => feed(numbered_json(input)),
        // Line 1 is the header.
        Format::Csv => {
            feed(csv_records(input).zip(2..).map(|(row, line)| row.map(|record| (line, record))))
        }
    })
}

fn by_extension(path: &Path) -> Format {
    let csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    if csv { Format::Csv } else { Format::Jsonl }
}

/// JSON lines, each with its number: the reader skips blank lines, so lines are counted as read.
fn numbered_json<R: BufRead + Send + 'static>(input: R) -> impl Iterator<Item = Line> + Send {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Counted { input, ended: Arc::clone(&count) };
    // The last line may lack its end: the number is of the line after the last end before it.
    let mut before = 0;
    json_lines(counted).map(move |line| {
        let ends = count.load(Relaxed);
        let number = if ends == before { ends + 1 } else { ends };
        before = ends;
        Ok((number, line?))
    })
}

/// A reader that counts the ends of lines read from it.
struct Counted<R> {
    input: R,
    ended: Arc<AtomicU64>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = {
            let mut available = self.fill_buf()?;
            available.read(into)?
        };
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        if let Ok(read) = self.input.fill_buf() {
            let ends = read.iter().take(length).filter(|byte| **byte == b'\n').count();
            self.ended.fetch_add(ends as u64, Relaxed);
        }
        self.input.consume(length);
    }
}

fn feed(lines: impl Iterator<Item = Line> + Send + 'static) -> mpsc::Receiver<Line> {
    let (sender, receiver) = mpsc::channel(CHUNK);
    std::thread::spawn(move || {
        for line in lines {
            if sender.blocking_send(line).is_err() {
                return; // nobody reads on: the import ended early
            }
        }
    });
    receiver
}

async fn announce(session: &Session, database: &Database, done: &Imported) -> anyhow::Result<u64> {
    let transport = open_transport(&session.config, Some(database)).await?;
    transport.prepare().await.map_err(AppError::from)?;
    let published =
        publish::changes(transport.publisher().as_ref(), &done.created, &done.changed).await?;
    transport.close(session.config.shutdown.grace).await;
    Ok(published)
}

/// Bad lines, on stderr.
fn complain(bad: &[LineError]) {
    for error in bad.iter().take(SHOWN) {
        eprintln!("{error}");
    }
    if bad.len() > SHOWN {
        eprintln!("… and {} more", bad.len() - SHOWN);
    }
}

fn said(
    session: &Session,
    args: &ImportArgs,
    report: &ImportReport,
    bad: &[LineError],
    published: u64,
) -> anyhow::Result<()> {
    complain(bad);
    let (created, updated, unchanged) = (report.created, report.updated, report.unchanged);
    if session.output == Some(Output::Json) {
        let bad: Vec<_> = bad
            .iter()
            .map(|error| serde_json::json!({ "line": error.line, "reason": error.reason }))
            .collect();
        let added: Vec<_> = report
            .added
            .iter()
            .map(|(dimension, value)| serde_json::json!({ "dimension": dimension, "value": value }))
            .collect();
        return Ok(output::json(&serde_json::json!({
            "created": created,
            "updated": updated,
            "unchanged": unchanged,
            "added": added,
            "bad_lines": bad,
            "published": published,
        }))?);
    }
    output::line(format!(
        "{created} created, {updated} updated, {unchanged} unchanged, {} left out",
        output::count(bad.len() as u64, "bad line"),
    ))?;
    if !report.added.is_empty() {
        output::line("\nvalues the catalogue did not know, added:")?;
        let mut table = output::table(&["dimension", "value"]);
        for (dimension, value) in &report.added {
            table.add_row([dimension, value]);
        }
        output::print(&table)?;
    }
    if args.publish {
        output::line(format!("{} published", output::count(published, "message")))?;
    } else if created + updated > 0 {
        output::line(
            "\nno message was published: `cupping publish --all` asks workers for the lists,\n\
             `cupping recompute --all` computes them here (next time: --publish)",
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_knows_its_line_whatever_is_skipped_before_it() {
        let text = "\n{\"id\":\"a\"}\n\n\nbad\n{\"id\":\"b\"}";
        let lines: Vec<Line> = numbered_json(text.as_bytes()).collect();
        let at = |line: &Line| line.as_ref().map_or_else(|e| e.line, |(line, _)| *line);
        assert_eq!(lines.iter().map(at).collect::<Vec<_>>(), [2, 5, 6]);
    }

    #[test]
    fn the_extension_tells_the_format() {
        assert_eq!(by_extension(Path::new("beans.CSV")), Format::Csv);
        assert_eq!(by_extension(Path::new("beans.jsonl")), Format::Jsonl);
        assert_eq!(by_extension(Path::new("-")), Format::Jsonl);
    }
}
