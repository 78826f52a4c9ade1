//! Messages of v0 scheduler drivers: `mesos.scheduler.Call`, and the older messages that say the same.

use protocol::internal::{
    DeactivateFrameworkMessage, FrameworkErrorMessage, FrameworkToExecutorMessage, KillTaskMessage,
    LaunchTasksMessage, ReconcileTasksMessage, ReregisterFrameworkMessage, ReviveOffersMessage,
    StatusUpdateAcknowledgementMessage,
};
use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation;
use protocol::mesos::{FrameworkId, FrameworkInfo};
use protocol::messages::{MasterToScheduler, SchedulerToMaster};
use protocol::pid::Pid;
use protocol::scheduler::call::{
    Accept, Acknowledge, Decline, Kill, Message, Reconcile, Revive, Type, reconcile,
};
use protocol::{scheduler, scheduler_v0};

use crate::Master;
use crate::effect::{Effect, Response};
use crate::event::Event;
use crate::framework::Peer;
use crate::framework::subscribe::Subscription;
use crate::metrics::Counter;
use crate::notice::Notice;
use crate::validation;

impl Master {
    pub(crate) fn driver_message(&mut self, from: Pid, message: SchedulerToMaster) {
        if subscribes(&message) && self.is_authenticating(&from) {
            self.wait_for_authentication(
                &from,
                Event::SchedulerMessage { from: from.clone(), message: Box::new(message) },
            );
            return;
        }
        match message {
            SchedulerToMaster::Authenticate(message) => self.authenticate(from, &message),
            SchedulerToMaster::Call(call) => self.driver_call(from, call),
            SchedulerToMaster::RegisterFramework(message) => {
                let mut info = message.framework;
                // A driver that registers anew wants a new id, whatever it sends.
                info.id = None;
                self.driver_subscribe(from, plain(info), false);
            }
            SchedulerToMaster::ReregisterFramework(ReregisterFrameworkMessage {
                framework,
                failover,
                ..
            }) => {
                if framework.id.as_ref().is_none_or(|id| id.value.is_empty()) {
                    let error = "Framework reregistered without a framework id".to_owned();
                    self.driver_error(from, error);
                    return;
                }
                self.driver_subscribe(from, plain(framework), failover);
            }
            SchedulerToMaster::UnregisterFramework(message) => {
                if self.owns(&from, &message.framework_id) {
                    self.metrics.add(Counter::MessagesUnregisterFramework);
                    self.remove_framework(&message.framework_id, None);
                }
            }
            SchedulerToMaster::DeactivateFramework(DeactivateFrameworkMessage {
                framework_id,
                ..
            }) => {
                self.metrics.add(Counter::MessagesDeactivateFramework);
                if self.owns(&from, &framework_id) {
                    self.deactivate_framework(&framework_id, true);
                }
            }
            SchedulerToMaster::ResourceRequest(_) => {
                self.metrics.add(Counter::MessagesResourceRequest);
            }
            SchedulerToMaster::LaunchTasks(message) => self.driver_launch(&from, message),
            SchedulerToMaster::ReviveOffers(ReviveOffersMessage {
                framework_id, roles, ..
            }) => {
                if self.owns(&from, &framework_id) {
                    self.revive(&framework_id, Revive { roles, ..Default::default() });
                }
            }
            SchedulerToMaster::KillTask(KillTaskMessage { framework_id, task_id, .. }) => {
                if self.owns(&from, &framework_id) {
                    self.kill(&framework_id, &Kill { task_id, ..Default::default() });
                }
            }
            SchedulerToMaster::StatusUpdateAcknowledgement(message) => {
                self.driver_acknowledge(&from, message);
            }
            SchedulerToMaster::ReconcileTasks(message) => self.driver_reconcile(&from, message),
            SchedulerToMaster::FrameworkToExecutor(message) => {
                self.driver_framework_message(&from, message);
            }
        }
    }

    /// Whether the driver at `from` speaks for a framework. What it says otherwise is dropped.
    fn owns(&mut self, from: &Pid, id: &FrameworkId) -> bool {
        let owns = self.frameworks.by_pid.get(from) == Some(id);
        if !owns {
            self.metrics.add(Counter::DroppedMessages);
        }
        owns
    }

    fn driver_call(&mut self, from: Pid, mut call: scheduler_v0::Call) {
        if let Some(subscribe) = call.subscribe.take() {
            let subscription = Subscription {
                info: subscribe.framework_info,
                suppressed_roles: subscribe.suppressed_roles.into_iter().collect(),
                offer_constraints: subscribe.offer_constraints,
            };
            let force = subscribe.force.unwrap_or(false);
            self.driver_subscribe(from, subscription, force);
            return;
        }
        let call = scheduler::Call {
            framework_id: call.framework_id,
            r#type: call.r#type,
            accept: call.accept,
            decline: call.decline,
            revive: call.revive,
            kill: call.kill,
            shutdown: call.shutdown,
            acknowledge: call.acknowledge,
            reconcile: call.reconcile,
            message: call.message,
            request: call.request,
            suppress: call.suppress,
            update_framework: call.update_framework,
            ..Default::default()
        };
        if validation::call::scheduler(&call, None).is_err() {
            self.metrics.add(Counter::InvalidCalls);
            return;
        }
        let Some(id) = call.framework_id.clone() else {
            return;
        };
        if !self.owns(&from, &id) {
            return;
        }
        let r#type = call.r#type.unwrap_or(Type::Unknown);
        self.count_framework(&id, |metrics| metrics.calls.add(r#type));
        let update = r#type == Type::UpdateFramework;
        let response = self.framework_call(&id, call);
        if update && let Response::BadRequest(error) = response {
            self.driver_error(from, error);
        }
    }

    fn driver_subscribe(&mut self, from: Pid, mut subscription: Subscription, force: bool) {
        if let Err(error) = self.authenticated_driver(&from, &mut subscription.info) {
            self.driver_error(from, error);
            return;
        }
        let named = subscription.info.id.clone().filter(|id| !id.value.is_empty());
        if let Some(known) = self.frameworks.by_pid.get(&from).cloned() {
            match named {
                None => {
                    // It is subscribed and did not get the answer.
                    self.notify(&known, Notice::Subscribed { again: false });
                    return;
                }
                Some(named) if named != known => {
                    // One driver speaks for one framework.
                    self.metrics.add(Counter::DroppedMessages);
                    return;
                }
                Some(_) => {}
            }
        }
        if let Err(error) = self.subscribe(&Peer::Driver(from.clone()), subscription, force) {
            self.driver_error(from, error);
        }
    }

    fn driver_launch(&mut self, from: &Pid, message: LaunchTasksMessage) {
        let LaunchTasksMessage { framework_id, tasks, filters, offer_ids, .. } = message;
        if !self.owns(from, &framework_id) {
            return;
        }
        if tasks.is_empty() {
            let call = Decline { offer_ids, filters: Some(filters), ..Default::default() };
            self.decline(&framework_id, call);
            return;
        }
        let launch = operation::Launch { task_infos: tasks, ..Default::default() };
        let operation = Operation {
            r#type: Some(operation::Type::Launch),
            launch: Some(launch),
            ..Default::default()
        };
        let call = Accept {
            offer_ids,
            operations: vec![operation],
            filters: Some(filters),
            ..Default::default()
        };
        self.accept(&framework_id, call);
    }

    fn driver_acknowledge(&mut self, from: &Pid, message: StatusUpdateAcknowledgementMessage) {
        let StatusUpdateAcknowledgementMessage { slave_id, framework_id, task_id, uuid, .. } =
            message;
        if !self.owns(from, &framework_id) || protocol::uuid::Uuid::from_slice(&uuid).is_err() {
            self.metrics.add(Counter::InvalidAcknowledgements);
            return;
        }
        let call = Acknowledge { agent_id: slave_id, task_id, uuid, ..Default::default() };
        self.acknowledge(&framework_id, call);
    }

    fn driver_reconcile(&mut self, from: &Pid, message: ReconcileTasksMessage) {
        if !self.owns(from, &message.framework_id) {
            return;
        }
        let tasks = message
            .statuses
            .into_iter()
            .map(|status| reconcile::Task {
                task_id: status.task_id,
                agent_id: status.agent_id,
                ..Default::default()
            })
            .collect();
        self.reconcile(&message.framework_id, &Reconcile { tasks, ..Default::default() });
    }

    fn driver_framework_message(&mut self, from: &Pid, message: FrameworkToExecutorMessage) {
        let FrameworkToExecutorMessage { slave_id, framework_id, executor_id, data, .. } = message;
        if !self.owns(from, &framework_id) {
            self.metrics.add(Counter::InvalidFrameworkToExecutor);
            return;
        }
        let call = Message { agent_id: slave_id, executor_id, data, ..Default::default() };
        self.framework_message(&framework_id, call);
    }

    fn driver_error(&mut self, to: Pid, message: String) {
        let message = FrameworkErrorMessage { message, ..Default::default() };
        self.send_to_driver(to, MasterToScheduler::FrameworkError(message));
    }

    fn send_to_driver(&mut self, to: Pid, message: MasterToScheduler) {
        self.effects.push(Effect::SendToDriver { to, message: Box::new(message) });
    }
}

/// Whether a message is one of those that a driver must be authenticated for.
fn subscribes(message: &SchedulerToMaster) -> bool {
    match message {
        SchedulerToMaster::Call(call) => call.subscribe.is_some(),
        SchedulerToMaster::RegisterFramework(_) | SchedulerToMaster::ReregisterFramework(_) => true,
        SchedulerToMaster::Authenticate(_)
        | SchedulerToMaster::UnregisterFramework(_)
        | SchedulerToMaster::DeactivateFramework(_)
        | SchedulerToMaster::ResourceRequest(_)
        | SchedulerToMaster::LaunchTasks(_)
        | SchedulerToMaster::ReviveOffers(_)
        | SchedulerToMaster::KillTask(_)
        | SchedulerToMaster::StatusUpdateAcknowledgement(_)
        | SchedulerToMaster::ReconcileTasks(_)
        | SchedulerToMaster::FrameworkToExecutor(_) => false,
    }
}

/// What drivers older than suppression and constraints say.
fn plain(info: FrameworkInfo) -> Subscription {
    Subscription {
        info,
        suppressed_roles: std::collections::BTreeSet::new(),
        offer_constraints: None,
    }
}
