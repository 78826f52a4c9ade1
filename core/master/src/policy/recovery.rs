//! The first allocations after a start with quota.
//!
//! As long as few agents are back, guarantees would be met from too few of them, at the cost of
//! everyone else there. So nothing is offered until most agents are back, or for some time
//! (`HierarchicalAllocatorProcess::recover`).

use crate::Master;
use crate::timer::Timer;

impl Master {
    /// Hands the quota of the registry to the allocator, and has it wait for agents if there are some.
    pub(super) fn recover_quota(&mut self) {
        if self.policy.quotas.is_empty() {
            return;
        }
        for (role, config) in self.policy.quotas.iter() {
            self.allocator.set_quota(role, super::quota::allocator_quota(config));
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a number of agents, rounded down as in Mesos"
        )]
        let expected = (self.agents.recovered.len() as f64
            * self.config.allocator_agent_recovery_factor.max(0.0)) as usize;
        if expected == 0 {
            return;
        }
        self.policy.expected_agents = Some(expected);
        self.allocator.pause();
        let at = self.now + self.config.allocator_recovery_timeout;
        self.timers.start(at, Timer::AllocatorRecovery);
    }

    /// One more agent is there.
    pub(crate) fn continue_allocator_recovery(&mut self) {
        let registered = self.agents.registered.len();
        if self.policy.expected_agents.is_some_and(|expected| registered >= expected) {
            self.finish_allocator_recovery();
        }
    }

    /// Enough agents are there, or they were waited for long enough.
    pub(crate) fn finish_allocator_recovery(&mut self) {
        if self.policy.expected_agents.take().is_some() {
            self.allocator.resume();
        }
    }
}
