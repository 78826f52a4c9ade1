//! The flags of `meseta local`, a superset of those of `mesos-local`.

use super::logging_flags::{GENERAL, LOGGING};
use super::{Flag, FlagTable, Kind};

pub(super) const TABLE: FlagTable = FlagTable {
    program: "local",
    summary: "Runs a whole cluster in one process: a master, agents and embedded stores.",
    usage: "meseta local [flags] [-- COMMAND ARGS…]",
    groups: &[("General", GENERAL), ("Cluster", CLUSTER), ("Logging", LOGGING)],
};

const CLUSTER: &[Flag] = &[
    Flag::new("agents", Kind::Integer(1), "How many agents to run.")
        .default("1")
        .formerly(&["num_slaves"]),
    Flag::new("ip", Kind::Address, "The address to listen on.").default("127.0.0.1"),
    Flag::new("port", Kind::Port, "The port of the master; agents take free ones.").default("5050"),
    Flag::new(
        "work_dir",
        Kind::Path,
        "The folder for state and sandboxes; without it a temporary \
        folder is used and removed at the end.",
    ),
    Flag::new(
        "resources",
        Kind::Text,
        "The resources of each agent; by default the machine's are \
        divided between the agents.",
    ),
    Flag::new("attributes", Kind::Text, "The attributes of each agent."),
    Flag::new(
        "allocation_interval",
        Kind::Duration,
        "The longest time between looks at the whole \
        pool.",
    )
    .default("1secs"),
];
