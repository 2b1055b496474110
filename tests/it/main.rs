//! The tests by behaviour, in one binary: real servers, a fresh database and queues for each test.
//!
//! Run by `./scripts/test`, which starts the servers and says where they are.

#![allow(unreachable_pub, reason = "modules of one test binary export to one another only")]

mod cli_catalogue;
mod cli_demo;
mod cli_usage;
mod admin_server;
mod config_loading;
mod metrics_registered;
mod support;
