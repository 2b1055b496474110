//! The toolkit by behaviour, on real PostgreSQL, MariaDB, SQLite and Redis; knows no coffee.
//!
//! Run by `./scripts/test`, which starts the servers and says where they are. Needs only the
//! features of the toolkit, so it builds without the service.

#![allow(unreachable_pub, reason = "modules of one test binary export to one another only")]

mod cancellation;
mod lockdep_against_servers;
mod lockdep_reports;
mod lockdep_rig;
mod lockdep_shapes;
mod locks;
mod support;
mod units;
