//! Lockdep: finds transactions that can deadlock by the order in which they take locks, though none
//! has deadlocked yet. For tests, behind the feature `lockdep`.
//!
//! Decides: what a test sees of it. Never does: change what a transaction does, except to fail it
//! when its order of locking contradicts another's.
//!
//! After the checker of the same name in the Linux kernel. Every statement is read for what it
//! locks; locks are put into classes (the rows of a table, a table, advisory locks); a graph grows
//! of which class was asked for while which was held. The first edge that closes a cycle is
//! reported with both transactions and the places in the source where they asked: it is enough that
//! each has run once, alone.

#[cfg(feature = "lockdep")]
mod access;
#[cfg(feature = "lockdep")]
mod account;
#[cfg(all(feature = "lockdep", any(feature = "postgres", feature = "mysql")))]
mod arguments;
#[cfg(feature = "lockdep")]
mod binding;
#[cfg(feature = "lockdep")]
mod catalogue;
#[cfg(feature = "lockdep")]
mod class;
#[cfg(feature = "lockdep")]
mod graph;
#[cfg(feature = "lockdep")]
mod handle;
#[cfg(feature = "lockdep")]
mod observed;
#[cfg(not(feature = "lockdep"))]
mod off;
#[cfg(feature = "lockdep")]
mod reading;
#[cfg(feature = "lockdep")]
mod record;
#[cfg(feature = "lockdep")]
mod recorder;
#[cfg(feature = "lockdep")]
mod report;
#[cfg(feature = "lockdep")]
mod tokens;
#[cfg(feature = "lockdep")]
mod watched;

#[cfg(feature = "lockdep")]
pub use class::{Class, Key, Mode};
#[cfg(feature = "lockdep")]
pub use handle::Lockdep;
#[cfg(feature = "lockdep")]
use handle::installed;
#[cfg(feature = "lockdep")]
pub use report::Inversion;

#[cfg(feature = "lockdep")]
pub(super) use observed::Observed;
#[cfg(not(feature = "lockdep"))]
pub(super) use off::{Attached, Observed, Recorder, Site};
#[cfg(feature = "lockdep")]
pub(super) use recorder::{Attached, Recorder, Site};
