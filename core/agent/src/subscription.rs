//! Executors' event streams: subscribing, coming back after a break, signs of life
//! (`Slave::subscribe` in Mesos' `src/slave/slave.cpp`).

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::executor as executor_api;
use protocol::mesos::{self, TaskState, task_status};
use protocol::time::Timestamp;

use crate::agent::Agent;
use crate::checkpoint::Change;
use crate::effect::{Effect, Response};
use crate::event::ConnectionId;
use crate::executor::{Connection, ExecutorKey, State};
use crate::executor_api::{refusal_of_call, update_of_call};
use crate::framework::{self, Framework};
use crate::status::{AgentStatus, Origin};
use crate::timers::Timer;
use crate::view::Phase;

impl Agent {
    pub(crate) fn executor_subscribe(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        call: executor_api::Call,
    ) {
        match self.admit(&call) {
            Err(response) => {
                self.outbox.send_now(Effect::RefuseExecutor { connection, response });
            }
            Ok(key) => {
                self.outbox.send(Effect::AcceptExecutor { connection });
                if self.is_on_its_way_out(&key) {
                    self.send_shutdown_and_close(connection);
                } else {
                    let subscribe = call.subscribe.unwrap_or_default();
                    self.subscribe(now, connection, &key, subscribe);
                }
            }
        }
    }

    fn admit(&self, call: &executor_api::Call) -> Result<ExecutorKey, Response> {
        if self.phase == Phase::Recovering {
            return Err(Response::unavailable("Agent has not finished recovery"));
        }
        if let Some(error) = refusal_of_call(call) {
            let body = format!("Failed to validate Executor::Call: {error}");
            return Err(Response::bad_request(&body));
        }
        self.find_executor(call)
    }

    /// The executor a call names.
    pub(crate) fn find_executor(&self, call: &executor_api::Call) -> Result<ExecutorKey, Response> {
        let Some(framework) = self.frameworks.get(&call.framework_id) else {
            return Err(Response::bad_request("Framework cannot be found"));
        };
        if !framework.executors.contains_key(&call.executor_id) {
            return Err(Response::bad_request("Executor cannot be found"));
        }
        Ok(ExecutorKey { framework: call.framework_id.clone(), executor: call.executor_id.clone() })
    }

    fn is_on_its_way_out(&self, key: &ExecutorKey) -> bool {
        let framework = self.frameworks.get(&key.framework);
        let executor = self.executor(key);
        self.phase == Phase::Terminating
            || framework.is_some_and(|each| each.state == framework::State::Terminating)
            || executor
                .is_some_and(|each| matches!(each.state, State::Terminating | State::Terminated))
    }

    fn send_shutdown_and_close(&mut self, connection: ConnectionId) {
        let event = Arc::new(shutdown_event());
        self.outbox.send(Effect::SendToExecutor { connection, event });
        self.outbox.send(Effect::CloseExecutor { connection });
    }

    fn subscribe(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        key: &ExecutorKey,
        subscribe: executor_api::call::Subscribe,
    ) {
        self.close_connection(key);
        let Some(executor) = self.executor(key) else { return };
        let container = executor.container.clone();
        if executor.checkpoint {
            let path = self.run_path(executor).http_marker();
            self.outbox.change(Change::Write { path, content: Vec::new() });
        }
        let due = now + self.config.timing.executor_heartbeat_interval;
        let heartbeat = self.timers.set(due, Timer::ExecutorHeartbeat { container });
        self.connections.insert(connection, key.clone());
        if let Some(executor) = self.executor_mut(key) {
            executor.state = State::Running;
            executor.connection = Some(Connection { id: connection, heartbeat });
        }
        for update in subscribe.unacknowledged_updates {
            let update = update_of_call(now, &self.agent_id(), key, update);
            self.status_update(now, update, &Origin::Executor(key.clone()));
        }
        let known: BTreeSet<mesos::TaskId> =
            subscribe.unacknowledged_tasks.into_iter().map(|task| task.task_id).collect();
        self.drop_undelivered_tasks(now, key, &known);
        let Some(executor) = self.executor(key) else { return };
        if executor.is_pointless() {
            self.shut_down_executor(now, key);
            return;
        }
        self.greet(key);
        self.update_container(key);
        self.deliver_queued(key);
        self.deliver_kills(key);
        self.finish_reconnecting_if_complete(now);
    }

    /// Tasks that were sent and of which the executor neither knows nor ever reported anything were
    /// lost on the way.
    fn drop_undelivered_tasks(
        &mut self,
        now: Timestamp,
        key: &ExecutorKey,
        known: &BTreeSet<mesos::TaskId>,
    ) {
        let Some(executor) = self.executor(key) else { return };
        let lost: Vec<mesos::TaskId> = executor
            .launched
            .values()
            .filter(|task| task.state == TaskState::TaskStaging && !known.contains(&task.task_id))
            .map(|task| task.task_id.clone())
            .collect();
        let framework = self.frameworks.get(&key.framework);
        let is_aware = framework.is_some_and(Framework::is_partition_aware);
        for task in lost {
            let status = AgentStatus {
                task: &task,
                executor: Some(&key.executor),
                state: if is_aware { TaskState::TaskDropped } else { TaskState::TaskLost },
                reason: task_status::Reason::ReasonAgentRestarted,
                message: "Task launched during agent restart",
            };
            self.send_status(now, &key.framework, &status);
        }
    }

    fn greet(&mut self, key: &ExecutorKey) {
        let Some(framework) = self.frameworks.get(&key.framework) else { return };
        let Some(executor) = framework.executors.get(&key.executor) else { return };
        let subscribed = executor_api::event::Subscribed {
            executor_info: (*executor.info).clone(),
            framework_info: (*framework.info).clone(),
            agent_info: (*self.info).clone(),
            container_id: Some(executor.container.clone()),
            ..Default::default()
        };
        let event = executor_api::Event {
            r#type: Some(executor_api::event::Type::Subscribed),
            subscribed: Some(subscribed.into()),
            ..Default::default()
        };
        self.send_to_executor(key, event);
    }

    fn deliver_kills(&mut self, key: &ExecutorKey) {
        let Some(executor) = self.executor_mut(key) else { return };
        for (task, policy) in std::mem::take(&mut executor.undelivered_kills) {
            self.send_kill(key, &task, policy);
        }
    }

    /// Ends the executor's stream from this side.
    pub(crate) fn close_connection(&mut self, key: &ExecutorKey) {
        let executor = self.executor_mut(key);
        let Some(old) = executor.and_then(|executor| executor.connection.take()) else { return };
        self.timers.cancel(old.heartbeat);
        self.connections.remove(&old.id);
        self.outbox.send(Effect::CloseExecutor { connection: old.id });
    }

    /// The executor keeps its state: it may come back, and if its process is gone the container
    /// tells.
    pub(crate) fn connection_closed(&mut self, connection: ConnectionId) {
        let Some(key) = self.connections.remove(&connection) else { return };
        let executor = self.executor_mut(&key);
        if let Some(old) = executor.and_then(|executor| executor.connection.take()) {
            self.timers.cancel(old.heartbeat);
        }
    }

    pub(crate) fn heartbeat_due(&mut self, now: Timestamp, container: &mesos::ContainerId) {
        let Some(executor) = self.executor_in(container) else { return };
        let key = executor.key();
        if executor.connection.is_none() {
            return;
        }
        let due = now + self.config.timing.executor_heartbeat_interval;
        let timer = Timer::ExecutorHeartbeat { container: container.clone() };
        let heartbeat = self.timers.set(due, timer);
        let executor = self.executor_mut(&key);
        if let Some(connection) = executor.and_then(|executor| executor.connection.as_mut()) {
            connection.heartbeat = heartbeat;
        }
        let event = executor_api::Event {
            r#type: Some(executor_api::event::Type::Heartbeat),
            ..Default::default()
        };
        self.send_to_executor(&key, event);
    }
}

/// The event that asks an executor to end.
pub(crate) fn shutdown_event() -> executor_api::Event {
    executor_api::Event { r#type: Some(executor_api::event::Type::Shutdown), ..Default::default() }
}
