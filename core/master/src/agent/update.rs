//! A registered agent tells news of itself: oversubscribed resources, operations, and what it still
//! runs when it reregisters.

use std::collections::BTreeSet;

use protocol::internal::{
    KillTaskMessage, ReconcileTasksMessage, SlaveReregisteredMessage, UpdateSlaveMessage,
};
use protocol::mesos::{AgentId, ExecutorInfo, FrameworkId, Task, TaskId, TaskStatus};
use protocol::mesos::{task_status::Reason, task_status::Source};
use protocol::messages::MasterToAgent;

use crate::Master;
use crate::agent::registration::agent_profile;
use crate::metrics::Counter;

impl Master {
    /// `UpdateSlaveMessage`: sent right after every (re)registration and on changes.
    pub(crate) fn update_agent(&mut self, message: UpdateSlaveMessage) {
        self.metrics.add(Counter::MessagesUpdateAgent);
        let id = message.slave_id.clone();
        let Some(agent) = self.agent_mut(&id) else {
            return;
        };
        // Without the flag the message is from an agent that knows only oversubscription.
        let oversubscription = message.update_oversubscribed_resources.unwrap_or(true);
        let mut changed = false;
        if oversubscription {
            let old = agent.total.revocable();
            let new = crate::parsed(&message.oversubscribed_resources);
            if old != new {
                agent.total = agent.total.non_revocable();
                agent.total += &new;
                changed = true;
            }
        }
        if let Some(version) = message.resource_version_uuid {
            agent.resource_version = Some(version);
        }
        if let Some(operations) = message.operations {
            self.reconcile_agent_operations(&id, operations.operations);
        }
        if changed {
            self.oversubscription_changed(&id);
        }
        self.look_at_drain(&id);
    }

    /// Offers of revocable resources that may exist no longer must not be used.
    fn oversubscription_changed(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.registered.get(id) else {
            return;
        };
        let profile = agent_profile(agent);
        let affected: Vec<_> = agent
            .offers
            .keys()
            .filter(|offer| {
                self.offers.get(*offer).is_some_and(|offer| !offer.resources.revocable().is_empty())
            })
            .cloned()
            .collect();
        for offer in affected {
            self.rescind_offer(&offer);
        }
        self.allocator.update_agent(id, profile);
    }

    /// Takes back offers that a changed total no longer covers.
    pub(crate) fn withdraw_impossible_offers(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.registered.get(id) else {
            return;
        };
        let mut held = agent.used().unallocated().non_shared();
        let mut impossible = Vec::new();
        for offer_id in agent.offers.keys() {
            let Some(offer) = self.offers.get(offer_id) else {
                continue;
            };
            let resources = offer.resources.unallocated();
            let with_offer = &resources.non_shared() + &held;
            let has_volumes = resources.shared().iter().all(|it| agent.total.contains_one(it));
            if has_volumes && agent.total.contains(&with_offer) {
                held = with_offer;
            } else {
                impossible.push(offer_id.clone());
            }
        }
        for offer in impossible {
            self.rescind_offer(&offer);
        }
    }

    /// Compares what a registered agent says it runs with what the master believes, and tells it
    /// that it is reregistered.
    pub(crate) fn reconcile_agent(
        &mut self,
        id: &AgentId,
        tasks: &[Task],
        executors: &[ExecutorInfo],
    ) {
        let reported: BTreeSet<(&FrameworkId, &TaskId)> =
            tasks.iter().map(|task| (&task.framework_id, &task.task_id)).collect();
        let running: BTreeSet<_> = executors
            .iter()
            .filter_map(|executor| Some((executor.framework_id.as_ref()?, &executor.executor_id)))
            .collect();
        let Some(agent) = self.agents.registered.get(id) else {
            return;
        };
        let pid = agent.pid.clone();
        let mut reconciliations = Vec::new();
        let mut ended_executors = Vec::new();
        for (framework_id, share) in &agent.frameworks {
            let missing: Vec<&TaskId> = share
                .tasks
                .keys()
                .map(AsRef::as_ref)
                .filter(|task| !reported.contains(&(framework_id, *task)))
                .collect();
            reconciliations.extend(self.reconciliation_request(id, framework_id, &missing));
            for executor in share.executors.keys() {
                if !running.contains(&(framework_id, executor)) {
                    ended_executors.push((framework_id.clone(), executor.clone()));
                }
            }
        }
        let kills: Vec<MasterToAgent> = tasks
            .iter()
            .filter(|task| !task.state.is_terminal())
            .filter(|task| {
                agent.killed.contains(&(task.framework_id.clone(), task.task_id.clone()))
            })
            .map(|task| {
                MasterToAgent::KillTask(KillTaskMessage {
                    framework_id: task.framework_id.clone(),
                    task_id: task.task_id.clone(),
                    ..Default::default()
                })
            })
            .collect();

        self.send_to_agent(
            pid.clone(),
            MasterToAgent::SlaveReregistered(SlaveReregisteredMessage {
                slave_id: id.clone(),
                connection: Some(self.connection_info()),
                reconciliations,
                ..Default::default()
            }),
        );
        for (framework_id, executor) in ended_executors {
            self.remove_executor(id, &framework_id, &executor);
        }
        for kill in kills {
            self.send_to_agent(pid.clone(), kill);
        }
    }

    /// Asks an agent about tasks it did not name: it may have lost them, or their launch is still on
    /// its way.
    fn reconciliation_request(
        &self,
        agent: &AgentId,
        framework_id: &FrameworkId,
        tasks: &[&TaskId],
    ) -> Option<ReconcileTasksMessage> {
        let framework = self.frameworks.registered.get(framework_id)?;
        let statuses: Vec<TaskStatus> = tasks
            .iter()
            .filter_map(|task| framework.tasks.get(task))
            .map(|task| TaskStatus {
                task_id: (*task.task_id).clone(),
                agent_id: Some(agent.clone()),
                state: task.status_update_state.unwrap_or(task.state),
                source: Some(Source::SourceMaster),
                reason: Some(Reason::ReasonReconciliation),
                message: Some("Reconciliation request".to_owned()),
                timestamp: Some(self.now.as_secs_f64()),
                ..Default::default()
            })
            .collect();
        (!statuses.is_empty()).then(|| ReconcileTasksMessage {
            framework_id: framework_id.clone(),
            statuses,
            framework: Some(Box::new((*framework.info).clone())),
            ..Default::default()
        })
    }
}
