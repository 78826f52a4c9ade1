//! `/explain` and `/hierarchical-allocator(1)/offer_constraints_debug`.

use std::collections::BTreeMap;

use master::explain::{
    AgentSample, Cause, Competitor, Excluded, FrameworkExplanation, Reason, RoleExplanation,
};
use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;

use super::document;
use crate::http::json::JsonWriter;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// `/explain`.
pub(in crate::master) fn explanation(answer: &FrameworkExplanation) -> Vec<u8> {
    document(|json| {
        json.key("framework_id").string(&answer.framework.value);
        json.key("name").string(&answer.name);
        json.key("connected").boolean(answer.connected);
        json.key("active").boolean(answer.active);
        json.key("time").double(answer.time.as_secs_f64());
        json.key("roles").array(|json| {
            for view in &answer.roles {
                json.object(|json| role(json, answer, view));
            }
        });
        json.key("more_roles").integer(integer(answer.more_roles));
    })
}

fn role(json: &mut JsonWriter, answer: &FrameworkExplanation, view: &RoleExplanation) {
    let explanation = &view.explanation;
    json.key("role").string(&explanation.role);
    json.key("agents").integer(integer(explanation.agents));
    json.key("offers").array(|json| {
        for (offer, agent) in &view.offers {
            json.object(|json| {
                json.key("id").string(&offer.value);
                named_agent(json, answer, agent);
            });
        }
    });
    json.key("possible").object(|json| agents(json, answer, &explanation.possible));
    json.key("causes").array(|json| {
        for it in &explanation.causes {
            json.object(|json| cause(json, answer, it));
        }
    });
    let standing = &explanation.standing;
    json.key("standing").object(|json| {
        json.key("share").double(standing.share);
        json.key("role_share").double(standing.role_share);
        json.key("ahead").integer(integer(standing.ahead));
        json.key("competitors").array(|json| {
            for it in &standing.competitors {
                json.object(|json| competitor(json, answer, it));
            }
        });
    });
}

fn agents(json: &mut JsonWriter, answer: &FrameworkExplanation, sample: &AgentSample) {
    json.key("count").integer(integer(sample.count));
    json.key("examples").array(|json| {
        for agent in &sample.examples {
            json.object(|json| named_agent(json, answer, agent));
        }
    });
}

fn named_agent(json: &mut JsonWriter, answer: &FrameworkExplanation, agent: &AgentId) {
    json.key("agent_id").string(&agent.value);
    if let Some(hostname) = answer.hostnames.get(agent) {
        json.key("hostname").string(hostname);
    }
}

fn competitor(json: &mut JsonWriter, answer: &FrameworkExplanation, competitor: &Competitor) {
    json.key("framework_id").string(&competitor.framework.value);
    if let Some(name) = answer.names.get(&competitor.framework) {
        json.key("name").string(name);
    }
    json.key("role").string(&competitor.role);
    json.key("share").double(competitor.share);
    json.key("role_share").double(competitor.role_share);
}

fn cause(json: &mut JsonWriter, answer: &FrameworkExplanation, cause: &Cause) {
    let words = Words::of(&cause.reason);
    json.key("reason").string(words.name);
    agents(json, answer, &cause.agents);
    let mut text = words.text.to_owned();
    let named = |text: &mut String, json: &mut JsonWriter, key: &str, list: &[String]| {
        text.push_str(&list.join(", "));
        json.key(key).array(|json| list.iter().for_each(|name| json.string(name)));
    };
    match &cause.reason {
        Reason::QuotaLimit { resources } => named(&mut text, json, "resources", resources),
        Reason::HeldForGuarantees { roles } => named(&mut text, json, "roles", roles),
        Reason::NotSubscribed
        | Reason::FrameworkInactive
        | Reason::Suppressed
        | Reason::Paused
        | Reason::AgentInactive
        | Reason::NotWhitelisted
        | Reason::AgentWithoutMultiRole
        | Reason::AgentWithoutHierarchicalRole
        | Reason::Gpus
        | Reason::RemoteRegion
        | Reason::Constraints
        | Reason::NothingFree
        | Reason::ReservedForOthers
        | Reason::NotUnderstood
        | Reason::BelowMinimum
        | Reason::Refused
        | Reason::SharedOfferedAlready => {}
    }
    if let Some(until) = cause.until {
        json.key("until").double(until.as_secs_f64());
        text.push_str(&ending(answer.time, until));
    }
    json.key("text").string(&text);
    json.key("remedy").string(words.remedy);
}

/// ` until 12:03:11 UTC (in 4.2 s)`.
fn ending(now: Timestamp, until: Timestamp) -> String {
    let left = until.since(now).as_secs_f64();
    let seconds = until.as_secs().rem_euclid(DAY_SECONDS);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let clock = format!("{hours:02}:{minutes:02}:{seconds:02} UTC");
    if left < 60.0 {
        format!(" until {clock} (in {left:.1} s)")
    } else if left < 7200.0 {
        format!(" until {clock} (in {:.0} min)", left / 60.0)
    } else {
        format!(" until {clock} (in {:.1} hours)", left / 3600.0)
    }
}

/// What a reason is called, how it is told, and what can be done about it.
struct Words {
    name: &'static str,
    /// Said of agents: "3 agents: ...".
    text: &'static str,
    remedy: &'static str,
}

impl Words {
    const fn new(name: &'static str, text: &'static str, remedy: &'static str) -> Self {
        Self { name, text, remedy }
    }

    const fn of(reason: &Reason) -> &'static Self {
        match reason {
            Reason::NotSubscribed => &NOT_SUBSCRIBED,
            Reason::FrameworkInactive => &FRAMEWORK_INACTIVE,
            Reason::Suppressed => &SUPPRESSED,
            Reason::Paused => &PAUSED,
            Reason::AgentInactive => &AGENT_INACTIVE,
            Reason::NotWhitelisted => &NOT_WHITELISTED,
            Reason::AgentWithoutMultiRole => &AGENT_WITHOUT_MULTI_ROLE,
            Reason::AgentWithoutHierarchicalRole => &AGENT_WITHOUT_HIERARCHICAL_ROLE,
            Reason::Gpus => &GPUS,
            Reason::RemoteRegion => &REMOTE_REGION,
            Reason::Constraints => &CONSTRAINTS,
            Reason::NothingFree => &NOTHING_FREE,
            Reason::QuotaLimit { .. } => &QUOTA_LIMIT,
            Reason::HeldForGuarantees { .. } => &HELD_FOR_GUARANTEES,
            Reason::Refused => &REFUSED,
            Reason::SharedOfferedAlready => &SHARED_OFFERED_ALREADY,
            Reason::ReservedForOthers => &RESERVED_FOR_OTHERS,
            Reason::NotUnderstood => &NOT_UNDERSTOOD,
            Reason::BelowMinimum => &BELOW_MINIMUM,
        }
    }
}

const NOT_SUBSCRIBED: Words = Words::new(
    "NOT_SUBSCRIBED",
    "the framework is not subscribed to the role",
    "name the role in FrameworkInfo.roles (SUBSCRIBE or UPDATE_FRAMEWORK)",
);
const FRAMEWORK_INACTIVE: Words = Words::new(
    "FRAMEWORK_INACTIVE",
    "no scheduler of the framework is connected",
    "start or reconnect the scheduler",
);
const SUPPRESSED: Words =
    Words::new("SUPPRESSED", "the framework has suppressed offers in the role", "REVIVE the role");
const PAUSED: Words = Words::new(
    "PAUSED",
    "nothing is offered to anybody until more agents are back, as there is quota",
    "wait; see --allocator_agent_recovery_factor and --allocator_recovery_timeout",
);
const AGENT_INACTIVE: Words = Words::new(
    "AGENT_INACTIVE",
    "disconnected, deactivated or draining",
    "reconnect the agents, or REACTIVATE_AGENT",
);
const NOT_WHITELISTED: Words = Words::new(
    "NOT_WHITELISTED",
    "not on the whitelist",
    "add their host names to the file of --whitelist",
);
const AGENT_WITHOUT_MULTI_ROLE: Words = Words::new(
    "AGENT_WITHOUT_MULTI_ROLE",
    "older than MULTI_ROLE, which the framework uses",
    "upgrade the agents",
);
const AGENT_WITHOUT_HIERARCHICAL_ROLE: Words = Words::new(
    "AGENT_WITHOUT_HIERARCHICAL_ROLE",
    "older than roles with a slash",
    "upgrade the agents",
);
const GPUS: Words = Words::new(
    "GPUS",
    "have GPUs, which the framework does not ask for",
    "give the framework the capability GPU_RESOURCES, or set --no-filter_gpu_resources",
);
const REMOTE_REGION: Words = Words::new(
    "REMOTE_REGION",
    "in another region than the master",
    "give the framework the capability REGION_AWARE",
);
const CONSTRAINTS: Words = Words::new(
    "CONSTRAINTS",
    "do not meet the framework's offer constraints",
    "relax the constraints (UPDATE_FRAMEWORK), or give agents other attributes",
);
const NOTHING_FREE: Words = Words::new(
    "NOTHING_FREE",
    "everything is in use or offered",
    "wait for tasks to end and offers to be answered, or add agents",
);
const QUOTA_LIMIT: Words = Words::new(
    "QUOTA_LIMIT",
    "the limits of the role's quota leave too little of ",
    "raise the limits (UPDATE_QUOTA), or end tasks of the role",
);
const HELD_FOR_GUARANTEES: Words = Words::new(
    "HELD_FOR_GUARANTEES",
    "what is free is held back for the guarantees of ",
    "add agents, lower those guarantees, or guarantee something to this role",
);
const REFUSED: Words = Words::new(
    "REFUSED",
    "refused by the framework",
    "wait, REVIVE the role, or decline with a shorter refuse_seconds",
);
const SHARED_OFFERED_ALREADY: Words = Words::new(
    "SHARED_OFFERED_ALREADY",
    "have only shared volumes free, which were offered already",
    "wait for the next allocation interval",
);
const RESERVED_FOR_OTHERS: Words = Words::new(
    "RESERVED_FOR_OTHERS",
    "what is free is reserved for other roles",
    "unreserve some of it, or wait for tasks to end",
);
const NOT_UNDERSTOOD: Words = Words::new(
    "NOT_UNDERSTOOD",
    "what is free is revocable, shared or of refined reservations, for which the \
                 framework lacks capabilities",
    "give it REVOCABLE_RESOURCES, SHARED_RESOURCES or RESERVATION_REFINEMENT",
);
const BELOW_MINIMUM: Words = Words::new(
    "BELOW_MINIMUM",
    "less is free than an offer must hold",
    "lower the framework's offer_filters or --min_allocatable_resources",
);

/// `/hierarchical-allocator(1)/offer_constraints_debug`.
pub(in crate::master) fn offer_constraints_debug(
    frameworks: &BTreeMap<FrameworkId, Excluded>,
) -> Vec<u8> {
    document(|json| {
        json.key("frameworks").object(|json| {
            for (id, excluded) in frameworks {
                json.key(&id.value).object(|json| {
                    json.key("suppressed_roles").array(|json| {
                        excluded.suppressed_roles.iter().for_each(|role| json.string(role));
                    });
                    json.key("excluded_by_attribute_constraints").object(|json| {
                        for (role, agents) in &excluded.agents {
                            json.key(role)
                                .array(|json| agents.iter().for_each(|it| json.string(&it.value)));
                        }
                    });
                });
            }
        });
    })
}

fn integer(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_by_the_clock_and_from_now() {
        let now = Timestamp::from_secs(DAY_SECONDS * 100 + 12 * 3600 + 187);
        let after = |seconds| ending(now, Timestamp::from_secs(now.as_secs() + seconds));
        assert_eq!(after(4), " until 12:03:11 UTC (in 4.0 s)");
        assert_eq!(after(600), " until 12:13:07 UTC (in 10 min)");
        assert_eq!(after(12 * 3600), " until 00:03:07 UTC (in 12.0 hours)");
    }
}
