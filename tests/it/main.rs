//! The tests by behaviour, in one binary: real servers, a fresh database and queues for each test.
//!
//! Run by `./scripts/test`, which starts the servers and says where they are.

#![allow(unreachable_pub, reason = "modules of one test binary export to one another only")]

mod accept_failures;
mod accept_lists;
mod accept_mapped;
mod accept_outages;
mod accept_roles;
mod accept_scale;
mod accept_signals;
mod admin_server;
mod amqp_closing;
mod amqp_outage;
mod amqp_publishing;
mod amqp_settling;
mod amqp_tls;
mod cli_catalogue;
mod cli_deadlocks;
mod cli_demo;
mod cli_recompute;
mod cli_usage;
mod config_deploy;
mod config_loading;
mod metrics_registered;
mod pg_changes;
mod pg_guarded;
mod pg_import;
mod pg_mapping;
mod pg_protocol;
mod pg_silence;
mod pg_state;
mod pg_support;
mod pipeline_broker;
mod pipeline_dispatch;
mod pipeline_doubles;
mod pipeline_failures;
mod pipeline_rig;
mod pipeline_staleness;
mod queue_table;
mod store_conformance;
mod store_import;
mod store_sqlite;
mod support;
mod transport_conformance;
