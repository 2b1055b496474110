//! Whether a catalogue's mapping and dimensions make sense by themselves.
//!
//! Decides: names, weights, expansions and the tables they need. Never does: look at a database.

use super::Findings;
use crate::config::{CatalogueConfig, DimensionConfig, ExpansionConfig, Refresh, Thousandths};
use std::collections::BTreeSet;
use std::time::Duration;

const DIMENSIONS: &str = "catalogue.dimensions";

/// Checks `[catalogue]`.
pub(super) fn check(catalogue: &CatalogueConfig, findings: &mut Findings) {
    let similarity = &catalogue.similarity;
    for (key, name) in [
        ("catalogue.schema", &catalogue.schema),
        ("catalogue.bean_table", &catalogue.bean_table),
        ("catalogue.bean_id", &catalogue.bean_id),
        ("catalogue.similarity.table", &similarity.table),
        ("catalogue.similarity.source", &similarity.source),
        ("catalogue.similarity.similar", &similarity.similar),
        ("catalogue.similarity.score", &similarity.score),
    ] {
        findings.expect(is_name(name), &[key], name_message(name));
    }
    let columns: BTreeSet<_> =
        [&similarity.source, &similarity.similar, &similarity.score].into_iter().collect();
    findings.expect(
        columns.len() == 3,
        &[
            "catalogue.similarity.source",
            "catalogue.similarity.similar",
            "catalogue.similarity.score",
        ],
        format!(
            "source ({:?}), similar ({:?}) and score ({:?}) must be three different columns",
            similarity.source, similarity.similar, similarity.score
        ),
    );
    findings.expect(
        catalogue.refresh == Refresh::Log || catalogue.reload_interval >= Duration::from_secs(1),
        &["catalogue.reload_interval", "catalogue.refresh"],
        format!(
            "{} is too short: the whole catalogue is read each time; give at least 1s",
            super::show(catalogue.reload_interval)
        ),
    );
    findings.expect(
        !catalogue.dimensions.is_empty(),
        &[DIMENSIONS],
        "is empty: without a dimension nothing can be compared; give at least one",
    );
    let total: u64 = catalogue.dimensions.iter().map(|d| u64::from(d.weight.0)).sum();
    findings.expect(
        catalogue.dimensions.is_empty() || total > 0,
        &[DIMENSIONS],
        "every weight is 0, so every score would be: give at least one dimension a weight",
    );
    let mut names = BTreeSet::new();
    for (i, dimension) in catalogue.dimensions.iter().enumerate() {
        let at = |part: &str| format!("{DIMENSIONS}[{}].{part}", i + 1);
        let mut expect = |holds: bool, part: &str, message: &str| {
            findings.expect_at(holds, at(part), DIMENSIONS, message.to_owned());
        };
        let name = &dimension.name;
        expect(!name.trim().is_empty(), "name", "is empty: give the dimension a name");
        expect(
            names.insert(name.clone()),
            "name",
            &format!("{name:?} is taken by an earlier dimension: give another name"),
        );
        expect(
            dimension.prior.0 <= 1000,
            "prior",
            &format!("{} is not allowed: give 0 to 1", share(dimension.prior)),
        );
        expansion(&dimension.expansion, &mut expect);
        tables(dimension, &mut expect);
    }
}

fn expansion(expansion: &ExpansionConfig, expect: &mut impl FnMut(bool, &str, &str)) {
    let (levels, part): (&[Thousandths], _) = match expansion {
        ExpansionConfig::Tree { levels } | ExpansionConfig::Notes { levels, .. } => {
            (levels, "expansion.levels")
        }
        ExpansionConfig::Pedigree { generations } => (generations, "expansion.generations"),
        ExpansionConfig::Ordinal { own, .. } => {
            return expect(own.0 > 0, "expansion.own", "0 would drop every value: give more");
        }
        ExpansionConfig::Flat => return,
    };
    expect(!levels.is_empty(), part, "is empty: give at least one weight");
    expect(
        levels.is_empty() || levels.iter().any(|weight| weight.0 > 0),
        part,
        "every weight is 0, which would drop every value: give at least one above 0",
    );
}

fn tables(dimension: &DimensionConfig, expect: &mut impl FnMut(bool, &str, &str)) {
    let values = dimension.values.as_ref();
    expect(
        values.is_some() == dimension.join.is_some(),
        if values.is_some() { "join" } else { "values" },
        "is missing: `values` (the table of values) and `join` (the table that joins them to \
         beans) come together",
    );
    expect(
        values.is_some() || dimension.text.is_some(),
        "values",
        "is missing: a dimension needs `values` and `join`, or `text`",
    );
    expect(
        dimension.text.is_none()
            || matches!(dimension.expansion, ExpansionConfig::Notes { .. } | ExpansionConfig::Flat),
        "text",
        "free text needs the expansion `notes` or `flat`",
    );
    expect(
        !matches!(dimension.expansion, ExpansionConfig::Ordinal { .. })
            || values.is_none_or(|values| values.rank.is_some()),
        "values.rank",
        "is missing: the expansion `ordinal` needs the column with the rank",
    );
    let mut name = |part: &str, name: &str| expect(is_name(name), part, &name_message(name));
    if let Some(values) = values {
        name("values.table", &values.table);
        name("values.id", &values.id);
        name("values.name", &values.name);
    }
    if let Some(join) = &dimension.join {
        name("join.table", &join.table);
        name("join.from", &join.from);
        name("join.to", &join.to);
    }
    if let Some(text) = &dimension.text {
        name("text.table", &text.table);
        name("text.bean", &text.bean);
        name("text.text", &text.text);
    }
}

/// PostgreSQL cuts longer names silently.
fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= 63 && !name.contains('\0')
}

fn name_message(name: &str) -> String {
    format!("{name:?} is not a name in a database: give 1 to 63 bytes")
}

fn share(thousandths: Thousandths) -> f64 {
    f64::from(thousandths.0) / 1000.0
}
