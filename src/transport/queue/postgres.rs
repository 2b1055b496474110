//! The queue's tables in PostgreSQL: `cupping.queue_message` and `cupping.queue_failed`.
//!
//! Decides: the SQL. Workers pass one another's rows with `FOR UPDATE SKIP LOCKED`; every time is
//! the server's, so that workers with different clocks agree. Each operation is one statement.
//! Never does: create the tables (the migrations do).

use self::statements as sql;
use super::failure;
use super::lanes::PerLane;
use super::table::{
    EXPIRY_BATCH, Expired, FailedRow, NewRow, NextDue, QueueTable, RetryRow, Row, duration_ms,
    from_unix_ms, headers_text, parse_headers, unix_ms, without_nul,
};
use crate::transport::{Lane, QueueDepth, TransportError};
use async_trait::async_trait;
use sqlx::postgres::{PgListener, PgPool, PgRow};
use sqlx::{Row as _, query};
use std::time::Duration;

mod statements;

/// The channel on which publishes of other processes are told.
const CHANNEL: &str = "cupping_queue";

/// The tables, through a pool.
#[derive(Debug)]
pub(super) struct PostgresTable {
    pool: PgPool,
}

impl PostgresTable {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

fn row(row: &PgRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        id: row.try_get("id")?,
        body: row.try_get("body")?,
        headers: parse_headers(row.try_get("headers")?),
        type_property: row.try_get("type")?,
        content_type: row.try_get("content_type")?,
        published_at: row.try_get::<Option<i64>, _>("published_ms")?.map(from_unix_ms),
        attempt: u32::try_from(row.try_get::<i32, _>("attempt")?).unwrap_or(1).max(1),
        crash_count: u32::try_from(row.try_get::<i32, _>("crash_count")?).unwrap_or(0),
        first_failed_at: row.try_get::<Option<i64>, _>("first_failed_ms")?.map(from_unix_ms),
    })
}

fn count(row: &PgRow, column: &str) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

fn limit_i64(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl QueueTable for PostgresTable {
    async fn verify(&self) -> Result<(), TransportError> {
        query(sql::VERIFY).execute(&self.pool).await.map_err(failure::postgres)?;
        Ok(())
    }

    async fn claim(
        &self,
        lane: Lane,
        limit: usize,
        claim: &str,
        visibility: Duration,
    ) -> Result<Vec<Row>, TransportError> {
        let rows = query(sql::CLAIM)
            .bind(lane.name())
            .bind(limit_i64(limit))
            .bind(claim)
            .bind(duration_ms(visibility))
            .fetch_all(&self.pool)
            .await
            .map_err(failure::postgres)?;
        let mut rows: Vec<Row> =
            rows.iter().map(row).collect::<Result<_, _>>().map_err(failure::postgres)?;
        rows.sort_unstable_by_key(|row| row.id);
        Ok(rows)
    }

    async fn next_due(&self) -> Result<NextDue, TransportError> {
        let row = query(sql::NEXT_DUE).fetch_one(&self.pool).await.map_err(failure::postgres)?;
        let due = |column: &str| -> Result<Option<Duration>, TransportError> {
            let ms: Option<i64> = row.try_get(column).map_err(failure::postgres)?;
            Ok(ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
        };
        Ok(PerLane { live: due("live_ms")?, bulk: due("bulk_ms")? })
    }

    async fn renew(
        &self,
        ids: &[i64],
        claims: &[String],
        visibility: Duration,
    ) -> Result<(), TransportError> {
        query(sql::RENEW)
            .bind(ids)
            .bind(claims)
            .bind(duration_ms(visibility))
            .execute(&self.pool)
            .await
            .map_err(failure::postgres)?;
        Ok(())
    }

    async fn expire(&self, delivery_limit: u32) -> Result<Expired, TransportError> {
        let row = query(sql::EXPIRE)
            .bind(i32::try_from(delivery_limit).unwrap_or(i32::MAX))
            .bind(EXPIRY_BATCH)
            .bind(failure::delivery_limit_message(delivery_limit))
            .fetch_one(&self.pool)
            .await
            .map_err(failure::postgres)?;
        let read = |column: &str| count(&row, column).map_err(failure::postgres);
        Ok(Expired { released: read("released")?, failed: read("failed")? })
    }

    async fn ack(&self, id: i64, claim: &str) -> Result<bool, TransportError> {
        let done = query(sql::ACK).bind(id).bind(claim).execute(&self.pool).await;
        Ok(done.map_err(failure::postgres)?.rows_affected() > 0)
    }

    async fn retry(&self, id: i64, claim: &str, retry: RetryRow) -> Result<bool, TransportError> {
        let done = query(sql::RETRY)
            .bind(id)
            .bind(claim)
            .bind(duration_ms(retry.delay))
            .bind(retry.headers)
            .bind(unix_ms(retry.first_failed_at))
            .execute(&self.pool)
            .await
            .map_err(failure::postgres)?;
        Ok(done.rows_affected() > 0)
    }

    async fn dead_letter(
        &self,
        id: i64,
        claim: &str,
        failed: FailedRow,
    ) -> Result<bool, TransportError> {
        let done = query(sql::DEAD_LETTER)
            .bind(id)
            .bind(claim)
            .bind(unix_ms(failed.failed_at))
            .bind(i32::try_from(failed.attempts).unwrap_or(i32::MAX))
            .bind(failed.class)
            .bind(failed.sqlstate)
            .bind(failed.message)
            .bind(unix_ms(failed.first_failed_at))
            .bind(failed.headers)
            .execute(&self.pool)
            .await
            .map_err(failure::postgres)?;
        Ok(done.rows_affected() > 0)
    }

    async fn hand_back(&self, ids: &[i64], claim: &str) -> Result<u64, TransportError> {
        let done = query(sql::HAND_BACK).bind(ids).bind(claim).execute(&self.pool).await;
        Ok(done.map_err(failure::postgres)?.rows_affected())
    }

    async fn republish(&self, id: i64, claim: &str) -> Result<bool, TransportError> {
        let done = query(sql::REPUBLISH).bind(id).bind(claim).execute(&self.pool).await;
        Ok(done.map_err(failure::postgres)?.rows_affected() > 0)
    }

    async fn release_others(&self, claim: &str, keep: &[i64]) -> Result<u64, TransportError> {
        let done = query(sql::RELEASE_OTHERS).bind(claim).bind(keep).execute(&self.pool).await;
        Ok(done.map_err(failure::postgres)?.rows_affected())
    }

    async fn insert(&self, rows: &[NewRow]) -> Result<(), TransportError> {
        let lanes: Vec<&str> = rows.iter().map(|row| row.lane.name()).collect();
        let bodies: Vec<&[u8]> = rows.iter().map(|row| row.envelope.body.as_ref()).collect();
        let headers: Vec<String> =
            rows.iter().map(|row| headers_text(&row.envelope.headers)).collect();
        let text = |value: &Option<String>| value.as_deref().map(without_nul);
        let types: Vec<Option<String>> =
            rows.iter().map(|row| text(&row.envelope.type_property)).collect();
        let content_types: Vec<Option<String>> =
            rows.iter().map(|row| text(&row.envelope.content_type)).collect();
        let published: Vec<Option<i64>> =
            rows.iter().map(|row| row.envelope.published_at.map(unix_ms)).collect();
        query(sql::INSERT)
            .bind(lanes)
            .bind(bodies)
            .bind(headers)
            .bind(types)
            .bind(content_types)
            .bind(published)
            .execute(&self.pool)
            .await
            .map_err(failure::postgres)?;
        Ok(())
    }

    async fn depth(&self) -> Result<QueueDepth, TransportError> {
        let row = query(sql::DEPTH).fetch_one(&self.pool).await.map_err(failure::postgres)?;
        let read = |column: &str| count(&row, column).map_err(failure::postgres);
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

    async fn listen(&self, news: &(dyn Fn() + Send + Sync)) -> Result<(), TransportError> {
        // One connection cannot both listen and leave room to work.
        if self.pool.options().get_max_connections() < 2 {
            return std::future::pending().await;
        }
        let mut listener = PgListener::connect_with(&self.pool).await.map_err(failure::postgres)?;
        listener.listen(CHANNEL).await.map_err(failure::postgres)?;
        loop {
            news();
            listener.recv().await.map_err(failure::postgres)?;
        }
    }
}
