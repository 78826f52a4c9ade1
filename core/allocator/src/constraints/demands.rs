//! Which agents meet which constraints, found out once.
//!
//! Whoever has constraints is asked again and again about agents that do not meet them. So the constraints
//! in force are numbered, equal ones alike, and each agent remembers the answers by number.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::OfferConstraints;
use crate::profile::AgentProfile;

/// Numbers that are out of use beyond those in use before all are given anew.
const UNUSED_NUMBERS_MAX: usize = 64;

/// Constraints in force, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    constraints: Arc<OfferConstraints>,
    number: usize,
}

impl Demand {
    pub(crate) fn constraints(&self) -> &Arc<OfferConstraints> {
        &self.constraints
    }
}

/// All constraints in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands {
    /// The number of each and how many clients have it.
    entries: BTreeMap<Arc<OfferConstraints>, (usize, usize)>,
    next_number: usize,
}

impl Demands {
    /// Notes that one more client has these constraints.
    pub(crate) fn enter(&mut self, constraints: Arc<OfferConstraints>) -> Demand {
        let next = self.next_number;
        let (number, users) = self.entries.entry(Arc::clone(&constraints)).or_insert((next, 0));
        self.next_number += usize::from(*number == next);
        *users += 1;
        Demand { constraints, number: *number }
    }

    /// Notes that a client has these constraints no more.
    pub(crate) fn leave(&mut self, demand: &Demand) {
        if let Some((_, users)) = self.entries.get_mut(&demand.constraints) {
            *users -= 1;
            if *users == 0 {
                self.entries.remove(&demand.constraints);
            }
        }
    }

    /// Whether so many numbers are out of use that they are to be given anew.
    pub(crate) fn is_sparse(&self) -> bool {
        self.next_number > 2 * self.entries.len() + UNUSED_NUMBERS_MAX
    }

    /// Gives the numbers anew; all [`Verdicts`] are to be forgotten and all clients told.
    pub(crate) fn renumber(&mut self) {
        for (number, entry) in self.entries.values_mut().enumerate() {
            entry.0 = number;
        }
        self.next_number = self.entries.len();
    }

    /// The same constraints with their present number.
    pub(crate) fn renumbered(&self, demand: &Demand) -> Demand {
        let number = self.entries.get(&demand.constraints).map_or(demand.number, |entry| entry.0);
        Demand { constraints: Arc::clone(&demand.constraints), number }
    }
}

/// What is known of one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdicts {
    /// Two bits for each number, of which the lower says whether the upper is known.
    words: RefCell<Vec<u64>>,
}

impl Verdicts {
    /// Whether the agent meets the constraints.
    pub(crate) fn admit(&self, demand: &Demand, agent: &AgentProfile) -> bool {
        let (word, shift) = (demand.number / 32, demand.number % 32 * 2);
        let mut words = self.words.borrow_mut();
        if word >= words.len() {
            words.resize(word + 1, 0);
        }
        match words[word] >> shift & 0b11 {
            0b01 => false,
            0b11 => true,
            _ => {
                let admits = demand.constraints.admit(agent);
                words[word] |= (0b01 | u64::from(admits) << 1) << shift;
                admits
            }
        }
    }

    /// Forgets everything, as the agent or the numbers have changed.
    pub(crate) fn clear(&mut self) {
        self.words.get_mut().clear();
    }
}
