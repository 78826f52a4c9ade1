//! Which resources of an offer a task takes.

use resources::{Quantity, Resource, Resources, Value};

/// Takes what is `wanted` out of `offered`: reserved resources of the framework's role first, then
/// those of the roles above it and unreserved ones. `None`, and nothing taken, when it is not there.
pub(super) fn take(offered: &mut Resources, wanted: &Resources, role: &str) -> Option<Resources> {
    let mut rest = offered.clone();
    let mut taken = Resources::new();
    for resource in wanted {
        let part = take_one(&rest, resource, role)?;
        rest = rest.checked_sub(&part)?;
        taken = part.iter().cloned().fold(taken, |mut sum, part| {
            sum.insert(part);
            sum
        });
    }
    *offered = rest;
    Some(taken)
}

fn take_one(offered: &Resources, wanted: &Resource, role: &str) -> Option<Resources> {
    if is_special(wanted) {
        // The user said which one, so only that one will do.
        return offered.contains_one(wanted).then(|| one(wanted.clone()));
    }
    let mut missing = wanted.value().clone();
    let mut taken = Resources::new();
    for candidate in candidates(offered, wanted.name(), role) {
        if missing.is_empty() {
            break;
        }
        let Some((part, rest)) = split(candidate, &missing) else { continue };
        taken.insert(part);
        missing = rest;
    }
    missing.is_empty().then_some(taken)
}

fn one(resource: Resource) -> Resources {
    let mut resources = Resources::new();
    resources.insert(resource);
    resources
}

fn is_special(resource: &Resource) -> bool {
    resource.is_reserved()
        || resource.is_revocable()
        || resource.is_shared()
        || resource.disk().is_some()
        || resource.provider_id().is_some()
}

/// The entries of this name that anybody may use, our own reservations first.
fn candidates<'a>(offered: &'a Resources, name: &str, role: &str) -> Vec<&'a Resource> {
    let mut candidates: Vec<&Resource> = offered
        .iter()
        .filter(|entry| entry.name() == name && (entry.is_reserved() || !is_special(entry)))
        .filter(|entry| {
            entry.disk().is_none() && !entry.is_revocable() && entry.provider_id().is_none()
        })
        .collect();
    candidates.sort_by_key(|entry| (!entry.is_reserved_to(role), !entry.is_reserved()));
    candidates
}

/// The part of `candidate` that helps, and what is still missing.
fn split(candidate: &Resource, missing: &Value) -> Option<(Resource, Value)> {
    match (candidate.value(), missing) {
        (Value::Scalar(has), Value::Scalar(wants)) => {
            let amount = (*has).min(*wants);
            if amount == Quantity::default() {
                return None;
            }
            Some((candidate.shrunk_to(amount)?, Value::Scalar(wants.saturating_sub(amount))))
        }
        (Value::Ranges(has), Value::Ranges(wants)) => {
            let common = has.intersection(wants);
            let rest = Value::Ranges(wants.difference(&common));
            (!common.is_empty())
                .then(|| candidate.with_value(Value::Ranges(common)))
                .flatten()
                .map(|part| (part, rest))
        }
        (Value::Set(has), Value::Set(wants)) => {
            let common = wants.difference(&wants.difference(has));
            let rest = Value::Set(wants.difference(&common));
            (!common.is_empty())
                .then(|| candidate.with_value(Value::Set(common)))
                .flatten()
                .map(|part| (part, rest))
        }
        (Value::Scalar(_) | Value::Ranges(_) | Value::Set(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Resources {
        Resources::parse(text, "*").unwrap()
    }

    fn taken(offered: &str, wanted: &str, role: &str) -> Option<(String, String)> {
        let mut offered = parse(offered);
        let before = offered.clone();
        let taken = take(&mut offered, &parse(wanted), role);
        if taken.is_none() {
            assert_eq!(offered, before);
        }
        Some((taken?.to_text().unwrap(), offered.to_text().unwrap()))
    }

    fn texts(taken: &str, rest: &str) -> Option<(String, String)> {
        Some((parse(taken).to_text().unwrap(), parse(rest).to_text().unwrap()))
    }

    #[test]
    fn unreserved_resources() {
        assert_eq!(
            taken("cpus:4;mem:512", "cpus:1;mem:128", "*"),
            texts("cpus:1;mem:128", "cpus:3;mem:384")
        );
        assert_eq!(taken("cpus:4;mem:64", "cpus:1;mem:128", "*"), None);
        assert_eq!(taken("cpus:4", "cpus:1;gpus:1", "*"), None);
    }

    #[test]
    fn reservations_of_the_role_are_used_first() {
        let offered = "cpus:4;cpus(web):1;mem:512";
        assert_eq!(
            taken(offered, "cpus:3;mem:12", "web"),
            texts("cpus(web):1;cpus:2;mem:12", "cpus:2;mem:500")
        );
    }

    #[test]
    fn ranges_and_sets() {
        assert_eq!(
            taken(
                "ports:[1-10];ports(web):[20-30];names:{a,b}",
                "ports:[5-6,25-25];names:{b}",
                "web"
            ),
            texts(
                "ports:[5-6];ports(web):[25-25];names:{b}",
                "ports:[1-4,7-10];ports(web):[20-24,26-30];names:{a}"
            )
        );
        assert_eq!(taken("ports:[1-10]", "ports:[10-11]", "*"), None);
    }

    #[test]
    fn a_reservation_that_is_named_must_be_there() {
        assert_eq!(taken("cpus:4", "cpus(web):1", "web"), None);
        assert_eq!(
            taken("cpus:4;cpus(web):1", "cpus(web):1", "web"),
            texts("cpus(web):1", "cpus:4")
        );
    }
}
