//! What must hold after every event, checked in debug and test builds.

use crate::Master;
use crate::task::holds_resources;
use resources::Resources;

impl Master {
    /// Checks the agents that changed.
    ///
    /// # Panics
    /// When something is offered or used twice, or the books of tasks, executors and offers disagree.
    pub(crate) fn check_invariants(&mut self) {
        for id in std::mem::take(&mut self.views.unchecked) {
            let Some(agent) = self.agents.registered.get(&id) else {
                continue;
            };
            let mut taken = Resources::new();
            for (framework_id, share) in &agent.frameworks {
                let framework = self
                    .frameworks
                    .registered
                    .get(framework_id)
                    .expect("a framework with something on an agent is known");
                let mut used = Resources::new();
                for task_id in share.tasks.keys() {
                    let task = framework.tasks.get(task_id).expect("a task of an agent is known");
                    assert_eq!(*task.agent_id, id, "task {task_id:?} is on one agent");
                    if holds_resources(task.state) {
                        used += task.held();
                    }
                }
                for executor in share.executors.values() {
                    used += &crate::parsed(&executor.resources);
                }
                assert_eq!(used, share.used, "what {framework_id:?} uses on {id:?}");
                taken += &used;
            }
            // An agent may return with less than it had, or without a reservation that it never heard
            // of: what its tasks hold besides is believed until the agent says otherwise.
            let held = taken.unallocated();
            let mut taken = agent.total.saturating_sub(&agent.total.saturating_sub(&held));
            for offer_id in agent.offers.keys() {
                let offer = self.offers.get(offer_id).expect("an offer of an agent is outstanding");
                taken += &offer.resources.unallocated();
            }
            // Of a shared volume there may be more users than copies in the total.
            let taken = taken.non_shared();
            assert!(
                agent.total.contains(&taken),
                "{taken} is used or offered of {} on {id:?}",
                agent.total
            );
        }
    }
}
