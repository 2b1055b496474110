//! Finding a bean by what a person typed: its id, or its name.
//!
//! Decides: an id goes before a name; a name must be exact (case aside) or part of one name only.
//! Never does: guess between several.

use crate::domain::bean::BeanId;
use crate::store::{Loading, Store, StoreError};

/// How many names a message offers at most.
const OFFERED: usize = 5;
/// How similar a name must be to be offered for a mistyped one.
const NEAR: f64 = 0.75;

/// A bean that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: BeanId,
    /// Its name, where the catalogue has one.
    pub name: Option<String>,
}

/// Why no bean was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The catalogue cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// No bean has this id or name.
    #[error("no bean has the id or name {text:?}{}", offer("; near it:", near))]
    Unknown {
        /// What was asked for.
        text: String,
        /// Names near it.
        near: Vec<String>,
    },
    /// Several beans have this name.
    #[error("{count} beans match {text:?}; name one by its id:{}", offer("", some))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many match.
        count: usize,
        /// Some of them.
        some: Vec<String>,
    },
}

fn offer(lead: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!("{lead}\n  {}", names.join("\n  "))
}

/// Finds the bean with this id, else the one with this name.
///
/// # Errors
/// [`LookupError`] when there is none, or more than one.
pub async fn find(store: &dyn Store, text: &str) -> Result<Found, LookupError> {
    if let Ok(id) = BeanId::parse(text)
        && store.accepts(&id).is_ok()
        && let Some(bean) = store.beans(std::slice::from_ref(&id)).await?.pop()
    {
        return Ok(Found { id: bean.id, name: bean.name });
    }
    let mut beans = Vec::new();
    store
        .load(&mut |piece| {
            if let Loading::Bean(bean) = piece
                && let Some(name) = bean.name
            {
                beans.push((bean.id, name));
            }
        })
        .await?;
    by_name(beans, text)
}

fn by_name(beans: Vec<(BeanId, String)>, text: &str) -> Result<Found, LookupError> {
    let wanted = text.trim().to_lowercase();
    let exact = |name: &str| name.to_lowercase() == wanted;
    let part = |name: &str| !wanted.is_empty() && name.to_lowercase().contains(&wanted);
    let mut matches: Vec<&(BeanId, String)> = beans.iter().filter(|b| exact(&b.1)).collect();
    if matches.is_empty() {
        matches = beans.iter().filter(|b| part(&b.1)).collect();
    }
    matches.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    match matches.as_slice() {
        [] => Err(LookupError::Unknown { text: text.to_owned(), near: near(&beans, &wanted) }),
        [(id, name)] => Ok(Found { id: id.clone(), name: Some(name.clone()) }),
        several => Err(LookupError::Ambiguous {
            text: text.to_owned(),
            count: several.len(),
            some: several.iter().take(OFFERED).map(|(id, name)| format!("{id}  {name}")).collect(),
        }),
    }
}

fn near(beans: &[(BeanId, String)], wanted: &str) -> Vec<String> {
    let mut near: Vec<(f64, &str)> = beans
        .iter()
        .map(|(_, name)| (nearness(&name.to_lowercase(), wanted), name.as_str()))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.dedup_by(|a, b| a.1 == b.1);
    near.into_iter().take(OFFERED).map(|(_, name)| name.to_owned()).collect()
}

/// How near a name is: as a whole, or (a little less) by one of its words.
fn nearness(name: &str, wanted: &str) -> f64 {
    let by_word = name.split_whitespace().map(|word| 0.9 * strsim::jaro_winkler(word, wanted));
    by_word.fold(strsim::jaro_winkler(name, wanted), f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beans() -> Vec<(BeanId, String)> {
        ["Kochere Natural", "Kochere Washed", "Nyeri Peaberry"]
            .iter()
            .enumerate()
            .map(|(n, name)| (BeanId::parse(&format!("b{n}")).expect("valid"), (*name).into()))
            .collect()
    }

    #[test]
    fn a_name_is_found_whatever_its_case_or_by_a_part_only_one_bean_has() {
        let found = |text| by_name(beans(), text).map(|found| found.id.to_string()).ok();
        assert_eq!(found("kochere natural"), Some("b0".into()));
        assert_eq!(found("peaberry"), Some("b2".into()));
        assert_eq!(found("kochere"), None);
    }

    #[test]
    fn a_mistyped_name_is_answered_with_near_ones() {
        let error = by_name(beans(), "Nyeri Peabery").expect_err("no such bean").to_string();
        assert!(error.contains("Nyeri Peaberry"), "{error}");
        let error = by_name(beans(), "Nyri").expect_err("no such bean").to_string();
        assert!(error.contains("Nyeri Peaberry"), "{error}");
        let error = by_name(beans(), "kochere").expect_err("two such beans").to_string();
        assert!(error.contains("2 beans match") && error.contains("b1  Kochere"), "{error}");
    }
}
