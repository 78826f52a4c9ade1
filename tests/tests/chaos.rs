//! Everything at once, and everything goes wrong: see `tests/src/chaos.rs`.
//!
//! `cargo xtask chaos` runs this for longer.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tests::chaos::{ChaosOptions, run};

/// How many faults are tried if nothing else is said.
const FAULTS: usize = 15;

/// The variable's number.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn a_cluster_recovers_from_every_fault_and_loses_nothing() {
    let of_the_day = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |it| it.as_secs());
    let seed = number("MESETA_CHAOS_SEED").unwrap_or(of_the_day);
    let faults = number("MESETA_CHAOS_FAULTS").map(usize::try_from);
    let faults = faults.map_or(FAULTS, |faults| faults.expect("a count of faults"));
    let leavings = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos");
    let only = std::env::var("MESETA_CHAOS_ONLY").unwrap_or_default();
    let options = ChaosOptions { faults, seed, only };
    let Some(report) = run(&options, &leavings) else { return };
    eprintln!("{report}");
    assert_eq!(report.violations, [""; 0], "seed {seed}");
    assert_eq!(report.updates_lost, 0, "seed {seed}");
}
