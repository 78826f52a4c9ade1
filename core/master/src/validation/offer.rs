//! The offers named in an `ACCEPT` belong together.

use std::collections::BTreeSet;

use protocol::mesos::{FrameworkId, OfferId};

use crate::offer::Offers;

/// All offers exist, are the framework's, of one role and of one agent.
pub(crate) fn ids(offers: &Offers, framework: &FrameworkId, ids: &[OfferId]) -> Result<(), String> {
    if ids.is_empty() {
        return Err("No offers specified".to_owned());
    }
    let mut seen = BTreeSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(format!("Duplicate offer {} in offer list", id.value));
        }
    }
    let mut first = None;
    for id in ids {
        let Some(offer) = offers.get(id) else {
            return Err(format!("Offer {} is no longer valid", id.value));
        };
        if *offer.framework_id != *framework {
            return Err(format!(
                "Offer {} has invalid framework {} while framework {} is expected",
                id.value, offer.framework_id.value, framework.value
            ));
        }
        let first = first.get_or_insert(offer);
        if first.role != offer.role {
            return Err(format!(
                "Aggregated offers must be allocated to the same role. Offer {} uses role '{}' but \
                 another is using role '{}'",
                id.value, offer.role, first.role
            ));
        }
        if first.agent_id != offer.agent_id {
            return Err(format!(
                "Aggregated offers must belong to one single agent. Offer {} uses agent {} and \
                 agent {}",
                id.value, offer.agent_id.value, first.agent_id.value
            ));
        }
    }
    Ok(())
}
