//! Scenarios: what happens to an agent, and what it does then.

#![expect(clippy::wildcard_enum_match_arm, reason = "a scenario looks at what it is about")]

mod chaos;
mod executors;
mod leaders;
mod operations;
mod reconfiguration;
mod recorded;
mod registration;
mod restart;
mod samples;
mod tasks;
mod updates;
mod volumes;
mod world;
