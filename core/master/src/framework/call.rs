//! The calls of a framework, one handler each. The v0 driver's messages end here too.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::internal::{FrameworkToExecutorMessage, KillTaskMessage, ShutdownExecutorMessage};
use protocol::mesos::FrameworkId;
use protocol::messages::MasterToAgent;
use protocol::scheduler;
use protocol::scheduler::call::{
    Kill, Message, Reconcile, Revive, Shutdown, Suppress, Type, UpdateFramework, reconcile,
};

use crate::Master;
use crate::effect::{Effect, Response};
use crate::event::RequestId;
use crate::framework::subscribe::Subscription;
use crate::metrics::Counter;
use crate::registry::FrameworkStanding;
use crate::validation;

impl Master {
    /// Any call but `SUBSCRIBE` over HTTP.
    ///
    /// `TEARDOWN` is answered when the removal is durable, as an operator's is: else the next master
    /// might know the framework, and run its tasks for as long as it would wait for it.
    pub(crate) fn scheduler_call(
        &mut self,
        request: RequestId,
        stream_id: Option<&str>,
        call: scheduler::Call,
        principal: Option<&str>,
    ) {
        let response = match self.calling_framework(stream_id, &call, principal) {
            Ok(id) if call.r#type == Some(Type::Teardown) => {
                self.metrics.add(Counter::MessagesUnregisterFramework);
                self.remove_framework(&id, Some((request, Response::Accepted)));
                return;
            }
            Ok(id) => self.framework_call(&id, call),
            Err(response) => response,
        };
        self.effects.push(Effect::Respond { request, response });
    }

    /// Who calls, if it may.
    fn calling_framework(
        &mut self,
        stream_id: Option<&str>,
        call: &scheduler::Call,
        principal: Option<&str>,
    ) -> Result<Arc<FrameworkId>, Response> {
        if let Err(error) = validation::call::scheduler(call, principal) {
            self.metrics.add(Counter::InvalidCalls);
            let error = format!("Failed to validate scheduler::Call: {error}");
            return Err(Response::BadRequest(error));
        }
        let framework =
            call.framework_id.as_ref().and_then(|id| self.frameworks.registered.get(id));
        let Some(framework) = framework else {
            return Err(Response::BadRequest("Framework cannot be found".to_owned()));
        };
        let id = framework.id.clone();
        let r#type = call.r#type.unwrap_or(Type::Unknown);
        self.count_framework(&id, |metrics| metrics.calls.add(r#type));
        let framework = &self.frameworks.registered[&id];
        if let Some(principal) = principal {
            let expected = framework.info.principal.as_deref().unwrap_or_default();
            if principal != expected {
                return Err(Response::BadRequest(format!(
                    "Authenticated principal '{principal}' does not match principal '{expected}' \
                     set in `FrameworkInfo`"
                )));
            }
        }
        if !framework.connected() {
            return Err(Response::Forbidden("Framework is not subscribed".to_owned()));
        }
        let Some((_, expected)) = framework.stream() else {
            return Err(Response::Forbidden("Framework is not connected via HTTP".to_owned()));
        };
        let Some(stream_id) = stream_id else {
            return Err(Response::BadRequest(
                "All non-subscribe calls should include the 'Mesos-Stream-Id' header".to_owned(),
            ));
        };
        if expected != *stream_id {
            return Err(Response::BadRequest(format!(
                "The stream ID '{stream_id}' included in this request didn't match the stream ID \
                 currently associated with framework ID {}",
                framework.id.value
            )));
        }
        Ok(id)
    }

    /// A call of a framework that is connected and allowed to make it.
    pub(crate) fn framework_call(&mut self, id: &FrameworkId, call: scheduler::Call) -> Response {
        match call.r#type.unwrap_or(Type::Unknown) {
            Type::Teardown => {
                self.metrics.add(Counter::MessagesUnregisterFramework);
                self.remove_framework(id, None);
            }
            Type::Accept => self.accept(id, call.accept.unwrap_or_default()),
            Type::Decline => self.decline(id, call.decline.unwrap_or_default()),
            Type::Revive => self.revive(id, call.revive.unwrap_or_default()),
            Type::Suppress => self.suppress(id, call.suppress.unwrap_or_default()),
            Type::Kill => self.kill(id, &call.kill.unwrap_or_default()),
            Type::Shutdown => self.shutdown(id, call.shutdown.unwrap_or_default()),
            Type::Acknowledge => self.acknowledge(id, call.acknowledge.unwrap_or_default()),
            Type::AcknowledgeOperationStatus => self
                .acknowledge_operation(id, call.acknowledge_operation_status.unwrap_or_default()),
            Type::Reconcile => self.reconcile(id, &call.reconcile.unwrap_or_default()),
            Type::ReconcileOperations => {
                self.reconcile_operations(id, call.reconcile_operations.unwrap_or_default());
            }
            Type::Message => self.framework_message(id, call.message.unwrap_or_default()),
            // The allocator gives what is fair, not what is asked for.
            Type::Request => self.metrics.add(Counter::MessagesResourceRequest),
            Type::UpdateFramework => {
                return self.update_framework_call(
                    id,
                    call.update_framework.map(|it| *it).unwrap_or_default(),
                );
            }
            Type::AcceptInverseOffers => {
                let call = call.accept_inverse_offers.unwrap_or_default();
                let filters = call.filters.as_ref();
                self.answer_inverse_offers(id, &call.inverse_offer_ids, filters, true);
            }
            Type::DeclineInverseOffers => {
                let call = call.decline_inverse_offers.unwrap_or_default();
                let filters = call.filters.as_ref();
                self.answer_inverse_offers(id, &call.inverse_offer_ids, filters, false);
            }
            Type::Subscribe | Type::Unknown => return Response::NotImplemented(String::new()),
        }
        Response::Accepted
    }

    /// `REVIVE`: filters and suppression end.
    pub(crate) fn revive(&mut self, id: &FrameworkId, call: Revive) {
        self.metrics.add(Counter::MessagesReviveOffers);
        if let Some(roles) = self.known_roles(id, call.roles)
            && let Some(framework) = self.framework_mut(id)
        {
            if roles.is_empty() {
                framework.suppressed_roles.clear();
            } else {
                framework.suppressed_roles.retain(|role| !roles.contains(role));
            }
            self.allocator.revive_offers(id, &roles);
        }
    }

    /// `SUPPRESS`: no offers until `REVIVE`.
    pub(crate) fn suppress(&mut self, id: &FrameworkId, call: Suppress) {
        self.metrics.add(Counter::MessagesSuppressOffers);
        if let Some(roles) = self.known_roles(id, call.roles)
            && let Some(framework) = self.framework_mut(id)
        {
            let suppressed = if roles.is_empty() { framework.roles.clone() } else { roles.clone() };
            framework.suppressed_roles.extend(suppressed);
            self.allocator.suppress_offers(id, &roles);
        }
    }

    /// The roles named in a call, none if the framework has not got them all: then the whole call is
    /// dropped.
    fn known_roles(&mut self, id: &FrameworkId, roles: Vec<String>) -> Option<BTreeSet<String>> {
        let roles: BTreeSet<String> = roles.into_iter().collect();
        let known = self
            .frameworks
            .registered
            .get(id)
            .is_some_and(|framework| roles.is_subset(&framework.roles));
        if !known {
            self.metrics.add(Counter::DroppedMessages);
        }
        known.then_some(roles)
    }

    /// `KILL`. The wish is remembered for as long as the agent is away.
    pub(crate) fn kill(&mut self, id: &FrameworkId, call: &Kill) {
        self.metrics.add(Counter::MessagesKillTask);
        let Some(framework) = self.frameworks.registered.get(id) else {
            return;
        };
        let Some(task) = framework.tasks.get(&call.task_id) else {
            let question = Reconcile {
                tasks: vec![reconcile::Task {
                    task_id: call.task_id.clone(),
                    agent_id: call.agent_id.clone(),
                    ..Default::default()
                }],
                ..Default::default()
            };
            self.reconcile(id, &question);
            return;
        };
        let agent_id = (*task.agent_id).clone();
        if call.agent_id.as_ref().is_some_and(|named| *named != agent_id) {
            self.metrics.add(Counter::DroppedMessages);
            return;
        }
        let Some(agent) = self.agents.registered.get_mut(&agent_id) else {
            return;
        };
        agent.killed.insert((id.clone(), call.task_id.clone()));
        if !agent.connected {
            return;
        }
        let pid = agent.pid.clone();
        self.send_to_agent(
            pid,
            MasterToAgent::KillTask(KillTaskMessage {
                framework_id: id.clone(),
                task_id: call.task_id.clone(),
                kill_policy: call.kill_policy.clone(),
                ..Default::default()
            }),
        );
    }

    /// `SHUTDOWN` of an executor.
    fn shutdown(&mut self, id: &FrameworkId, call: Shutdown) {
        let Some(agent) = self.agents.registered.get(&call.agent_id) else {
            self.metrics.add(Counter::DroppedMessages);
            return;
        };
        let pid = agent.pid.clone();
        self.send_to_agent(
            pid,
            MasterToAgent::ShutdownExecutor(ShutdownExecutorMessage {
                executor_id: Some(call.executor_id),
                framework_id: Some(id.clone()),
                ..Default::default()
            }),
        );
    }

    /// `MESSAGE` to an executor.
    pub(crate) fn framework_message(&mut self, id: &FrameworkId, call: Message) {
        self.metrics.add(Counter::MessagesFrameworkToExecutor);
        let agent = self.agents.registered.get(&call.agent_id).filter(|agent| agent.connected);
        let Some(agent) = agent else {
            self.metrics.add(Counter::InvalidFrameworkToExecutor);
            return;
        };
        let pid = agent.pid.clone();
        self.send_to_agent(
            pid,
            MasterToAgent::FrameworkToExecutor(FrameworkToExecutorMessage {
                slave_id: call.agent_id,
                framework_id: id.clone(),
                executor_id: call.executor_id,
                data: call.data,
                ..Default::default()
            }),
        );
        self.metrics.add(Counter::ValidFrameworkToExecutor);
    }

    /// `UPDATE_FRAMEWORK`: all or nothing.
    fn update_framework_call(&mut self, id: &FrameworkId, call: UpdateFramework) -> Response {
        let subscription = Subscription {
            info: call.framework_info,
            suppressed_roles: call.suppressed_roles.into_iter().collect(),
            offer_constraints: call.offer_constraints,
        };
        if let Err(error) = self.validate_framework(&subscription.info) {
            return Response::BadRequest(format!("Supplied FrameworkInfo is not valid: {error}"));
        }
        let Some(framework) = self.frameworks.registered.get(id) else {
            return Response::BadRequest("Framework cannot be found".to_owned());
        };
        if let Err(error) = validation::framework::update(&framework.info, &subscription.info) {
            return Response::BadRequest(format!("FrameworkInfo update is not valid: {error}"));
        }
        let limits = self.config.constraint_limits;
        let constraints = match validation::framework::subscription(&subscription, limits) {
            Ok(constraints) => constraints,
            Err(error) => {
                let error = format!("'UpdateFramework' call is not valid: {error}");
                return Response::BadRequest(error);
            }
        };
        let changed = *framework.info != subscription.info;
        self.update_framework(id, subscription, constraints);
        if changed {
            self.record_framework(id, FrameworkStanding::Subscribed);
            self.broadcast_framework(id);
        }
        Response::Ok
    }
}
