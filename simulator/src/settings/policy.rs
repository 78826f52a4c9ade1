//! Which policies a run has to do with, and how.

use std::time::Duration;

use master::SorterPolicy;

use crate::random::Random;

/// What operators and frameworks do beyond launching tasks. Each run has a few of these, so that many
/// short runs see all of them together with all the others.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Frameworks have roles, several each, also below others.
    pub roles: bool,
    /// Frameworks reserve, refine, make volumes and undo all that; needs roles.
    pub operations: bool,
    /// Operators change weights.
    pub weights: bool,
    /// Operators change guarantees and limits; needs roles.
    pub quota: bool,
    /// Frameworks take offers of some racks only.
    pub constraints: bool,
    /// Operators drain, deactivate and reactivate agents, and call them gone.
    pub drains: bool,
    /// Operators plan maintenance, take machines down and up again.
    pub maintenance: bool,
    /// `--role_sorter`.
    pub role_sorter: SorterPolicy,
    /// `--framework_sorter`.
    pub framework_sorter: SorterPolicy,
    /// `--agent_removal_rate_limit`.
    pub removal_interval: Option<Duration>,
    /// `--recovery_agent_removal_limit`.
    pub recovery_removal_limit: f64,
}

impl Policy {
    /// Draws the policies of a run; `all` switches everything on.
    pub(super) fn draw(random: &mut Random, all: bool) -> Self {
        let sorters = [SorterPolicy::Drf, SorterPolicy::Random, SorterPolicy::Priority];
        let roles = all || random.chance(600);
        Self {
            roles,
            operations: roles && (all || random.chance(600)),
            weights: roles && (all || random.chance(400)),
            quota: roles && (all || random.chance(500)),
            constraints: all || random.chance(250),
            drains: all || random.chance(300),
            maintenance: all || random.chance(300),
            role_sorter: sorters[random.index(3)],
            framework_sorter: sorters[random.index(3)],
            removal_interval: random.chance(300).then(|| random.millis(500, 10_000)),
            recovery_removal_limit: if random.chance(100) { 0.5 } else { 1.0 },
        }
    }

    /// Whether there is an operator who does anything.
    #[must_use]
    pub fn is_operated(&self) -> bool {
        self.weights || self.quota || self.drains || self.maintenance
    }
}
