//! Operators take agents out of the offers, have them drain, and bring them back
//! (`DRAIN_AGENT`, `DEACTIVATE_AGENT` and `REACTIVATE_AGENT` in Mesos' `src/master/http.cpp`).

use protocol::internal::DrainSlaveMessage;
use protocol::master;
use protocol::master::call::DrainAgent;
use protocol::mesos::{AgentId, DrainConfig, DrainInfo, DrainState, DurationInfo};
use protocol::messages::MasterToAgent;

use crate::Master;
use crate::agent::{Agent, Transition};
use crate::durable::AfterWrite;
use crate::effect::{Effect, Response};
use crate::event::RequestId;
use crate::registry::{AgentRecord, AgentStanding, Participation, agent_change};

/// How many calls may wait for writes about their agents.
const DEFERRED_CALLS_MAX: usize = 1000;

impl Agent {
    /// Whether it was told to drain and has something left.
    fn is_draining(&self) -> bool {
        matches!(&self.participation, Participation::Drain(it) if it.state == DrainState::Draining)
    }

    /// Whether no task and no operation is left, acknowledgements included.
    fn is_drained(&self) -> bool {
        self.operations.is_empty() && self.frameworks.values().all(|share| share.tasks.is_empty())
    }
}

impl Master {
    /// `DRAIN_AGENT`: the agent kills its tasks, and gets no new ones until it is reactivated.
    pub(crate) fn drain_agent(&mut self, request: RequestId, call: &DrainAgent) {
        let id = &call.agent_id;
        if let Some(agent) = self.agents.registered.get(id) {
            let refusal = if let Some(machine) = self.maintenance.scheduled_machine(agent) {
                let machine = crate::maintenance::readable(machine);
                Some(format!(
                    "Agent {} is part of a maintenance schedule under Machine {machine}",
                    id.value
                ))
            } else if !agent.capabilities.agent_draining {
                Some(format!("Agent {} is not capable of draining", id.value))
            } else {
                None
            };
            if let Some(refusal) = refusal {
                let response = Response::BadRequest(refusal);
                self.effects.push(Effect::Respond { request, response });
                return;
            }
        }
        let max_grace_period = match grace_period(call) {
            Ok(period) => period,
            Err(error) => {
                let response = Response::BadRequest(error);
                self.effects.push(Effect::Respond { request, response });
                return;
            }
        };
        let config = DrainConfig {
            max_grace_period,
            mark_gone: Some(call.mark_gone.unwrap_or(false)),
            ..Default::default()
        };
        let drain = DrainInfo { state: DrainState::Draining, config, ..Default::default() };
        self.set_participation(Some(request), id, Participation::Drain(Box::new(drain)));
    }

    /// `DEACTIVATE_AGENT`: no more offers; what runs goes on.
    pub(crate) fn deactivate_agent(&mut self, request: RequestId, id: &AgentId) {
        match self.participation(id) {
            // Nothing would change: a draining agent is out of the offers already.
            Some(Participation::Deactivated | Participation::Drain(_)) => {
                self.effects.push(Effect::Respond { request, response: Response::Ok });
            }
            Some(Participation::Full) | None => {
                self.set_participation(Some(request), id, Participation::Deactivated);
            }
        }
    }

    /// `REACTIVATE_AGENT`: offers again, after a deactivation or a drain that is over.
    pub(crate) fn reactivate_agent(&mut self, request: RequestId, id: &AgentId) {
        let refusal = match self.participation(id) {
            Some(Participation::Full) | None => "Agent is not deactivated",
            Some(Participation::Drain(drain)) if drain.state == DrainState::Draining => {
                "Agent is still in the DRAINING state"
            }
            Some(Participation::Deactivated | Participation::Drain(_)) => {
                self.set_participation(Some(request), id, Participation::Full);
                return;
            }
        };
        let response = Response::BadRequest(refusal.to_owned());
        self.effects.push(Effect::Respond { request, response });
    }

    /// What operators decided about an agent that may come back or is here.
    fn participation(&self, id: &AgentId) -> Option<&Participation> {
        let agents = &self.agents;
        agents
            .registered
            .get(id)
            .map(|agent| &agent.participation)
            .or_else(|| agents.recovered.get(id).map(|agent| &agent.participation))
            .or_else(|| agents.unreachable.get(id).map(|agent| &agent.participation))
    }

    /// Writes what an operator decided, or that a drain is over.
    fn set_participation(
        &mut self,
        request: Option<RequestId>,
        id: &AgentId,
        participation: Participation,
    ) {
        let refusal = match (self.agents.transitions.get(id), self.known_agent_info(id)) {
            (_, None) => Response::BadRequest("Unknown agent".to_owned()),
            (Some(Transition::MarkingGone), Some(_)) => {
                Response::Conflict("Agent is currently being marked gone".to_owned())
            }
            (Some(_), Some(_)) => Response::ServiceUnavailable(format!(
                "Agent {} is in transition; try again",
                id.value
            )),
            (None, Some(info)) => {
                let kept = participation.clone();
                let standing = match self.agents.unreachable.get(id) {
                    Some(unreachable) => {
                        AgentStanding::Unreachable { since: unreachable.since, participation: kept }
                    }
                    None => AgentStanding::Admitted { participation: kept },
                };
                self.agents.transitions.insert(id.clone(), Transition::Updating);
                let change = agent_change(&AgentRecord { standing, info });
                let id = id.clone();
                self.persist(
                    vec![change],
                    AfterWrite::SetParticipation { id, participation, request },
                );
                return;
            }
        };
        if let Some(request) = request {
            self.effects.push(Effect::Respond { request, response: refusal });
        }
    }

    /// The registry says what an operator decided.
    pub(crate) fn participation_set(
        &mut self,
        id: &AgentId,
        participation: Participation,
        request: Option<RequestId>,
    ) {
        self.agents.transitions.remove(id);
        self.agents.unsettled.insert(id.clone());
        self.views.changed();
        if let Some(recovered) = self.agents.recovered.get_mut(id) {
            recovered.participation = participation.clone();
        }
        if let Some(unreachable) = self.agents.unreachable.get_mut(id) {
            unreachable.participation = participation.clone();
        }
        if let Some(agent) = self.agent_mut(id) {
            let before = std::mem::replace(&mut agent.participation, participation);
            let connected = agent.connected;
            match &agent.participation {
                Participation::Full => {
                    agent.drain_start_time = None;
                    if connected {
                        self.allocator.activate_agent(id);
                        self.release_inverse_offers(id);
                    }
                }
                Participation::Deactivated => self.deactivate_agent_offers(id),
                Participation::Drain(drain) if drain.state == DrainState::Draining => {
                    agent.drain_start_time = None;
                    if before == Participation::Full {
                        self.deactivate_agent_offers(id);
                    }
                    self.tell_drain(id);
                }
                Participation::Drain(_) => {}
            }
        }
        if let Some(request) = request {
            self.effects.push(Effect::Respond { request, response: Response::Ok });
        }
    }

    /// Tells an agent to drain, if it has to. One that drained before is told again when it returns:
    /// its own record of the drain may be lost.
    pub(crate) fn tell_drain(&mut self, id: &AgentId) {
        let now = self.now;
        let Some(agent) = self.agent_mut(id) else {
            return;
        };
        let Participation::Drain(drain) = &agent.participation else {
            return;
        };
        let config = drain.config.clone();
        agent.drain_start_time.get_or_insert(now);
        let pid = agent.pid.clone();
        // Newer agents tell their operations only in the update that follows a registration.
        let complete = !agent.capabilities.resource_provider;
        if complete {
            self.agents.unsettled.insert(id.clone());
        }
        let message = DrainSlaveMessage { config, ..Default::default() };
        self.send_to_agent(pid, MasterToAgent::DrainSlave(message));
    }

    /// Notes that a draining agent may have nothing left.
    pub(crate) fn look_at_drain(&mut self, id: &AgentId) {
        if self.agents.registered.get(id).is_some_and(|agent| agent.is_draining()) {
            self.agents.unsettled.insert(id.clone());
        }
    }

    /// Keeps a call for later if another change of its agent is being written; gives it back
    /// otherwise.
    pub(crate) fn defer_agent_call(
        &mut self,
        request: RequestId,
        call: master::Call,
    ) -> Option<master::Call> {
        if !self.must_wait(&call) {
            return Some(call);
        }
        if self.agents.deferred.len() < DEFERRED_CALLS_MAX {
            self.agents.deferred.push((request, Box::new(call)));
        } else {
            let text = "Too many calls about agents are under way".to_owned();
            let response = Response::ServiceUnavailable(text);
            self.effects.push(Effect::Respond { request, response });
        }
        None
    }

    /// Whether the call is about an agent of which something else is being written. An agent that is
    /// on its way out is refused by each call in its own words.
    fn must_wait(&self, call: &master::Call) -> bool {
        let about = call.drain_agent.as_ref().map(|it| &it.agent_id);
        let about = about.or(call.deactivate_agent.as_ref().map(|it| &it.agent_id));
        let about = about.or(call.reactivate_agent.as_ref().map(|it| &it.agent_id));
        let about = about.or(call.mark_agent_gone.as_ref().map(|it| &it.agent_id));
        match about.and_then(|id| self.agents.transitions.get(id)) {
            Some(Transition::Reregistering | Transition::Updating) => true,
            Some(Transition::MarkingUnreachable | Transition::Removing) => {
                call.mark_agent_gone.is_none()
            }
            Some(Transition::MarkingGone) | None => false,
        }
    }

    /// Takes the next step with agents that wait for one, unless a write about them is under way.
    pub(crate) fn settle_agents(&mut self) {
        for (request, call) in std::mem::take(&mut self.agents.deferred) {
            self.operator_call(request, *call, None);
        }
        for id in std::mem::take(&mut self.agents.unsettled) {
            if self.agents.transitions.contains_key(&id) {
                self.agents.unsettled.insert(id);
                continue;
            }
            let Some(agent) = self.agents.registered.get(&id) else {
                continue;
            };
            if self.maintenance.is_down(agent) {
                self.remove_agent_of_machine(&id);
            } else if agent.is_draining() && agent.is_drained() {
                self.finish_drain(&id);
            }
        }
    }

    /// Nothing is left on a draining agent.
    fn finish_drain(&mut self, id: &AgentId) {
        let Some(Participation::Drain(drain)) = self.participation(id).cloned() else {
            return;
        };
        if drain.config.mark_gone.unwrap_or(false) {
            self.mark_gone(None, id);
        } else {
            let drained = Box::new(DrainInfo { state: DrainState::Drained, ..*drain });
            self.set_participation(None, id, Participation::Drain(drained));
        }
    }
}

/// The bound on grace periods. In the v1 API it is the one field in the form of Google's durations.
fn grace_period(call: &DrainAgent) -> Result<Option<DurationInfo>, String> {
    let Some(period) = &call.max_grace_period else {
        return Ok(None);
    };
    let nanoseconds = period
        .seconds
        .unwrap_or(0)
        .checked_mul(NANOSECONDS_PER_SECOND)
        .and_then(|nanoseconds| nanoseconds.checked_add(i64::from(period.nanos.unwrap_or(0))))
        .filter(|nanoseconds| *nanoseconds >= 0)
        .ok_or("Expecting 'max_grace_period' to be between zero and 292 years")?;
    Ok(Some(DurationInfo { nanoseconds, ..Default::default() }))
}

const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;
