//! Why a framework gets no offers: what the allocator says, in the terms of the cluster.

use std::collections::{BTreeMap, BTreeSet};

pub use allocator::{AgentSample, Cause, Competitor, Explanation, Reason, Standing};
use protocol::mesos::{AgentId, FrameworkId, OfferId};
use protocol::time::Timestamp;

use crate::Master;
use crate::agent::registration::agent_profile;
use crate::framework::Framework;

/// The most roles that one answer explains: each costs a look at every agent.
pub const EXPLAINED_ROLES_MAX: usize = 32;

/// What a framework would need for an offer, role by role.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameworkExplanation {
    /// When.
    pub time: Timestamp,
    /// The framework.
    pub framework: FrameworkId,
    /// Its name.
    pub name: String,
    /// Whether a scheduler is connected.
    pub connected: bool,
    /// Whether that scheduler wants offers at all.
    pub active: bool,
    /// The roles asked for, or those that it is subscribed to, [`EXPLAINED_ROLES_MAX`] at most.
    pub roles: Vec<RoleExplanation>,
    /// How many more roles it is subscribed to.
    pub more_roles: usize,
    /// The host names of all agents that are named.
    pub hostnames: BTreeMap<AgentId, String>,
    /// The names of all frameworks that are named.
    pub names: BTreeMap<FrameworkId, String>,
}

/// One role.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleExplanation {
    /// The offers that the framework has in the role and has not answered.
    pub offers: Vec<(OfferId, AgentId)>,
    /// What the allocator says.
    pub explanation: Explanation,
}

/// What the offer constraints of a framework leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excluded {
    /// The roles that it has suppressed, constraints or not.
    pub suppressed_roles: BTreeSet<String>,
    /// The agents that do not meet its constraints, for each of its roles.
    pub agents: BTreeMap<String, Vec<AgentId>>,
}

/// Why there is nothing to explain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// No such framework is registered.
    #[error("No framework with the ID or name '{0}' is registered")]
    Unknown(String),
    /// A name that does not tell which.
    #[error("{} frameworks are named '{name}': {}", ids.len(), ids.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// The ids of the frameworks with this name.
        ids: Vec<String>,
    },
}

impl Master {
    /// What a framework would need for an offer: in `role`, or in all its roles. `framework` is its id,
    /// or its name when no other has it.
    ///
    /// # Errors
    /// When that is no framework, or several.
    pub fn explain(
        &self,
        now: Timestamp,
        framework: &str,
        role: Option<&str>,
    ) -> Result<FrameworkExplanation, ExplainError> {
        let now = now.max(self.now);
        let framework = self.framework_called(framework)?;
        let roles: BTreeSet<&str> = match role {
            Some(role) => BTreeSet::from([role]),
            None => framework.roles.iter().map(String::as_str).collect(),
        };
        let explained = roles.iter().take(EXPLAINED_ROLES_MAX);
        let explained: Vec<RoleExplanation> = explained
            .filter_map(|role| {
                let explanation = self.allocator.explain(now, &framework.id, role)?;
                Some(RoleExplanation { offers: self.offers_in(framework, role), explanation })
            })
            .collect();
        Ok(FrameworkExplanation {
            time: now,
            framework: (*framework.id).clone(),
            name: framework.info.name.clone(),
            connected: framework.connected(),
            active: framework.active(),
            more_roles: roles.len() - explained.len(),
            hostnames: self.hostnames(&explained),
            names: self.names(&explained),
            roles: explained,
        })
    }

    /// What the offer constraints of each framework leave out. Asks all constraints about all agents.
    #[must_use]
    pub fn excluded_by_constraints(&self) -> BTreeMap<FrameworkId, Excluded> {
        let profiles: Vec<_> = self
            .agents
            .registered
            .values()
            .map(|agent| ((*agent.id).clone(), agent_profile(agent)))
            .collect();
        let excluded = |framework: &Framework| {
            let roles = framework.roles.iter().map(|role| {
                let constraints = framework.constraints.get(role);
                let agents = profiles
                    .iter()
                    .filter(|(_, profile)| constraints.is_some_and(|it| !it.admit(profile)));
                (role.clone(), agents.map(|(id, _)| id.clone()).collect())
            });
            let suppressed_roles = framework.suppressed_roles.clone();
            Excluded { suppressed_roles, agents: roles.collect() }
        };
        let frameworks = self.frameworks.registered.iter();
        frameworks.map(|(id, framework)| ((**id).clone(), excluded(framework))).collect()
    }

    fn framework_called(&self, called: &str) -> Result<&Framework, ExplainError> {
        let id = FrameworkId { value: called.to_owned(), ..Default::default() };
        if let Some(framework) = self.frameworks.registered.get(&id) {
            return Ok(framework);
        }
        let named = self.frameworks.registered.values().filter(|it| it.info.name == called);
        let named: Vec<&Framework> = named.collect();
        match named.as_slice() {
            [] => Err(ExplainError::Unknown(called.to_owned())),
            [framework] => Ok(framework),
            several => Err(ExplainError::Ambiguous {
                name: called.to_owned(),
                ids: several.iter().map(|framework| framework.id.value.clone()).collect(),
            }),
        }
    }

    fn offers_in(&self, framework: &Framework, role: &str) -> Vec<(OfferId, AgentId)> {
        let offers =
            framework.offers.keys().filter_map(|id| self.offers.get(id).map(|it| (id, it)));
        offers
            .filter(|(_, offer)| *offer.role == *role)
            .map(|(id, offer)| ((**id).clone(), (*offer.agent_id).clone()))
            .collect()
    }

    fn hostnames(&self, roles: &[RoleExplanation]) -> BTreeMap<AgentId, String> {
        let mut named: BTreeSet<&AgentId> = BTreeSet::new();
        for role in roles {
            named.extend(role.offers.iter().map(|(_, agent)| agent));
            named.extend(&role.explanation.possible.examples);
            named.extend(role.explanation.causes.iter().flat_map(|it| &it.agents.examples));
        }
        let hostname = |id: &AgentId| {
            let agent = self.agents.registered.get(id)?;
            Some((id.clone(), agent.info.hostname.as_ref().to_owned()))
        };
        named.into_iter().filter_map(hostname).collect()
    }

    fn names(&self, roles: &[RoleExplanation]) -> BTreeMap<FrameworkId, String> {
        let competitors = roles.iter().flat_map(|role| &role.explanation.standing.competitors);
        let name = |id: &FrameworkId| {
            let framework = self.frameworks.registered.get(id)?;
            Some((id.clone(), framework.info.name.clone()))
        };
        competitors.filter_map(|competitor| name(&competitor.framework)).collect()
    }
}
