//! Whether a log filter says what its writer meant.
//!
//! Decides: that a misspelt level is refused (the filter library would take it for a module).
//! Never does: filter.

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Checks `info` or `info,cupping::txn=debug`.
pub(super) fn check(filter: &str) -> Result<(), String> {
    let levels = LEVELS.join(", ");
    let level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    for part in filter.split(',').map(str::trim) {
        let fits = match part.rsplit_once('=') {
            Some((target, word)) => !target.is_empty() && level(word),
            None => level(part) || part.contains("::") || part == "cupping",
        };
        if !fits {
            return Err(format!(
                "{part:?} is not allowed: give one of {levels}, or a filter such as \
                 \"info,cupping::txn=debug\""
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_refused_and_filters_are_taken() {
        assert!(check("inof").is_err());
        assert!(check("").is_err());
        assert!(check("info,cupping::txn=debgu").is_err());
        assert!(check("info").is_ok());
        assert!(check("WARN,cupping::txn=debug,lapin=off").is_ok());
    }
}
