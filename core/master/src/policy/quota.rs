//! `UPDATE_QUOTA`, and the older `SET_QUOTA` and `REMOVE_QUOTA` (`src/master/quota_handler.cpp`).

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::master::call::UpdateQuota;
use protocol::mesos::OfferId;
use protocol::quota::{QuotaConfig, QuotaRequest};
use resources::{Limits, Quantities, role};

use crate::Master;
use crate::durable::AfterWrite;
use crate::effect::{Effect, RegistryChange, Response};
use crate::event::RequestId;
use crate::registry::{quota_change, quota_deletion};
use crate::validation::quota::{self, guarantees, limits};
use crate::view::RoleView;

/// Which offers are taken back once a quota is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rescind {
    /// Those beyond the limits, and enough of other roles to meet the guarantees.
    Precisely,
    /// Those of whole agents, until they hold the guarantee and there is one for each framework.
    ByAgent,
    /// None: nobody lost a right.
    Nothing,
}

/// What the allocator needs to know of a quota.
pub(super) fn allocator_quota(config: &QuotaConfig) -> allocator::Quota {
    allocator::Quota { guarantees: guarantees(config), limits: limits(config) }
}

impl Master {
    /// `UPDATE_QUOTA`: checks all configurations, then stores all of them.
    pub(crate) fn update_quota(&mut self, request: RequestId, call: UpdateQuota) {
        match self.validate_quotas(&call) {
            Err(error) => self.refuse_quota(request, Response::BadRequest(error)),
            Ok(()) => self.store_quotas(request, call.quota_configs, Rescind::Precisely),
        }
    }

    /// `SET_QUOTA`: for a role without quota.
    pub(crate) fn set_quota(&mut self, request: RequestId, call: &QuotaRequest) {
        match self.validate_quota_request(call) {
            Err(response) => self.refuse_quota(request, response),
            Ok(config) => self.store_quotas(request, vec![config], Rescind::ByAgent),
        }
    }

    /// `REMOVE_QUOTA`.
    pub(crate) fn remove_quota(&mut self, request: RequestId, role: &str) {
        if !self.policy.requested.contains_key(role) {
            let error = format!("Failed to remove quota: Role '{role}' has no quota set");
            self.refuse_quota(request, Response::BadRequest(error));
            return;
        }
        let config = QuotaConfig { role: role.to_owned(), ..Default::default() };
        self.store_quotas(request, vec![config], Rescind::Nothing);
    }

    fn refuse_quota(&mut self, request: RequestId, response: Response) {
        self.effects.push(Effect::Respond { request, response });
    }

    fn validate_quotas(&mut self, call: &UpdateQuota) -> Result<(), String> {
        for config in &call.quota_configs {
            let role = &config.role;
            if !self.is_allowed_role(role) {
                return Err(format!("Invalid QuotaConfig: '{role}' is not on the roles whitelist"));
            }
            if role.contains('/') {
                return Err(format!("Updating quota on nested role '{role}' is not supported yet"));
            }
            quota::config(config).map_err(|error| format!("Invalid QuotaConfig: {error}"))?;
        }
        if call.force.unwrap_or(false) {
            return Ok(());
        }
        let roles = self.snapshot().roles();
        for config in &call.quota_configs {
            let consumed = roles.get(&config.role).map(|role| role.consumed.clone());
            let consumed = consumed.unwrap_or_default();
            let limits = limits(config);
            if !limits.allow(&consumed) {
                return Err(format!(
                    "Invalid QuotaConfig: Role '{}' is already consuming '{consumed}'; this is \
                     more than the requested limits '{limits}' (use 'force' flag to bypass this \
                     check)",
                    config.role
                ));
            }
        }
        self.fits_the_cluster(&call.quota_configs).map_err(|(guaranteed, capacity)| {
            format!(
                "Invalid QuotaConfig: total quota guarantees '{guaranteed}' exceed cluster \
                 capacity '{capacity}' (use 'force' flag to bypass this check)"
            )
        })
    }

    /// Whether all guarantees together, with these changes, are no more than what the registered agents
    /// have. Both amounts if they are.
    fn fits_the_cluster(&self, changes: &[QuotaConfig]) -> Result<(), (Quantities, Quantities)> {
        let mut all: BTreeMap<&str, &QuotaConfig> = BTreeMap::new();
        for config in self.policy.requested.values().chain(changes) {
            all.insert(&config.role, config);
        }
        let mut guaranteed = Quantities::new();
        for config in all.values() {
            guaranteed += &guarantees(config);
        }
        let mut capacity = Quantities::new();
        for agent in self.agents.registered.values() {
            capacity += &agent.total.non_revocable().scalar_quantities();
        }
        if capacity.contains(&guaranteed) { Ok(()) } else { Err((guaranteed, capacity)) }
    }

    fn validate_quota_request(&self, call: &QuotaRequest) -> Result<QuotaConfig, Response> {
        let refuse = |error: String| {
            Response::BadRequest(format!("Failed to validate set quota request: {error}"))
        };
        let config = quota::request(call).map_err(refuse)?;
        let role = &config.role;
        if !self.is_allowed_role(role) {
            return Err(refuse(format!("Unknown role '{role}'")));
        }
        if self.policy.requested.contains_key(role) {
            return Err(refuse(format!(
                "Cannot set quota for role '{role}' which already has quota"
            )));
        }
        if let Some(parent) = role::parent(role) {
            let above = self.policy.requested.get(parent).map(guarantees).unwrap_or_default();
            let own = guarantees(&config);
            if !above.contains(&own) {
                let name = parent.rsplit('/').next().unwrap_or(parent);
                return Err(refuse(format!(
                    "Invalid quota configuration. Parent role '{name}' with guarantees ({above}) \
                     does not contain the sum of its children's guarantees ({own})"
                )));
            }
            return Err(Response::BadRequest(format!(
                "Setting quota on nested role '{role}' is not supported yet"
            )));
        }
        if !call.force.unwrap_or(false) {
            self.fits_the_cluster(std::slice::from_ref(&config)).map_err(
                |(guaranteed, capacity)| {
                    Response::Conflict(format!(
                        "Quota guarantees overcommit the cluster (use 'force' to bypass this \
                         check): Total quota guarantees '{guaranteed}' exceed cluster capacity \
                         '{capacity}'"
                    ))
                },
            )?;
        }
        Ok(config)
    }

    fn store_quotas(&mut self, request: RequestId, configs: Vec<QuotaConfig>, rescind: Rescind) {
        let changes: Vec<RegistryChange> = configs
            .iter()
            .map(|config| {
                if is_default(config) { quota_deletion(&config.role) } else { quota_change(config) }
            })
            .collect();
        for config in &configs {
            apply(&mut self.policy.requested, config);
        }
        self.persist(changes, AfterWrite::SetQuotas { configs, rescind, request });
    }

    /// The registry has the quota: it is in force.
    pub(crate) fn quotas_set(
        &mut self,
        configs: &[QuotaConfig],
        rescind: Rescind,
        request: RequestId,
    ) {
        for config in configs {
            apply(Arc::make_mut(&mut self.policy.quotas), config);
            self.allocator.set_quota(&config.role, allocator_quota(config));
        }
        self.views.changed();
        match rescind {
            Rescind::Precisely => {
                let mut held = self.held_by_role();
                for config in configs {
                    self.rescind_precisely(config, &mut held);
                }
            }
            Rescind::ByAgent => configs.iter().for_each(|config| self.rescind_by_agent(config)),
            Rescind::Nothing => {}
        }
        self.effects.push(Effect::Respond { request, response: Response::Ok });
    }

    /// What each role consumes of its quota, and what is offered to it, with the roles below it.
    fn held_by_role(&mut self) -> BTreeMap<String, Quantities> {
        let held = |(role, view): (String, RoleView)| (role, view.consumed + &view.offered);
        self.snapshot().roles().into_iter().map(held).collect()
    }

    /// Takes offers back that the limits do not allow, then as many of other roles as may be needed for
    /// the guarantees. What is free already is not counted, so it may be more than needed.
    fn rescind_precisely(&mut self, config: &QuotaConfig, held: &mut BTreeMap<String, Quantities>) {
        let limits: Limits = limits(config);
        let is_allowed = |held: &BTreeMap<String, Quantities>| {
            held.get(&config.role).is_none_or(|held| limits.allow(held))
        };
        if !is_allowed(held) {
            for id in self.offers_to(&config.role, true) {
                if is_allowed(held) {
                    break;
                }
                self.rescind_held(&id, held);
            }
        }
        let guarantees = guarantees(config);
        let mut available = held.get(&config.role).cloned().unwrap_or_default();
        if !available.contains(&guarantees) {
            for id in self.offers_to(&config.role, false) {
                if available.contains(&guarantees) {
                    break;
                }
                available += &self.rescind_held(&id, held);
            }
        }
    }

    /// Takes an offer back, and off what its role and those above it hold. What it was.
    fn rescind_held(
        &mut self,
        id: &OfferId,
        held: &mut BTreeMap<String, Quantities>,
    ) -> Quantities {
        let Some(offer) = self.offers.get(id) else {
            return Quantities::new();
        };
        let amounts = offer.resources.quantities();
        for role in std::iter::once(&*offer.role).chain(role::ancestors(&offer.role)) {
            if let Some(held) = held.get_mut(role) {
                held.saturating_sub_assign(&amounts);
            }
        }
        self.rescind_offer(id);
        amounts
    }

    /// The offers to a role and those below it, or all other offers, by agent.
    fn offers_to(&self, role: &str, own: bool) -> Vec<Arc<OfferId>> {
        self.agents
            .registered
            .values()
            .flat_map(|agent| agent.offers.keys())
            .filter_map(|id| Some((id, self.offers.get(id)?)))
            .filter(|(_, offer)| role::is_in_subtree_of(&offer.role, role) == own)
            .map(|(id, _)| Arc::clone(id))
            .collect()
    }

    /// Takes all offers of one agent after the other back, until they hold the guarantee and there is
    /// an agent for each framework of the role.
    fn rescind_by_agent(&mut self, config: &QuotaConfig) {
        let frameworks = self.frameworks.registered.values();
        let frameworks =
            frameworks.filter(|it| it.active() && it.roles.contains(&config.role)).count();
        let guarantees = guarantees(config);
        let mut rescinded = Quantities::new();
        let agents: Vec<Vec<_>> = self
            .agents
            .registered
            .values()
            .filter(|agent| agent.active() && !agent.offers.is_empty())
            .map(|agent| agent.offers.keys().cloned().collect())
            .collect();
        for (visited, offers) in agents.into_iter().enumerate() {
            if visited >= frameworks && rescinded.contains(&guarantees) {
                break;
            }
            for id in offers {
                if let Some(offer) = self.offers.get(&id) {
                    rescinded += &offer.resources.quantities();
                }
                self.rescind_offer(&id);
            }
        }
    }
}

/// Whether this is what a role has that was given no quota.
fn is_default(config: &QuotaConfig) -> bool {
    guarantees(config).is_empty() && limits(config).is_empty()
}

fn apply(quotas: &mut BTreeMap<String, QuotaConfig>, config: &QuotaConfig) {
    if is_default(config) {
        quotas.remove(&config.role);
    } else {
        quotas.insert(config.role.clone(), config.clone());
    }
}
