//! The developer's tool: what `make` calls.

fn main() {}
