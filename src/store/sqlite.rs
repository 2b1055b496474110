//! To be written by its track.
