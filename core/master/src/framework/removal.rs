//! A framework goes: it lost its connection, ran out of time to return, or was torn down.

use std::sync::Arc;

use protocol::internal::ShutdownFrameworkMessage;
use protocol::mesos::task_status::Reason;
use protocol::mesos::{FrameworkId, TaskId, TaskState};
use protocol::messages::MasterToAgent;
use protocol::time::Timestamp;

use crate::Master;
use crate::durable::AfterWrite;
use crate::effect::{Effect, Response};
use crate::event::{ConnectionId, RequestId};
use crate::framework::subscribe::failover_timeout;
use crate::framework::{FrameworkCounts, Peer, Presence};
use crate::notice::Notice;
use crate::registry::{FrameworkRecord, FrameworkStanding, framework_change, framework_deletion};
use crate::task::{History, Verdict};
use crate::timer::Timer;

impl Master {
    /// A response stream ended: a scheduler's or an operator's.
    pub(crate) fn connection_closed(&mut self, connection: ConnectionId) {
        self.remove_subscriber(connection);
        if let Some(id) = self.frameworks.by_connection.get(&connection).cloned() {
            self.disconnect_framework(&id);
        }
    }

    /// The link to a driver broke.
    pub(crate) fn framework_exited(&mut self, id: &FrameworkId) {
        self.notify(id, Notice::Error("Framework disconnected".to_owned()));
        self.disconnect_framework(id);
    }

    /// No offers any more, and the clock of the failover timeout runs.
    fn disconnect_framework(&mut self, id: &FrameworkId) {
        self.deactivate_framework(id, true);
        let Some(framework) = self.framework_mut(id) else {
            return;
        };
        let presence = std::mem::replace(&mut framework.presence, Presence::Disconnected);
        let timeout = failover_timeout(&framework.info);
        let deadline = self.now + timeout;
        self.forget_peer(&presence);
        let timer = self.timers.start(deadline, Timer::FrameworkFailover(id.clone()));
        if let Some(framework) = self.frameworks.registered.get_mut(id) {
            framework.failover_timer = Some(timer);
        }
        // Without a failover timeout it is removed at once, which makes a record of its own.
        if !timeout.is_zero() {
            self.record_framework(id, FrameworkStanding::Disconnected { deadline });
        }
        self.publish_framework_updated(id);
    }

    /// Stops a framework's offers and takes back those it has.
    pub(crate) fn deactivate_framework(&mut self, id: &FrameworkId, rescind: bool) {
        let Some(framework) = self.framework_mut(id) else {
            return;
        };
        if let Presence::Connected { active, .. } = &mut framework.presence {
            *active = false;
        }
        let offers: Vec<_> = framework.offers.keys().cloned().collect();
        self.allocator.deactivate_framework(id);
        for offer in offers {
            if rescind {
                self.rescind_offer(&offer);
            } else {
                self.discard_offer(&offer, None);
            }
        }
        self.withdraw_inverse_offers(id, rescind);
    }

    /// A framework stayed away for too long.
    pub(crate) fn failover_timeout(&mut self, id: &FrameworkId) {
        let away = self.frameworks.registered.get(id).is_some_and(|it| !it.connected());
        if away {
            self.remove_framework(id, None);
        }
    }

    /// Begins to end a framework for good: from here on it can do nothing, and once the registry says so,
    /// its tasks are killed and who asked for it is answered.
    pub(crate) fn remove_framework(
        &mut self,
        id: &FrameworkId,
        answer: Option<(RequestId, Response)>,
    ) {
        let Some(framework) = self.frameworks.registered.get(id) else {
            return;
        };
        let began = framework.leaving;
        if began && answer.is_none() {
            return;
        }
        let since = self.now;
        let record = FrameworkRecord {
            standing: FrameworkStanding::Removed { since },
            info: (*framework.info).clone(),
        };
        if !began {
            self.deactivate_framework(id, false);
            self.part_with_framework(id);
        }
        self.persist(
            vec![framework_change(&record)],
            AfterWrite::RemoveFramework { id: id.clone(), since, answer },
        );
    }

    /// The framework is heard no more, and does not return.
    fn part_with_framework(&mut self, id: &FrameworkId) {
        let Some(framework) = self.framework_mut(id) else {
            return;
        };
        framework.leaving = true;
        let presence = std::mem::replace(&mut framework.presence, Presence::Disconnected);
        let timer = framework.failover_timer.take();
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
        self.forget_peer(&presence);
        if let Presence::Connected { peer: Peer::Stream { connection, .. }, .. } = presence {
            self.effects.push(Effect::CloseConnection { connection });
        }
    }

    /// The registry says that the framework is removed.
    pub(crate) fn framework_removed(
        &mut self,
        id: &FrameworkId,
        since: Timestamp,
        answer: Option<(RequestId, Response)>,
    ) {
        self.end_framework(id, since);
        if let Some((request, response)) = answer {
            self.effects.push(Effect::Respond { request, response });
        }
    }

    fn end_framework(&mut self, id: &FrameworkId, since: Timestamp) {
        if !self.frameworks.registered.contains_key(id) {
            return;
        }
        let message = ShutdownFrameworkMessage { framework_id: id.clone(), ..Default::default() };
        for pid in self.agent_pids() {
            self.send_to_agent(pid, MasterToAgent::ShutdownFramework(message.clone()));
        }
        self.kill_all_tasks(id);

        let bound = self.config.max_completed_tasks_per_framework;
        let Some(mut framework) = self.frameworks.registered.remove(id) else {
            return;
        };
        self.views.touch_framework(id);
        for task in std::mem::take(&mut framework.unreachable_tasks).iter() {
            let mut task = (**task).clone();
            task.state = TaskState::TaskKilled;
            framework.completed_tasks.push_bounded(Arc::new(task), bound);
        }
        self.allocator.remove_framework(id);
        let counts = FrameworkCounts::new(id, &framework.info, &framework.metrics);
        self.frameworks.completed_counts.insert(id.clone(), Arc::new(counts));
        self.views.count_framework(id);
        let view = crate::snapshot::bare_framework_view(&framework, Some(since));
        self.frameworks.completed.insert(id.clone(), Arc::new(view));
        let mut changes = Vec::new();
        while self.frameworks.completed.len() > self.config.max_completed_frameworks {
            if let Some((old, _)) = self.frameworks.completed.shift_remove_index(0) {
                changes.push(framework_deletion(&old));
                self.frameworks.completed_counts.remove(&old);
                self.views.count_framework(&old);
            }
        }
        if !changes.is_empty() {
            self.persist(changes, AfterWrite::Nothing);
        }
        self.publish_framework_removed(&framework.info);
    }

    fn kill_all_tasks(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.registered.get(id) else {
            return;
        };
        let tasks: Vec<(Arc<TaskId>, TaskState)> =
            framework.tasks.iter().map(|task| (Arc::clone(&task.task_id), task.state)).collect();
        let agents: Vec<_> = framework.agents.keys().cloned().collect();
        for (task_id, state) in tasks {
            if !state.is_terminal() {
                let Some(task) = self.frameworks.registered[id].tasks.get(&task_id) else {
                    continue;
                };
                let (agent, executor) =
                    ((*task.agent_id).clone(), task.executor_id.as_deref().cloned());
                let verdict = Verdict::new(
                    TaskState::TaskKilled,
                    Reason::ReasonFrameworkRemoved,
                    format!("Framework {} removed", id.value),
                );
                let mut update = self.verdict_update(id, Some(agent), &task_id, executor, verdict);
                self.update_task(&mut update);
            }
            self.remove_task(id, &task_id, History::Completed);
        }
        for agent in agents {
            let executors: Vec<_> = self
                .agents
                .registered
                .get(&agent)
                .and_then(|agent| agent.frameworks.get(id))
                .map(|share| share.executors.keys().cloned().collect())
                .unwrap_or_default();
            for executor in executors {
                self.remove_executor(&agent, id, &executor);
            }
        }
    }
}
