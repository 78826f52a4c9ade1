//! `UPDATE_WEIGHTS` (`src/master/weights_handler.cpp`).

use std::sync::Arc;

use protocol::master::call::UpdateWeights;
use protocol::mesos::WeightInfo;

use crate::Master;
use crate::durable::AfterWrite;
use crate::effect::{Effect, Response};
use crate::event::RequestId;
use crate::registry::weight_change;

impl Master {
    /// Checks all weights, then stores all of them.
    pub(crate) fn update_weights(&mut self, request: RequestId, call: &UpdateWeights) {
        let weights: Result<Vec<_>, _> =
            call.weight_infos.iter().map(|info| self.validate_weight(info)).collect();
        match weights {
            Err(error) => {
                let response = Response::BadRequest(error);
                self.effects.push(Effect::Respond { request, response });
            }
            Ok(weights) => {
                let changes =
                    weights.iter().map(|(role, weight)| weight_change(role, *weight)).collect();
                self.persist(changes, AfterWrite::SetWeights { weights, request });
            }
        }
    }

    fn validate_weight(&self, info: &WeightInfo) -> Result<(String, f64), String> {
        let role = info.role.as_deref().unwrap_or_default().trim();
        let prefix = "Failed to validate update weights request JSON";
        resources::role::validate(role)
            .map_err(|error| format!("{prefix}: Invalid role '{role}': {error}"))?;
        if !self.is_allowed_role(role) {
            return Err(format!("{prefix}: Unknown role '{role}'"));
        }
        let weight = info.weight;
        if !weight.is_finite() || weight <= 0.0 {
            return Err(format!(
                "{prefix} for role '{role}': Invalid weight '{weight}': Weights must be positive"
            ));
        }
        Ok((role.to_owned(), weight))
    }

    /// The registry has the weights: they are in force. All offers are taken back when a role that
    /// somebody uses is among them, so that what is offered follows the new weights.
    pub(crate) fn weights_set(&mut self, weights: &[(String, f64)], request: RequestId) {
        Arc::make_mut(&mut self.policy.weights).extend(weights.iter().cloned());
        self.views.changed();
        self.allocator.update_weights(weights);
        let is_used = |role: &String| {
            self.frameworks.registered.values().any(|framework| framework.roles.contains(role))
                || self.offers.values().any(|offer| *offer.role == **role)
        };
        if weights.iter().any(|(role, _)| is_used(role)) {
            let offers: Vec<_> = self.offers.keys().cloned().collect();
            for offer in offers {
                self.rescind_offer(&offer);
            }
        }
        self.effects.push(Effect::Respond { request, response: Response::Ok });
    }
}
