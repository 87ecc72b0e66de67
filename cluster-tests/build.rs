//! Lets the simulator's binary show its symbols: crates that look one up at run time, as getrandom does,
//! then find the simulator's and not libc's.
#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bin=quorate-sim=-rdynamic");
}
