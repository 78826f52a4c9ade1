//! What a framework says of itself.

use std::collections::BTreeSet;

use allocator::{ConstraintLimits, OfferConstraints};
use protocol::causes::with_causes;
use protocol::mesos::FrameworkInfo;

use crate::framework::subscribe::Subscription;
use crate::framework::{Constraints, FrameworkCapabilities, roles};
use crate::validation::{id, quota};

/// The longest duration that fits into nanoseconds, in seconds.
const DURATION_SECONDS_MAX: f64 = 9_223_372_036.854_775;

/// `FrameworkInfo` by itself.
pub(crate) fn info(info: &FrameworkInfo) -> Result<(), String> {
    validate_roles(info)?;
    if let Some(framework) = info.id.as_ref().filter(|id| !id.value.is_empty()) {
        id(&framework.value)?;
    }
    for filters in info.offer_filters.values() {
        let Some(minimum) = &filters.min_allocatable_resources else {
            continue;
        };
        for quantities in &minimum.quantities {
            if quantities.quantities.is_empty() {
                return Err("Resource quantities must contain at least one quantity".to_owned());
            }
            for (name, scalar) in &quantities.quantities {
                quota::amount(scalar.value)
                    .map_err(|error| format!("Invalid resource quantity for '{name}': {error}"))?;
            }
        }
    }
    let timeout = info.failover_timeout.unwrap_or(0.0);
    if !(0.0..=DURATION_SECONDS_MAX).contains(&timeout) {
        return Err(format!("The framework failover_timeout ({timeout}) is invalid"));
    }
    Ok(())
}

fn validate_roles(info: &FrameworkInfo) -> Result<(), String> {
    let role = |role: &str| resources::role::validate(role).map_err(|error| error.to_string());
    if FrameworkCapabilities::of(info).multi_role {
        if info.role.is_some() {
            return Err(
                "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable"
                    .to_owned(),
            );
        }
        let mut seen = BTreeSet::new();
        let duplicates: BTreeSet<&str> =
            info.roles.iter().filter(|role| !seen.insert(*role)).map(String::as_str).collect();
        if !duplicates.is_empty() {
            let duplicates: Vec<&str> = duplicates.into_iter().collect();
            return Err(format!(
                "'FrameworkInfo.roles' contains duplicate items: {{ {} }}",
                duplicates.join(", ")
            ));
        }
        for name in &info.roles {
            role(name)
                .map_err(|error| format!("'FrameworkInfo.roles' contains invalid role: {error}"))?;
        }
        return Ok(());
    }
    if !info.roles.is_empty() {
        return Err(
            "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
                .to_owned(),
        );
    }
    role(info.role.as_deref().unwrap_or("*"))
        .map_err(|error| format!("'FrameworkInfo.role' is not a valid role: {error}"))
}

/// What goes with a `FrameworkInfo` fits its roles. Makes the constraints ready for use.
pub(crate) fn subscription(
    subscription: &Subscription,
    limits: ConstraintLimits,
) -> Result<Constraints, String> {
    let roles = roles(&subscription.info);
    let unknown: Vec<&str> =
        subscription.suppressed_roles.difference(&roles).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!(
            "Suppressed roles {{ {} }} are not contained in the set of roles",
            unknown.join(", ")
        ));
    }
    if let Some(constraints) = &subscription.offer_constraints {
        for role in constraints.role_constraints.keys() {
            if !roles.contains(role) {
                return Err(format!(
                    "Offer constraints specify `role_constraints` for a role '{role}'not contained \
                     in the set of roles"
                ));
            }
        }
        return OfferConstraints::compile(constraints, &limits)
            .map_err(|error| format!("Offer constraints are not valid: {}", with_causes(&error)));
    }
    Ok(Constraints::new())
}

/// A known framework may change into this.
pub(crate) fn update(old: &FrameworkInfo, new: &FrameworkInfo) -> Result<(), String> {
    if old.principal != new.principal {
        return Err("Changing framework's principal is not allowed.".to_owned());
    }
    if old.user != new.user {
        return Err(format!(
            "Updating 'FrameworkInfo.user' is unsupported; attempted to update from '{}' to '{}'",
            old.user, new.user
        ));
    }
    let (before, after) = (old.checkpoint.unwrap_or(false), new.checkpoint.unwrap_or(false));
    if before != after {
        return Err(format!(
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from \
             '{before}' to '{after}'"
        ));
    }
    Ok(())
}

/// What a resubscription cannot change keeps its value.
pub(crate) fn preserve_immutable_fields(old: &FrameworkInfo, new: &mut FrameworkInfo) {
    new.user.clone_from(&old.user);
    if old.checkpoint.unwrap_or(false) != new.checkpoint.unwrap_or(false) {
        new.checkpoint = old.checkpoint;
    }
}
