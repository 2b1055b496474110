//! `cupping export`: every stored list, on stdout.
//!
//! Decides: the columns and how a score is written. Never does: compute a score.

use super::session::Session;
use super::{ExitStatus, Global, Output, failure::Told, output};
use crate::app::Database;
use crate::domain::bean::BeanId;
use crate::domain::ranking::SimilarList;
use clap::Args;
use std::io::{self, BufWriter, Write};
use tokio_util::sync::CancellationToken;

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = "Columns: source_id, similar_id, score (six decimals, exact).\n\
    `--output json` writes one JSON object a line.")]
pub(crate) struct ExportArgs {}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

/// Exports.
pub(crate) fn run(global: &Global, _: &ExportArgs) -> anyhow::Result<ExitStatus> {
    let format = match global.output {
        None | Some(Output::Csv) => Format::Csv,
        Some(Output::Json) => Format::JsonLines,
        Some(Output::Table) => {
            let what = "`export` does not write tables";
            let advice = "use --output csv or --output json";
            return Err(Told::new(ExitStatus::Usage, what, advice).into());
        }
    };
    let session = Session::open(global)?;
    session.block_on(export(&session, format))
}

async fn export(session: &Session, format: Format) -> anyhow::Result<ExitStatus> {
    let database = Database::open(&session.config).await?;
    let store = database.store();
    let mut rows = Rows::new(BufWriter::new(io::stdout()), format)?;
    let broken = CancellationToken::new();
    let mut failed = None;
    let mut sink = |source: BeanId, list: SimilarList| {
        if failed.is_none()
            && let Err(error) = rows.write(&source, &list)
        {
            failed = Some(error);
            broken.cancel();
        }
    };
    tokio::select! {
        result = store.lists(&mut sink) => result?,
        () = broken.cancelled() => {}
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    rows.finish()?;
    Ok(ExitStatus::Success)
}

/// Writes rows in one of the formats.
struct Rows<W: Write> {
    out: W,
    format: Format,
}

impl<W: Write> Rows<W> {
    fn new(mut out: W, format: Format) -> io::Result<Self> {
        if format == Format::Csv {
            out.write_all(b"source_id,similar_id,score\n")?;
        }
        Ok(Self { out, format })
    }

    fn write(&mut self, source: &BeanId, list: &SimilarList) -> io::Result<()> {
        for similar in list {
            let score = output::score(similar.ppm);
            match self.format {
                Format::Csv => writeln!(
                    self.out,
                    "{},{},{score}",
                    field(source.as_str()),
                    field(similar.bean.as_str()),
                )?,
                Format::JsonLines => writeln!(
                    self.out,
                    "{{\"source_id\":{},\"similar_id\":{},\"score\":{score}}}",
                    serde_json::to_string(source.as_str())?,
                    serde_json::to_string(similar.bean.as_str())?,
                )?,
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A CSV field, quoted where it must be.
fn field(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ranking::Similar;

    fn written(format: Format) -> String {
        let id = |text| BeanId::parse(text).expect("valid");
        let list = vec![
            Similar { bean: id("a,b"), ppm: 1_000_000 },
            Similar { bean: id("o\"k"), ppm: 70 },
        ];
        let mut rows = Rows::new(Vec::new(), format).expect("memory");
        rows.write(&id("x"), &list).expect("memory");
        String::from_utf8(rows.finish().expect("memory")).expect("text")
    }

    #[test]
    fn csv_has_a_header_exact_scores_and_quotes_where_needed() {
        assert_eq!(
            written(Format::Csv),
            "source_id,similar_id,score\nx,\"a,b\",1.000000\nx,\"o\"\"k\",0.000070\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = written(Format::JsonLines);
        let rows: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1]["similar_id"], "o\"k");
    }
}
