//! A database's error in full: the message, and what the server adds to it.
//!
//! Decides: nothing. Never does: classify.

use sqlx::postgres::PgDatabaseError;

/// The message with the server's detail (who waits for whom) and context (where it happened).
pub fn in_full(error: &sqlx::Error) -> String {
    let Some(told) =
        error.as_database_error().and_then(|e| e.try_downcast_ref::<PgDatabaseError>())
    else {
        return error.to_string();
    };
    let parts = [Some(told.message()), told.detail(), told.r#where()];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    format!("{}: {}", told.code(), parts.join("; ").replace('\n', " "))
}
