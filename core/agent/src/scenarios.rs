//! Scenarios: what happens to an agent, and what it does then.

mod executors;
mod operations;
mod registration;
mod restart;
mod tasks;
mod updates;
mod world;
