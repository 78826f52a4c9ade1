//! A whole cluster in one thread from one seed.
//!
//! A [`World`] holds one to three masters, agents and frameworks, the wires between them, their disks and
//! their one clock. The masters and the agents are the real state machines of `core/`; the rest is a
//! model, also the service that elects a master and keeps the registry, as ZooKeeper does with
//! `io/coordination`. The seed decides everything: how long each message takes, which is lost or doubled,
//! which process dies or stands still when and what of its last writes survives, who is cut off from
//! whom. After every step the invariants of ARCHITECTURE.md that can be seen from outside are checked:
//!
//! * 2: no resource is offered or used twice, by the master's books and by what really runs;
//! * 3: no task disappears silently, and what a framework is told never goes backwards;
//! * 4: a master acts with a lease alone, but for one that was stopped and does not know yet; the registry
//!   takes the writes of one master in each epoch, the last that claimed it; agents obey no other than the
//!   master they have detected;
//! * 5: what claims durability follows the write, an operator's answer too, and a master that takes over
//!   knows all that is written. Removed frameworks and agents that are gone stay so, and no framework is
//!   removed before its time.
//!
//! Whenever a master can lead, one does within the timeout of sessions and a little more.
//!
//! And the policies, which each run has some of: what is reserved is offered to its role alone, limits
//! are not exceeded, guarantees are held back, constraints are met, agents that operators took out are
//! not offered and end drained, inverse offers follow a plan, and each operation with an id ends in a
//! state that its framework is told.
//!
//! After a time of faults all of them end, and the cluster must come to rest: every task is as its
//! framework was told, every update that was called safe has arrived, and the master's books agree with
//! what runs. A seed that fails fails again: `cargo run --release -p simulator -- --seed N`.

mod happening;
mod lane;
mod ledger;
mod process;
pub mod random;
mod schedule;
pub mod settings;
pub mod statistics;
mod trace;
mod world;

pub use crate::settings::{Options, Sabotage, Trace};
pub use crate::statistics::Statistics;
pub use crate::world::{Outcome, World};

/// Runs the cluster of one seed.
///
/// A panic of a state machine is a violation like any other.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let options = options.clone();
    let result = std::panic::catch_unwind(|| World::new(seed, options).run());
    result.unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Outcome {
            statistics: Statistics::default(),
            violation: Some(format!("panic: {text}")),
            checksum: 0,
        }
    })
}

#[cfg(test)]
mod tests;
