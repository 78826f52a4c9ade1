//! Quota by itself (`src/master/quota.cpp`).

use std::collections::{BTreeMap, BTreeSet};

use protocol::mesos::value::{Scalar, Type};
use protocol::quota::{QuotaConfig, QuotaRequest};
use resources::{Limits, Quantities, Quantity, Resource};

use protocol::causes::with_causes;

/// The most of `mem` and `disk`, in megabytes.
const EXABYTE_IN_MEGABYTES: f64 = 1_099_511_627_776.0;
/// The most of anything else.
const TRILLION: f64 = 1_000_000_000_000.0;

/// The guarantees of a valid configuration.
pub(crate) fn guarantees(config: &QuotaConfig) -> Quantities {
    let quantity = |scalar: &Scalar| Quantity::from_f64(scalar.value).unwrap_or(Quantity::ZERO);
    config.guarantees.iter().map(|(name, scalar)| (name.as_str(), quantity(scalar))).collect()
}

/// The limits of a valid configuration.
pub(crate) fn limits(config: &QuotaConfig) -> Limits {
    let mut limits = Limits::UNLIMITED;
    for (name, scalar) in &config.limits {
        limits.set(name, Quantity::from_f64(scalar.value).unwrap_or(Quantity::ZERO));
    }
    limits
}

/// `QuotaConfig`, without regard to the cluster.
pub(crate) fn config(config: &QuotaConfig) -> Result<(), String> {
    resources::role::validate(&config.role)
        .map_err(|error| format!("Invalid 'QuotaConfig.role': {error}"))?;
    for (field, map) in [("guarantees", &config.guarantees), ("limits", &config.limits)] {
        within_bounds(map).map_err(|error| format!("Invalid 'QuotaConfig.{field}': {error}"))?;
    }
    for (what, map) in [("guarantee", &config.guarantees), ("limit", &config.limits)] {
        for (name, scalar) in map {
            amount(scalar.value).map_err(|error| {
                let value = number(scalar.value);
                format!("Invalid {what} configuration {{'{name}': {value}}}: {error}")
            })?;
        }
    }
    if !limits(config).allow(&guarantees(config)) {
        return Err(format!(
            "'QuotaConfig.guarantees' {} is not contained within the 'QuotaConfig.limits' {}",
            map_text(&config.guarantees),
            map_text(&config.limits)
        ));
    }
    Ok(())
}

fn within_bounds(map: &BTreeMap<String, Scalar>) -> Result<(), String> {
    for (name, scalar) in map {
        let is_storage = name == "mem" || name == "disk";
        let (bound, what) =
            if is_storage { (EXABYTE_IN_MEGABYTES, "exabyte") } else { (TRILLION, "trillion") };
        if scalar.value > bound {
            return Err(format!(
                "{{'{name}': {}}} is invalid: values greater than 1 {what} ({bound}) are not \
                 supported",
                number(scalar.value)
            ));
        }
    }
    Ok(())
}

/// An amount that somebody typed (`validateInputScalarValue` in `src/common/validation.cpp`).
pub(crate) fn amount(value: f64) -> Result<(), &'static str> {
    if value.is_infinite() {
        Err("Infinite values not supported")
    } else if value.is_nan() {
        Err("NaN not supported")
    } else if value.is_subnormal() {
        Err("Subnormal values not supported")
    } else if value < 0.0 {
        Err("Negative values not supported")
    } else {
        Ok(())
    }
}

fn number(value: f64) -> String {
    Quantity::from_f64(value).map_or_else(|| value.to_string(), |quantity| quantity.to_string())
}

/// `{ cpus: 1, mem: 32 }`.
fn map_text(map: &BTreeMap<String, Scalar>) -> String {
    let pair = |(name, scalar): (&String, &Scalar)| format!("{name}: {}", number(scalar.value));
    format!("{{ {} }}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
}

/// `QuotaRequest`, the old form, in which the guarantee is the limit as well.
pub(crate) fn request(request: &QuotaRequest) -> Result<QuotaConfig, String> {
    for resource in &request.guarantee {
        Resource::from_wire(resource)
            .map_err(|error| format!("QuotaInfo with invalid resource: {}", with_causes(&error)))?;
    }
    let Some(role) = &request.role else {
        return Err("QuotaInfo must specify a role".to_owned());
    };
    resources::role::validate(role)
        .map_err(|error| format!("QuotaInfo with invalid role: {error}"))?;
    if request.guarantee.is_empty() {
        return Err("QuotaInfo with empty 'guarantee'".to_owned());
    }
    let mut names = BTreeSet::new();
    let mut amounts = BTreeMap::new();
    for resource in &request.guarantee {
        let is_reserved = Resource::from_wire(resource).is_ok_and(|it| !it.is_unreserved());
        let refusal = if is_reserved {
            "must not contain any ReservationInfo".to_owned()
        } else if resource.disk.is_some() {
            "must not contain DiskInfo".to_owned()
        } else if resource.revocable.is_some() {
            "must not contain RevocableInfo".to_owned()
        } else if resource.r#type != Type::Scalar {
            "must not include non-scalar resources".to_owned()
        } else if !names.insert(&resource.name) {
            format!("contains duplicate resource name '{}'", resource.name)
        } else {
            let scalar = resource.scalar.clone().unwrap_or_default();
            amounts.insert(resource.name.clone(), scalar);
            continue;
        };
        return Err(format!("QuotaInfo {refusal}"));
    }
    Ok(QuotaConfig {
        role: role.clone(),
        guarantees: amounts.clone(),
        limits: amounts,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(text: &[(&str, f64)]) -> BTreeMap<String, Scalar> {
        let scalar = |value| Scalar { value, ..Default::default() };
        text.iter().map(|(name, value)| ((*name).to_owned(), scalar(*value))).collect()
    }

    fn quota(role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]) -> QuotaConfig {
        QuotaConfig {
            role: role.to_owned(),
            guarantees: amounts(guarantees),
            limits: amounts(limits),
            ..Default::default()
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = |role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]| {
            config(&quota(role, guarantees, limits)).unwrap_err()
        };
        assert_eq!(
            error("a b", &[], &[]),
            "Invalid 'QuotaConfig.role': Role component 'a b' is invalid because it contains \
             backspace or whitespace"
        );
        assert_eq!(
            error("a", &[("mem", 2e12)], &[]),
            "Invalid 'QuotaConfig.guarantees': {'mem': 2000000000000} is invalid: values greater \
             than 1 exabyte (1099511627776) are not supported"
        );
        assert_eq!(
            error("a", &[], &[("cpus", 2e12)]),
            "Invalid 'QuotaConfig.limits': {'cpus': 2000000000000} is invalid: values greater than \
             1 trillion (1000000000000) are not supported"
        );
        assert_eq!(
            error("a", &[("cpus", -1.0)], &[]),
            "Invalid guarantee configuration {'cpus': -1}: Negative values not supported"
        );
        assert_eq!(
            error("a", &[], &[("cpus", f64::NAN)]),
            "Invalid limit configuration {'cpus': NaN}: NaN not supported"
        );
        assert_eq!(
            error("a", &[("cpus", 2.0), ("mem", 5.0)], &[("cpus", 1.5)]),
            "'QuotaConfig.guarantees' { cpus: 2, mem: 5 } is not contained within the \
             'QuotaConfig.limits' { cpus: 1.5 }"
        );
        assert_eq!(config(&quota("a", &[("cpus", 1.0)], &[("cpus", 1.0)])), Ok(()));
        assert_eq!(config(&quota("*", &[("cpus", 1.0)], &[])), Ok(()));
    }

    #[test]
    fn amounts_are_finite_and_not_negative() {
        assert!(amount(0.0).is_ok() && amount(1.5).is_ok() && amount(-0.0).is_ok());
        for bad in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-310, -0.001] {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }
}
