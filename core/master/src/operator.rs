//! Operators: calls that change the cluster, and streams of what changes.

use std::sync::Arc;

use indexmap::IndexMap;
use protocol::master::call::Type;
use protocol::master::event::{
    AgentAdded, AgentRemoved, FrameworkAdded, FrameworkRemoved, FrameworkUpdated, TaskAdded,
    TaskUpdated,
};
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation;
use protocol::mesos::{AgentId, FrameworkId, FrameworkInfo, Resource, Task, TaskStatus};
use protocol::{Names, master};

use crate::Master;
use crate::durable::AfterWrite;
use crate::effect::{Effect, Response};
use crate::event::{ConnectionId, RequestId};
use crate::metrics::Counter;
use crate::registry::{AgentRecord, AgentStanding, agent_change};
use crate::timer::{Timer, TimerKey};
use crate::validation;
use crate::validation::operation::Asker;
use crate::view::{AgentView, FrameworkView};

/// Operators' event streams, oldest first, each with the timer of its next heartbeat.
pub(crate) type Subscribers = IndexMap<ConnectionId, TimerKey>;

impl Master {
    /// A call that changes something.
    pub(crate) fn operator_call(
        &mut self,
        request: RequestId,
        call: master::Call,
        principal: Option<&str>,
    ) {
        let missing = |field: &str| {
            Response::BadRequest(format!(
                "Failed to validate master::Call: Expecting '{field}' to be present"
            ))
        };
        let r#type = call.r#type.unwrap_or(Type::Unknown);
        let response = match r#type {
            Type::Teardown => match call.teardown {
                Some(call) => self.operator_teardown(&call.framework_id),
                None => missing("teardown"),
            },
            Type::MarkAgentGone => match call.mark_agent_gone {
                Some(call) => return self.mark_gone(request, &call.agent_id),
                None => missing("mark_agent_gone"),
            },
            Type::DeactivateAgent => match call.deactivate_agent {
                Some(call) => return self.set_deactivated(request, &call.agent_id, true),
                None => missing("deactivate_agent"),
            },
            Type::ReactivateAgent => match call.reactivate_agent {
                Some(call) => return self.set_deactivated(request, &call.agent_id, false),
                None => missing("reactivate_agent"),
            },
            Type::ReserveResources => match call.reserve_resources {
                Some(call) => {
                    let reserve = operation::Reserve {
                        source: call.source,
                        resources: call.resources,
                        ..Default::default()
                    };
                    let operation = Operation {
                        r#type: Some(operation::Type::Reserve),
                        reserve: Some(reserve),
                        ..Default::default()
                    };
                    self.operator_operation(&call.agent_id, operation, principal)
                }
                None => missing("reserve_resources"),
            },
            Type::UnreserveResources => match call.unreserve_resources {
                Some(call) => {
                    let unreserve =
                        operation::Unreserve { resources: call.resources, ..Default::default() };
                    let operation = Operation {
                        r#type: Some(operation::Type::Unreserve),
                        unreserve: Some(unreserve),
                        ..Default::default()
                    };
                    self.operator_operation(&call.agent_id, operation, principal)
                }
                None => missing("unreserve_resources"),
            },
            Type::CreateVolumes => match call.create_volumes {
                Some(call) => {
                    let create = operation::Create { volumes: call.volumes, ..Default::default() };
                    let operation = Operation {
                        r#type: Some(operation::Type::Create),
                        create: Some(create),
                        ..Default::default()
                    };
                    self.operator_operation(&call.agent_id, operation, principal)
                }
                None => missing("create_volumes"),
            },
            Type::DestroyVolumes => match call.destroy_volumes {
                Some(call) => {
                    let destroy =
                        operation::Destroy { volumes: call.volumes, ..Default::default() };
                    let operation = Operation {
                        r#type: Some(operation::Type::Destroy),
                        destroy: Some(destroy),
                        ..Default::default()
                    };
                    self.operator_operation(&call.agent_id, operation, principal)
                }
                None => missing("destroy_volumes"),
            },
            Type::UpdateWeights
            | Type::UpdateQuota
            | Type::SetQuota
            | Type::RemoveQuota
            | Type::UpdateMaintenanceSchedule
            | Type::StartMaintenance
            | Type::StopMaintenance
            | Type::DrainAgent
            | Type::GrowVolume
            | Type::ShrinkVolume
            | Type::SetLoggingLevel => Response::NotImplemented(format!(
                "{} is not implemented yet",
                r#type.name(Names::V1)
            )),
            Type::GetHealth
            | Type::GetFlags
            | Type::GetVersion
            | Type::GetMetrics
            | Type::GetLoggingLevel
            | Type::ListFiles
            | Type::ReadFile
            | Type::GetState
            | Type::GetAgents
            | Type::GetFrameworks
            | Type::GetExecutors
            | Type::GetOperations
            | Type::GetTasks
            | Type::GetRoles
            | Type::GetWeights
            | Type::GetMaster
            | Type::GetMaintenanceStatus
            | Type::GetMaintenanceSchedule
            | Type::GetQuota
            | Type::Subscribe
            | Type::Unknown => {
                Response::NotImplemented(format!("{} changes nothing", r#type.name(Names::V1)))
            }
        };
        self.effects.push(Effect::Respond { request, response });
    }

    fn operator_teardown(&mut self, id: &FrameworkId) -> Response {
        if !self.frameworks.registered.contains_key(id) {
            return Response::BadRequest("No framework found with specified ID".to_owned());
        }
        self.metrics.add(Counter::MessagesUnregisterFramework);
        self.remove_framework(id);
        Response::Ok
    }

    /// `DEACTIVATE_AGENT` and `REACTIVATE_AGENT`.
    fn set_deactivated(&mut self, request: RequestId, id: &AgentId, deactivated: bool) {
        let info = self
            .agents
            .registered
            .get(id)
            .map(|agent| agent.info.clone())
            .or_else(|| self.agents.recovered.get(id).map(|recovered| recovered.info.clone()));
        let response = match info {
            None => Response::NotFound(format!("Agent {} is not registered", id.value)),
            Some(_) if self.agents.transitions.contains_key(id) => Response::ServiceUnavailable(
                format!("Agent {} is in transition; try again", id.value),
            ),
            Some(info) => {
                let change = agent_change(&AgentRecord {
                    standing: AgentStanding::Admitted { deactivated },
                    info: (*info).clone(),
                });
                self.agents.transitions.insert(id.clone(), crate::agent::Transition::Updating);
                let then = AfterWrite::SetDeactivated { id: id.clone(), deactivated, request };
                self.persist(vec![change], then);
                return;
            }
        };
        self.effects.push(Effect::Respond { request, response });
    }

    /// The registry says whether the agent is out of the offers.
    pub(crate) fn deactivation_set(&mut self, id: &AgentId, deactivated: bool, request: RequestId) {
        self.agents.transitions.remove(id);
        if let Some(recovered) = self.agents.recovered.get_mut(id) {
            recovered.deactivated = deactivated;
        }
        if let Some(agent) = self.agent_mut(id) {
            agent.deactivated = deactivated;
            let connected = agent.connected;
            if deactivated {
                self.deactivate_agent_offers(id);
            } else if connected {
                self.allocator.activate_agent(id);
            }
        }
        self.effects.push(Effect::Respond { request, response: Response::Ok });
    }

    /// A reservation or volume made by an operator. Offers of the agent make room as needed.
    fn operator_operation(
        &mut self,
        id: &AgentId,
        mut operation: Operation,
        principal: Option<&str>,
    ) -> Response {
        if let Err(error) = normalize(&mut operation) {
            return Response::BadRequest(error);
        }
        let Some(agent) = self.agents.registered.get(id) else {
            return Response::BadRequest("No agent found with specified ID".to_owned());
        };
        let asker = Asker { framework: None, principal };
        if let Err(error) = validation::operation::any(&operation, agent, asker) {
            return Response::BadRequest(format!("Invalid operation: {error}"));
        }
        let conversions = match resources::conversions(&operation) {
            Ok(conversions) => conversions,
            Err(error) => return Response::BadRequest(validation::with_causes(&error)),
        };
        let mut after = agent.total.clone();
        let mut needed = resources::Resources::new();
        for conversion in &conversions {
            if let Err(error) = after.apply(conversion) {
                return Response::Conflict(validation::with_causes(&error));
            }
            needed += &conversion.consumed;
        }
        let offers: Vec<_> = agent.offers.iter().cloned().collect();
        for offer in offers {
            let available = self.allocator.available(id).unwrap_or_default();
            if available.contains(&needed) {
                break;
            }
            self.rescind_offer(&offer);
        }
        if !self.allocator.available(id).unwrap_or_default().contains(&needed) {
            return Response::Conflict(format!("Resources {needed} are not available"));
        }
        for conversion in &conversions {
            let updated =
                self.allocator.update_available(id, &conversion.consumed, &conversion.converted);
            if updated.is_err() {
                return Response::Conflict("Resources are not available".to_owned());
            }
        }
        self.apply_operation(id, None, operation);
        Response::Accepted
    }

    /// An operator's `SUBSCRIBE`.
    pub(crate) fn operator_subscribe(&mut self, connection: ConnectionId) {
        while self.subscribers.len() >= self.config.max_operator_event_stream_subscribers.max(1) {
            if let Some((oldest, timer)) = self.subscribers.shift_remove_index(0) {
                self.timers.cancel(timer);
                self.effects.push(Effect::CloseConnection { connection: oldest });
            }
        }
        let snapshot = self.snapshot();
        self.effects.push(Effect::AcceptSubscriber {
            connection,
            snapshot,
            heartbeat_interval: self.config.heartbeat_interval,
        });
        self.subscriber_heartbeat_send(connection);
    }

    /// The time for an operator's next heartbeat has come.
    pub(crate) fn subscriber_heartbeat(&mut self, connection: ConnectionId) {
        if self.subscribers.contains_key(&connection) {
            self.subscriber_heartbeat_send(connection);
        }
    }

    fn subscriber_heartbeat_send(&mut self, connection: ConnectionId) {
        let at = self.now + self.config.heartbeat_interval;
        let timer = self.timers.start(at, Timer::SubscriberHeartbeat(connection));
        self.subscribers.insert(connection, timer);
        let event =
            master::Event { r#type: Some(master::event::Type::Heartbeat), ..Default::default() };
        self.effects.push(Effect::SendToSubscribers {
            connections: vec![connection],
            event: Arc::new(event),
        });
    }

    pub(crate) fn remove_subscriber(&mut self, connection: ConnectionId) {
        if let Some(timer) = self.subscribers.shift_remove(&connection) {
            self.timers.cancel(timer);
        }
    }

    /// Sends an event to every operator's stream; it is made only when there is one.
    fn publish(&mut self, event: impl FnOnce(&Self) -> Option<master::Event>) {
        if self.subscribers.is_empty() {
            return;
        }
        if let Some(event) = event(self) {
            let connections = self.subscribers.keys().copied().collect();
            self.effects.push(Effect::SendToSubscribers { connections, event: Arc::new(event) });
        }
    }

    pub(crate) fn publish_task_added(&mut self, task: &Arc<Task>) {
        self.publish(|_| {
            Some(master::Event {
                r#type: Some(master::event::Type::TaskAdded),
                task_added: Some(Box::new(TaskAdded {
                    task: (**task).clone(),
                    ..Default::default()
                })),
                ..Default::default()
            })
        });
    }

    pub(crate) fn publish_task_updated(&mut self, task: &Arc<Task>, status: &TaskStatus) {
        self.publish(|_| {
            Some(master::Event {
                r#type: Some(master::event::Type::TaskUpdated),
                task_updated: Some(Box::new(TaskUpdated {
                    framework_id: task.framework_id.clone(),
                    status: status.clone(),
                    state: task.state,
                    ..Default::default()
                })),
                ..Default::default()
            })
        });
    }

    pub(crate) fn publish_agent_added(&mut self, id: &AgentId) {
        self.publish(|master| {
            let agent = master.agents.registered.get(id)?;
            let view = crate::snapshot::agent_view(agent, &master.offers);
            Some(master::Event {
                r#type: Some(master::event::Type::AgentAdded),
                agent_added: Some(Box::new(AgentAdded {
                    agent: view.to_response(),
                    ..Default::default()
                })),
                ..Default::default()
            })
        });
    }

    pub(crate) fn publish_agent_removed(&mut self, id: &AgentId) {
        self.publish(|_| {
            Some(master::Event {
                r#type: Some(master::event::Type::AgentRemoved),
                agent_removed: Some(AgentRemoved { agent_id: id.clone(), ..Default::default() }),
                ..Default::default()
            })
        });
    }

    pub(crate) fn publish_framework_added(&mut self, id: &FrameworkId) {
        self.publish(|master| {
            Some(master::Event {
                r#type: Some(master::event::Type::FrameworkAdded),
                framework_added: Some(Box::new(FrameworkAdded {
                    framework: master.event_framework(id)?,
                    ..Default::default()
                })),
                ..Default::default()
            })
        });
    }

    pub(crate) fn publish_framework_updated(&mut self, id: &FrameworkId) {
        self.publish(|master| {
            Some(master::Event {
                r#type: Some(master::event::Type::FrameworkUpdated),
                framework_updated: Some(Box::new(FrameworkUpdated {
                    framework: master.event_framework(id)?,
                    ..Default::default()
                })),
                ..Default::default()
            })
        });
    }

    /// A framework as events show it: without offers, resources and offer constraints.
    fn event_framework(
        &self,
        id: &FrameworkId,
    ) -> Option<master::response::get_frameworks::Framework> {
        let framework = self.frameworks.registered.get(id)?;
        let view = crate::snapshot::framework_view(framework, &[], &[], &[], None);
        let response = FrameworkView { offer_constraints: None, ..view }.to_response();
        Some(response)
    }

    pub(crate) fn publish_framework_removed(&mut self, info: &Arc<FrameworkInfo>) {
        self.publish(|_| {
            Some(master::Event {
                r#type: Some(master::event::Type::FrameworkRemoved),
                framework_removed: Some(Box::new(FrameworkRemoved {
                    framework_info: (**info).clone(),
                    ..Default::default()
                })),
                ..Default::default()
            })
        });
    }
}

/// Brings the resources of an operator's operation into the form used inside.
fn normalize(operation: &mut Operation) -> Result<(), String> {
    let lists: [Option<&mut Vec<Resource>>; 5] = match operation {
        Operation { reserve, unreserve, create, destroy, .. } => {
            let (source, target) = match reserve {
                Some(reserve) => (Some(&mut reserve.source), Some(&mut reserve.resources)),
                None => (None, None),
            };
            [
                source,
                target,
                unreserve.as_mut().map(|it| &mut it.resources),
                create.as_mut().map(|it| &mut it.volumes),
                destroy.as_mut().map(|it| &mut it.volumes),
            ]
        }
    };
    for resource in lists.into_iter().flatten().flatten() {
        *resource = resources::Resource::from_wire(resource)
            .map_err(|error| validation::with_causes(&error))?
            .to_wire();
    }
    Ok(())
}

impl AgentView {
    /// The agent as `GET_AGENTS`, `GET_STATE` and `AGENT_ADDED` show it.
    #[must_use]
    pub fn to_response(&self) -> master::response::get_agents::Agent {
        master::response::get_agents::Agent {
            agent_info: (*self.info).clone(),
            active: self.active,
            deactivated: Some(self.deactivated),
            version: self.version.clone(),
            pid: Some(self.pid.to_string()),
            registered_time: Some(time_info(self.registered_time)),
            reregistered_time: self.reregistered_time.map(time_info),
            total_resources: self.total_resources.to_wire_endpoint(),
            allocated_resources: self.used_resources.to_wire_endpoint(),
            offered_resources: self.offered_resources.to_wire_endpoint(),
            capabilities: self.capabilities.clone(),
            ..Default::default()
        }
    }
}

impl FrameworkView {
    /// The framework as `GET_FRAMEWORKS`, `GET_STATE` and the framework events show it.
    #[must_use]
    pub fn to_response(&self) -> master::response::get_frameworks::Framework {
        master::response::get_frameworks::Framework {
            framework_info: (*self.info).clone(),
            active: self.active,
            connected: self.connected,
            recovered: self.recovered,
            registered_time: Some(time_info(self.registered_time)),
            reregistered_time: self.reregistered_time.map(time_info),
            unregistered_time: self.unregistered_time.map(time_info),
            offers: self.offers.iter().map(|offer| (**offer).clone()).collect(),
            allocated_resources: self.used_resources.to_wire_endpoint(),
            offered_resources: self.offered_resources.to_wire_endpoint(),
            offer_constraints: self.offer_constraints.as_ref().map(|it| (**it).clone()),
            ..Default::default()
        }
    }
}

fn time_info(time: protocol::time::Timestamp) -> protocol::mesos::TimeInfo {
    protocol::mesos::TimeInfo { nanoseconds: time.as_nanos(), ..Default::default() }
}
