//! What clients and servers say to one another.
//!
//! Decides: which failure is which HTTP status. Never does: talk.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};

/// Exchange the people of two shifts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SwapRequest {
    /// The client's own name for this request: the same name, the same swap.
    pub key: String,
    /// One shift, and the version that the client has seen.
    pub first: (i64, i64),
    /// The other one.
    pub second: (i64, i64),
    /// How long the client will wait, in milliseconds; never longer than the server's limit.
    pub limit_ms: Option<u64>,
}

/// A swap that was executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swapped {
    /// Its number.
    pub swap: i64,
    /// How many of the two could be told.
    pub told: u32,
}

/// Somebody who resolves an alert or leaves a rota.
#[derive(Debug, Serialize, Deserialize)]
pub struct By {
    /// The person.
    pub person: i64,
}

/// How a week is to be planned.
#[derive(Debug, Serialize, Deserialize)]
pub struct Generate {
    /// How many batches of a week's days.
    pub batches: i32,
    /// Whether the process stalls after the first batch, until it is told to go on.
    pub stalls: bool,
}

/// A week that was planned.
#[derive(Debug, Serialize, Deserialize)]
pub struct Generated {
    /// Days planned.
    pub days: i32,
    /// How often the lock was extended.
    pub extended: u32,
    /// How long it took.
    pub took_ms: u64,
}

/// The state of one process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Health {
    /// Connections in its pool.
    pub connections: u32,
    /// Those that nobody has.
    pub idle: usize,
    /// Connections that came back inside an open transaction.
    pub leaked: u64,
    /// Transactions committed through the toolkit.
    pub committed: u64,
    /// Attempts beyond the first ones.
    pub retries: u64,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Things are not as the client thinks: look again, then decide.
    #[error("{0}")]
    Conflict(String),
    /// Not now: send it again, with the same key.
    #[error("{0}")]
    Busy(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code())
            .json(serde_json::json!({ "problem": self.to_string() }))
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
