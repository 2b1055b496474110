//! The toolkit by behaviour, on real PostgreSQL, MariaDB, SQLite and Redis; knows no coffee.
//!
//! Run by `./scripts/test`, which starts the servers and says where they are. Needs only the
//! features of the toolkit, so it builds without the service.

#![allow(unreachable_pub, reason = "modules of one test binary export to one another only")]

mod batches;
mod breaker;
mod breaker_pool;
mod cancellation;
mod claims;
mod deadlines;
mod effects;
mod forensics;
mod forensics_live;
mod forensics_quoted;
mod forensics_robust;
mod guards;
mod guides;
mod idempotency;
mod lockdep_against_servers;
mod lockdep_plans;
mod lockdep_reports;
mod lockdep_rig;
mod lockdep_shapes;
mod locks;
mod lost_commit;
mod mysql_prepared;
mod mysql_units;
mod named_locks;
mod plan;
mod redis_breaker;
mod redis_fence;
mod redis_idempotency;
mod redis_lock;
mod rig;
mod scopes;
mod support;
mod testimony;
mod tracing_units;
mod units;
mod versions;
