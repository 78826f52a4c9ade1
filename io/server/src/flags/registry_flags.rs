//! The flags of `meseta registry`.

use super::logging_flags::GENERAL;
use super::{Flag, FlagTable, Kind};

pub(super) const TABLE: FlagTable = FlagTable {
    program: "registry",
    summary: "Writes a master's registry to standard output, or reads one from standard input.",
    usage: "meseta registry export|import --zk=URL|--work_dir=PATH [flags]",
    groups: &[("General", GENERAL), ("Registry", REGISTRY)],
};

const REGISTRY: &[Flag] = &[
    Flag::new(
        "zk",
        Kind::Place,
        "The registry of masters with this --zk: zk://host:port,.../path. It can be exported while a \
        master leads.",
    ),
    Flag::new(
        "work_dir",
        Kind::Path,
        "The registry of a master without --zk and with this --work_dir. That master must not run.",
    ),
    Flag::new(
        "force",
        Kind::Boolean,
        "Import although a master leads. It loses the registry and stops leading.",
    )
    .default("false"),
    Flag::new(
        "timeout",
        Kind::Duration,
        "How long reading from ZooKeeper may take. Writing may take ten times as long.",
    )
    .default("1mins"),
];
