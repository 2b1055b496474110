//! What can be followed: spans, the name a server shows, the metrics of a unit.

use crate::support::databases::PostgresDatabase;
use crate::support::metering;
use cupping::txn::{BodyError, Transactor, TxnOptions, work};
use sqlx::Postgres;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Spans with their fields and parents, in the order in which they were made.
#[derive(Debug, Clone, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

#[derive(Debug, Clone)]
struct Span {
    id: u64,
    parent: Option<u64>,
    name: &'static str,
    fields: HashMap<&'static str, String>,
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if !metadata.target().starts_with("cupping::txn") {
            return;
        }
        let parent = context.current_span().id().map(Id::into_u64);
        let (id, name) = (id.into_u64(), metadata.name());
        let mut span = Span { id, parent, name, fields: HashMap::new() };
        attributes.record(&mut span);
        self.0.lock().expect("no panic").push(span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.0.lock().expect("no panic");
        if let Some(span) = spans.iter_mut().find(|span| span.id == id.into_u64()) {
            values.record(span);
        }
    }
}

/// A unit that conflicts once; its second run gives the session and the name it has there.
async fn conflicting_once(transactor: &Transactor<Postgres>, label: Option<&str>) -> (i32, String) {
    let runs = Arc::new(AtomicU32::new(0));
    let body = work!([runs] => |tx: Postgres| {
        if runs.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(BodyError::conflict("once"));
        }
        let me = "SELECT pid, application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        tx.fetch_one_as(me).await
    });
    let options = TxnOptions {
        base_delay: Duration::from_millis(1),
        label: label.map(Into::into),
        ..TxnOptions::default()
    };
    transactor.run("transfer", &options, body).await.expect("the second run commits")
}

#[tokio::test]
async fn a_unit_is_a_span_with_a_child_for_each_attempt_that_names_its_session() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(1).await;
    let transactor = Transactor::new(pool);
    let spans = Spans::default();
    let watching =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    let (session, _) = conflicting_once(&transactor, None).await;
    drop(watching);
    let spans = spans.0.lock().expect("no panic").clone();
    let names: Vec<&str> = spans.iter().map(|span| span.name).collect();
    assert_eq!(names, ["transaction", "attempt", "attempt"]);
    assert_eq!(spans[0].fields["txn"], "\"transfer\"");
    assert_eq!(spans[0].fields["db.system"], "\"postgresql\"");
    for (attempt, span) in [(1, &spans[1]), (2, &spans[2])] {
        assert_eq!(span.parent, Some(spans[0].id));
        assert_eq!(span.fields["attempt"], attempt.to_string());
        assert_eq!(span.fields["db.session"], session.to_string());
    }
}

#[tokio::test]
async fn the_server_s_views_name_application_transaction_and_label() {
    let database = PostgresDatabase::create().await;
    let pool = database.pool(1).await;
    let transactor = Transactor::new(pool.clone()).named("worker-3");
    let (_, name) = conflicting_once(&transactor, Some("msg 018f'; DROP")).await;
    assert_eq!(name, "worker-3/transfer msg 018f?; DROP");
    let after: String = sqlx::query_scalar("SELECT current_setting('application_name')")
        .fetch_one(&pool)
        .await
        .expect("a setting");
    assert_eq!(after, "", "the session has its own name again");
}

#[tokio::test]
async fn a_unit_is_counted_once_with_its_attempts_and_its_waits() {
    let recorder = metering::recorder();
    let _metrics = metrics::set_default_local_recorder(recorder);
    let database = PostgresDatabase::create().await;
    let transactor = Transactor::new(database.pool(1).await);
    conflicting_once(&transactor, None).await;
    let name = "name=\"transfer\"";
    let value = |series, labels: &[&str]| metering::value(recorder, series, labels);
    assert_eq!(value("cupping_transactions_total", &[name, "outcome=\"committed\""]), 1.0);
    assert_eq!(
        value("cupping_transaction_retries_total", &[name, "reason=\"serialization\""]),
        1.0
    );
    assert_eq!(value("cupping_transaction_attempts_sum", &[name]), 2.0);
    assert_eq!(value("cupping_transaction_duration_seconds_count", &[name]), 1.0);
    assert_eq!(value("cupping_connection_wait_seconds_count", &[]), 2.0);
    let stats = transactor.stats();
    assert_eq!((stats.total, stats.committed, stats.retries), (1, 1, 1));
    assert!(stats.maximum >= stats.mean && stats.success_rate() == 1.0);
}
