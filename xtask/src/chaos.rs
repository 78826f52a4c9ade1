//! `cargo xtask chaos`: a whole cluster of real processes under faults, for a long time.

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, run};
use crate::test;

/// How many faults are tried if nothing else is said.
const FAULTS: u32 = 200;

/// Runs the chaos test. `--faults=N` and `--seed=N` say how many faults and which; the binary under test is
/// `MESETA_BINARY`, or built.
pub(crate) fn chaos(arguments: &[&str]) -> Result<()> {
    let mut faults = FAULTS.to_string();
    let mut seed = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, value),
            None => (*argument, *rest.next().with_context(|| format!("{argument} needs a value"))?),
        };
        let number: u64 = value.parse().with_context(|| format!("{name}={value} is no number"))?;
        match name {
            "--faults" => faults = number.to_string(),
            "--seed" => seed = Some(number.to_string()),
            _ => bail!("usage: cargo xtask chaos [--faults=N] [--seed=N]"),
        }
    }
    let python = test::pymesos()?;
    test::zookeeper()?;
    test::network_tools()?;
    let mut tests = cargo(&["test", "--package", "tests", "--test", "chaos", "--", "--nocapture"]);
    if std::env::var_os("MESETA_BINARY").is_none() {
        run(cargo(&["build", "--release", "--package", "meseta"]))?;
        tests.env("MESETA_BINARY", test::target_folder()?.join("release/meseta"));
    }
    tests.env("MESETA_PYMESOS_PYTHON", python).env("MESETA_CHAOS_FAULTS", faults);
    if let Some(seed) = seed {
        tests.env("MESETA_CHAOS_SEED", seed);
    }
    run(tests)
}
