//! The table of idempotency records, and the statements on it.
//!
//! Decides: columns, and how each database registers a key in one statement that waits for a twin
//! and takes an expired record over. Never does: begin or end a transaction.
//!
//! Every registration has an owner, drawn anew: so it can tell its own record from one that a twin
//! has made since.

use super::key::{IdempotencyKey, Twin};
use crate::txn::body::BodyError;
use crate::txn::dialect::{Dialect, Family};
use crate::txn::statement::Statement;
use crate::txn::transaction::Tx;
use std::time::Duration;

/// A record that lives for less than this may be gone before it is asked what became of a COMMIT.
const TESTIFIES_FOR: Duration = Duration::from_secs(120);

/// Milliseconds since 1970, by the server's clock.
pub(super) fn now(family: Family) -> &'static str {
    match family {
        Family::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint)",
        Family::MySql => "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
        Family::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    }
}

/// The statements that make a table of records, to be run once by whoever owns the schema; they do
/// nothing where it is there already.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # {
/// use cupping::txn::idempotency::{DEFAULT_TABLE, schema};
///
/// let statements = schema::<sqlx::Sqlite>(DEFAULT_TABLE);
/// assert!(statements.contains("cupping_idempotency"));
/// # }
/// ```
#[must_use]
pub fn schema<DB: Dialect>(table: &str) -> String {
    let index = table.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    match DB::FAMILY {
        Family::Postgres | Family::Sqlite => format!(
            "CREATE TABLE IF NOT EXISTS {table} (
                scope text NOT NULL,
                idempotency_key text NOT NULL,
                fingerprint text NOT NULL,
                owner text NOT NULL,
                result text,
                expires_ms bigint NOT NULL,
                PRIMARY KEY (scope, idempotency_key)
            );
            CREATE INDEX IF NOT EXISTS {index}_expires_ms ON {table} (expires_ms);"
        ),
        // Bytes, because a collation would take different keys for one.
        Family::MySql => format!(
            "CREATE TABLE IF NOT EXISTS {table} (
                scope VARBINARY(255) NOT NULL,
                idempotency_key VARBINARY(255) NOT NULL,
                fingerprint VARBINARY(255) NOT NULL,
                owner VARBINARY(32) NOT NULL,
                result LONGTEXT CHARACTER SET utf8mb4,
                seen BIGINT NOT NULL DEFAULT 0,
                expires_ms BIGINT NOT NULL,
                PRIMARY KEY (scope, idempotency_key),
                KEY {index}_expires_ms (expires_ms)
            ) ENGINE=InnoDB;"
        ),
    }
}

/// One registration of a key.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) key: IdempotencyKey,
    pub(super) owner: String,
}

/// What is there under a key.
pub(super) enum Seen {
    /// This registration: it took an expired record over.
    Ours,
    /// A result, and whether its record still lives.
    Theirs(String, bool),
    /// Something else.
    OtherFingerprint,
    /// A registration of this very transaction, whose work is not done.
    Unfinished,
    /// Nothing any more.
    Nothing,
}

impl Record {
    pub(super) fn new(key: &IdempotencyKey) -> Self {
        Self { key: key.clone(), owner: format!("{:032x}", fastrand::u128(..)) }
    }

    pub(super) fn can_testify(&self) -> bool {
        self.key.ttl >= TESTIFIES_FOR
    }

    /// Matches one row when the key is registered, none (on MySQL: two) when there is a record.
    fn register<DB: Dialect>(&self) -> Statement<DB> {
        let (table, now) = (self.key.table, now(DB::FAMILY));
        let ttl = i64::try_from(self.key.ttl.as_millis()).unwrap_or(i64::MAX / 2);
        let columns = "scope, idempotency_key, fingerprint, owner, expires_ms";
        let statement = Statement::new(format!("INSERT INTO {table} ({columns}) VALUES ("))
            .value(&*self.key.scope)
            .push(", ")
            .value(&*self.key.key)
            .push(", ")
            .value(&*self.key.fingerprint)
            .push(", ")
            .value(&*self.owner)
            .push(format!(", {now} + "))
            .value(ttl.min(i64::MAX / 2));
        statement.push(match DB::FAMILY {
            Family::Postgres | Family::Sqlite => format!(
                ") ON CONFLICT (scope, idempotency_key) DO UPDATE SET \
                 fingerprint = excluded.fingerprint, owner = excluded.owner, result = NULL, \
                 expires_ms = excluded.expires_ms WHERE {table}.expires_ms <= {now}"
            ),
            // It always changes the row, so that it can be told from a new one; and takes the
            // exclusive lock at once, where IGNORE would share it, and two of them deadlock.
            Family::MySql => format!(
                ") ON DUPLICATE KEY UPDATE seen = seen + 1, \
                 fingerprint = IF(expires_ms <= {now}, VALUES(fingerprint), fingerprint), \
                 owner = IF(expires_ms <= {now}, VALUES(owner), owner), \
                 result = IF(expires_ms <= {now}, NULL, result), \
                 expires_ms = IF(expires_ms <= {now}, VALUES(expires_ms), expires_ms)"
            ),
        })
    }

    fn by_key<DB: Dialect>(&self, statement: Statement<DB>) -> Statement<DB> {
        statement
            .push(format!(" FROM {} WHERE scope = ", self.key.table))
            .value(&*self.key.scope)
            .push(" AND idempotency_key = ")
            .value(&*self.key.key)
    }

    fn seen<DB: Dialect>(&self) -> Statement<DB> {
        let statement = Statement::new("SELECT CASE WHEN owner = ")
            .value(&*self.owner)
            .push(" THEN 'y' ELSE 'n' END, CASE WHEN fingerprint = ")
            .value(&*self.key.fingerprint)
            .push(format!(
                " THEN 'y' ELSE 'n' END, CASE WHEN expires_ms > {} THEN 'y' ELSE 'n' END, result",
                now(DB::FAMILY)
            ));
        self.by_key(statement)
    }

    /// Whether the record is this registration; waits for whoever is writing it.
    pub(super) fn is_ours<DB: Dialect>(&self) -> Statement<DB> {
        let statement = Statement::new("SELECT CASE WHEN owner = ")
            .value(&*self.owner)
            .push(" THEN 'y' ELSE 'n' END");
        self.by_key(statement).push(match DB::FAMILY {
            Family::Postgres => " FOR SHARE",
            Family::MySql => " LOCK IN SHARE MODE",
            Family::Sqlite => "",
        })
    }

    /// Matches no row when there is a record, whoever made it; waits for whoever is inserting it.
    pub(super) fn probe<DB: Dialect>(&self) -> Statement<DB> {
        let columns = "scope, idempotency_key, fingerprint, owner, expires_ms";
        let statement =
            Statement::new(format!("INSERT INTO {} ({columns}) VALUES (", self.key.table))
                .value(&*self.key.scope)
                .push(", ")
                .value(&*self.key.key);
        statement.push(", 'probe', 'probe', 0) ON CONFLICT DO NOTHING")
    }

    pub(super) fn finish<DB: Dialect>(&self, result: &str) -> Statement<DB> {
        Statement::new(format!("UPDATE {} SET result = ", self.key.table))
            .value(result)
            .push(" WHERE scope = ")
            .value(&*self.key.scope)
            .push(" AND idempotency_key = ")
            .value(&*self.key.key)
    }
}

/// Before a registration that must not wait, and after it. PostgreSQL waits for a moment, because
/// its timeout is for locks of every kind.
fn hurry(family: Family) -> (&'static str, &'static str) {
    match family {
        Family::Postgres => (
            "SELECT set_config('cupping.patience', current_setting('lock_timeout'), true); \
             SAVEPOINT cupping_try; SET LOCAL lock_timeout = 20",
            "SELECT set_config('lock_timeout', current_setting('cupping.patience'), true)",
        ),
        Family::MySql => (
            "SET @cupping_patience = @@SESSION.innodb_lock_wait_timeout; \
             SET SESSION innodb_lock_wait_timeout = 0; SAVEPOINT cupping_try",
            "SET SESSION innodb_lock_wait_timeout = @cupping_patience",
        ),
        Family::Sqlite => ("SAVEPOINT cupping_try", "SELECT 1"),
    }
}

impl<DB: Dialect> Tx<DB> {
    /// Whether the key was registered; `None` when that would have had to wait, and must not.
    pub(super) async fn register(&mut self, record: &Record) -> Result<Option<bool>, BodyError> {
        if record.key.twin == Twin::Wait {
            return Ok(Some(self.tell(record.register::<DB>()).await? == 1));
        }
        let (before, after) = hurry(DB::FAMILY);
        self.command(before.into()).await?;
        let registered = self.tell_unless_busy(record.register::<DB>()).await?;
        let release = "; RELEASE SAVEPOINT cupping_try";
        let release = if registered.is_some() { release } else { "" };
        self.command(format!("{after}{release}")).await?;
        Ok(registered.map(|rows| rows == 1))
    }

    pub(super) async fn look(&mut self, record: &Record) -> Result<Seen, BodyError> {
        let rows = self.ask(record.seen::<DB>()).await?;
        let Some(row) = rows.first() else { return Ok(Seen::Nothing) };
        let is = |column| Ok::<_, sqlx::Error>(DB::text(row, column)?.as_deref() == Some("y"));
        Ok(match (is(0)?, is(1)?, DB::text(row, 3)?) {
            (true, ..) => Seen::Ours,
            (_, false, _) => Seen::OtherFingerprint,
            (_, _, Some(result)) => Seen::Theirs(result, is(2)?),
            (_, _, None) => Seen::Unfinished,
        })
    }
}

/// Deletes expired records, passing over those that are being taken over where the database can.
pub(super) fn sweep<DB: Dialect>(table: &str, limit: u32) -> Statement<DB> {
    let expired = format!("expires_ms <= {} ORDER BY expires_ms LIMIT {limit}", now(DB::FAMILY));
    Statement::new(match DB::FAMILY {
        Family::Postgres => format!(
            "WITH expired AS MATERIALIZED (SELECT scope, idempotency_key FROM {table} \
             WHERE {expired} FOR UPDATE SKIP LOCKED) \
             DELETE FROM {table} AS t USING expired AS e \
             WHERE t.scope = e.scope AND t.idempotency_key = e.idempotency_key"
        ),
        Family::MySql => format!("DELETE FROM {table} WHERE {expired}"),
        Family::Sqlite => format!(
            "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {expired})"
        ),
    })
}
