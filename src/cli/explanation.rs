//! Why two beans are as similar as they are, for people and as JSON.
//!
//! Decides: how an explanation looks in 80 columns. Never does: compute one.

use super::output;
use crate::domain::similarity::{DimensionScore, Explanation};
use serde::Serialize;

/// The width that lines keep to.
const WIDTH: usize = 80;

/// An explanation as JSON; numbers as the score uses them.
#[derive(Debug, Serialize)]
pub(crate) struct ExplanationJson {
    score: f64,
    dimensions: Vec<DimensionJson>,
}

#[derive(Debug, Serialize)]
struct DimensionJson {
    name: String,
    weight: f64,
    value: f64,
    measured: bool,
    shared: Vec<SharedJson>,
}

#[derive(Debug, Serialize)]
struct SharedJson {
    token: String,
    weight: f64,
}

impl From<&Explanation> for ExplanationJson {
    fn from(explanation: &Explanation) -> Self {
        let dimension = |part: &DimensionScore| DimensionJson {
            name: part.name.clone(),
            weight: thousandths(part.weight),
            value: crate::domain::ranking::stored_score(part.ppm),
            measured: part.measured,
            shared: part
                .shared
                .iter()
                .map(|shared| SharedJson {
                    token: shared.label.clone(),
                    weight: thousandths(shared.weight),
                })
                .collect(),
        };
        Self {
            score: crate::domain::ranking::stored_score(explanation.ppm),
            dimensions: explanation.dimensions.iter().map(dimension).collect(),
        }
    }
}

fn thousandths(value: u32) -> f64 {
    f64::from(value) / 1000.0
}

/// One line a dimension: name, weight, value, and what both beans share.
pub(crate) fn lines(explanation: &Explanation, indent: usize) -> Vec<String> {
    let longest = explanation.dimensions.iter().map(|part| part.name.chars().count()).max();
    let names = longest.unwrap_or_default().min(18);
    explanation
        .dimensions
        .iter()
        .map(|part| {
            let head = format!(
                "{:indent$}{:<names$} weight {:<5}  {}  ",
                "",
                output::cut(&part.name, names),
                thousandths(part.weight),
                output::score(part.ppm),
            );
            let room = WIDTH.saturating_sub(head.chars().count());
            format!("{head}{}", output::cut(&reason(part, room), room)).trim_end().to_owned()
        })
        .collect()
}

/// The shared tokens that fit, or why there are none.
fn reason(part: &DimensionScore, room: usize) -> String {
    if !part.measured {
        return "assumed: only one has it".to_owned();
    }
    let mut text = String::new();
    for (at, shared) in part.shared.iter().enumerate() {
        let more = format!(" +{}", part.shared.len() - at);
        let sep = if at == 0 { "" } else { ", " };
        let last = at + 1 == part.shared.len();
        let reserve = if last { 0 } else { more.chars().count() };
        let label = short(&shared.label);
        let next = sep.len() + label.chars().count() + reserve;
        if at > 0 && text.chars().count() + next > room {
            return text + &more;
        }
        text = text + sep + label;
    }
    if text.is_empty() { "nothing shared".to_owned() } else { text }
}

/// `word "cherry"` as `"cherry"`: the quotation marks are enough where space is dear.
fn short(label: &str) -> &str {
    label.strip_prefix("word ").filter(|rest| rest.starts_with('"')).unwrap_or(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::similarity::SharedToken;

    fn part(measured: bool, labels: &[&str]) -> DimensionScore {
        DimensionScore {
            name: "flavour notes".into(),
            weight: 400,
            ppm: 434_782,
            measured,
            shared: labels
                .iter()
                .map(|label| SharedToken { label: (*label).into(), weight: 500 })
                .collect(),
        }
    }

    #[test]
    fn a_line_says_weight_value_and_what_is_shared_within_80_columns() {
        let labels = ["Blackberry", "Fruity", "Berry", "word \"cherry\"", "word \"blackberry\""];
        let explanation = Explanation {
            ppm: 434_782,
            dimensions: vec![part(true, &labels), part(false, &[]), part(true, &[])],
        };
        let lines = lines(&explanation, 5);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert!(lines[0].contains("weight 0.4    0.434782  Blackberry, Fruity"), "{}", lines[0]);
        assert!(lines[0].ends_with("Berry +2"), "{}", lines[0]);
        assert!(lines[1].ends_with("assumed: only one has it"));
        assert!(lines[2].ends_with("nothing shared"));
    }
}
