//! One of the processes: a small HTTP server on this machine.
//!
//! Decides: which form serves. Never does: outlive its parent: it ends when its input does.

use crate::arena::Failure;
use crate::schedule::Schedule;
use crate::wire::{By, Generate, Generated, Health, Problem, SwapRequest, Swapped};
use crate::{before, guarded_pool};
use actix_web::web::{Data, Json, Path};
use actix_web::{App, HttpServer, get, post};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::io::AsyncReadExt;

/// Worker threads of one process.
const THREADS: usize = 2;

/// One form of the schedule.
pub enum Form {
    /// Bare sqlx.
    Before(PgPool),
    /// The toolkit.
    After(Schedule),
}

struct Process {
    form: Form,
    pool: PgPool,
    metrics: PrometheusHandle,
}

type Here = Data<Process>;

/// Serves until standard input ends; says its port on standard output.
pub async fn serve(form: &str, database: PgConnectOptions, redis: &str) -> Result<(), Failure> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    // Fails a unit whose order of locks contradicts an earlier one's, though it did not deadlock.
    #[cfg(feature = "lockdep")]
    assert!(cupping::txn::Lockdep::new().per_database().install(), "nothing else installs one");
    let namespace = database.get_database().unwrap_or_default().to_owned();
    let pool = guarded_pool(database).await?;
    let form = match form {
        "before" => Form::Before(pool.clone()),
        _ => Form::After(Schedule::new(pool.clone(), redis, namespace)?),
    };
    let process = Data::new(Process { form, pool: pool.clone(), metrics });
    let server = HttpServer::new(move || {
        let app = App::new().app_data(Data::clone(&process));
        app.service(swap)
            .service(roll_back)
            .service(resolve)
            .service(leave)
            .service(generate)
            .service(resume)
            .service(health)
    });
    let server = server.workers(THREADS).disable_signals().bind(("127.0.0.1", 0))?;
    for address in server.addrs() {
        println!("{}", address.port());
    }
    let server = server.run();
    let (handle, running) = (server.handle(), tokio::spawn(server));
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    handle.stop(true).await;
    running.await??;
    pool.close().await;
    Ok(())
}

#[post("/swaps")]
async fn swap(here: Here, request: Json<SwapRequest>) -> Result<Json<Swapped>, Problem> {
    match &here.form {
        Form::Before(pool) => before::swap(pool, &request).await.map(Json),
        Form::After(schedule) => schedule.swap(&request).await.map(Json),
    }
}

#[post("/swaps/{swap}/rollback")]
async fn roll_back(here: Here, number: Path<i64>) -> Result<Json<()>, Problem> {
    match &here.form {
        Form::Before(pool) => before::roll_back(pool, *number).await.map(Json),
        Form::After(schedule) => schedule.roll_back(*number).await.map(Json),
    }
}

#[post("/alerts/{alert}/resolve")]
async fn resolve(here: Here, number: Path<i64>, by: Json<By>) -> Result<Json<()>, Problem> {
    match &here.form {
        Form::Before(pool) => before::resolve(pool, *number, &by).await.map(Json),
        Form::After(schedule) => schedule.resolve(*number, &by).await.map(Json),
    }
}

#[post("/rotas/{rota}/leave")]
async fn leave(here: Here, number: Path<i64>, by: Json<By>) -> Result<Json<()>, Problem> {
    match &here.form {
        Form::Before(pool) => before::leave(pool, *number, &by).await.map(Json),
        Form::After(schedule) => schedule.leave(*number, &by).await.map(Json),
    }
}

#[post("/weeks/{week}/plan")]
async fn generate(
    here: Here,
    number: Path<i64>,
    request: Json<Generate>,
) -> Result<Json<Generated>, Problem> {
    match &here.form {
        Form::Before(_) => Err(Problem::Failed("the old form has no generation".into())),
        Form::After(schedule) => schedule.generate(*number, &request).await.map(Json),
    }
}

#[post("/resume")]
async fn resume(here: Here) -> Json<()> {
    if let Form::After(schedule) = &here.form {
        schedule.resume.notify_one();
    }
    Json(())
}

#[get("/health")]
async fn health(here: Here) -> Json<Health> {
    let text = here.metrics.render();
    Json(Health {
        connections: here.pool.size(),
        idle: here.pool.num_idle(),
        leaked: sum(&text, "cupping_transactions_leaked_total", ""),
        committed: sum(&text, "cupping_transactions_total", "outcome=\"committed\""),
        retries: sum(&text, "cupping_transaction_retries_total", ""),
    })
}

/// What the lines of one metric add up to; nothing was counted when it has none.
fn sum(text: &str, metric: &str, label: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
