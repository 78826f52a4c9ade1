//! What operators decide about roles: weights and quota. Both are in the registry.

mod gauges;
mod quota;
mod recovery;
mod weights;

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::master;
use protocol::master::call::Type;
use protocol::quota::QuotaConfig;

use crate::Master;
use crate::durable::AfterWrite;
use crate::effect::Effect;
use crate::event::RequestId;
use crate::operator::missing;
use crate::registry::weight_change;
pub(crate) use quota::Rescind;

/// The decisions, and how long they hold up the first allocation.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// Weights by role, of roles that were given one.
    pub(crate) weights: Arc<BTreeMap<String, f64>>,
    /// Quota by role, of roles that have one.
    pub(crate) quotas: Arc<BTreeMap<String, QuotaConfig>>,
    /// Quota by role, with what is being written: what the next change must fit to.
    requested: BTreeMap<String, QuotaConfig>,
    /// How many agents must be back before the first allocation, if that is waited for.
    expected_agents: Option<usize>,
}

impl Master {
    /// Takes over what the registry says. Weights of the flag are for a registry without weights, and
    /// are stored in it.
    pub(crate) fn recover_policy(
        &mut self,
        weights: BTreeMap<String, f64>,
        quotas: BTreeMap<String, QuotaConfig>,
    ) {
        let from_registry = !weights.is_empty();
        let weights = if from_registry { weights } else { self.config.weights.clone() };
        if !from_registry && !weights.is_empty() {
            let changes =
                weights.iter().map(|(role, weight)| weight_change(role, *weight)).collect();
            self.persist(changes, AfterWrite::Nothing);
        }
        let list: Vec<(String, f64)> =
            weights.iter().map(|(role, weight)| (role.clone(), *weight)).collect();
        self.allocator.update_weights(&list);
        self.policy.weights = Arc::new(weights);
        self.policy.requested.clone_from(&quotas);
        self.policy.quotas = Arc::new(quotas);
        self.views.changed();
        self.recover_quota();
    }

    /// `UPDATE_WEIGHTS` and the calls about quota.
    pub(crate) fn policy_call(&mut self, request: RequestId, call: master::Call) {
        if let Err(field) = self.try_policy_call(request, call) {
            self.effects.push(Effect::Respond { request, response: missing(field) });
        }
    }

    /// The error is the field that the call lacks.
    fn try_policy_call(
        &mut self,
        request: RequestId,
        call: master::Call,
    ) -> Result<(), &'static str> {
        if call.r#type == Some(Type::UpdateWeights) {
            self.update_weights(request, &call.update_weights.ok_or("update_weights")?);
        } else if call.r#type == Some(Type::UpdateQuota) {
            self.update_quota(request, call.update_quota.ok_or("update_quota")?);
        } else if call.r#type == Some(Type::SetQuota) {
            self.set_quota(request, &call.set_quota.ok_or("set_quota")?.quota_request);
        } else {
            self.remove_quota(request, &call.remove_quota.ok_or("remove_quota")?.role);
        }
        Ok(())
    }

    /// Whether `--roles` lets a role be used.
    pub(crate) fn is_allowed_role(&self, role: &str) -> bool {
        role == resources::role::UNRESERVED
            || self.config.roles.as_ref().is_none_or(|allowed| allowed.contains(role))
    }
}
