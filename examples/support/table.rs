//! The before/after table of an example, for people or as JSON.
//!
//! Decides: the columns. Never does: judge; each example says itself what must hold.

use super::contention::Measured;
use std::time::Duration;

const COLUMNS: [&str; 7] =
    ["form", "operations", "errors surfaced", "deadlocks", "mean ms", "p99 ms", "per second"];

/// Prints the forms side by side.
pub fn print(title: &str, measured: &[Measured], json: bool) {
    if json {
        println!("{:#}", as_json(title, measured));
        return;
    }
    println!("\n{title}\n");
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(measured.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("  {}", cells.collect::<Vec<_>>().join("  "));
    }
    println!();
    for form in measured {
        for (name, value) in &form.notes {
            println!("  {}: {name}: {value}", form.form);
        }
        if let Some(first) = form.errors.first() {
            println!("  {}: first error: {first}", form.form);
        }
    }
}

fn row(measured: &Measured) -> [String; 7] {
    [
        measured.form.clone(),
        measured.operations.to_string(),
        measured.errors.len().to_string(),
        measured.deadlocks.to_string(),
        millis(measured.mean()),
        millis(measured.percentile(0.99)),
        format!("{:.0}", measured.throughput()),
    ]
}

fn millis(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}

fn as_json(title: &str, measured: &[Measured]) -> serde_json::Value {
    let forms = measured.iter().map(|form| {
        serde_json::json!({
            "form": form.form,
            "operations": form.operations,
            "errors_surfaced": form.errors.len(),
            "errors": form.errors,
            "deadlocks": form.deadlocks,
            "mean_ms": form.mean().as_secs_f64() * 1000.0,
            "p99_ms": form.percentile(0.99).as_secs_f64() * 1000.0,
            "per_second": form.throughput(),
            "notes": form.notes.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        })
    });
    serde_json::json!({ "title": title, "forms": forms.collect::<Vec<_>>() })
}
