//! Tasks in the order in which something happened to them, never more than a bound.

use std::collections::BTreeSet;
use std::ops::Index;
use std::sync::Arc;

use protocol::mesos::{AgentId, TaskId};

use crate::table::{Keyed, Table};
use crate::task::record::TaskRecord;

/// A task with its place in a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Aged {
    sequence: u64,
    task: Arc<TaskRecord>,
}

impl Keyed for Aged {
    type Key = u64;

    fn key(&self) -> &u64 {
        &self.sequence
    }
}

/// What readers of the state see of a history: its tasks, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PastTasks(Table<Aged>);

impl PastTasks {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tasks, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<TaskRecord>> + Clone + '_ {
        self.0.values().map(|aged| &aged.task)
    }
}

/// The task at a position, the oldest being the first.
impl Index<usize> for PastTasks {
    type Output = Arc<TaskRecord>;

    fn index(&self, position: usize) -> &Arc<TaskRecord> {
        &self.0[position].task
    }
}

impl FromIterator<Arc<TaskRecord>> for PastTasks {
    fn from_iter<I: IntoIterator<Item = Arc<TaskRecord>>>(tasks: I) -> Self {
        Self((0..).zip(tasks).map(|(sequence, task)| Aged { sequence, task }).collect())
    }
}

/// A history of one framework.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskHistory {
    past: PastTasks,
    by_id: BTreeSet<(Arc<TaskId>, u64)>,
    next: u64,
}

impl TaskHistory {
    pub(crate) fn len(&self) -> usize {
        self.past.len()
    }

    /// The tasks as of now, for readers.
    pub(crate) fn past(&self) -> &PastTasks {
        &self.past
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<TaskRecord>> + '_ {
        self.past.iter()
    }

    /// Adds a task, and forgets the oldest beyond `bound`.
    pub(crate) fn push(&mut self, task: Arc<TaskRecord>, bound: usize) {
        let sequence = self.next;
        self.next += 1;
        self.by_id.insert((Arc::clone(&task.task_id), sequence));
        self.past.0.insert(Aged { sequence, task });
        while self.past.len() > bound {
            if let Some(oldest) = self.past.0.pop_first() {
                self.by_id.remove(&(Arc::clone(&oldest.task.task_id), oldest.sequence));
            }
        }
    }

    fn places(&self, id: &TaskId) -> Vec<(Arc<TaskId>, u64)> {
        let id = Arc::new(id.clone());
        self.by_id.range((Arc::clone(&id), 0)..=(id, u64::MAX)).cloned().collect()
    }

    pub(crate) fn contains(&self, id: &TaskId) -> bool {
        !self.by_id.is_empty() && !self.places(id).is_empty()
    }

    /// Forgets every task of this id.
    pub(crate) fn remove(&mut self, id: &TaskId) {
        if self.by_id.is_empty() {
            return;
        }
        for place in self.places(id) {
            self.past.0.remove(&place.1);
            self.by_id.remove(&place);
        }
    }

    /// Forgets every task of an agent; says whether there was one.
    pub(crate) fn remove_of_agent(&mut self, agent: &AgentId) -> bool {
        let tasks: Vec<_> = self
            .past
            .0
            .values()
            .filter(|aged| *aged.task.agent_id == *agent)
            .map(|aged| (Arc::clone(&aged.task.task_id), aged.sequence))
            .collect();
        for place in &tasks {
            self.past.0.remove(&place.1);
            self.by_id.remove(place);
        }
        !tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use protocol::mesos::Task;

    use super::*;

    fn task(id: &str, agent: &str) -> Arc<TaskRecord> {
        Arc::new(TaskRecord::from_task(Task {
            task_id: task_id(id),
            agent_id: AgentId { value: agent.to_owned(), ..Default::default() },
            ..Default::default()
        }))
    }

    fn task_id(id: &str) -> TaskId {
        TaskId { value: id.to_owned(), ..Default::default() }
    }

    fn ids(history: &TaskHistory) -> Vec<&str> {
        history.iter().map(|task| task.task_id.value.as_str()).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_and_others_by_name() {
        let mut history = TaskHistory::default();
        for (id, agent) in [("a", "1"), ("b", "2"), ("a", "2"), ("c", "1"), ("d", "1")] {
            history.push(task(id, agent), 4);
        }
        assert_eq!(ids(&history), ["b", "a", "c", "d"]);
        assert!(history.contains(&task_id("a")));
        history.remove(&task_id("a"));
        assert_eq!(ids(&history), ["b", "c", "d"]);
        assert!(!history.contains(&task_id("a")));
        assert!(history.remove_of_agent(&AgentId { value: "1".to_owned(), ..Default::default() }));
        assert_eq!(ids(&history), ["b"]);
        history.push(task("e", "1"), 0);
        assert_eq!(history.len(), 0);
    }
}
