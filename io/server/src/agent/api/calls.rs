//! The v1 operator API of the agent: calls that read.

use std::sync::Arc;

use agent::view::{ExecutorView, FrameworkView, Phase, View};
use protocol::agent::{Call, Response, call, response};
use protocol::{Message as _, Names, mesos};

use super::containers;
use crate::files::{Attachments, FilesError};
use crate::host::MESOS_VERSION;
use crate::http::json::JsonWriter;

/// What a call may need besides itself.
pub(super) struct Context<'a> {
    pub view: &'a View,
    pub usages: Vec<containers::ContainerUsage>,
    pub metrics: Vec<(String, f64)>,
    pub flags: &'a [(String, String)],
    pub files: &'a Attachments,
}

/// Why a call is not answered with a message.
#[derive(Debug)]
pub(super) enum Refusal {
    /// 400.
    BadRequest(String),
    /// 501.
    NotImplemented(String),
    /// What the files say.
    Files(FilesError),
}

/// Answers one call.
#[expect(clippy::too_many_lines, reason = "a table with one arm for each call")]
pub(super) fn answer(call: &Call, context: Context<'_>) -> Result<Response, Refusal> {
    let kind = call.r#type.unwrap_or_default();
    let mut answer = Response::default();
    match kind {
        call::Type::Unknown => {
            return Err(Refusal::NotImplemented("Unknown call type".to_owned()));
        }
        call::Type::GetHealth => {
            answer.r#type = Some(response::Type::GetHealth);
            let healthy = true;
            answer.get_health = Some(response::GetHealth { healthy, ..Default::default() });
        }
        call::Type::GetFlags => {
            answer.r#type = Some(response::Type::GetFlags);
            answer.get_flags = Some(get_flags(context.flags));
        }
        call::Type::GetVersion => {
            answer.r#type = Some(response::Type::GetVersion);
            let version_info = crate::version::info(MESOS_VERSION);
            let version = response::GetVersion { version_info, ..Default::default() };
            answer.get_version = Some(version);
        }
        call::Type::GetMetrics => {
            answer.r#type = Some(response::Type::GetMetrics);
            answer.get_metrics = Some(get_metrics(context.metrics));
        }
        call::Type::GetLoggingLevel => {
            answer.r#type = Some(response::Type::GetLoggingLevel);
            let level =
                response::GetLoggingLevel { level: crate::logging::level(), ..Default::default() };
            answer.get_logging_level = Some(level);
        }
        call::Type::ListFiles | call::Type::ReadFile => return files(call, context.files),
        call::Type::GetState => {
            answer.r#type = Some(response::Type::GetState);
            answer.get_state = Some(response::GetState {
                get_tasks: Some(get_tasks(context.view)),
                get_executors: Some(get_executors(context.view)),
                get_frameworks: Some(get_frameworks(context.view)),
                ..Default::default()
            });
        }
        call::Type::GetContainers => {
            answer.r#type = Some(response::Type::GetContainers);
            answer.get_containers = Some(containers::get_containers(context.usages));
        }
        call::Type::GetFrameworks => {
            answer.r#type = Some(response::Type::GetFrameworks);
            answer.get_frameworks = Some(get_frameworks(context.view));
        }
        call::Type::GetExecutors => {
            answer.r#type = Some(response::Type::GetExecutors);
            answer.get_executors = Some(get_executors(context.view));
        }
        call::Type::GetOperations => {
            answer.r#type = Some(response::Type::GetOperations);
            let operations = context.view.operations.iter().map(|it| (**it).clone()).collect();
            answer.get_operations =
                Some(response::GetOperations { operations, ..Default::default() });
        }
        call::Type::GetTasks => {
            answer.r#type = Some(response::Type::GetTasks);
            answer.get_tasks = Some(get_tasks(context.view));
        }
        call::Type::GetAgent => {
            answer.r#type = Some(response::Type::GetAgent);
            answer.get_agent = Some(get_agent(context.view));
        }
        call::Type::GetResourceProviders => {
            answer.r#type = Some(response::Type::GetResourceProviders);
            answer.get_resource_providers = Some(response::GetResourceProviders::default());
        }
        call::Type::SetLoggingLevel
        | call::Type::LaunchNestedContainer
        | call::Type::WaitNestedContainer
        | call::Type::KillNestedContainer
        | call::Type::RemoveNestedContainer
        | call::Type::LaunchNestedContainerSession
        | call::Type::AttachContainerInput
        | call::Type::AttachContainerOutput
        | call::Type::LaunchContainer
        | call::Type::WaitContainer
        | call::Type::KillContainer
        | call::Type::RemoveContainer
        | call::Type::AddResourceProviderConfig
        | call::Type::UpdateResourceProviderConfig
        | call::Type::RemoveResourceProviderConfig
        | call::Type::MarkResourceProviderGone
        | call::Type::PruneImages => {
            let text =
                format!("The call {} is not supported by this version", kind.name(Names::V1));
            return Err(Refusal::NotImplemented(text));
        }
    }
    Ok(answer)
}

/// The answer in JSON. Mesos writes lists of tasks also when they are empty.
pub(super) fn to_json(answer: &Response) -> Vec<u8> {
    let tasks = match (&answer.get_tasks, &answer.get_state) {
        (Some(tasks), _) => tasks,
        (None, Some(state)) => match &state.get_tasks {
            Some(tasks) => tasks,
            None => return answer.to_json(Names::V1).into_bytes(),
        },
        (None, None) => return answer.to_json(Names::V1).into_bytes(),
    };
    let mut json = JsonWriter::new();
    json.object(|json| {
        json.key("type").string(answer.r#type.unwrap_or_default().name(Names::V1));
        let Some(state) = &answer.get_state else {
            task_lists(json.key("get_tasks"), tasks);
            return;
        };
        json.key("get_state").object(|json| {
            task_lists(json.key("get_tasks"), tasks);
            if let Some(executors) = &state.get_executors {
                json.key("get_executors").message(executors, Names::V1);
            }
            if let Some(frameworks) = &state.get_frameworks {
                json.key("get_frameworks").message(frameworks, Names::V1);
            }
        });
    });
    json.into_bytes()
}

fn task_lists(json: &mut JsonWriter, tasks: &response::GetTasks) {
    json.object(|json| {
        for (name, list) in [
            ("pending_tasks", &tasks.pending_tasks),
            ("queued_tasks", &tasks.queued_tasks),
            ("launched_tasks", &tasks.launched_tasks),
            ("terminated_tasks", &tasks.terminated_tasks),
            ("completed_tasks", &tasks.completed_tasks),
        ] {
            json.key(name).array(|json| {
                list.iter().for_each(|task| json.message(task, Names::V1));
            });
        }
    });
}

fn get_flags(flags: &[(String, String)]) -> response::GetFlags {
    let flags = flags.iter().map(|(name, value)| mesos::Flag {
        name: name.clone(),
        value: Some(value.clone()),
        ..Default::default()
    });
    response::GetFlags { flags: flags.collect(), ..Default::default() }
}

fn get_metrics(metrics: Vec<(String, f64)>) -> response::GetMetrics {
    let metrics = metrics.into_iter().map(|(name, value)| mesos::Metric {
        name,
        value: Some(value),
        ..Default::default()
    });
    response::GetMetrics { metrics: metrics.collect(), ..Default::default() }
}

fn files(call: &Call, files: &Attachments) -> Result<Response, Refusal> {
    if let Some(list) = &call.list_files {
        let file_infos = files.list(&list.path).map_err(Refusal::Files)?;
        return Ok(Response {
            r#type: Some(response::Type::ListFiles),
            list_files: Some(response::ListFiles { file_infos, ..Default::default() }),
            ..Default::default()
        });
    }
    let Some(read) = &call.read_file else {
        return Err(Refusal::BadRequest("Expecting 'list_files' or 'read_file'".to_owned()));
    };
    let (size, data) = files.read(&read.path, read.offset, read.length).map_err(Refusal::Files)?;
    Ok(Response {
        r#type: Some(response::Type::ReadFile),
        read_file: Some(response::ReadFile { size, data, ..Default::default() }),
        ..Default::default()
    })
}

fn get_agent(view: &View) -> response::GetAgent {
    response::GetAgent {
        agent_info: Some((*view.info).clone()),
        drain_config: view.drain_config.as_ref().map(|config| (**config).clone()),
        estimated_drain_start_time: view
            .drain_started
            .map(|time| mesos::TimeInfo { nanoseconds: time.as_nanos(), ..Default::default() }),
        ..Default::default()
    }
}

fn get_frameworks(view: &View) -> response::GetFrameworks {
    let list = |frameworks: &[Arc<FrameworkView>]| {
        let wrap = |framework: &Arc<FrameworkView>| response::get_frameworks::Framework {
            framework_info: (*framework.info).clone(),
            ..Default::default()
        };
        frameworks.iter().map(wrap).collect()
    };
    response::GetFrameworks {
        frameworks: list(&view.frameworks),
        completed_frameworks: list(&view.completed_frameworks),
        ..Default::default()
    }
}

fn all_frameworks(view: &View) -> impl Iterator<Item = &Arc<FrameworkView>> {
    view.frameworks.iter().chain(&view.completed_frameworks)
}

fn get_executors(view: &View) -> response::GetExecutors {
    let wrap = |executor: &Arc<ExecutorView>| response::get_executors::Executor {
        executor_info: (*executor.info).clone(),
        ..Default::default()
    };
    response::GetExecutors {
        executors: all_frameworks(view).flat_map(|it| it.executors.iter().map(wrap)).collect(),
        completed_executors: all_frameworks(view)
            .flat_map(|it| it.completed_executors.iter().map(wrap))
            .collect(),
        ..Default::default()
    }
}

fn get_tasks(view: &View) -> response::GetTasks {
    let mut tasks = response::GetTasks::default();
    for framework in all_frameworks(view) {
        for executor in framework.executors.iter().chain(&framework.completed_executors) {
            let queued = executor.queued_tasks.iter();
            tasks.queued_tasks.extend(queued.map(|info| staging(view, framework, executor, info)));
            let whole = |task: &Arc<mesos::Task>| (**task).clone();
            tasks.launched_tasks.extend(executor.launched_tasks.iter().map(whole));
            tasks.terminated_tasks.extend(executor.terminated_tasks.iter().map(whole));
            tasks.completed_tasks.extend(executor.completed_tasks.iter().map(whole));
        }
    }
    tasks
}

/// A task that its executor has not got yet.
pub(super) fn staging(
    view: &View,
    framework: &FrameworkView,
    executor: &ExecutorView,
    info: &mesos::TaskInfo,
) -> mesos::Task {
    let executor_id = Some(executor.info.executor_id.clone());
    mesos::Task {
        name: info.name.clone(),
        task_id: info.task_id.clone(),
        framework_id: framework.info.id.clone().unwrap_or_default(),
        executor_id: executor_id.filter(|_| !executor.is_command_executor),
        agent_id: view.info.id.clone().unwrap_or_default(),
        state: mesos::TaskState::TaskStaging,
        resources: info.resources.clone(),
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        health_check: info.health_check.clone(),
        limits: info.limits.clone(),
        ..Default::default()
    }
}

/// Whether reads can be answered: not while the containers of an earlier run are being found.
pub(super) fn is_recovering(view: &View) -> bool {
    match view.phase {
        Phase::Recovering => true,
        Phase::Reconnecting | Phase::Disconnected | Phase::Running | Phase::Terminating => false,
    }
}
