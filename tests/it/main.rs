//! The integration tests, in one binary: real servers, a fresh database and queue each.

mod support;
mod txn_cancellation;
mod txn_core;
mod txn_locks;
