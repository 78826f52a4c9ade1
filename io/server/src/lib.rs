//! The daemons: event loops, HTTP APIs, storage, timers.
