//! The binary: what it does is [`quorate::program`]'s.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate::program::run()
}
