//! The program `mooltiroute`.

fn main() {}
