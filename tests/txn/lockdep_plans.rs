//! What a plan locks, lockdep sees: as any other statement's rows, and from where it was asked for.
//!
//! Decides: nothing. Never does: let two transactions run at the same time.

use crate::lockdep_rig::{mariadb, postgres};
use cupping::txn::{LockPlan, TableRank, TxnError, TxnOptions, work};
use sqlx::{MySql, Postgres};

const TABLES: &str = "
    CREATE TABLE region (id bigint PRIMARY KEY, n int NOT NULL);
    CREATE TABLE bean (id bigint PRIMARY KEY, n int NOT NULL);
    INSERT INTO region VALUES (1, 0), (2, 0);
    INSERT INTO bean VALUES (1, 0), (2, 0)";

const REGION: TableRank = TableRank::new(1, "region", "id");
const BEAN: TableRank = TableRank::new(2, "bean", "id");

macro_rules! contradicts {
    ($rig:expr, $db:ty) => {{
        let rig = $rig;
        let planned = work!(|tx: $db| {
            let plan = LockPlan::new().rows(BEAN, vec![2_i64, 1]).rows(REGION, vec![2_i64]);
            tx.lock_rows(&plan).await?;
            Ok(())
        });
        let options = TxnOptions::default();
        rig.transactor.run("planned", &options, planned.clone()).await.expect("the first order");
        rig.transactor.run("planned", &options, planned).await.expect("the same order");
        let other = work!(|tx: $db| {
            tx.execute("UPDATE bean SET n = 1 WHERE id = 1").await?;
            tx.lock_rows(&LockPlan::new().rows(REGION, vec![1_i64])).await?;
            Ok(())
        });
        let error = rig.transactor.run("other", &options, other).await.expect_err("an inversion");
        let TxnError::LockOrderInversion { report, .. } = error else { panic!("{error}") };
        assert_eq!(report.matches("at tests/txn/lockdep_plans.rs:").count(), 4, "{report}");
        assert!(report.contains("transaction planned holds rows of region"), "{report}");
    }};
}

#[tokio::test]
async fn a_plan_s_rows_count_as_held_and_are_told_with_the_place_that_asked() {
    contradicts!(postgres(TABLES).await, Postgres);
    contradicts!(mariadb(TABLES).await, MySql);
}
