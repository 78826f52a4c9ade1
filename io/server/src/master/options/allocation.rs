//! The flags of the allocator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use master::{Config, SorterPolicy};

use super::{OptionsError, refused};
use crate::flags::Values;

/// `--whitelist`; `*` stands for all hosts.
pub(super) fn whitelist(values: &Values) -> Option<PathBuf> {
    values.text("whitelist").filter(|path| *path != "*").map(PathBuf::from)
}

/// Reads all of them but the whitelist.
pub(super) fn read(values: &Values, settings: &mut Config) -> Result<(), OptionsError> {
    let list = |name: &str| {
        values.text(name).map(|text| {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect::<BTreeSet<String>>()
        })
    };
    settings.roles = list("roles");
    for role in settings.roles.iter().flatten() {
        resources::role::validate(role).map_err(|error| {
            refused("roles", values.text("roles").unwrap_or(role), error.to_string())
        })?;
    }
    settings.offer_timeout = values.duration("offer_timeout");
    if settings.offer_timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(refused("offer_timeout", "0ns", "must be greater than zero"));
    }
    let limits = &mut settings.constraint_limits;
    if let Some(bytes) = values.byte_size("offer_constraints_re2_max_mem") {
        limits.memory_max = bytes;
    }
    if let Some(size) = values.integer("offer_constraints_re2_max_program_size") {
        limits.program_size_max = usize::try_from(size).unwrap_or(usize::MAX);
    }
    if let Some(factor) = values.number("allocator_agent_recovery_factor") {
        settings.allocator_agent_recovery_factor = factor;
    }
    if let Some(names) = list("fair_sharing_excluded_resource_names") {
        settings.fair_sharing_excluded_resource_names = names;
    }
    if let Some(text) = values.text("weights") {
        settings.weights = weights(text)?;
        let unknown = |role: &&String| {
            *role != "*" && settings.roles.as_ref().is_some_and(|roles| !roles.contains(*role))
        };
        if let Some(role) = settings.weights.keys().find(unknown) {
            return Err(refused("weights", text, format!("role '{role}' is not in --roles")));
        }
    }
    if let Some(policy) = values.text("role_sorter").and_then(sorter) {
        settings.role_sorter = policy;
    }
    if let Some(policy) = values.text("framework_sorter").and_then(sorter) {
        settings.framework_sorter = policy;
    }
    const MINIMUM: &str = "min_allocatable_resources";
    if let Some(text) = values.text(MINIMUM) {
        let alternatives = resources::parse_alternatives(text)
            .map_err(|error| refused(MINIMUM, text, error.to_string()))?;
        let set = |quantities: &resources::Quantities| {
            let pair = |(name, quantity): (&str, resources::Quantity)| {
                (name.to_owned(), quantity.to_f64())
            };
            quantities.iter().map(pair).collect()
        };
        settings.min_allocatable_resources = alternatives.iter().map(set).collect();
    }
    Ok(())
}

/// `None` for no value of the flags, which they have refused already.
fn sorter(text: &str) -> Option<SorterPolicy> {
    match text {
        "drf" => Some(SorterPolicy::Drf),
        "random" => Some(SorterPolicy::Random),
        "priority" => Some(SorterPolicy::Priority),
        _ => None,
    }
}

/// `ads=2,search=3`.
fn weights(text: &str) -> Result<BTreeMap<String, f64>, OptionsError> {
    let mut weights = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let weight = pair.split_once('=').and_then(|(role, weight)| {
            let weight = weight.trim().parse::<f64>().ok()?;
            Some((role.trim().to_owned(), weight))
        });
        let Some((role, weight)) = weight else {
            return Err(refused("weights", text, format!("'{pair}' is not role=weight")));
        };
        if !weight.is_finite() || weight <= 0.0 {
            let reason = format!("the weight of '{role}' must be a positive number");
            return Err(refused("weights", text, reason));
        }
        if weights.insert(role.clone(), weight).is_some() {
            return Err(refused("weights", text, format!("role '{role}' is named twice")));
        }
    }
    Ok(weights)
}
