//! Log lines go to standard error; a supervisor keeps them.

use server::flags::Values;
use tracing_subscriber::EnvFilter;

/// Starts logging as the flags say; `RUST_LOG` wins over them.
pub(crate) fn start(values: &Values) {
    start_at(values, "info");
}

/// Starts logging, but leaves out what `least` does not ask for.
pub(crate) fn start_at(values: &Values, least: &str) {
    let level = if values.boolean("quiet") {
        "error"
    } else {
        match values.text("logging_level") {
            Some("WARNING") => "warn",
            Some("ERROR") => "error",
            Some(_) | None => least,
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .finish();
    // Fails only when logging was started before, which then goes on as it was.
    let _ = tracing::subscriber::set_global_default(subscriber);
    for warning in values.warnings() {
        tracing::warn!("{warning}");
    }
}
