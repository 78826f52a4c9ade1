//! Scenarios: events in, effects out.

mod agents;
mod calls;
mod cluster;
mod drivers;
mod failover;
mod launches;
mod operators;
mod reconciliation;
mod reservations;
mod subscriptions;
mod updates;
mod wire;
