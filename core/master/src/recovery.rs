//! The beginning of a master's life: what the registry says, and how long it waits for those it names.

use std::collections::BTreeMap;
use std::sync::Arc;

use allocator::Allocator;
use protocol::maintenance::Schedule;
use protocol::mesos::master_info::Capability;
use protocol::mesos::master_info::capability::Type;
use protocol::mesos::{Address, AgentId, MasterInfo};
use protocol::time::Timestamp;
use protocol::uuid::UuidSource;
use resources::{Quantities, Quantity};

use crate::agent::description::AgentDescription;
use crate::agent::{Agents, Cause, Recovered, Unreachable};
use crate::config::Config;
use crate::durable::AfterWrite;
use crate::effect::Effect;
use crate::framework::Framework;
use crate::registry::{
    AgentRecord, AgentStanding, FrameworkRecord, FrameworkStanding, MasterRecord, Record,
    agent_deletion, master_change,
};
use crate::timer::Timer;
use crate::{IdCounts, Master};

impl Master {
    /// A master that leads from now on, with what the registry says.
    ///
    /// Every record is expected at most once. The effects are to be performed like those of `handle`.
    #[must_use]
    pub fn new(now: Timestamp, config: Config, records: Vec<Record>) -> (Self, Vec<Effect>) {
        let mut uuids = UuidSource::new(config.seed);
        let info = Arc::new(describe(&config, uuids.next_uuid().to_string()));
        let allocator = Allocator::new(allocator_config(&config));
        let mut master = Self {
            now,
            effects: Vec::new(),
            info,
            elected_time: now,
            uuids,
            ids: IdCounts::default(),
            authentications: crate::Authentications::default(),
            agents: Agents::default(),
            frameworks: crate::Frameworks::default(),
            offers: crate::Offers::default(),
            operations: crate::operation::OperationIndex::default(),
            allocator,
            policy: crate::Policy::default(),
            last_allocation: now,
            maintenance: crate::Maintenance::default(),
            timers: crate::Timers::default(),
            writes: crate::Writes::default(),
            subscribers: indexmap::IndexMap::new(),
            metrics: crate::Metrics::default(),
            views: crate::Views::default(),
            config,
        };
        let mut epoch = 1;
        let mut removed = Vec::new();
        let (mut schedule, mut down) = (Schedule::default(), Vec::new());
        let (mut weights, mut quotas) = (BTreeMap::new(), BTreeMap::new());
        for record in records {
            match record {
                Record::Master(record) => epoch = record.epoch + 1,
                Record::Agent(record) => master.recover_agent(*record),
                Record::Schedule(record) => schedule = *record,
                Record::MachineDown(machine) => down.push(machine),
                Record::Weight { role, weight } => {
                    weights.insert(role, weight);
                }
                Record::Quota(config) => {
                    quotas.insert(config.role.clone(), *config);
                }
                Record::Framework(record) => match record.standing {
                    FrameworkStanding::Removed { since } => removed.push((since, *record)),
                    FrameworkStanding::Subscribed | FrameworkStanding::Disconnected { .. } => {
                        master.recover_framework_record(*record);
                    }
                },
            }
        }
        master.maintenance = crate::Maintenance::recover(schedule, &down);
        master.recover_policy(weights, quotas);
        removed.sort_by_key(|(since, _)| *since);
        for (since, record) in removed {
            master.recover_removed_framework(record, since);
        }
        let id = master.info.id.clone();
        master.persist(vec![master_change(&MasterRecord { epoch, id })], AfterWrite::Nothing);
        if !master.agents.recovered.is_empty() {
            let at = now + master.config.agent_reregister_timeout;
            master.timers.start(at, Timer::RecoveredAgents);
        }
        master.timers.start(now + master.config.registry_gc_interval, Timer::RegistryGc);
        let effects = master.finish();
        (master, effects)
    }

    fn recover_agent(&mut self, record: AgentRecord) {
        let Some(id) = record.info.id.clone() else {
            return;
        };
        match record.standing {
            AgentStanding::Admitted { participation } => {
                let info = Arc::new(AgentDescription::new(record.info));
                self.agents.recovered.insert(id, Recovered { info, participation });
            }
            AgentStanding::Unreachable { since, participation } => {
                self.agents.unreachable.insert(id, Unreachable { since, participation });
            }
            AgentStanding::Gone { since } => {
                self.agents.gone.insert(id, since);
            }
        }
    }

    fn recover_framework_record(&mut self, record: FrameworkRecord) {
        let Some(id) = record.info.id.clone() else {
            return;
        };
        self.recover_framework(&id, record.info);
        // One that was away already has a deadline, which the change of masters does not move except
        // to give it the time in which it could not come back.
        if let FrameworkStanding::Disconnected { deadline } = record.standing {
            let earliest = self.now + self.config.agent_reregister_timeout;
            let timer =
                self.timers.start(deadline.max(earliest), Timer::FrameworkFailover(id.clone()));
            if let Some(framework) = self.frameworks.registered.get_mut(&id)
                && let Some(old) = framework.failover_timer.replace(timer)
            {
                self.timers.cancel(old);
            }
        }
    }

    fn recover_removed_framework(&mut self, record: FrameworkRecord, since: Timestamp) {
        let Some(id) = record.info.id.clone() else {
            return;
        };
        let framework = Framework::new(id.clone(), record.info, since);
        let view = crate::snapshot::bare_framework_view(&framework, Some(since));
        self.frameworks.completed.insert(id, Arc::new(view));
        while self.frameworks.completed.len() > self.config.max_completed_frameworks {
            self.frameworks.completed.shift_remove_index(0);
        }
    }

    /// Agents that the registry names had their time to come back.
    pub(crate) fn recovered_agents_timeout(&mut self) {
        let known = self.agents.registered.len() + self.agents.recovered.len();
        let missing: Vec<AgentId> = self.agents.recovered.keys().cloned().collect();
        #[expect(clippy::cast_precision_loss, reason = "a share of agents needs no more precision")]
        let share = missing.len() as f64 / known.max(1) as f64;
        if share > self.config.recovery_agent_removal_limit {
            self.effects.push(Effect::Abort {
                reason: format!(
                    "{} of {known} agents did not come back within {}, which is more than \
                     --recovery_agent_removal_limit allows to remove",
                    missing.len(),
                    protocol::duration::format(self.config.agent_reregister_timeout)
                ),
            });
            return;
        }
        for id in missing {
            self.schedule_removal(id, Cause::NotRecovered);
        }
    }

    /// Drops the records of agents that left long ago, and the oldest beyond the bound.
    pub(crate) fn registry_gc(&mut self) {
        self.timers.start(self.now + self.config.registry_gc_interval, Timer::RegistryGc);
        // Not the registry's, but as old and as superfluous.
        self.views.forget_if_unread();
        let oldest = self.now - self.config.registry_max_agent_age;
        let unreachable =
            self.agents.unreachable.iter().map(|(id, it)| (it.since, id.clone())).collect();
        let gone = self.agents.gone.iter().map(|(id, since)| (*since, id.clone())).collect();
        let mut changes = Vec::new();
        for mut aged in [unreachable, gone] {
            let aged: &mut Vec<(Timestamp, AgentId)> = &mut aged;
            aged.sort();
            let excess = aged.len().saturating_sub(self.config.registry_max_agent_count);
            for (index, (since, id)) in aged.iter().enumerate() {
                let old = index < excess || *since < oldest;
                if old && !self.agents.transitions.contains_key(id) {
                    self.agents.unreachable.remove(id);
                    self.agents.gone.remove(id);
                    changes.push(agent_deletion(id));
                }
            }
        }
        if !changes.is_empty() {
            self.views.changed();
            self.persist(changes, AfterWrite::Nothing);
        }
    }
}

/// What a master with these settings will say of itself, its id included: what it publishes before it leads.
#[must_use]
pub fn master_info(config: &Config) -> MasterInfo {
    describe(config, UuidSource::new(config.seed).next_uuid().to_string())
}

fn describe(config: &Config, id: String) -> MasterInfo {
    let ip = *config.pid.address.ip();
    MasterInfo {
        id,
        // The four bytes in network order, read as a number on a little-endian machine.
        ip: u32::from_le_bytes(ip.octets()),
        port: u32::from(config.pid.address.port()),
        pid: Some(config.pid.to_string()),
        hostname: Some(config.hostname.clone()),
        version: Some(config.version.clone()),
        address: Some(Address {
            hostname: Some(config.hostname.clone()),
            ip: Some(ip.to_string()),
            port: i32::from(config.pid.address.port()),
            ..Default::default()
        }),
        domain: config.domain.clone(),
        // Agents rely on what stands here, so only what is done is named.
        capabilities: [Type::AgentUpdate, Type::AgentDraining, Type::QuotaV2]
            .map(|r#type| Capability { r#type: Some(r#type), ..Default::default() })
            .to_vec(),
        ..Default::default()
    }
}

fn allocator_config(config: &Config) -> allocator::Config {
    let quantities = |set: &BTreeMap<String, f64>| {
        let mut quantities = Quantities::new();
        for (name, amount) in set {
            quantities.increase(name, Quantity::from_f64(*amount).unwrap_or(Quantity::ZERO));
        }
        quantities
    };
    allocator::Config {
        minimum_allocatable: config.min_allocatable_resources.iter().map(quantities).collect(),
        filter_gpu_resources: config.filter_gpu_resources,
        fair_sharing_excluded: config.fair_sharing_excluded_resource_names.clone(),
        allocation_interval: config.allocation_interval,
        region: config
            .domain
            .as_ref()
            .and_then(|domain| domain.fault_domain.as_ref())
            .map(|domain| domain.region.name.clone()),
        role_sorter: config.role_sorter,
        framework_sorter: config.framework_sorter,
        seed: config.seed,
    }
}
