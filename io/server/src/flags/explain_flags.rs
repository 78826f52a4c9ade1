//! The flags of `meseta explain`.

use super::logging_flags::GENERAL;
use super::{Flag, FlagTable, Kind};

pub(super) const TABLE: FlagTable = FlagTable {
    program: "explain",
    summary: "Tells why a framework gets no offers: what it would need for one, in each role.",
    usage: "meseta explain --master=MASTER FRAMEWORK [ROLE] [flags]",
    groups: &[("General", GENERAL), ("Master", MASTER)],
};

const MASTER: &[Flag] = &[
    Flag::new(
        "master",
        Kind::Place,
        "The master: zk://host:port,.../path, or host:port of any master, which leads to the leader.",
    )
    .required(),
    Flag::new("json", Kind::Boolean, "Print the master's answer as it is.").default("false"),
    Flag::new("principal", Kind::Text, "The principal, if the master asks for one."),
    Flag::new("secret", Kind::Text, "The principal's secret."),
];
