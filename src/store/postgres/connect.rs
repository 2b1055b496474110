//! Why no connection was made: a pool only says that time was up.
//!
//! Decides: which of the server's or the system's answers is told. Never does: keep a connection.

use super::snapshot::failed;
use crate::store::StoreError;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use std::time::Duration;

/// Longest wait for the reason.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks once more, without a pool, for the reason.
pub(super) async fn out_of_reach(options: &PgConnectOptions) -> StoreError {
    let unreachable =
        |message: String| StoreError::Unreachable { address: address(options), message };
    match tokio::time::timeout(PATIENCE, PgConnection::connect_with(options)).await {
        Ok(Ok(connection)) => {
            drop(connection.close().await);
            unreachable(
                "it answered only after database.acquire_timeout had passed; run the command again"
                    .into(),
            )
        }
        Ok(Err(sqlx::Error::Io(error))) => unreachable(error.to_string()),
        Ok(Err(error)) => failed("connecting to PostgreSQL")(error),
        Err(_) => unreachable("it does not answer".into()),
    }
}

/// Host, port and database, for people.
pub(super) fn address(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{database}", socket.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn an_address_has_no_user_and_no_password() {
        let of = |url| address(&PgConnectOptions::from_str(url).expect("a URL"));
        assert_eq!(of("postgres://who:pw@db.example:5433/shop"), "db.example:5433/shop");
    }
}
