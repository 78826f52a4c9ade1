//! `cargo xtask bench`: the numbers of SPECIFICATION.md.

use anyhow::Result;

use crate::command::{cargo, run};
use crate::test::target_folder;

/// Benchmarks of single crates: instruction-bound work, no sockets.
const CRATES: &[&str] = &["protocol", "resources", "allocator", "master", "libprocess"];

/// Runs the benchmarks of the crates, then those of whole processes.
pub(crate) fn bench() -> Result<()> {
    for name in CRATES {
        run(cargo(&["bench", "--package", name, "--benches"]))?;
    }
    run(cargo(&["bench", "--package", "master", "--bench", "reservations"]))?;
    run(cargo(&["build", "--release", "--package", "meseta"]))?;
    let mut processes = cargo(&["bench", "--package", "tests", "--bench", "processes"]);
    processes.env("MESETA_BINARY", target_folder()?.join("release/meseta"));
    run(processes)
}
