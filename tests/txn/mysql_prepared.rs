//! Prepared statements on MariaDB: what closes one makes the next statement late.

use crate::support::mariadb::MariaDatabase;
use cupping::txn::{LockPlan, TableRank, Transactor, TxnOptions, work};
use sqlx::{Executor, MySql};

const THING: TableRank = TableRank::new(1, "thing", "id");

/// COM_STMT_CLOSE has no answer. The client's next packet then waits for the acknowledgement of
/// the one before, which the server's kernel delays by 40 ms (sqlx does not set TCP_NODELAY).
#[tokio::test]
async fn a_plan_s_statement_stays_prepared_so_that_the_next_one_is_not_late() {
    let database = MariaDatabase::create().await;
    let pool = database.pool(1).await;
    pool.execute("CREATE TABLE thing (id bigint PRIMARY KEY)").await.expect("a table");
    pool.execute("INSERT INTO thing VALUES (1), (2), (3)").await.expect("rows");
    let body = work!(|tx: MySql| {
        for ids in [vec![1_i64], vec![2, 3]] {
            tx.lock_rows(&LockPlan::new().rows(THING, ids)).await?;
        }
        let closed = "SHOW SESSION STATUS LIKE 'Com_stmt_close'";
        let (_, closed): (String, String) = tx.fetch_one_as(sqlx::query(closed)).await?;
        Ok(closed)
    });
    let closed = Transactor::new(pool).run("lock", &TxnOptions::default(), body).await;
    assert_eq!(closed.expect("committed"), "0");
}
