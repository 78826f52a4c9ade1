//! `cargo xtask chaos`: a whole cluster of real processes under faults, for a long time.

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, run};
use crate::test;

/// How many faults are tried if nothing else is said.
const FAULTS: u32 = 200;

const USAGE: &str = "usage: cargo xtask chaos [--faults=N] [--seed=N] [--only=TEXT]";

/// Runs the chaos test. `--faults` and `--seed` say how many faults and which, `--only` a part of the names of
/// those that are tried. The binary under test is `MESETA_BINARY`, or built.
pub(crate) fn chaos(arguments: &[&str]) -> Result<()> {
    let mut tests = cargo(&["test", "--package", "tests", "--test", "chaos", "--", "--nocapture"]);
    tests.env("MESETA_CHAOS_FAULTS", FAULTS.to_string());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, value),
            None => (*argument, *rest.next().context(USAGE)?),
        };
        let variable = match name {
            "--faults" => "MESETA_CHAOS_FAULTS",
            "--seed" => "MESETA_CHAOS_SEED",
            "--only" => "MESETA_CHAOS_ONLY",
            _ => bail!(USAGE),
        };
        tests.env(variable, value);
    }
    let python = test::pymesos()?;
    test::zookeeper()?;
    test::network_tools()?;
    if std::env::var_os("MESETA_BINARY").is_none() {
        run(cargo(&["build", "--release", "--package", "meseta"]))?;
        tests.env("MESETA_BINARY", test::target_folder()?.join("release/meseta"));
    }
    tests.env("MESETA_PYMESOS_PYTHON", python);
    run(tests)
}
