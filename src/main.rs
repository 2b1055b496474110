//! The command `cupping`.

fn main() {}
