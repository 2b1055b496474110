//! The queue's tables in SQLite: `cupping_queue_message` and `cupping_queue_failed`.
//!
//! Decides: the SQL. Everything that writes goes through the one write connection; times are this
//! machine's, which all processes of an embedded database share, in milliseconds since 1970.
//! Never does: create the tables (the migrations do).

use self::statements as sql;
use super::failure;
use super::lanes::PerLane;
use super::table::{
    EXPIRY_BATCH, Expired, FailedRow, NewRow, NextDue, QueueTable, RetryRow, Row, duration_ms,
    from_unix_ms, headers_text, parse_headers, unix_ms,
};
use crate::transport::{Lane, QueueDepth, TransportError};
use crate::txn::{Transactor, TxnOptions, work};
use async_trait::async_trait;
use serde_json::json;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row as _, Sqlite, query, query_scalar};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

mod statements;

/// The tables, through the write connection and the readers.
#[derive(Debug)]
pub(super) struct SqliteTable {
    write: SqlitePool,
    read: SqlitePool,
    transactor: Transactor<Sqlite>,
    options: TxnOptions,
}

impl SqliteTable {
    pub(super) fn new(write: SqlitePool, read: SqlitePool) -> Self {
        let transactor = Transactor::new(write.clone());
        Self { write, read, transactor, options: TxnOptions::default() }
    }
}

fn now_ms() -> i64 {
    unix_ms(SystemTime::now())
}

fn row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        id: row.try_get("id")?,
        body: row.try_get("body")?,
        headers: parse_headers(row.try_get("headers")?),
        type_property: row.try_get("type")?,
        content_type: row.try_get("content_type")?,
        published_at: row.try_get::<Option<i64>, _>("published_at")?.map(from_unix_ms),
        attempt: u32::try_from(row.try_get::<i64, _>("attempt")?).unwrap_or(1).max(1),
        crash_count: u32::try_from(row.try_get::<i64, _>("crash_count")?).unwrap_or(0),
        first_failed_at: row.try_get::<Option<i64>, _>("first_failed_at")?.map(from_unix_ms),
    })
}

fn json_ids(ids: &[i64]) -> String {
    serde_json::to_string(ids).expect("numbers always serialise")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[async_trait]
impl QueueTable for SqliteTable {
    async fn verify(&self) -> Result<(), TransportError> {
        query(sql::VERIFY).execute(&self.read).await.map_err(failure::sqlite)?;
        Ok(())
    }

    async fn claim(
        &self,
        lane: Lane,
        limit: usize,
        claim: &str,
        visibility: Duration,
    ) -> Result<Vec<Row>, TransportError> {
        let now = now_ms();
        let rows = query(sql::CLAIM)
            .bind(claim)
            .bind(now.saturating_add(duration_ms(visibility)))
            .bind(lane.name())
            .bind(now)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.write)
            .await
            .map_err(failure::sqlite)?;
        let mut rows: Vec<Row> =
            rows.iter().map(row).collect::<Result<_, _>>().map_err(failure::sqlite)?;
        rows.sort_unstable_by_key(|row| row.id);
        Ok(rows)
    }

    async fn next_due(&self) -> Result<NextDue, TransportError> {
        let row = query(sql::NEXT_DUE).fetch_one(&self.read).await.map_err(failure::sqlite)?;
        let now = now_ms();
        let due = |column: &str| -> Result<Option<Duration>, TransportError> {
            let at: Option<i64> = row.try_get(column).map_err(failure::sqlite)?;
            Ok(at.map(|at| Duration::from_millis(u64::try_from(at - now).unwrap_or(0))))
        };
        Ok(PerLane { live: due("live_at")?, bulk: due("bulk_at")? })
    }

    async fn renew(
        &self,
        ids: &[i64],
        claims: &[String],
        visibility: Duration,
    ) -> Result<(), TransportError> {
        query(sql::RENEW)
            .bind(json_ids(ids))
            .bind(json!(claims).to_string())
            .bind(now_ms().saturating_add(duration_ms(visibility)))
            .execute(&self.write)
            .await
            .map_err(failure::sqlite)?;
        Ok(())
    }

    async fn expire(&self, delivery_limit: u32) -> Result<Expired, TransportError> {
        let now = now_ms();
        let ids: Vec<i64> = query_scalar(sql::EXPIRED)
            .bind(now)
            .bind(EXPIRY_BATCH)
            .fetch_all(&self.read)
            .await
            .map_err(failure::sqlite)?;
        if ids.is_empty() {
            return Ok(Expired::default());
        }
        let (ids, limit) = (json_ids(&ids), i64::from(delivery_limit));
        let message = failure::delivery_limit_message(delivery_limit);
        let bound = Arc::new((ids, limit, message));
        let body = work!([bound] => |tx: Sqlite| {
            let (ids, limit, message) = bound.as_ref();
            let bury = query(sql::BURY_EXPIRED).bind(ids).bind(now).bind(limit).bind(message);
            let failed = tx.execute(bury).await?.rows_affected();
            tx.execute(query(sql::DELETE_EXPIRED).bind(ids).bind(now).bind(limit)).await?;
            let release = query(sql::RELEASE_EXPIRED).bind(ids).bind(now).bind(limit);
            let released = tx.execute(release).await?.rows_affected();
            Ok(Expired { released, failed })
        });
        let done = self.transactor.run("queue_expire", &self.options, body).await;
        done.map_err(|error| failure::transaction(&error))
    }

    async fn ack(&self, id: i64, claim: &str) -> Result<bool, TransportError> {
        let done = query(sql::ACK).bind(id).bind(claim).execute(&self.write).await;
        Ok(done.map_err(failure::sqlite)?.rows_affected() > 0)
    }

    async fn retry(&self, id: i64, claim: &str, retry: RetryRow) -> Result<bool, TransportError> {
        let done = query(sql::RETRY)
            .bind(id)
            .bind(claim)
            .bind(now_ms().saturating_add(duration_ms(retry.delay)))
            .bind(retry.headers)
            .bind(unix_ms(retry.first_failed_at))
            .execute(&self.write)
            .await
            .map_err(failure::sqlite)?;
        Ok(done.rows_affected() > 0)
    }

    async fn dead_letter(
        &self,
        id: i64,
        claim: &str,
        failed: FailedRow,
    ) -> Result<bool, TransportError> {
        let bound = Arc::new((claim.to_owned(), failed));
        let body = work!([bound] => |tx: Sqlite| {
            let (claim, failed) = bound.as_ref();
            let bury = query(sql::BURY)
                .bind(id)
                .bind(claim)
                .bind(unix_ms(failed.failed_at))
                .bind(failed.attempts)
                .bind(&failed.class)
                .bind(&failed.sqlstate)
                .bind(&failed.message)
                .bind(unix_ms(failed.first_failed_at))
                .bind(&failed.headers);
            if tx.execute(bury).await?.rows_affected() == 0 {
                return Ok(false);
            }
            tx.execute(query(sql::ACK).bind(id).bind(claim)).await?;
            Ok(true)
        });
        let done = self.transactor.run("queue_dead_letter", &self.options, body).await;
        done.map_err(|error| failure::transaction(&error))
    }

    async fn hand_back(&self, ids: &[i64], claim: &str) -> Result<u64, TransportError> {
        let done = query(sql::HAND_BACK).bind(json_ids(ids)).bind(claim).execute(&self.write).await;
        Ok(done.map_err(failure::sqlite)?.rows_affected())
    }

    async fn republish(&self, id: i64, claim: &str) -> Result<bool, TransportError> {
        let done = query(sql::REPUBLISH).bind(id).bind(claim).execute(&self.write).await;
        Ok(done.map_err(failure::sqlite)?.rows_affected() > 0)
    }

    async fn release_others(&self, claim: &str, keep: &[i64]) -> Result<u64, TransportError> {
        let done =
            query(sql::RELEASE_OTHERS).bind(claim).bind(json_ids(keep)).execute(&self.write).await;
        Ok(done.map_err(failure::sqlite)?.rows_affected())
    }

    async fn insert(&self, rows: &[NewRow]) -> Result<(), TransportError> {
        let rows: Vec<serde_json::Value> = rows
            .iter()
            .map(|row| {
                json!({
                    "lane": row.lane.name(),
                    "body": hex(&row.envelope.body),
                    "headers": headers_text(&row.envelope.headers),
                    "type": row.envelope.type_property,
                    "content_type": row.envelope.content_type,
                    "published_at": row.envelope.published_at.map(unix_ms),
                })
            })
            .collect();
        query(sql::INSERT)
            .bind(serde_json::Value::Array(rows).to_string())
            .bind(now_ms())
            .execute(&self.write)
            .await
            .map_err(failure::sqlite)?;
        Ok(())
    }

    async fn depth(&self) -> Result<QueueDepth, TransportError> {
        let row = query(sql::DEPTH)
            .bind(now_ms())
            .fetch_one(&self.read)
            .await
            .map_err(failure::sqlite)?;
        let read = |column: &str| -> Result<u64, TransportError> {
            let count: i64 = row.try_get(column).map_err(failure::sqlite)?;
            Ok(u64::try_from(count).unwrap_or(0))
        };
        Ok(QueueDepth {
            live: read("live")?,
            bulk: read("bulk")?,
            retrying: read("retrying")?,
            failed: read("failed")?,
            claimed: Some(read("claimed")?),
        })
    }

    fn ticket_statement(&self) -> &'static str {
        sql::TICKET
    }

    async fn listen(&self, _news: &(dyn Fn() + Send + Sync)) -> Result<(), TransportError> {
        std::future::pending().await
    }
}
