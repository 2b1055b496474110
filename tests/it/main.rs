//! The tests by behaviour, in one binary: real servers, a fresh database and queues for each test.
//!
//! Run by `./scripts/test`, which starts the servers and says where they are.

#![allow(unreachable_pub, reason = "modules of one test binary export to one another only")]

mod admin_server;
mod amqp_outage;
mod amqp_publishing;
mod amqp_settling;
mod amqp_tls;
mod config_deploy;
mod config_loading;
mod metrics_registered;
mod support;
