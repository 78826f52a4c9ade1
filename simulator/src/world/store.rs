//! A master's way to the registry: its writes go in steps, one after the other. A step may be lost, or its
//! answer; then the master asks what became of it before it does anything else.

use std::collections::VecDeque;

use master::{Event, RegistryChange, WriteId};
use protocol::time::Timestamp;

use crate::happening::Happening;
use crate::process::Process;
use crate::settings::Sabotage;
use crate::world::World;
use crate::world::registry::Outcome;

/// Writes of one master.
#[derive(Debug, Default)]
pub(crate) struct Store {
    waiting: VecDeque<(WriteId, Vec<RegistryChange>)>,
    step: Option<Step>,
    /// Numbers the steps.
    number: u64,
    /// The next step fails.
    pub(crate) is_failing: bool,
    /// Steps take long until then.
    pub(crate) slow_until: Timestamp,
}

/// Several writes that become durable together.
#[derive(Debug)]
struct Step {
    number: u64,
    writes: Vec<WriteId>,
    changes: Vec<RegistryChange>,
    /// Nobody knows whether it arrived.
    is_lost: bool,
}

impl Store {
    /// The process died.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
        self.step = None;
    }

    /// Whether everything is written.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.step.is_none()
    }
}

impl World {
    pub(crate) fn persist(&mut self, master: usize, write: WriteId, changes: Vec<RegistryChange>) {
        self.masters[master].store.waiting.push_back((write, changes));
        self.begin_step(master);
    }

    fn begin_step(&mut self, master: usize) {
        let takes_all = self.random.chance(700);
        let store = &mut self.masters[master].store;
        if store.step.is_some() || store.waiting.is_empty() {
            return;
        }
        let count = if takes_all { store.waiting.len() } else { 1 };
        store.number += 1;
        let mut step =
            Step { number: store.number, writes: vec![], changes: vec![], is_lost: false };
        for (write, changes) in store.waiting.drain(..count) {
            step.writes.push(write);
            step.changes.extend(changes);
        }
        store.step = Some(step);
        self.send_step(master);
    }

    fn send_step(&mut self, master: usize) {
        let is_slow = self.masters[master].store.slow_until > self.now && !self.healing;
        let delay =
            if is_slow { self.random.millis(100, 5_000) } else { self.random.millis(0, 15) };
        let host = &mut self.masters[master];
        let (process, epoch) = (host.process(master), host.epoch);
        let Some(step) = &mut host.store.step else { return };
        step.is_lost = false;
        let (number, changes) = (step.number, step.changes.clone());
        if self.sabotaged(Sabotage::ConfirmEarly) {
            let outcome = Outcome::Applied;
            self.schedule.add(self.now, Happening::CommitAnswered { process, number, outcome });
        }
        let arrives = Happening::CommitArrives { process, epoch, number, changes };
        self.schedule.add(self.now + delay, arrives);
    }

    pub(crate) fn commit_arrives(
        &mut self,
        process: Process,
        epoch: u64,
        number: u64,
        changes: Vec<RegistryChange>,
    ) {
        if !self.registry.hears(process) {
            return;
        }
        if !self.reaches_service(process.master) {
            self.lose_step(process, number);
            return;
        }
        let is_failing = std::mem::take(&mut self.masters[process.master].store.is_failing);
        let fails = is_failing && !self.healing && self.is_current(process);
        if fails {
            self.statistics.fault("registry write failed");
            if self.random.chance(500) {
                self.lose_step(process, number);
                return;
            }
        }
        match self.registry.commit(process, epoch, number, changes) {
            Ok(_) if fails => self.lose_step(process, number),
            Ok(outcome) => {
                let outcome = if self.sabotaged(Sabotage::IgnoreDeposition) {
                    Outcome::Applied
                } else {
                    outcome
                };
                self.plan(0, 5, Happening::CommitAnswered { process, number, outcome });
            }
            Err(violation) => self.violate(violation),
        }
    }

    /// Neither an answer nor a failure will come. A master with a store of its own gives up.
    fn lose_step(&mut self, process: Process, number: u64) {
        if !self.is_current(process) {
            return;
        }
        if !self.settings.is_coordinated {
            self.stop_master(process.master, "a write failed");
            return;
        }
        let step = self.masters[process.master].store.step.as_mut();
        if let Some(step) = step.filter(|step| step.number == number) {
            step.is_lost = true;
        }
    }

    pub(crate) fn commit_answered(&mut self, process: Process, number: u64, outcome: Outcome) {
        if !self.is_current(process) {
            return;
        }
        if !self.reaches_service(process.master) {
            self.lose_step(process, number);
            return;
        }
        let store = &mut self.masters[process.master].store;
        if store.step.as_ref().is_none_or(|step| step.number != number) {
            return;
        }
        match outcome {
            Outcome::Deposed => {
                self.statistics.fault("deposed master refused");
                self.stop_master(process.master, "another master leads");
            }
            Outcome::Applied => {
                let step = store.step.take();
                for write in step.into_iter().flat_map(|step| step.writes) {
                    if self.is_current(process) {
                        self.feed_master(process.master, Event::Persisted { write });
                        self.check_masters();
                        self.check_quota();
                    }
                }
                if self.is_current(process) {
                    self.begin_step(process.master);
                }
            }
        }
    }

    /// A master that reaches the service asks what became of a lost step, and sends it again if it never
    /// arrived.
    pub(crate) fn settle_commit(&mut self, master: usize) {
        let host = &self.masters[master];
        let Some(step) = host.store.step.as_ref().filter(|step| step.is_lost) else { return };
        let (process, number) = (host.process(master), step.number);
        match self.registry.outcome(process, number) {
            Some(outcome) => self.commit_answered(process, number, outcome),
            None => self.send_step(master),
        }
    }
}
