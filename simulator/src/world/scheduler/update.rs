//! What a framework does with the updates it gets, and which of them may never come.

use protocol::mesos::{TaskState, TaskStatus, task_status};
use protocol::scheduler::call;
use protocol::scheduler::call::reconcile;

use crate::happening::Happening;
use crate::world::World;

impl World {
    pub(crate) fn update_arrives(&mut self, scheduler: usize, status: &TaskStatus) {
        self.schedule_acknowledgement(scheduler, status);
        let task = &status.task_id;
        let made = status.uuid.as_ref().and_then(|uuid| self.ledger.updates.get(uuid)).cloned();
        let Some(entry) = self.schedulers[scheduler].book.get_mut(task) else {
            let name = &task.value;
            let text = format!(
                "invariant 3: framework {scheduler} hears of task {name}, which it never launched"
            );
            self.violate(text);
            return;
        };
        // Who is told that a task is out of reach has to go on asking: nobody may know of it any more
        // when its agent returns.
        entry.is_uncertain = status.state == TaskState::TaskUnreachable;
        let uuid = status.uuid.clone().unwrap_or_default();
        if !uuid.is_empty() && !entry.seen.insert(uuid.clone()) {
            // A repetition tells something new only to who believes the task lost since.
            let is_latest = made.is_none_or(|(_, index)| entry.highest == Some(index));
            if entry.by_master && is_latest {
                self.learn(scheduler, status);
            }
            return;
        }
        if let Some((_, index)) = made {
            self.ledger.delivered.insert(uuid);
            let overtaken = entry.highest.is_some_and(|highest| highest > index);
            entry.highest = entry.highest.max(Some(index));
            if overtaken {
                let text = format!("invariant 3: updates of {} arrive out of order", task.value);
                self.violate(text);
                return;
            }
        }
        self.learn(scheduler, status);
        if status.state == TaskState::TaskUnreachable {
            self.ask_soon(scheduler);
        }
    }

    fn learn(&mut self, scheduler: usize, status: &TaskStatus) {
        let Some(entry) = self.schedulers[scheduler].book.get_mut(&status.task_id) else { return };
        let by_master = status.source == Some(task_status::Source::SourceMaster);
        let by_executor = status.source == Some(task_status::Source::SourceExecutor);
        let ends = status.state.is_terminal();
        if entry.is_over() {
            // The master may call an agent unreachable, or forget it, while the acknowledgement of the
            // end is on its way. And to a kill that comes too late an agent answers that there is no
            // such task.
            let is_verdict = by_master
                && matches!(status.state, TaskState::TaskUnreachable | TaskState::TaskUnknown);
            if !(is_verdict || ends && !by_executor) {
                let (task, old) = (status.task_id.value.clone(), entry.state);
                let new = status.state;
                self.violate(format!("invariant 3: task {task} goes from {old:?} to {new:?}"));
            }
            return;
        }
        let was_over = entry.state.is_terminal();
        entry.state = status.state;
        entry.by_master = by_master;
        if status.state == TaskState::TaskFinished && !was_over {
            self.statistics.tasks_finished += 1;
        } else if ends && !was_over {
            self.statistics.tasks_ended_otherwise += 1;
        }
    }

    fn schedule_acknowledgement(&mut self, scheduler: usize, status: &TaskStatus) {
        if status.uuid.is_none() {
            return;
        }
        let life = self.schedulers[scheduler].life;
        let high = if !self.healing && self.random.chance(100) { 8_000 } else { 100 };
        let status = Box::new(status.clone());
        self.plan(0, high, Happening::SchedulerAcknowledge { scheduler, life, status });
    }

    pub(crate) fn scheduler_acknowledges(&mut self, scheduler: usize, status: TaskStatus) {
        let acknowledge = call::Acknowledge {
            agent_id: status.agent_id.unwrap_or_default(),
            task_id: status.task_id,
            uuid: status.uuid.unwrap_or_default(),
            ..Default::default()
        };
        self.call(scheduler, call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge));
    }

    /// Plans to ask about tasks, unless that is planned.
    pub(crate) fn ask_soon(&mut self, scheduler: usize) {
        let host = &mut self.schedulers[scheduler];
        let life = host.life;
        if !std::mem::replace(&mut host.is_asking, true) {
            self.plan(500, 5_000, Happening::SchedulerReconcile { scheduler, life });
        }
    }

    /// Asks about the tasks the framework is unsure of, until each was answered for.
    pub(crate) fn scheduler_asks(&mut self, scheduler: usize) {
        let host = &mut self.schedulers[scheduler];
        host.is_asking = false;
        let tasks: Vec<reconcile::Task> = host
            .book
            .iter()
            .filter(|(_, entry)| entry.is_uncertain && !entry.is_over())
            .map(|(task, entry)| reconcile::Task {
                task_id: task.clone(),
                agent_id: Some(entry.agent.clone()),
                ..Default::default()
            })
            .collect();
        let has_operations = self.ask_about_operations(scheduler);
        if tasks.is_empty() {
            if has_operations {
                self.ask_soon(scheduler);
            }
            return;
        }
        self.ask_soon(scheduler);
        let reconcile = call::Reconcile { tasks, ..Default::default() };
        self.call(scheduler, call::Type::Reconcile, |call| call.reconcile = Some(reconcile));
    }
}
