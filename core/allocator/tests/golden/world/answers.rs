//! What the allocator answers, as text.

use allocator::{AgentSample, Allocation, Cause, RoleStatus};
use protocol::time::Timestamp;

use super::{Answers, START, Words, World, agent_id, framework_id};

/// Seconds since the beginning of the scenario.
fn seconds(at: Timestamp) -> u64 {
    at.since(Timestamp::from_secs(START)).as_secs()
}

/// `F1 in a: A1 cpus:4; mem:4096`
pub(super) fn allocation(it: &Allocation) -> String {
    let resources = it.resources.unallocated();
    format!("{} in {}: {} {resources}", it.framework.value, it.role, it.agent.value)
}

/// `2 agents (A1, A2)`
fn sample(sample: &AgentSample) -> String {
    let names: Vec<&str> = sample.examples.iter().map(|id| id.value.as_str()).collect();
    let noun = if sample.count == 1 { "agent" } else { "agents" };
    if names.is_empty() {
        format!("{} {noun}", sample.count)
    } else {
        format!("{} {noun} ({})", sample.count, names.join(", "))
    }
}

fn cause(cause: &Cause) -> String {
    let until = cause.until.map(|at| format!(", until {} s", seconds(at))).unwrap_or_default();
    format!("{:?}: {}{until}", cause.reason, sample(&cause.agents))
}

fn role(status: &RoleStatus) -> String {
    let RoleStatus { role, weight, dominant_share, held, .. } = status;
    let mut line = format!("{role}: weight {weight}, share {dominant_share:.3}, holds {held}");
    if status.quota != allocator::Quota::default() {
        let allocator::Quota { guarantees, limits } = &status.quota;
        line += &format!("; guarantees {guarantees}, limits {limits}");
        line += &format!(", consumed {}", status.quota_consumed);
    }
    line
}

impl World {
    pub(super) fn explain(&mut self, framework: &str, role: &str) -> Answers {
        let explanation = self.allocator.explain(self.now, &framework_id(framework), role);
        let Some(explanation) = explanation else { return Ok(vec!["unknown".to_owned()]) };
        let mut answers = vec![format!("possible: {}", sample(&explanation.possible))];
        answers.extend(explanation.causes.iter().map(cause));
        for it in &explanation.standing.competitors {
            answers.push(format!(
                "after {} in {} (share {:.3}, role's {:.3})",
                it.framework.value, it.role, it.share, it.role_share
            ));
        }
        Ok(answers)
    }

    pub(super) fn roles(&mut self) -> Vec<String> {
        self.allocator.role_statuses().iter().map(role).collect()
    }

    pub(super) fn inverse(&mut self, words: &Words<'_>) -> Answers {
        let Ok(command) = words.get(0) else { return Ok(self.inverse_offers()) };
        if command == "status" {
            let statuses = self.allocator.inverse_offer_statuses(&agent_id(words.get(1)?));
            let status = |it: &allocator::InverseOfferStatus| {
                let answer = if it.accepted { "accepted" } else { "declined" };
                format!("{} {answer} at {} s", it.framework.value, seconds(it.at))
            };
            return Ok(statuses.iter().map(status).collect());
        }
        let accepted = match command {
            "accept" => Some(true),
            "decline" => Some(false),
            "rescind" => None,
            other => return Err(format!("inverse offers have no {other}").into()),
        };
        let (framework, agent) = (framework_id(words.get(1)?), agent_id(words.get(2)?));
        let refuse = words.seconds("refuse")?;
        self.allocator.answer_inverse_offer(self.now, &agent, &framework, accepted, refuse);
        Ok(Vec::new())
    }

    fn inverse_offers(&mut self) -> Vec<String> {
        let offers = self.allocator.inverse_offers(self.now).into_iter();
        let text = |it: allocator::InverseAllocation| {
            let start = seconds(it.unavailability.start);
            let duration = match it.unavailability.duration {
                Some(duration) => format!("for {} s", duration.as_secs()),
                None => "for good".to_owned(),
            };
            format!("{}: give up {} at {start} s {duration}", it.framework.value, it.agent.value)
        };
        offers.map(text).collect()
    }
}
