//! What the settings mean together: the mode, the database, the score, the ladder.
//!
//! Decides: how settings translate into the values other layers work with.
//! Never does: validate (see `validate`).

use super::{Config, DimensionConfig, ExpansionConfig, Thousandths};
use crate::domain::dimension::{Dimension, Expansion, Milli, ScoreSettings};
use crate::domain::phrase::normalised;
use crate::domain::seed::builtin_aliases;
use crate::resilience::backoff::Ladder;
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::sync::Arc;

/// What runs where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Queue and database in one SQLite file.
    Embedded,
    /// Queue and database in PostgreSQL.
    OneDatabase,
    /// Queue on RabbitMQ, database PostgreSQL.
    Broker,
}

impl Mode {
    /// The name in messages to people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::OneDatabase => "one database",
            Self::Broker => "broker",
        }
    }
}

/// Which database.
#[derive(Debug, Clone)]
pub enum DatabaseTarget {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL.
    Postgres(SecretString),
}

impl Config {
    /// The mode that the two URLs choose.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if !self.transport.url.expose_secret().is_empty() {
            return Mode::Broker;
        }
        match self.database_target() {
            DatabaseTarget::Sqlite(_) => Mode::Embedded,
            DatabaseTarget::Postgres(_) => Mode::OneDatabase,
        }
    }

    /// The database: the URL's, or `cupping.sqlite` in the data directory.
    #[must_use]
    pub fn database_target(&self) -> DatabaseTarget {
        let url = self.database.url.expose_secret();
        if url.is_empty() {
            return DatabaseTarget::Sqlite(self.data.dir.join("cupping.sqlite"));
        }
        match url.strip_prefix("sqlite:") {
            Some(path) => DatabaseTarget::Sqlite(path.strip_prefix("//").unwrap_or(path).into()),
            None => DatabaseTarget::Postgres(self.database.url.clone()),
        }
    }

    /// The settings of the score, in integers, with the built-in aliases and the configured ones.
    #[must_use]
    pub fn score_settings(&self) -> ScoreSettings {
        let mut aliases = builtin_aliases();
        for (phrase, path) in &self.score.aliases {
            aliases.insert(normalised(phrase), path.trim().to_owned());
        }
        ScoreSettings {
            dimensions: self.catalogue.dimensions.iter().map(dimension).collect(),
            aliases: Arc::new(aliases),
            list_length: self.score.list_length.get(),
            minimum_ppm: self.score.minimum_ppm,
        }
    }

    /// The retry ladder of messages.
    #[must_use]
    pub fn ladder(&self) -> Ladder {
        let retry = &self.retry;
        Ladder {
            max_retries: retry.max_retries,
            delay: retry.delay,
            multiplier: retry.multiplier,
            max_delay: retry.max_delay,
            jitter: retry.jitter,
        }
    }

    /// Messages held unsettled at most: as set, else `max(2 × concurrency, 256)`.
    #[must_use]
    pub fn prefetch(&self) -> u16 {
        match self.transport.prefetch {
            0 => u16::try_from(2 * self.pipeline.concurrency.get()).unwrap_or(u16::MAX).max(256),
            set => set,
        }
    }

    /// A name for everything a stored list depends on besides the catalogue's rows: the score's
    /// settings and the mapping. It stays the same across restarts, machines and releases that
    /// do not change them.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let catalogue = &self.catalogue;
        let settings = self.score_settings();
        let content = (
            (&catalogue.schema, &catalogue.bean_table, &catalogue.bean_id),
            (&catalogue.similarity, &catalogue.dimensions),
            (settings.aliases.as_ref(), settings.list_length, settings.minimum_ppm),
        );
        let text = serde_json::to_string(&content).expect("plain values serialise");
        format!("{:032x}", fnv1a_128(text.as_bytes()))
    }
}

/// FNV-1a, 128 bits (offset basis and prime as its authors publish them): stable and dependency
/// free; nobody attacks a fingerprint of their own settings.
fn fnv1a_128(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

fn dimension(config: &DimensionConfig) -> Dimension {
    Dimension {
        name: config.name.clone(),
        weight: config.weight.0,
        prior: config.prior.0,
        expansion: match &config.expansion {
            ExpansionConfig::Tree { levels } => Expansion::Tree { levels: milli(levels) },
            ExpansionConfig::Ordinal { own, neighbour } => {
                Expansion::Ordinal { own: own.0, neighbour: neighbour.0 }
            }
            ExpansionConfig::Pedigree { generations } => {
                Expansion::Pedigree { generations: milli(generations) }
            }
            ExpansionConfig::Notes { levels, text, word } => {
                Expansion::Notes { levels: milli(levels), text: text.0, word: word.0 }
            }
            ExpansionConfig::Flat => Expansion::Flat,
        },
    }
}

fn milli(weights: &[Thousandths]) -> Vec<Milli> {
    weights.iter().map(|weight| weight.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_matches_its_published_vectors() {
        assert_eq!(fnv1a_128(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a_128(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn the_fingerprint_follows_the_score_and_the_mapping_and_nothing_else() {
        let config = Config::default();
        let mut other = Config::default();
        other.pipeline.workers = 7.try_into().expect("not zero");
        other.catalogue.bean_name = "title".into();
        assert_eq!(config.fingerprint(), other.fingerprint());
        other.catalogue.dimensions[0].weight = Thousandths(217);
        assert_ne!(config.fingerprint(), other.fingerprint());
    }

    #[test]
    fn urls_choose_the_mode_and_the_file() {
        let mut config = Config::default();
        assert_eq!(config.mode(), Mode::Embedded);
        config.database.url = SecretString::from("sqlite://a/b.db".to_owned());
        assert!(matches!(config.database_target(), DatabaseTarget::Sqlite(p) if p == *"a/b.db"));
        config.database.url = SecretString::from("postgres://h/d".to_owned());
        assert_eq!(config.mode(), Mode::OneDatabase);
        config.transport.url = SecretString::from("amqp://h".to_owned());
        assert_eq!(config.mode(), Mode::Broker);
    }

    #[test]
    fn prefetch_is_twice_the_concurrency_but_at_least_256_unless_set() {
        let mut config = Config::default();
        assert_eq!(config.prefetch(), 512);
        config.pipeline.concurrency = 10.try_into().expect("not zero");
        assert_eq!(config.prefetch(), 256);
        config.transport.prefetch = 40;
        assert_eq!(config.prefetch(), 40);
    }
}
