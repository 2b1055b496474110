//! Reports of every engine and release, read from texts.
//!
//! Decides: nothing of its own; the fixtures are texts as servers and libraries wrote them.
//! Never does: start a server (see `forensics_live`).

use cupping::txn::forensics::{Explanation, explain, read};
use std::path::PathBuf;

fn bytes(name: &str) -> Vec<u8> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deadlocks").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn explained(name: &str) -> Explanation {
    explain(read(&bytes(name)))
}

#[test]
fn look() {
    let name = std::env::var("LOOK").expect("a name");
    println!("{}", explained(&name).text());
}
