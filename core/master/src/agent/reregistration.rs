//! An agent returns: after its own restart, the master's, or a time out of reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::flat::FlatMap;
use protocol::internal::{
    CheckpointResourcesMessage, ReregisterSlaveMessage, ShutdownFrameworkMessage,
    SlaveReregisteredMessage, UpdateFrameworkMessage,
};
use protocol::mesos::task_status::Reason;
use protocol::mesos::{AgentId, FrameworkId, FrameworkInfo, Task};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use resources::Resources;

use crate::Master;
use crate::agent::description::AgentDescription;
use crate::agent::registration::{MACHINE_DOWN, agent_profile, total_resources};
use crate::agent::{Agent, Share, Transition};
use crate::durable::{AfterWrite, Replacement};
use crate::effect::{Effect, RegistryChange};
use crate::metrics::Counter;
use crate::registry::{AgentRecord, AgentStanding, Participation, agent_change};
use crate::task::record::TaskRecord;
use crate::task::{Verdict, holds_resources};
use crate::validation;

impl Master {
    /// `ReregisterSlaveMessage`. Agents repeat it until they are answered.
    pub(crate) fn reregister_agent(&mut self, from: Pid, mut message: ReregisterSlaveMessage) {
        self.metrics.add(Counter::MessagesReregisterAgent);
        let Some(id) = message.slave.id.clone() else {
            self.metrics.add(Counter::DroppedMessages);
            return;
        };
        if self.agents.gone.contains_key(&id) {
            self.shut_down_agent(&from, "Agent has been marked gone");
            return;
        }
        if self.maintenance.is_host_down(&message.slave.hostname, *from.address.ip()) {
            self.shut_down_agent(&from, MACHINE_DOWN);
            return;
        }
        let valid = validation::agent::reregistration(&message)
            .and_then(|()| validation::agent::version(message.version.as_deref()))
            .and_then(|()| self.validate_domain(&message.slave));
        if valid.is_err() {
            self.metrics.add(Counter::DroppedMessages);
            return;
        }
        allocate_to_single_role(&mut message);
        if self.agents.transitions.contains_key(&id) {
            self.writes.renew_reregistration(&from, message);
            return;
        }

        if let Some(agent) = self.agents.registered.get(&id) {
            if agent.pid.address.ip() != from.address.ip()
                || *agent.info.hostname != *message.slave.hostname
            {
                self.shut_down_agent(
                    &from,
                    "Agent attempted to reregister with different IP / hostname",
                );
                return;
            }
            let changed = agent.info.to_info() != message.slave;
            let participation = agent.participation.clone();
            let message = Box::new(message);
            if changed {
                self.agents.transitions.insert(id, Transition::Reregistering);
                let change = admitted(&message, participation);
                self.persist(vec![change], AfterWrite::UpdateAgent { pid: from, message });
            } else {
                self.agent_updated(&from, *message);
            }
            return;
        }

        let participation = match (self.agents.recovered.get(&id), self.agents.unreachable.get(&id))
        {
            (Some(recovered), _) if recovered.info.to_info() == message.slave => {
                // The registry already says all there is to say.
                self.agent_readmitted(&from, message);
                return;
            }
            (Some(recovered), _) => recovered.participation.clone(),
            (None, Some(unreachable)) => unreachable.participation.clone(),
            (None, None) => Participation::Full,
        };
        self.agents.transitions.insert(id, Transition::Reregistering);
        let message = Box::new(message);
        let change = admitted(&message, participation);
        self.persist(vec![change], AfterWrite::ReadmitAgent { pid: from, message });
    }

    /// The registry says that the agent, which was not registered with this master, is a member.
    pub(crate) fn agent_readmitted(&mut self, pid: &Pid, message: ReregisterSlaveMessage) {
        let Some(id) = message.slave.id.clone() else {
            return;
        };
        self.agents.transitions.remove(&id);
        if let Some(other) = self.agents.by_pid.get(pid).cloned() {
            // Another agent held the address, and can never be back. This one asks again until the
            // other is out of the registry.
            self.remove_agent(
                &other,
                "a new agent registered at the same address",
                Some(Counter::AgentRemovalsRegistered),
                Replacement::None,
            );
            return;
        }
        self.metrics.add(Counter::AgentReregistrations);
        let recovered = self.agents.recovered.remove(&id);
        let unreachable = self.agents.unreachable.remove(&id);

        let mut agent = self.new_agent(
            pid.clone(),
            message.slave,
            message.version,
            message.agent_capabilities,
            &message.checkpointed_resources,
            message.resource_version_uuid,
        );
        agent.reregistered_time = Some(self.now);
        agent.participation = recovered
            .as_ref()
            .map(|recovered| &recovered.participation)
            .or(unreachable.as_ref().map(|unreachable| &unreachable.participation))
            .cloned()
            .unwrap_or_default();

        self.recover_frameworks(&message.frameworks);
        let known = |framework: &FrameworkId| self.frameworks.registered.contains_key(framework);
        let tasks: Vec<Task> =
            message.tasks.into_iter().filter(|task| known(&task.framework_id)).collect();
        let executors: Vec<_> = message
            .executor_infos
            .into_iter()
            .filter_map(|executor| Some((executor.framework_id.clone()?, executor)))
            .filter(|(framework, _)| known(framework))
            .collect();
        self.fill_shares(&mut agent, &tasks, executors);
        for framework_id in agent.frameworks.keys() {
            if let Some(framework) = self.frameworks.registered.get_mut(framework_id) {
                framework.agents.insert(Arc::clone(&agent.id), ());
                self.views.touch_framework(framework_id);
            }
        }
        self.add_agent(agent);
        if recovered.is_none() {
            self.forget_unreachable_tasks(&id);
        }
        self.adopt_tasks(tasks, recovered.is_some(), unreachable.is_some());
        self.adopt_completed_tasks(message.completed_frameworks);

        self.send_to_agent(
            pid.clone(),
            MasterToAgent::SlaveReregistered(SlaveReregisteredMessage {
                slave_id: id.clone(),
                connection: Some(self.connection_info()),
                ..Default::default()
            }),
        );
        self.tell_drain(&id);
        self.synchronize_frameworks(pid, &message.frameworks);
    }

    /// Takes over the tasks of an agent that returned, and tells their frameworks where they stand
    /// unless the agent was merely not back yet after the master's start.
    fn adopt_tasks(&mut self, tasks: Vec<Task>, recovered: bool, unreachable: bool) {
        for task in tasks {
            let framework_id = task.framework_id.clone();
            let holds = holds_resources(task.state);
            let held = if holds { crate::parsed(&task.resources) } else { Resources::EMPTY };
            let task = Arc::new(self.task_record(task, held));
            self.publish_task_added(&task);
            if let Some(framework) = self.framework_mut(&framework_id) {
                framework.unreachable_tasks.remove(&task.task_id);
                framework.completed_tasks.remove(&task.task_id);
                let old = framework.tasks.remove(&task.task_id);
                framework.tasks.push(Arc::clone(&task));
                self.count_framework(&framework_id, |metrics| match old {
                    Some(old) => metrics.task_changed(old.state, task.state),
                    None => metrics.task_added(task.state),
                });
            }
            if recovered {
                continue;
            }
            let message = if unreachable {
                "Unreachable agent re-reregistered"
            } else {
                "Unknown agent reregistered"
            };
            let verdict = Verdict::new(task.state, Reason::ReasonAgentReregistered, message);
            let update = self.report(&task, verdict);
            self.forward(update, Pid::EMPTY);
        }
    }

    /// The history that an agent kept fills the one this master does not have.
    fn adopt_completed_tasks(&mut self, archives: Vec<protocol::internal::archive::Framework>) {
        let bound = self.config.max_completed_tasks_per_framework;
        for archive in archives {
            let Some(id) = archive.framework_info.id.clone() else {
                continue;
            };
            if let Some(framework) = self.framework_mut(&id) {
                for task in archive.tasks {
                    let task = Arc::new(TaskRecord::from_task(task));
                    framework.completed_tasks.push_bounded(task, bound);
                }
            }
        }
    }

    /// Unreachable tasks of an agent that is back are either running again or ended.
    fn forget_unreachable_tasks(&mut self, id: &AgentId) {
        for framework in self.frameworks.registered.values_mut() {
            if framework.unreachable_tasks.remove_of_agent(id) {
                self.views.touch_framework(&framework.id);
            }
        }
    }

    /// A registered agent asked again, and what it says of itself is in the registry.
    pub(crate) fn agent_updated(&mut self, pid: &Pid, message: ReregisterSlaveMessage) {
        let Some(id) = message.slave.id.clone() else {
            return;
        };
        self.agents.transitions.remove(&id);
        let now = self.now;
        let software = &mut self.agents.software;
        let software = software.like_last(message.version, message.agent_capabilities);
        let Some(agent) = self.agent_mut(&id) else {
            return;
        };
        let old_pid = std::mem::replace(&mut agent.pid, pid.clone());
        (agent.version, agent.capabilities) = software;
        agent.resource_version = message.resource_version_uuid;
        if agent.capabilities.resource_provider {
            agent.checkpointed = crate::parsed(&message.checkpointed_resources);
        }
        let oversubscribed = agent.total.revocable();
        agent.total = total_resources(&message.slave, &agent.checkpointed);
        agent.total += &oversubscribed;
        let info = AgentDescription::new(message.slave).with_id(Arc::clone(&agent.id));
        let new_attributes = agent.info.attributes != info.attributes;
        agent.info = Arc::new(info);
        agent.reregistered_time = Some(now);
        let was_connected = std::mem::replace(&mut agent.connected, true);
        let timer = agent.reregister_timer.take();
        let profile = agent_profile(agent);
        let agent_id = Arc::clone(&agent.id);
        let participates = agent.participation == Participation::Full;
        let checkpointed =
            (!agent.capabilities.resource_provider).then(|| agent.checkpointed.to_wire());

        self.agents.by_pid.remove(&old_pid);
        self.agents.by_pid.insert(pid.clone(), agent_id);
        self.effects.push(Effect::Link { pid: pid.clone() });
        if new_attributes {
            // Offers show the attributes: whoever accepted one would go by what is not true any more.
            self.rescind_offers_of(&id);
        } else {
            self.withdraw_impossible_offers(&id);
        }
        self.allocator.update_agent(&id, profile);
        if new_attributes {
            self.allocator.clear_agent_filters(&id);
        }
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
        self.recover_frameworks(&message.frameworks);
        self.reconcile_agent(&id, &message.tasks, &message.executor_infos);
        if !was_connected && participates {
            self.allocator.activate_agent(&id);
            self.release_inverse_offers(&id);
        }
        self.tell_drain(&id);
        self.synchronize_frameworks(pid, &message.frameworks);
        if let Some(resources) = checkpointed {
            let message = CheckpointResourcesMessage { resources, ..Default::default() };
            self.send_to_agent(pid.clone(), MasterToAgent::CheckpointResources(message));
        }
    }

    /// Frameworks that only the agent knows become known.
    fn recover_frameworks(&mut self, frameworks: &[FrameworkInfo]) {
        for info in frameworks {
            let Some(id) = info.id.clone() else {
                continue;
            };
            if !self.frameworks.registered.contains_key(&id)
                && !self.frameworks.completed.contains_key(&id)
            {
                self.recover_framework(&id, info.clone());
            }
        }
    }

    /// Tells a returned agent the present state of its frameworks; removed ones it must shut down.
    fn synchronize_frameworks(&mut self, pid: &Pid, frameworks: &[FrameworkInfo]) {
        for id in frameworks.iter().filter_map(|info| info.id.clone()) {
            let message = if self.frameworks.completed.contains_key(&id) {
                MasterToAgent::ShutdownFramework(ShutdownFrameworkMessage {
                    framework_id: id,
                    ..Default::default()
                })
            } else if let Some(framework) = self.frameworks.registered.get(&id) {
                MasterToAgent::UpdateFramework(UpdateFrameworkMessage {
                    framework_id: id,
                    pid: Some(framework.pid_text()),
                    framework_info: Some(Box::new((*framework.info).clone())),
                    ..Default::default()
                })
            } else {
                continue;
            };
            self.send_to_agent(pid.clone(), message);
        }
    }

    /// Notes in an agent that returns what its tasks and executors hold. Their frameworks are known.
    fn fill_shares(
        &self,
        agent: &mut Agent,
        tasks: &[Task],
        executors: Vec<(FrameworkId, protocol::mesos::ExecutorInfo)>,
    ) {
        let known = |id: &FrameworkId| Arc::clone(&self.frameworks.registered[id].id);
        let mut shares = FlatMap::default();
        for task in tasks {
            let share = shares.get_or_insert(&known(&task.framework_id), Share::default);
            share.tasks.insert(Arc::new(task.task_id.clone()), ());
            if holds_resources(task.state) {
                share.used += &crate::parsed(&task.resources);
            }
        }
        for (framework, executor) in executors {
            let share = shares.get_or_insert(&known(&framework), Share::default);
            share.used += &crate::parsed(&executor.resources);
            share.executors.insert(executor.executor_id.clone(), Arc::new(executor));
        }
        agent.frameworks = shares;
    }
}

fn admitted(message: &ReregisterSlaveMessage, participation: Participation) -> RegistryChange {
    agent_change(&AgentRecord {
        standing: AgentStanding::Admitted { participation },
        info: message.slave.clone(),
    })
}

/// Agents older than the `MULTI_ROLE` capability do not say to which role resources are allocated:
/// it is the one role of the framework.
fn allocate_to_single_role(message: &mut ReregisterSlaveMessage) {
    let roles: BTreeMap<FrameworkId, String> = message
        .frameworks
        .iter()
        .filter_map(|info| {
            Some((info.id.clone()?, crate::framework::roles(info).into_iter().next()?))
        })
        .collect();
    let allocate = |resources: &mut Vec<protocol::mesos::Resource>, role: Option<&String>| {
        for resource in resources {
            if resource.allocation_info.is_none() {
                resource.allocation_info = Some(protocol::mesos::resource::AllocationInfo {
                    role: role.cloned(),
                    ..Default::default()
                });
            }
        }
    };
    for task in &mut message.tasks {
        allocate(&mut task.resources, roles.get(&task.framework_id));
    }
    for executor in &mut message.executor_infos {
        let role = executor.framework_id.as_ref().and_then(|id| roles.get(id));
        allocate(&mut executor.resources, role);
    }
}
