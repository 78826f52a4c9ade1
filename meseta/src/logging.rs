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
    let usual = filter.to_string();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_filter_reloading();
    let handle = builder.reload_handle();
    // Fails only when logging was started before, which then goes on as it was.
    let _ = tracing::subscriber::set_global_default(builder.finish());
    server::logging::on_change(move |level| {
        let filter = match level {
            0 => usual.as_str(),
            1 => "debug",
            _ => "trace",
        };
        // Fails only when the log itself has ended.
        let _ = handle.reload(EnvFilter::new(filter));
    });
    for warning in values.warnings() {
        tracing::warn!("{warning}");
    }
}
