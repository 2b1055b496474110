//! Owned by the core track.
