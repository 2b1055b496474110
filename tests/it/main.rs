//! The integration tests, in one binary: real servers, a fresh database and queue each.

mod pg_changes;
mod pg_guarded;
mod pg_mapping;
mod pg_protocol;
mod pg_support;
mod support;
mod txn_cancellation;
mod txn_core;
mod txn_locks;
