//! Lets the simulator's binaries show their symbols: crates that look one up at run time, as getrandom does,
//! then find the simulator's and not libc's.
#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for simulator in ["quorate-sim", "quorate-sim-canaries"] {
        println!("cargo:rustc-link-arg-bin={simulator}=-rdynamic");
    }
}
