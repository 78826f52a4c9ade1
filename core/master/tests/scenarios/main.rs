//! Scenarios: events in, effects out.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::float_cmp,
    reason = "a test looks for the one thing it is about, and fails when that is not there"
)]

mod agents;
mod authentication;
mod calls;
mod chaos;
mod cluster;
mod drains;
mod drivers;
mod durability;
mod explanations;
mod failover;
mod launches;
mod maintenance;
mod metrics;
mod operation_feedback;
mod operators;
mod partitions;
mod policy;
mod reconciliation;
mod reconfiguration;
mod reservations;
mod subscriptions;
mod updates;
mod volumes;
mod wire;
