//! Executors' calls: what is refused and with which words, updates and messages
//! (`Http::executor` in Mesos' `src/slave/http.cpp`, `validateExecutorCall` in
//! `src/common/validation.cpp`).

use protocol::executor as executor_api;
use protocol::internal::{ExecutorToFrameworkMessage, StatusUpdate};
use protocol::mesos::{self, TaskState, task_status};
use protocol::messages::AgentToMaster;
use protocol::time::Timestamp;
use protocol::uuid::Uuid;

use crate::agent::Agent;
use crate::effect::{Effect, Response, Status};
use crate::event::RequestId;
use crate::executor::{ExecutorKey, State};
use crate::framework;
use crate::status::Origin;
use crate::view::Phase;

impl Response {
    /// The call was taken.
    #[must_use]
    pub const fn accepted() -> Self {
        Self { status: Status::Accepted, body: String::new() }
    }

    /// The call makes no sense.
    #[must_use]
    pub fn bad_request(body: &str) -> Self {
        Self { status: Status::BadRequest, body: body.to_owned() }
    }

    /// Not before SUBSCRIBE.
    #[must_use]
    pub fn forbidden(body: &str) -> Self {
        Self { status: Status::Forbidden, body: body.to_owned() }
    }

    /// Not now.
    #[must_use]
    pub fn unavailable(body: &str) -> Self {
        Self { status: Status::ServiceUnavailable, body: body.to_owned() }
    }
}

impl Agent {
    pub(crate) fn executor_call(
        &mut self,
        now: Timestamp,
        request: RequestId,
        call: executor_api::Call,
    ) {
        let response = match self.admit_call(&call) {
            Ok(None) => Response::accepted(),
            Ok(Some(key)) => {
                self.dispatch_call(now, &key, call);
                // Mesos answers before it has stored anything, and an executor has to repeat what was
                // not acknowledged. Some libraries never do: for them the answer itself means safe.
                let response = Response::accepted();
                self.outbox.send(Effect::Respond { request, response });
                return;
            }
            Err(response) => response,
        };
        self.outbox.send_now(Effect::Respond { request, response });
    }

    /// The caller, or nothing for a sign of life, or the refusal.
    fn admit_call(&self, call: &executor_api::Call) -> Result<Option<ExecutorKey>, Response> {
        if self.phase == Phase::Recovering {
            return Err(Response::unavailable("Agent has not finished recovery"));
        }
        if let Some(error) = refusal_of_call(call) {
            let body = format!("Failed to validate Executor::Call: {error}");
            return Err(Response::bad_request(&body));
        }
        if call.r#type == Some(executor_api::call::Type::Heartbeat) {
            return Ok(None);
        }
        if self.phase == Phase::Reconnecting {
            return Err(Response::unavailable("Agent has not finished recovery"));
        }
        let key = self.find_executor(call)?;
        if self.executor(&key).is_none_or(|executor| executor.state == State::Registering) {
            return Err(Response::forbidden("Executor is not subscribed"));
        }
        let task = call.update.as_ref().map(|update| &update.status.task_id);
        if task.is_some_and(|task| self.is_overwhelmed(&key.framework, task)) {
            let body = "Too many updates of the task wait for the framework";
            return Err(Response::unavailable(body));
        }
        Ok(Some(key))
    }

    fn dispatch_call(&mut self, now: Timestamp, key: &ExecutorKey, call: executor_api::Call) {
        if let Some(update) = call.update {
            let update = update_of_call(now, &self.agent_id(), key, *update);
            self.status_update(now, update, &Origin::Executor(key.clone()));
        } else if let Some(message) = call.message {
            self.executor_message(key, message.data);
        }
    }

    /// Passes an executor's message on, by way of the master, which knows where the framework is.
    fn executor_message(&mut self, key: &ExecutorKey, data: Vec<u8>) {
        let framework = self.frameworks.get(&key.framework);
        let is_running = framework.is_some_and(|each| each.state == framework::State::Running);
        if self.phase != Phase::Running || !is_running {
            self.metrics.invalid_framework_messages += 1;
            return;
        }
        self.metrics.valid_framework_messages += 1;
        let message = ExecutorToFrameworkMessage {
            slave_id: self.agent_id(),
            framework_id: key.framework.clone(),
            executor_id: key.executor.clone(),
            data,
            ..Default::default()
        };
        self.send_to_master(AgentToMaster::ExecutorToFramework(message));
    }
}

/// The update an executor's call carries; what the executor left out is filled in.
pub(crate) fn update_of_call(
    now: Timestamp,
    agent: &mesos::AgentId,
    key: &ExecutorKey,
    update: executor_api::call::Update,
) -> StatusUpdate {
    let mut status: mesos::TaskStatus = update.status;
    if status.agent_id.is_none() {
        status.agent_id = Some(agent.clone());
    }
    StatusUpdate {
        framework_id: key.framework.clone(),
        executor_id: Some(key.executor.clone()),
        slave_id: Some(agent.clone()),
        timestamp: status.timestamp.unwrap_or_else(|| now.as_secs_f64()),
        uuid: status.uuid.clone(),
        status,
        ..Default::default()
    }
}

/// Why a call is malformed; `None` if it is not.
pub(crate) fn refusal_of_call(call: &executor_api::Call) -> Option<String> {
    use executor_api::call::Type;
    let expected = |field: &str| Some(format!("Expecting '{field}' to be present"));
    match call.r#type {
        None => expected("type"),
        Some(Type::Unknown) => Some("The type of the call is unknown".to_owned()),
        Some(Type::Heartbeat) => None,
        Some(Type::Subscribe) => match &call.subscribe {
            None => expected("subscribe"),
            Some(subscribe) => subscribe
                .unacknowledged_updates
                .iter()
                .find_map(|update| refusal_of_status(call, &update.status)),
        },
        Some(Type::Update) => match &call.update {
            None => expected("update"),
            Some(update) => refusal_of_status(call, &update.status),
        },
        Some(Type::Message) => match &call.message {
            None => expected("message"),
            Some(_) => None,
        },
    }
}

fn refusal_of_status(call: &executor_api::Call, status: &mesos::TaskStatus) -> Option<String> {
    let executor = &call.executor_id.value;
    let Some(uuid) = &status.uuid else {
        return Some("Expecting 'uuid' to be present".to_owned());
    };
    if let Err(error) = Uuid::from_slice(uuid) {
        return Some(error.to_string());
    }
    if let Some(other) = status.executor_id.as_ref().filter(|other| other.value != *executor) {
        return Some(format!(
            "ExecutorID in Call: {executor} does not match ExecutorID in TaskStatus: {}",
            other.value
        ));
    }
    let caller = format!("executor {executor} of framework {}", call.framework_id.value);
    if status.source != Some(task_status::Source::SourceExecutor) {
        return Some(format!(
            "Received Call from {caller} with invalid source, expecting 'SOURCE_EXECUTOR'"
        ));
    }
    if status.state == TaskState::TaskStaging {
        return Some(format!("Received TASK_STAGING from {caller} which is not allowed"));
    }
    None
}
