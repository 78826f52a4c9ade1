//! A new agent joins the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::flat::FlatMap;
use protocol::internal::{
    MasterSlaveConnection, RegisterSlaveMessage, ShutdownMessage, SlaveRegisteredMessage,
};
use protocol::mesos::agent_info::Capability;
use protocol::mesos::{AgentInfo, FrameworkId, Resource};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use resources::Resources;

use crate::Master;
use crate::agent::description::AgentDescription;
use crate::agent::{Agent, Pings};
use crate::durable::{AfterWrite, Replacement};
use crate::metrics::Counter;
use crate::registry::{AgentRecord, AgentStanding, Participation, agent_change};
use crate::validation;

/// What an agent on a machine that is down is told.
pub(crate) const MACHINE_DOWN: &str = "Machine is `DOWN`";

impl Master {
    /// `RegisterSlaveMessage`. Agents repeat it until they are answered.
    pub(crate) fn register_agent(&mut self, from: Pid, mut message: RegisterSlaveMessage) {
        self.metrics.add(Counter::MessagesRegisterAgent);
        if self.agents.registering.contains(&from) {
            return;
        }
        if self.maintenance.is_host_down(&message.slave.hostname, *from.address.ip()) {
            self.shut_down_agent(&from, MACHINE_DOWN);
            return;
        }
        let valid = validation::agent::registration(&message)
            .and_then(|()| validation::agent::version(message.version.as_deref()))
            .and_then(|()| self.validate_domain(&message.slave));
        if valid.is_err() {
            self.metrics.add(Counter::DroppedMessages);
            return;
        }

        if let Some(known) = self.agents.by_pid.get(&from).cloned() {
            if self.agents.transitions.contains_key(&known) {
                // What is being written about it decides; it asks again.
                return;
            }
            let agent = &self.agents.registered[&known];
            if agent.connected {
                // It registered before and did not get the answer.
                let message = self.registered_message(&known);
                self.send_to_agent(from, message);
                return;
            }
            // Another agent lives at the address now; the old one will never be back.
            self.agents.registering.insert(from.clone());
            let removing = self.remove_agent(
                &known,
                "a new agent registered at the same address",
                Some(Counter::AgentRemovalsRegistered),
                Replacement::Register { pid: from.clone(), message: Box::new(message) },
            );
            if !removing {
                self.agents.registering.remove(&from);
            }
            return;
        }

        let id = self.new_agent_id();
        message.slave.id = Some(id);
        self.agents.registering.insert(from.clone());
        let change = agent_change(&AgentRecord {
            standing: AgentStanding::Admitted { participation: Participation::Full },
            info: message.slave.clone(),
        });
        self.persist(
            vec![change],
            AfterWrite::AdmitAgent { pid: from, message: Box::new(message) },
        );
    }

    /// The agent is in the registry: it is a member.
    pub(crate) fn agent_admitted(&mut self, pid: &Pid, message: RegisterSlaveMessage) {
        self.agents.registering.remove(pid);
        self.metrics.add(Counter::AgentRegistrations);
        let Some(id) = message.slave.id.clone() else {
            return;
        };
        let agent = self.new_agent(
            pid.clone(),
            message.slave,
            message.version,
            message.agent_capabilities,
            &message.checkpointed_resources,
            message.resource_version_uuid,
        );
        self.add_agent(agent);
        let message = self.registered_message(&id);
        self.send_to_agent(pid.clone(), message);
    }

    /// The record of an agent that registers or reregisters now, without tasks or executors.
    pub(crate) fn new_agent(
        &mut self,
        pid: Pid,
        info: AgentInfo,
        version: Option<String>,
        capabilities: Vec<Capability>,
        checkpointed: &[Resource],
        resource_version: Option<protocol::mesos::Uuid>,
    ) -> Agent {
        let checkpointed = crate::parsed(checkpointed);
        let total = total_resources(&info, &checkpointed);
        let info = AgentDescription::new(info);
        let (version, capabilities) = self.agents.software.like_last(version, capabilities);
        Agent {
            id: Arc::clone(&info.id),
            total,
            info: Arc::new(info),
            pid,
            version,
            capabilities,
            registered_time: self.now,
            reregistered_time: None,
            connected: true,
            participation: Participation::Full,
            unavailability: None,
            drain_start_time: None,
            checkpointed,
            resource_version,
            frameworks: FlatMap::default(),
            offers: FlatMap::default(),
            operations: BTreeMap::new(),
            killed: BTreeSet::new(),
            pings: Pings::default(),
            reregister_timer: None,
            is_noted: false,
        }
    }

    /// Takes an agent in: links it, pings it, offers its resources.
    ///
    /// Its tasks and executors must stand in its shares, and their frameworks be known.
    pub(crate) fn add_agent(&mut self, mut agent: Agent) {
        let id = Arc::clone(&agent.id);
        agent.unavailability = self.maintenance.unavailability(&agent);
        if self.maintenance.is_down(&agent) {
            // Its machine went down while its admission was being written.
            self.agents.unsettled.insert((*id).clone());
        }
        self.effects.push(crate::Effect::Link { pid: agent.pid.clone() });
        let used: Vec<(FrameworkId, Resources)> = agent
            .frameworks
            .iter()
            .map(|(framework, share)| ((**framework).clone(), share.used.clone()))
            .collect();
        self.allocator.add_agent(&id, agent_profile(&agent), &used);
        self.agents.by_pid.insert(agent.pid.clone(), Arc::clone(&id));
        self.agents.registered.insert(Arc::clone(&id), Box::new(agent));
        self.views.touch_agent(&id);
        self.start_pings(&id);
        self.continue_allocator_recovery();
        self.publish_agent_added(&id);
    }

    pub(crate) fn connection_info(&self) -> MasterSlaveConnection {
        MasterSlaveConnection {
            total_ping_timeout_seconds: Some(self.config.total_ping_timeout().as_secs_f64()),
            ..Default::default()
        }
    }

    fn registered_message(&self, id: &protocol::mesos::AgentId) -> MasterToAgent {
        MasterToAgent::SlaveRegistered(SlaveRegisteredMessage {
            slave_id: id.clone(),
            connection: Some(self.connection_info()),
            ..Default::default()
        })
    }

    /// An agent with a fault domain cannot join a cluster whose master has none, nor one without where
    /// the master demands one.
    pub(crate) fn validate_domain(&self, info: &AgentInfo) -> Result<(), String> {
        if info.domain.is_some() && self.config.domain.is_none() {
            return Err("agent has a domain but the master has none".to_owned());
        }
        if info.domain.is_none() && self.config.require_agent_domain {
            return Err("agent has no domain but the master requires one".to_owned());
        }
        Ok(())
    }

    /// Tells an agent to stop, which ends all its tasks.
    pub(crate) fn shut_down_agent(&mut self, pid: &Pid, reason: &str) {
        self.send_to_agent(
            pid.clone(),
            MasterToAgent::Shutdown(ShutdownMessage {
                message: Some(reason.to_owned()),
                ..Default::default()
            }),
        );
    }
}

/// What an agent has: its own resources with its reservations and volumes applied.
pub(crate) fn total_resources(info: &AgentInfo, checkpointed: &Resources) -> Resources {
    let base = crate::parsed(&info.resources);
    base.apply_checkpointed(checkpointed).unwrap_or(base)
}

/// What the allocator needs to know of an agent.
pub(crate) fn agent_profile(agent: &Agent) -> allocator::AgentProfile {
    let domain = agent.info.domain.as_ref();
    let fault_domain = domain.and_then(|domain| domain.fault_domain.as_ref());
    allocator::AgentProfile {
        total: agent.total.clone(),
        capabilities: allocator::AgentCapabilities {
            multi_role: agent.capabilities.multi_role,
            hierarchical_role: agent.capabilities.hierarchical_role,
        },
        hostname: Arc::clone(&agent.info.hostname),
        attributes: Arc::clone(&agent.info.attributes),
        region: fault_domain.map(|domain| domain.region.name.clone()),
        zone: fault_domain.map(|domain| domain.zone.name.clone()),
        unavailability: agent.unavailability.as_deref().map(crate::maintenance::planned_absence),
        active: agent.active(),
    }
}
