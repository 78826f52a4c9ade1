//! What the allocator is told about its surroundings, frameworks and agents, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::mesos::{AgentId, Attribute, FrameworkId};
use protocol::time::Timestamp;
use resources::{Quantities, Resources};

use crate::constraints::OfferConstraints;
use crate::policy::SorterPolicy;

/// Settings of one allocator, each named after the master flag it comes from.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--min_allocatable_resources`: an allocation must hold at least one of these amounts. Empty:
    /// anything may be allocated.
    pub minimum_allocatable: Vec<Quantities>,
    /// `--filter_gpu_resources`: agents with GPUs are for frameworks with GPU_RESOURCES alone.
    pub filter_gpu_resources: bool,
    /// `--fair_sharing_excluded_resource_names`: resources that no dominant share is computed from.
    pub fair_sharing_excluded: BTreeSet<String>,
    /// `--allocation_interval`: no filter lasts shorter than this, and a shared resource is offered at
    /// most once in it. A framework that declines without a filter (`refuse_seconds` 0) is asked again
    /// after it: otherwise the two would go round as fast as the network lets them.
    pub allocation_interval: Duration,
    /// The region of the master (`--domain`); agents of other regions are remote. `None`: no agent is.
    pub region: Option<String>,
    /// `--role_sorter`: how the roles below one role take turns.
    pub role_sorter: SorterPolicy,
    /// `--framework_sorter`: how the frameworks of a role take turns.
    pub framework_sorter: SorterPolicy,
    /// Seed of the turns of [`SorterPolicy::Random`].
    pub seed: u64,
}

impl Default for Config {
    /// The defaults of Mesos' flags (`src/master/constants.hpp`), except that the minimum is empty: its
    /// default is the text of a flag.
    fn default() -> Self {
        Self {
            minimum_allocatable: Vec::new(),
            filter_gpu_resources: true,
            fair_sharing_excluded: BTreeSet::new(),
            allocation_interval: Duration::from_secs(1),
            region: None,
            role_sorter: SorterPolicy::Drf,
            framework_sorter: SorterPolicy::Drf,
            seed: 0,
        }
    }
}

/// What the allocator needs to know of a framework.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameworkProfile {
    /// The roles it is subscribed to (`FrameworkInfo.roles`, or the one of `FrameworkInfo.role`).
    pub roles: BTreeSet<String>,
    /// Those of `roles` that want no offers for now; others are ignored.
    pub suppressed_roles: BTreeSet<String>,
    /// What it understands.
    pub capabilities: FrameworkCapabilities,
    /// `FrameworkInfo.offer_filters`: per role, in place of [`Config::minimum_allocatable`].
    pub minimum_allocatable: BTreeMap<String, Vec<Quantities>>,
    /// Offer constraints, per role: other agents are not offered to it in that role.
    pub constraints: BTreeMap<String, Arc<OfferConstraints>>,
    /// Whether it is connected and may get offers.
    pub active: bool,
}

/// The capabilities of a framework that decide what it can be offered
/// (`FrameworkInfo.Capability.Type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameworkCapabilities {
    /// MULTI_ROLE: agents without that capability are not offered to it.
    pub multi_role: bool,
    /// GPU_RESOURCES.
    pub gpu_resources: bool,
    /// REVOCABLE_RESOURCES: without it, revocable resources are left out.
    pub revocable_resources: bool,
    /// SHARED_RESOURCES: without it, shared volumes are left out.
    pub shared_resources: bool,
    /// RESERVATION_REFINEMENT: without it, resources with more than one reservation are left out.
    pub reservation_refinement: bool,
    /// REGION_AWARE: without it, remote agents are not offered to it.
    pub region_aware: bool,
}

/// What the allocator needs to know of an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentProfile {
    /// All it has, used or not, not allocated to any role.
    pub total: Resources,
    /// What it understands.
    pub capabilities: AgentCapabilities,
    /// `SlaveInfo.hostname`: what a whitelist and offer constraints name it by.
    pub hostname: Arc<str>,
    /// `SlaveInfo.attributes`, which offer constraints look at.
    pub attributes: Arc<[Attribute]>,
    /// Its region (`SlaveInfo.domain.fault_domain.region.name`).
    pub region: Option<String>,
    /// Its zone (`SlaveInfo.domain.fault_domain.zone.name`).
    pub zone: Option<String>,
    /// When it is planned to be taken down for maintenance.
    pub unavailability: Option<Unavailability>,
    /// Whether it is connected and its resources may be offered.
    pub active: bool,
}

/// A planned time without an agent (`mesos.Unavailability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailability {
    /// When it begins.
    pub start: Timestamp,
    /// How long it lasts. `None`: for good.
    pub duration: Option<Duration>,
}

/// The capabilities of an agent that decide to whom it can be offered (`SlaveInfo.Capability.Type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCapabilities {
    /// MULTI_ROLE: without it, MULTI_ROLE frameworks get nothing from it.
    pub multi_role: bool,
    /// HIERARCHICAL_ROLE: without it, roles with a `/` get nothing from it.
    pub hierarchical_role: bool,
}

/// An inverse offer: a framework is asked to give up what it holds on an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverseAllocation {
    /// Who is asked.
    pub framework: FrameworkId,
    /// The agent.
    pub agent: AgentId,
    /// When the agent is planned to be taken down.
    pub unavailability: Unavailability,
}

/// What a framework has answered to its inverse offer (`mesos.allocator.InverseOfferStatus`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverseOfferStatus {
    /// Who.
    pub framework: FrameworkId,
    /// Whether it accepts to lose the agent, or declines.
    pub accepted: bool,
    /// When it said so.
    pub at: Timestamp,
}

/// Resources of one agent given to one framework in one role, to be sent as one offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// Who gets them.
    pub framework: Arc<FrameworkId>,
    /// The role they are allocated to.
    pub role: Arc<str>,
    /// Where they are.
    pub agent: Arc<AgentId>,
    /// What they are, each with `allocation_info.role` set to `role`.
    pub resources: Resources,
}
