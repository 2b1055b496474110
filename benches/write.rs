//! How fast lists are written: the write protocol against the bare DELETE and INSERT.
//!
//! `cargo bench --bench write`. Writes lists of twenty rows, one and sixty-four sources a
//! transaction, on SQLite always and on PostgreSQL where `CUPPING_TEST_POSTGRES` names a server
//! (a database of its own is made and dropped). Every list differs from the stored one, so every
//! write is made in full. The bare form, on the same tables in the same run, is what the locks,
//! checks and thresholds of the protocol are measured against: read the ratio, not the rate.

use cupping::domain::bean::BeanId;
use cupping::domain::ranking::{Similar, stored_score};
use cupping::store::postgres::PostgresStore;
use cupping::store::sqlite::SqliteStore;
use cupping::store::{LogMark, Store, StoreSettings, WriteBatch, WriteItem, WriteOutcome};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, SqlitePool};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Rows of one list.
const ROWS: usize = 20;
/// Sources written in one measurement.
const SOURCES: usize = 512;
/// Measurements of each form; the fastest counts.
const ROUNDS: u32 = 3;
/// Sources of one transaction.
const BATCHES: [usize; 2] = [1, 64];

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where the bare statements go.
enum Bare {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

fn id(n: usize) -> BeanId {
    BeanId::parse(&format!("00000000-0000-0000-0000-{n:012}")).expect("a uuid")
}

/// The lists of some sources; another round gives other scores.
fn items(sources: Range<usize>, round: u32) -> Vec<WriteItem> {
    let entry = |source: usize, rank: usize| Similar {
        bean: id((source + rank) % (SOURCES + ROWS + 1)),
        ppm: 900_000 - u32::try_from(rank).expect("small") * 1_000 - round,
    };
    let item = |source| WriteItem {
        source: id(source),
        list: (1..=ROWS).map(|rank| entry(source, rank)).collect(),
        tickets: Vec::new(),
    };
    sources.map(item).collect()
}

fn batches(size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..SOURCES).step_by(size).map(move |start| start..(start + size).min(SOURCES))
}

/// Writes every source once, by the protocol.
async fn protocol(
    store: &dyn Store,
    mark: &LogMark,
    size: usize,
    round: u32,
) -> Result<Duration, Failure> {
    let started = Instant::now();
    for sources in batches(size) {
        let batch = WriteBatch { items: items(sources, round), computed_at: mark.clone() };
        let report = store.write(batch).await?;
        let is_written = |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Written { .. });
        assert!(report.outcomes.iter().all(is_written), "every list differs from the stored one");
    }
    Ok(started.elapsed())
}

/// Writes every source once, by the bare statements.
async fn bare(target: &Bare, size: usize, round: u32) -> Result<Duration, Failure> {
    let started = Instant::now();
    for sources in batches(size) {
        let items = items(sources, round);
        match target {
            Bare::Sqlite(pool) => bare_sqlite(pool, &items).await?,
            Bare::Postgres(pool) => bare_postgres(pool, &items).await?,
        }
    }
    Ok(started.elapsed())
}

async fn bare_sqlite(pool: &SqlitePool, items: &[WriteItem]) -> Result<(), Failure> {
    let sources: serde_json::Value = items.iter().map(|item| item.source.as_str()).collect();
    let rows: serde_json::Value = items
        .iter()
        .flat_map(|item| item.list.iter().map(|e| (item.source.as_str(), e)))
        .map(|(source, e)| serde_json::json!([source, e.bean.as_str(), stored_score(e.ppm)]))
        .collect();
    let delete = "DELETE FROM coffee_bean_similarity \
                  WHERE source_bean_id IN (SELECT value FROM json_each(?1))";
    let insert = "INSERT INTO coffee_bean_similarity \
                  SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), \
                         json_extract(value, '$[2]') FROM json_each(?1)";
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(delete).bind(sources.to_string()).execute(&mut *transaction).await?;
    sqlx::query(insert).bind(rows.to_string()).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

async fn bare_postgres(pool: &PgPool, items: &[WriteItem]) -> Result<(), Failure> {
    let all: Vec<String> = items.iter().map(|item| item.source.to_string()).collect();
    let (mut sources, mut similar, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        for entry in &item.list {
            sources.push(item.source.to_string());
            similar.push(entry.bean.to_string());
            scores.push(stored_score(entry.ppm));
        }
    }
    let delete =
        "DELETE FROM coffee_bean_similarity WHERE source_bean_id = ANY ($1::text[]::uuid[])";
    let insert = "INSERT INTO coffee_bean_similarity SELECT a::uuid, b::uuid, s \
                  FROM UNNEST($1::text[], $2::text[], $3::float8[]) AS list (a, b, s)";
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    sqlx::query(delete).bind(all).execute(&mut *transaction).await?;
    let query = sqlx::query(insert).bind(sources).bind(similar).bind(scores);
    query.execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

/// Prints one line a batch size: sources a second in both forms, and the ratio.
async fn compare(name: &str, store: &dyn Store, target: &Bare) -> Result<(), Failure> {
    let mark = store.load(&mut |_| {}).await?;
    let mut round = 0;
    for size in BATCHES {
        let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            round += 2;
            ours = ours.min(protocol(store, &mark, size, round).await?);
            theirs = theirs.min(bare(target, size, round + 1).await?);
        }
        let rate =
            |time: Duration| f64::from(u32::try_from(SOURCES).unwrap_or(0)) / time.as_secs_f64();
        println!(
            "{name:<10} batch {size:>2}: protocol {:>8.0} sources/s, bare {:>8.0} sources/s, \
             protocol takes {:.2} times as long",
            rate(ours),
            rate(theirs),
            ours.as_secs_f64() / theirs.as_secs_f64(),
        );
    }
    Ok(())
}

async fn sqlite() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("write.sqlite");
    let store = SqliteStore::open(&path, StoreSettings::default()).await?;
    store.migrate().await?;
    compare("SQLite", &store, &Bare::Sqlite(store.write_pool().clone())).await?;
    store.close().await;
    Ok(())
}

async fn postgres(server: &str) -> Result<(), Failure> {
    let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let mut admin = PgConnection::connect(server).await?;
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let mut url = url::Url::parse(server)?;
    url.set_path(&name);
    let store = PostgresStore::connect(url.as_str(), StoreSettings::default()).await?;
    store.migrate().await?;
    compare("PostgreSQL", &store, &Bare::Postgres(store.pool_handle().clone())).await?;
    store.close().await;
    admin.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    println!("{SOURCES} sources of {ROWS} rows, the best of {ROUNDS}");
    sqlite().await?;
    match std::env::var("CUPPING_TEST_POSTGRES") {
        Ok(server) => postgres(&server).await?,
        Err(_) => println!("PostgreSQL: left out, CUPPING_TEST_POSTGRES is unset"),
    }
    Ok(())
}
