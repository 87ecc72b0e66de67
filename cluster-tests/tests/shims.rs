//! libc's calls in the simulator's binary: only there are they the simulation's.

use std::process::Command;

#[test]
fn the_simulators_binary_has_libc_in_hand() {
    let output = Command::new(env!("CARGO_BIN_EXE_quorate-sim"))
        .arg("self-test")
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
