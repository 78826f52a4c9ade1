//! What becomes of a master's effects, and what must hold of them at the moment when they leave it.

use std::sync::Arc;

use master::registry::AgentStanding;
use master::{ConnectionId, Effect, RequestId};
use protocol::mesos::{TaskState, task_status};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use protocol::{internal, scheduler};

use crate::happening::SchedulerEvent;
use crate::settings::Sabotage;
use crate::world::World;
use crate::world::master_host::Request;
use crate::world::scheduler::Stream;

impl World {
    pub(super) fn perform_master(&mut self, master: usize, effects: Vec<Effect>) {
        let life = self.masters[master].life;
        for effect in effects {
            let host = &self.masters[master];
            if host.life == life && host.core.is_some() {
                self.perform_master_effect(master, effect);
            }
        }
    }

    fn perform_master_effect(&mut self, master: usize, effect: Effect) {
        match effect {
            Effect::Persist { write, changes } => self.persist(master, write, changes),
            Effect::SendToAgent { to, message } => self.master_sends(master, &to, message),
            Effect::SendToScheduler { connection, event } => {
                let event = self.corrupted(event);
                self.check_told(&event);
                self.check_offered(master, connection, &event);
                if self.sabotage_event(master, connection, &event) {
                    return;
                }
                self.send_on_stream(master, connection, SchedulerEvent::Event(event));
            }
            Effect::SendToDriver { to, message } => {
                self.violate(format!("the master sends {} to {to}: no driver", message.name()));
            }
            Effect::SendAuthentication { to, message, .. } => {
                self.violate(format!("the master sends {} to {to}: nobody asked", message.name()));
            }
            Effect::Link { pid } => {
                let agent = self.agent_at(&pid);
                self.masters[master].linked.insert(pid);
                if let Some(agent) = agent.filter(|agent| self.agents[*agent].core.is_none()) {
                    self.report_broken_link(master, agent);
                }
            }
            Effect::AcceptSubscription { request, connection, stream_id } => {
                if let Some(request) = self.masters[master].requests.remove(&request) {
                    let Request { scheduler, life, attempt, .. } = request;
                    let stream = Stream { scheduler, life, attempt, is_broken: false };
                    self.masters[master].streams.insert(connection, stream);
                    let accepted = SchedulerEvent::Accepted(stream_id.to_string());
                    self.send_on_stream(master, connection, accepted);
                }
            }
            Effect::CloseConnection { connection } => {
                self.send_on_stream(master, connection, SchedulerEvent::Closed);
                self.masters[master].streams.remove(&connection);
            }
            // There are no operators.
            Effect::AcceptSubscriber { .. } | Effect::SendToSubscribers { .. } => {}
            Effect::Respond { request, response } => self.respond(master, request, &response),
            Effect::Abort { reason } if self.settings.policy.recovery_removal_limit < 1.0 => {
                self.statistics.fault("master gave up");
                self.stop_master(master, &reason);
            }
            Effect::Abort { reason } => {
                self.violate(format!("the master gives up: {reason}"));
            }
        }
    }

    fn respond(&mut self, master: usize, request: RequestId, response: &master::Response) {
        if self.operator.is_asking(request) {
            self.operator_hears(master, request, response);
            return;
        }
        let Some(request) = self.masters[master].requests.remove(&request) else {
            self.violate("a request is answered twice".to_owned());
            return;
        };
        let status = response.status();
        if status == 200 || status == 202 {
            self.check_torn_down(request.teardown.as_ref());
            return;
        }
        let stream = stream_of(&request);
        let event = SchedulerEvent::Refused {
            status,
            text: format!("{response:?}"),
            tasks: request.tasks,
            was_subscribe: request.was_subscribe,
        };
        self.send_to_scheduler(master, &stream, event);
    }

    fn master_sends(&mut self, master: usize, to: &Pid, message: Box<MasterToAgent>) {
        let Some(agent) = self.agent_at(to) else {
            self.violate(format!("the master sends {} to {to}: nobody", message.name()));
            return;
        };
        self.check_sent_to_agent(master, agent, &message);
        if self.sabotaged(Sabotage::ForgetOperations)
            && matches!(*message, MasterToAgent::ApplyOperation(_))
        {
            return;
        }
        if matches!(*message, MasterToAgent::Shutdown(_)) {
            self.ledger.shut_down.insert(agent);
        }
        let copy = self.sabotaged(Sabotage::LaunchTwice).then(|| renamed(&message)).flatten();
        self.send_to_agent(master, agent, message);
        if let Some(copy) = copy {
            self.send_to_agent(master, agent, Box::new(copy));
        }
    }

    /// Invariant 5: what claims durability follows the write.
    fn check_sent_to_agent(&mut self, master: usize, agent: usize, message: &MasterToAgent) {
        let admitted = match message {
            MasterToAgent::SlaveRegistered(message) => Some(&message.slave_id),
            MasterToAgent::SlaveReregistered(message) => Some(&message.slave_id),
            MasterToAgent::RunTask(message) => {
                let task = message.task.task_id.clone();
                self.ledger.hosts.insert(task.clone(), agent);
                self.check_started(&task);
                None
            }
            MasterToAgent::ShutdownFramework(message) => {
                let id = &message.framework_id;
                if !self.registry.is_removed(id) {
                    let text = format!(
                        "invariant 5: agent {agent} is to shut down framework {}, which the registry \
                         does not call removed",
                        id.value
                    );
                    self.violate(text);
                }
                self.ledger.removed.insert(message.framework_id.clone());
                None
            }
            MasterToAgent::RunTaskGroup(_)
            | MasterToAgent::KillTask(_)
            | MasterToAgent::ShutdownExecutor(_)
            | MasterToAgent::FrameworkToExecutor(_)
            | MasterToAgent::UpdateFramework(_)
            | MasterToAgent::CheckpointResources(_)
            | MasterToAgent::ApplyOperation(_)
            | MasterToAgent::ReconcileOperations(_)
            | MasterToAgent::StatusUpdateAcknowledgement(_)
            | MasterToAgent::AcknowledgeOperationStatus(_)
            | MasterToAgent::DrainSlave(_)
            | MasterToAgent::Shutdown(_)
            | MasterToAgent::PingSlave(_)
            | MasterToAgent::AuthenticationError(_) => None,
        };
        let Some(id) = admitted else { return };
        // Who does not know yet that another leads may repeat what was so.
        let standing = self.registry.standing(id);
        let is_admitted = if self.is_in_office(master) {
            matches!(standing, Some(AgentStanding::Admitted { .. }))
        } else {
            self.registry.was_admitted(id)
        };
        if !is_admitted {
            let name = message.name();
            self.violate(format!(
                "invariant 5: {name} for {} goes to agent {agent} while the registry says {standing:?}",
                id.value
            ));
        }
    }

    /// Invariant 5: an agent is called unreachable only once that is durable.
    fn check_told(&mut self, event: &scheduler::Event) {
        let Some(update) = &event.update else { return };
        let status = &update.status;
        let is_verdict = status.state == TaskState::TaskUnreachable
            && status.source == Some(task_status::Source::SourceMaster);
        let Some(agent) = status.agent_id.as_ref().filter(|_| is_verdict) else { return };
        self.statistics.tasks_unreachable += 1;
        if !self.registry.may_be_called_unreachable(agent) {
            let (task, agent) = (&status.task_id.value, &agent.value);
            self.violate(format!(
                "invariant 5: task {task} is called unreachable and agent {agent} never was"
            ));
        }
    }

    /// Does to an event what sabotage wants; whether the event is swallowed.
    fn sabotage_event(
        &mut self,
        master: usize,
        connection: ConnectionId,
        event: &scheduler::Event,
    ) -> bool {
        if event.update_operation_status.is_some() {
            return self.sabotaged(Sabotage::SwallowOperationUpdates);
        }
        let Some(status) = event.update.as_ref().map(|update| &update.status) else { return false };
        let (Some(uuid), Some(agent)) = (&status.uuid, &status.agent_id) else { return false };
        let ends = matches!(status.state, TaskState::TaskFinished | TaskState::TaskFailed);
        if ends && self.sabotaged(Sabotage::RepeatOldUpdates) {
            let mut old = event.clone();
            if let Some(update) = &mut old.update {
                update.status.state = TaskState::TaskRunning;
                update.status.uuid = None;
            }
            self.send_on_stream(master, connection, SchedulerEvent::Event(Arc::new(event.clone())));
            self.send_on_stream(master, connection, SchedulerEvent::Event(Arc::new(old)));
            return true;
        }
        if !ends || !self.sabotaged(Sabotage::SwallowTerminalUpdates) {
            return false;
        }
        let owner = self.ledger.owners.get(&status.task_id).copied();
        let framework = owner.and_then(|owner| self.schedulers[owner.scheduler].info.id.clone());
        let message = internal::StatusUpdateAcknowledgementMessage {
            slave_id: agent.clone(),
            framework_id: framework.unwrap_or_default(),
            task_id: status.task_id.clone(),
            uuid: uuid.clone(),
            ..Default::default()
        };
        let pids: Vec<usize> = (0..self.agents.len()).collect();
        for agent in pids {
            let message = MasterToAgent::StatusUpdateAcknowledgement(message.clone());
            self.send_to_agent(master, agent, Box::new(message));
        }
        true
    }
}

fn stream_of(request: &Request) -> Stream {
    let Request { scheduler, life, attempt, .. } = *request;
    Stream { scheduler, life, attempt, is_broken: false }
}

/// The same launch under another name.
fn renamed(message: &MasterToAgent) -> Option<MasterToAgent> {
    if let MasterToAgent::RunTask(message) = message {
        let mut copy = message.clone();
        copy.task.task_id.value.push_str("-again");
        Some(MasterToAgent::RunTask(copy))
    } else {
        None
    }
}
