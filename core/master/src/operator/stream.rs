//! Operators' event streams: all that changes, told to all that listen.

use std::sync::Arc;

use indexmap::IndexMap;
use protocol::master;
use protocol::master::event::{
    AgentAdded, AgentRemoved, FrameworkAdded, FrameworkRemoved, FrameworkUpdated, TaskAdded,
    TaskUpdated,
};
use protocol::mesos::{AgentId, FrameworkId, FrameworkInfo, TaskStatus};

use crate::Master;
use crate::effect::Effect;
use crate::event::ConnectionId;
use crate::timer::{Timer, TimerKey};
use crate::view::FrameworkView;
use crate::view::TaskRecord;

/// Operators' event streams, oldest first, each with the timer of its next heartbeat.
pub(crate) type Subscribers = IndexMap<ConnectionId, TimerKey>;

impl Master {
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

    pub(crate) fn publish_task_added(&mut self, task: &TaskRecord) {
        self.publish(|_| {
            Some(master::Event {
                r#type: Some(master::event::Type::TaskAdded),
                task_added: Some(Box::new(TaskAdded {
                    task: task.to_task(),
                    ..Default::default()
                })),
                ..Default::default()
            })
        });
    }

    pub(crate) fn publish_task_updated(&mut self, task: &TaskRecord, status: &TaskStatus) {
        self.publish(|_| {
            Some(master::Event {
                r#type: Some(master::event::Type::TaskUpdated),
                task_updated: Some(Box::new(TaskUpdated {
                    framework_id: (*task.framework_id).clone(),
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
        let view = crate::snapshot::bare_framework_view(framework, None);
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
