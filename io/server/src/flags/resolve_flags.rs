//! The flags of `meseta resolve`, under the names of `src/cli/resolve.cpp`.

use super::logging_flags::GENERAL;
use super::{Flag, FlagTable, Kind};

pub(super) const TABLE: FlagTable = FlagTable {
    program: "resolve",
    summary: "Prints the address of the leading master: host:port.",
    usage: "meseta resolve [--timeout=5secs] zk://HOST:PORT,.../PATH",
    groups: &[("General", GENERAL), ("Search", SEARCH)],
};

const SEARCH: &[Flag] = &[
    Flag::new("timeout", Kind::Duration, "How long to look for the leader, or wait for one.")
        .default("5secs"),
    Flag::new("verbose", Kind::Boolean, "Tell on standard error how the search goes.")
        .default("false"),
];
