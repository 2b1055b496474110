//! Lists of similar beans, each replaced as a whole: what must order the replacements?
//!
//! A worker replaces the lists of a few sources in one transaction: DELETE, then INSERT. Two
//! workers often have a source in common. An editor of another application changes beans
//! meanwhile, and takes a while over it.

use super::server::Server;
use super::{AsyncUnit, FOR, Failure, ROUNDS, Score, work_for};
use cupping::txn::{LockKeys, LockPlan, TableRank, Transactor, TxnOptions, lock_key, work};
use sqlx::{Executor, PgPool, Postgres};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BEANS: i64 = 40;
const SOURCES: usize = 3;
const SIMILAR: usize = 8;
/// How long the editor's transaction stays open.
const EDITS_FOR: Duration = Duration::from_millis(100);

const BEAN: TableRank = TableRank::new(1, "bean", "id");

const SCHEMA: &str = "CREATE TABLE bean (id bigint PRIMARY KEY, name text NOT NULL);
    INSERT INTO bean SELECT n, 'bean ' || n FROM generate_series(0, 39) AS n;
    CREATE TABLE similarity (source bigint, similar_to bigint, stamp bigint NOT NULL,
                             PRIMARY KEY (source, similar_to))";

/// What orders the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Nothing,
    SortedInserts,
    UpsertsOnly,
    RowPlan,
    AdvisoryLocks,
}

impl Form {
    const ALL: [(Self, &str); 5] = [
        (Self::Nothing, "no lock, no order"),
        (Self::SortedInserts, "inserts sorted"),
        (Self::UpsertsOnly, "sorted upserts, no DELETE"),
        (Self::RowPlan, "plan of rows of `bean`"),
        (Self::AdvisoryLocks, "advisory locks"),
    ];
}

/// Different numbers below `BEANS`, in random order.
fn some_beans(count: usize) -> Vec<i64> {
    let mut beans = Vec::with_capacity(count);
    while beans.len() < count {
        let bean = fastrand::i64(0..BEANS);
        if !beans.contains(&bean) {
            beans.push(bean);
        }
    }
    beans
}

impl AsyncUnit for Form {
    async fn run(&self, transactor: &Transactor<Postgres>, number: u64) -> Result<(), Failure> {
        let form = *self;
        let stamp = i64::try_from(number)?;
        let sources = Arc::new(some_beans(SOURCES));
        let rows: Vec<(i64, i64)> =
            sources.iter().flat_map(|s| some_beans(SIMILAR).into_iter().map(|b| (*s, b))).collect();
        let (of, to): (Vec<i64>, Vec<i64>) = rows.into_iter().unzip();
        let rows = Arc::new((of, to));
        let body = work!([sources, rows] => |tx: Postgres| {
            match form {
                Form::RowPlan => {
                    tx.lock_rows(&LockPlan::new().rows(BEAN, sources.to_vec())).await?;
                }
                Form::AdvisoryLocks => {
                    let keys = sources.iter().map(|id| lock_key("bean", &id.to_string()));
                    tx.advisory_xact_locks(&LockKeys::new(keys)).await?;
                }
                Form::Nothing | Form::SortedInserts | Form::UpsertsOnly => {}
            }
            if form != Form::UpsertsOnly {
                let delete = "DELETE FROM similarity WHERE source = ANY($1)";
                tx.execute(sqlx::query(delete).bind(sources.as_slice())).await?;
            }
            let insert = match form {
                Form::Nothing | Form::RowPlan | Form::AdvisoryLocks => {
                    "INSERT INTO similarity SELECT s, b, $3 FROM UNNEST($1::bigint[], $2::bigint[])
                     AS list (s, b) ON CONFLICT (source, similar_to)
                     DO UPDATE SET stamp = EXCLUDED.stamp"
                }
                Form::SortedInserts | Form::UpsertsOnly => {
                    "INSERT INTO similarity SELECT s, b, $3 FROM UNNEST($1::bigint[], $2::bigint[])
                     AS list (s, b) ORDER BY s, b ON CONFLICT (source, similar_to)
                     DO UPDATE SET stamp = EXCLUDED.stamp"
                }
            };
            let (of, to) = (rows.0.as_slice(), rows.1.as_slice());
            tx.execute(sqlx::query(insert).bind(of).bind(to).bind(stamp)).await?;
            Ok(())
        });
        Ok(transactor.run("replace", &TxnOptions::default(), body).await?)
    }
}

/// Edits one bean after another; gives how long each edit took beyond the editor's own time.
async fn edit(pool: PgPool) -> Result<Vec<Duration>, Failure> {
    let transactor = Transactor::new(pool);
    let until = Instant::now() + FOR;
    let mut took = Vec::new();
    while Instant::now() < until {
        let bean = fastrand::i64(0..BEANS);
        let started = Instant::now();
        let body = work!(|tx: Postgres| {
            let update = "UPDATE bean SET name = name || '' WHERE id = $1";
            tx.execute(sqlx::query(update).bind(bean)).await?;
            tokio::time::sleep(EDITS_FOR).await;
            Ok(())
        });
        transactor.run("edit", &TxnOptions::default(), body).await?;
        took.push(started.elapsed().saturating_sub(EDITS_FOR));
    }
    Ok(took)
}

/// Lists whose rows were not all written by one unit, or are not as many as a list has.
async fn mixed(pool: &PgPool) -> Result<usize, Failure> {
    let query = "SELECT source, stamp, count(*) FROM similarity GROUP BY source, stamp";
    let parts: Vec<(i64, i64, i64)> = sqlx::query_as(query).fetch_all(pool).await?;
    let length = i64::try_from(SIMILAR)?;
    let bad: BTreeSet<i64> = parts
        .iter()
        .filter(|(source, _, rows)| {
            *rows != length || parts.iter().filter(|part| part.0 == *source).count() > 1
        })
        .map(|(source, ..)| *source)
        .collect();
    Ok(bad.len())
}

/// What all rounds of a form came to.
#[derive(Debug, Default)]
struct Total {
    alone: Score,
    beside: Score,
    deadlocks: i64,
    mixed: usize,
    waits: Vec<Duration>,
}

impl Total {
    /// Runs a form, with or without the editor.
    async fn run(&mut self, server: &Server, form: Form, edited: bool) -> Result<(), Failure> {
        let before = server.deadlocks().await?;
        let pool = server.pool().await?;
        pool.execute("TRUNCATE similarity").await?;
        let editor = edited.then(|| tokio::spawn(edit(pool.clone())));
        let score = work_for(&Transactor::new(pool.clone()), form).await?;
        let total = if edited { &self.beside } else { &self.alone };
        total.add(&score);
        if let Some(editor) = editor {
            self.waits.extend(editor.await??);
        }
        self.mixed += mixed(&pool).await?;
        pool.close().await;
        self.deadlocks += server.deadlocks().await? - before;
        Ok(())
    }

    fn print(&self, name: &str) {
        let Self { alone, beside, deadlocks, mixed, waits } = self;
        let mean = waits.iter().sum::<Duration>() / u32::try_from(waits.len()).unwrap_or(1).max(1);
        println!(
            "| {name} | {deadlocks} | {} | {mixed} | {:.0} | {:.0} | {mean:.1?} |",
            alone.failures() + beside.failures(),
            alone.per_second(),
            beside.per_second(),
        );
    }
}

/// Every form, alone and beside the editor.
pub(crate) async fn compare(server: &Server) -> Result<(), Failure> {
    let pool = server.pool().await?;
    pool.execute(SCHEMA).await?;
    pool.close().await;
    println!(
        "\neach transaction replaces {SOURCES} of {BEANS} lists of {SIMILAR} rows; the editor \
         holds a bean for {EDITS_FOR:?}; mixed lists: of {}\n",
        BEANS * i64::from(ROUNDS) * 2
    );
    let mut totals: [Total; Form::ALL.len()] = Default::default();
    for _ in 0..ROUNDS {
        for ((form, _), total) in Form::ALL.iter().zip(&mut totals) {
            total.run(server, *form, false).await?;
            total.run(server, *form, true).await?;
        }
    }
    println!(
        "| what orders the workers | deadlocks | failed | mixed lists | tx/s | tx/s beside an \
         editor | editor waits |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for ((_, name), total) in Form::ALL.iter().zip(&totals) {
        total.print(name);
    }
    Ok(())
}
