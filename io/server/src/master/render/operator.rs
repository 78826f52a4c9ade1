//! The reads of `/api/v1` that show the state of the cluster.

use master::view::Snapshot;
use protocol::Names;
use protocol::master::event::Subscribed;
use protocol::master::response::get_executors::Executor;
use protocol::master::response::{
    GetAgents, GetExecutors, GetFrameworks, GetState, GetTasks, Type, get_agents, get_frameworks,
};
use protocol::master::{Event, Response, event};
use protocol::mesos::{AgentInfo, Task};

use super::envelope::{Envelope, respond};
use super::policy::weight_infos;
use super::{all_frameworks, roles};
use crate::http::ContentType;
use crate::http::shared::Output;

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::master) enum View {
    /// `GET_STATE`.
    State,
    /// `GET_AGENTS`.
    Agents,
    /// `GET_FRAMEWORKS`.
    Frameworks,
    /// `GET_EXECUTORS`.
    Executors,
    /// `GET_TASKS`.
    Tasks,
    /// `GET_ROLES`.
    Roles,
    /// `GET_WEIGHTS`.
    Weights,
}

/// The body of a response.
pub(in crate::master) fn view(
    snapshot: &Snapshot,
    view: View,
    content_type: ContentType,
) -> Vec<u8> {
    match view {
        View::State => response(content_type, Type::GetState, "get_state", |envelope| {
            state(envelope, snapshot);
        }),
        View::Agents => response(content_type, Type::GetAgents, "get_agents", |envelope| {
            agents(envelope, snapshot);
        }),
        View::Frameworks => {
            response(content_type, Type::GetFrameworks, "get_frameworks", |envelope| {
                frameworks(envelope, snapshot);
            })
        }
        View::Executors => {
            response(content_type, Type::GetExecutors, "get_executors", |envelope| {
                executors(envelope, snapshot);
            })
        }
        View::Tasks => response(content_type, Type::GetTasks, "get_tasks", |envelope| {
            tasks(envelope, snapshot);
        }),
        View::Roles => {
            let roles = roles::messages(snapshot);
            let message = Response {
                r#type: Some(Type::GetRoles),
                get_roles: Some(protocol::master::response::GetRoles {
                    roles,
                    ..Default::default()
                }),
                ..Default::default()
            };
            respond(&message, content_type)
        }
        View::Weights => respond(&weights(snapshot), content_type),
    }
}

/// The same piece by piece, of a view that may be large.
pub(in crate::master) fn stream_view(
    snapshot: &Snapshot,
    wanted: View,
    content_type: ContentType,
    output: Output,
) {
    let (r#type, name, write): (_, _, fn(&mut Envelope, &Snapshot)) = match wanted {
        View::State => (Type::GetState, "get_state", state),
        View::Agents => (Type::GetAgents, "get_agents", agents),
        View::Frameworks => (Type::GetFrameworks, "get_frameworks", frameworks),
        View::Executors => (Type::GetExecutors, "get_executors", executors),
        View::Tasks => (Type::GetTasks, "get_tasks", tasks),
        View::Roles | View::Weights => {
            output.finish(view(snapshot, wanted, content_type));
            return;
        }
    };
    Envelope::stream(content_type, output, |envelope| {
        envelope.kind(r#type.name(Names::V1), r#type.number());
        envelope.nested::<Response>(name, |envelope| write(envelope, snapshot));
    });
}

/// The `SUBSCRIBED` event of an operator's stream.
pub(in crate::master) fn subscribed(
    snapshot: &Snapshot,
    heartbeat_seconds: f64,
    content_type: ContentType,
) -> Vec<u8> {
    let r#type = event::Type::Subscribed;
    Envelope::message(content_type, |envelope| {
        envelope.kind(r#type.name(Names::V1), r#type.number());
        envelope.nested::<Event>("subscribed", |envelope| {
            envelope.nested::<Subscribed>("get_state", |envelope| state(envelope, snapshot));
            envelope.double::<Subscribed>("heartbeat_interval_seconds", heartbeat_seconds);
        });
    })
}

fn response(
    content_type: ContentType,
    r#type: Type,
    name: &str,
    write: impl FnOnce(&mut Envelope),
) -> Vec<u8> {
    Envelope::message(content_type, |envelope| {
        envelope.kind(r#type.name(Names::V1), r#type.number());
        envelope.nested::<Response>(name, write);
    })
}

fn state(envelope: &mut Envelope, snapshot: &Snapshot) {
    envelope.nested::<GetState>("get_tasks", |envelope| tasks(envelope, snapshot));
    envelope.nested::<GetState>("get_executors", |envelope| executors(envelope, snapshot));
    envelope.nested::<GetState>("get_frameworks", |envelope| frameworks(envelope, snapshot));
    envelope.nested::<GetState>("get_agents", |envelope| agents(envelope, snapshot));
}

fn tasks(envelope: &mut Envelope, snapshot: &Snapshot) {
    let all = || all_frameworks(snapshot);
    let tasks = all().flat_map(|view| view.tasks.iter()).map(|task| task.to_task());
    envelope.list::<GetTasks, Task>("tasks", tasks);
    let tasks = all().flat_map(|view| view.unreachable_tasks.iter()).map(|task| task.to_task());
    envelope.list::<GetTasks, Task>("unreachable_tasks", tasks);
    let tasks = all().flat_map(|view| view.completed_tasks.iter()).map(|task| task.to_task());
    envelope.list::<GetTasks, Task>("completed_tasks", tasks);
}

fn executors(envelope: &mut Envelope, snapshot: &Snapshot) {
    let executors = all_frameworks(snapshot).flat_map(|framework| &framework.executors).map(
        |(agent, executor)| Executor {
            executor_info: executor.as_ref().clone(),
            agent_id: agent.clone(),
            ..Default::default()
        },
    );
    envelope.list::<GetExecutors, Executor>("executors", executors);
}

fn frameworks(envelope: &mut Envelope, snapshot: &Snapshot) {
    let message = |view: &std::sync::Arc<master::view::FrameworkView>| {
        let mut message = view.to_response();
        message.reregistered_time =
            message.reregistered_time.or_else(|| message.registered_time.clone());
        message.offer_constraints.get_or_insert_default();
        message
    };
    envelope.list::<GetFrameworks, get_frameworks::Framework>(
        "frameworks",
        snapshot.frameworks.values().map(message),
    );
    envelope.list::<GetFrameworks, get_frameworks::Framework>(
        "completed_frameworks",
        snapshot.completed_frameworks.iter().map(message),
    );
}

fn agents(envelope: &mut Envelope, snapshot: &Snapshot) {
    envelope.list::<GetAgents, get_agents::Agent>(
        "agents",
        snapshot.agents.values().map(|agent| agent.to_response()),
    );
    envelope.list::<GetAgents, AgentInfo>(
        "recovered_agents",
        snapshot.recovered_agents.values().map(|agent| agent.to_info()),
    );
}

fn weights(snapshot: &Snapshot) -> Response {
    let infos = weight_infos(snapshot);
    let get_weights = (!infos.is_empty()).then(|| protocol::master::response::GetWeights {
        weight_infos: infos,
        ..Default::default()
    });
    Response { r#type: Some(Type::GetWeights), get_weights, ..Default::default() }
}
