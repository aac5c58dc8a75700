//! Tells the linker where the program begins, and that it may use the C library: zlib-rs takes memory from `malloc`.

use std::env;

fn main() {
    let directory = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=entry.ld");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{directory}/entry.ld");
    println!("cargo::rustc-link-arg-bins=-lc");
}
