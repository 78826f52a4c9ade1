//! Whether an agent may go on as the one that was checkpointed (`src/slave/compatibility.cpp`).

use protocol::mesos;
use resources::{Attribute, AttributeValue, Attributes, Resource, Resources, Value};

use crate::config::ReconfigurationPolicy;

/// What a policy does not allow.
pub(super) struct Difference {
    /// For the operator's eyes.
    pub(super) text: String,
    /// The strictest policy that would allow it; none if no policy does.
    pub(super) allowed_by: Option<ReconfigurationPolicy>,
}

/// Says what differs against the policy; nothing if the agent may go on.
pub(super) fn difference(
    policy: ReconfigurationPolicy,
    old: &mesos::AgentInfo,
    new: &mesos::AgentInfo,
) -> Option<Difference> {
    let text = first_difference(policy, old, new)?;
    let allowed_by = [ReconfigurationPolicy::Additive, ReconfigurationPolicy::Any]
        .into_iter()
        .find(|policy| first_difference(*policy, old, new).is_none());
    Some(Difference { text, allowed_by })
}

fn first_difference(
    policy: ReconfigurationPolicy,
    old: &mesos::AgentInfo,
    new: &mesos::AgentInfo,
) -> Option<String> {
    identity(old, new)
        .or_else(|| domain(policy, old, new))
        .or_else(|| resources(policy, old, new))
        .or_else(|| attributes(policy, old, new))
}

/// The master tells an agent with another hostname to shut down, and executors come back to the port.
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
    let is_allowed = match policy {
        ReconfigurationPolicy::Equal => false,
        ReconfigurationPolicy::Additive => old.domain.is_none(),
        ReconfigurationPolicy::Any => true,
    };
    (old.domain != new.domain && !is_allowed).then(|| "domain changed".to_owned())
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
        ReconfigurationPolicy::Any => true,
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
    let (Ok(before), Ok(after)) =
        (Attributes::from_wire(&old.attributes), Attributes::from_wire(&new.attributes))
    else {
        return Some("the checkpointed attributes are invalid".to_owned());
    };
    let lost = match policy {
        ReconfigurationPolicy::Any => return None,
        ReconfigurationPolicy::Additive => before.iter().find(|it| !is_kept(it, &after)),
        ReconfigurationPolicy::Equal => before.iter().find(|it| !after.contains(it)),
    };
    if let Some(Attribute { name, value }) = lost {
        return Some(match after.get(name) {
            Some(now) => format!("attribute {name} changed from {value} to {now}"),
            None => format!("attribute {name} is missing: it was {value}"),
        });
    }
    let is_allowed = policy == ReconfigurationPolicy::Additive;
    let added = after.iter().filter(|_| !is_allowed).find(|it| !before.contains(it))?;
    Some(format!("attribute {} was added", added.name))
}

/// Whether an attribute stays what it was, or is a range that has grown.
fn is_kept(old: &Attribute, after: &Attributes) -> bool {
    let has_grown = |new: &Attribute| match (&old.value, &new.value) {
        (AttributeValue::Ranges(old), AttributeValue::Ranges(new)) => new.contains(old),
        (
            AttributeValue::Ranges(_) | AttributeValue::Scalar(_) | AttributeValue::Text(_),
            AttributeValue::Ranges(_) | AttributeValue::Scalar(_) | AttributeValue::Text(_),
        ) => false,
    };
    after.contains(old) || after.iter().any(|new| new.name == old.name && has_grown(new))
}
