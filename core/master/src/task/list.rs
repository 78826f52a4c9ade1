//! Tasks of a framework in the order in which they came, and found by their ids.

use std::ops::Index;
use std::sync::Arc;

use protocol::mesos::{AgentId, TaskId};

use crate::directory::Directory;
use crate::table::{Keyed, Table};
use crate::task::record::TaskRecord;

/// A task with its place in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    place: u64,
    /// The place of an older task of the same id, unless that is forgotten; else its own.
    older: u64,
    task: Arc<TaskRecord>,
}

impl Keyed for Placed {
    type Key = u64;

    fn key(&self) -> &u64 {
        &self.place
    }
}

/// What readers of the state see of some tasks, oldest first. A clone costs nothing; see [`Table`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskList(Table<Placed>);

impl TaskList {
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
        self.0.values().map(|placed| &placed.task)
    }
}

/// The task at a position, the oldest being the first.
impl Index<usize> for TaskList {
    type Output = Arc<TaskRecord>;

    fn index(&self, position: usize) -> &Arc<TaskRecord> {
        &self.0[position].task
    }
}

impl FromIterator<Arc<TaskRecord>> for TaskList {
    fn from_iter<I: IntoIterator<Item = Arc<TaskRecord>>>(tasks: I) -> Self {
        let placed = (0..).zip(tasks).map(|(place, task)| Placed { place, older: place, task });
        Self(placed.collect())
    }
}

/// A [`TaskList`] that changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    list: TaskList,
    /// Where the latest task of an id is.
    places: Directory<Arc<TaskId>, u64>,
    next: u64,
}

impl Tasks {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The tasks as of now, for readers.
    pub(crate) fn list(&self) -> &TaskList {
        &self.list
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<TaskRecord>> + '_ {
        self.list.iter()
    }

    pub(crate) fn contains(&self, id: &TaskId) -> bool {
        self.places.contains_key(id)
    }

    /// The latest task of an id.
    pub(crate) fn get(&self, id: &TaskId) -> Option<&Arc<TaskRecord>> {
        let placed = self.list.0.get(self.places.get(id)?)?;
        Some(&placed.task)
    }

    /// The latest task of an id, to be changed; its id must stay.
    pub(crate) fn get_mut(&mut self, id: &TaskId) -> Option<&mut Arc<TaskRecord>> {
        let placed = self.list.0.get_mut(self.places.get(id)?)?;
        Some(&mut placed.task)
    }

    /// Adds a task. There may be others of its id.
    pub(crate) fn push(&mut self, task: Arc<TaskRecord>) {
        let place = self.next;
        self.next += 1;
        let older = self.places.insert(Arc::clone(&task.task_id), place).unwrap_or(place);
        self.list.0.insert(Placed { place, older, task });
    }

    /// Adds a task, and forgets the oldest beyond `bound`.
    pub(crate) fn push_bounded(&mut self, task: Arc<TaskRecord>, bound: usize) {
        self.push(task);
        while self.len() > bound
            && let Some(oldest) = self.list.0.pop_first()
        {
            let id = &oldest.task.task_id;
            if self.places.get(id) == Some(&oldest.place) {
                self.places.remove(id);
            }
        }
    }

    /// Forgets every task of an id. The latest of them.
    pub(crate) fn remove(&mut self, id: &TaskId) -> Option<Arc<TaskRecord>> {
        let place = self.places.remove(id)?;
        let latest = self.list.0.remove(&place)?;
        let (mut place, mut older) = (place, latest.older);
        while older != place
            && let Some(removed) = self.list.0.remove(&older)
        {
            (place, older) = (older, removed.older);
        }
        Some(latest.task)
    }

    /// Forgets every task of an agent; says whether there was one.
    pub(crate) fn remove_of_agent(&mut self, agent: &AgentId) -> bool {
        let is_on = |task: &&Arc<TaskRecord>| *task.agent_id == *agent;
        if !self.iter().any(|task| is_on(&task)) {
            return false;
        }
        let kept: Vec<_> = self.iter().filter(|task| !is_on(task)).cloned().collect();
        *self = Self::default();
        for task in kept {
            self.push(task);
        }
        true
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

    fn ids(tasks: &Tasks) -> Vec<&str> {
        tasks.iter().map(|task| task.task_id.value.as_str()).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_and_others_by_name() {
        let mut tasks = Tasks::default();
        for (id, agent) in [("a", "1"), ("b", "2"), ("a", "2"), ("c", "1"), ("d", "1")] {
            tasks.push_bounded(task(id, agent), 4);
        }
        assert_eq!(ids(&tasks), ["b", "a", "c", "d"]);
        assert_eq!(tasks.get(&task_id("a")).unwrap().agent_id.value, "2");
        assert!(tasks.remove(&task_id("a")).is_some());
        assert_eq!(ids(&tasks), ["b", "c", "d"]);
        assert!(!tasks.contains(&task_id("a")));
        assert!(tasks.remove_of_agent(&AgentId { value: "1".to_owned(), ..Default::default() }));
        assert_eq!(ids(&tasks), ["b"]);
        tasks.push_bounded(task("e", "1"), 0);
        assert_eq!(tasks.len(), 0);
        assert!(!tasks.contains(&task_id("e")));
    }

    #[test]
    fn all_tasks_of_an_id_go_together() {
        let mut tasks = Tasks::default();
        for (id, agent) in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3")] {
            tasks.push(task(id, agent));
        }
        assert_eq!(tasks.remove(&task_id("a")).unwrap().agent_id.value, "3");
        assert_eq!(ids(&tasks), ["b"]);
        assert_eq!(tasks.remove(&task_id("a")), None);
    }
}
