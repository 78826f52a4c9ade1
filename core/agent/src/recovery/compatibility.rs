//! Whether an agent may go on as the one that was checkpointed (`src/slave/compatibility.cpp`).

use protocol::mesos;
use resources::{Resource, Resources, Value};

use crate::config::ReconfigurationPolicy;

/// Says what differs against the policy; nothing if the agent may go on.
pub(super) fn difference(
    policy: ReconfigurationPolicy,
    old: &mesos::AgentInfo,
    new: &mesos::AgentInfo,
) -> Option<String> {
    identity(old, new)
        .or_else(|| domain(policy, old, new))
        .or_else(|| resources(policy, old, new))
        .or_else(|| attributes(policy, old, new))
}

fn identity(old: &mesos::AgentInfo, new: &mesos::AgentInfo) -> Option<String> {
    if old.hostname != new.hostname {
        return Some(format!("hostname changed from {} to {}", old.hostname, new.hostname));
    }
    let port = |info: &mesos::AgentInfo| info.port.unwrap_or(5051);
    (port(old) != port(new)).then(|| format!("port changed from {} to {}", port(old), port(new)))
}

fn domain(
    policy: ReconfigurationPolicy,
    old: &mesos::AgentInfo,
    new: &mesos::AgentInfo,
) -> Option<String> {
    let may_be_added = policy == ReconfigurationPolicy::Additive && old.domain.is_none();
    (old.domain != new.domain && !may_be_added).then(|| "domain changed".to_owned())
}

fn resources(
    policy: ReconfigurationPolicy,
    old: &mesos::AgentInfo,
    new: &mesos::AgentInfo,
) -> Option<String> {
    let (Ok(before), Ok(after)) =
        (Resources::from_wire(&old.resources), Resources::from_wire(&new.resources))
    else {
        return Some("the checkpointed resources are invalid".to_owned());
    };
    let is_allowed = match policy {
        ReconfigurationPolicy::Equal => before == after,
        ReconfigurationPolicy::Additive => after.contains(&before),
    };
    if is_allowed {
        return None;
    }
    let lost = before.iter().find(|resource| !after.contains_one(resource));
    Some(match lost {
        Some(resource) => format!(
            "resource {} changed: {} before, {} now",
            resource.name(),
            show(&before, resource),
            show(&after, resource)
        ),
        None => format!("resources changed from {before} to {after}"),
    })
}

/// The resources of the same name, for a message.
fn show(resources: &Resources, like: &Resource) -> String {
    let same = resources.named(like.name());
    if same.is_empty() {
        return match like.value() {
            Value::Scalar(_) => "0".to_owned(),
            Value::Ranges(_) | Value::Set(_) => "none".to_owned(),
        };
    }
    same.to_string()
}

fn attributes(
    policy: ReconfigurationPolicy,
    old: &mesos::AgentInfo,
    new: &mesos::AgentInfo,
) -> Option<String> {
    let missing = old.attributes.iter().find(|attribute| !new.attributes.contains(attribute));
    if let Some(attribute) = missing {
        return Some(format!("attribute {} changed or is missing", attribute.name));
    }
    let added = new.attributes.iter().find(|attribute| !old.attributes.contains(attribute));
    match (policy, added) {
        (ReconfigurationPolicy::Equal, Some(attribute)) => {
            Some(format!("attribute {} was added", attribute.name))
        }
        (ReconfigurationPolicy::Additive, _) | (ReconfigurationPolicy::Equal, None) => None,
    }
}
