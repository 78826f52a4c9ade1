//! Flags that every program has.

use super::{Flag, Kind};

const LINES_TO_STDERR: &str = "logs go to standard error; let the supervisor write them to files";

pub(super) const GENERAL: &[Flag] = &[
    Flag::new("help", Kind::Boolean, "Print this page and exit.").default("false"),
    Flag::new("version", Kind::Boolean, "Print the version and exit.").default("false"),
];

pub(super) const LOGGING: &[Flag] = &[
    Flag::new(
        "logging_level",
        Kind::OneOf(&["INFO", "WARNING", "ERROR"]),
        "The least severe messages to log; RUST_LOG gives finer control.",
    )
    .default("INFO"),
    Flag::new("quiet", Kind::Boolean, "Log errors only.").default("false"),
    Flag::new("log_dir", Kind::Path, "Folder for log files.").ignored(LINES_TO_STDERR),
    Flag::new("logbufsecs", Kind::Integer(0), "Seconds to hold log lines back.")
        .default("0")
        .ignored("log lines are written at once"),
    Flag::new(
        "external_log_file",
        Kind::Path,
        "A log file written by somebody else, shown through the files API.",
    )
    .ignored("the file is not served"),
    Flag::new("initialize_driver_logging", Kind::Boolean, "Set up logging in libraries.")
        .default("true")
        .ignored("there is no separate library"),
];
