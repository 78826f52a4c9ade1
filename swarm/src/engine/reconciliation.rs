//! Frameworks ask what became of tasks, and the answers are checked.

use std::collections::HashSet;

use protocol::mesos::{self, TaskState};
use protocol::scheduler::{self, call};

use super::{Engine, messages};
use crate::ledger::Told;
use crate::timers::Moment;

/// The answers to one question.
#[derive(Debug)]
pub(crate) struct Reconciliation {
    question: Question,
    /// When the latest answer came.
    pub(crate) latest: Option<Moment>,
    /// Answers so far, repetitions left out.
    pub(crate) answers: u64,
}

#[derive(Debug)]
enum Question {
    /// About tasks that nobody knows: what the answer to each must be, until it is answered.
    Unknown { framework: u32, expected: Vec<Option<TaskState>> },
    /// About all tasks of each framework.
    All { answered: HashSet<u64> },
}

fn unknown_name(number: usize) -> String {
    format!("unknown-{number}")
}

impl Engine {
    /// Lets the first framework ask for `count` tasks that never existed, `batch` in each call. A
    /// third names no agent, a third an agent that nobody knows, and a third a registered one.
    pub(crate) fn ask_for_unknown_tasks(&mut self, count: usize, batch: usize) {
        let framework = 0;
        let mut expected = Vec::with_capacity(count);
        let mut tasks = Vec::with_capacity(count);
        for number in 0..count {
            let agent = u32::try_from(number).unwrap_or(u32::MAX) % self.fleet.count();
            let (agent_id, state) = match number % 3 {
                0 => (None, TaskState::TaskUnknown),
                1 => {
                    let value = format!("nowhere-S{number}");
                    let id = mesos::AgentId { value, ..Default::default() };
                    (Some(id), TaskState::TaskUnknown)
                }
                _ => (self.fleet.id(agent).cloned(), TaskState::TaskGone),
            };
            expected.push(Some(state));
            let task_id = mesos::TaskId { value: unknown_name(number), ..Default::default() };
            tasks.push(call::reconcile::Task { task_id, agent_id, ..Default::default() });
        }
        let question = Question::Unknown { framework, expected };
        self.reconciliation = Some(Reconciliation { question, latest: None, answers: 0 });
        for tasks in tasks.chunks(batch.max(1)) {
            self.reconcile(framework, tasks.to_vec());
        }
    }

    /// Lets every framework ask for all of its tasks.
    pub(crate) fn ask_for_all_tasks(&mut self) {
        let question = Question::All { answered: HashSet::new() };
        self.reconciliation = Some(Reconciliation { question, latest: None, answers: 0 });
        for number in 0..self.frameworks.len() {
            self.reconcile(u32::try_from(number).unwrap_or(u32::MAX), Vec::new());
        }
    }

    fn reconcile(&mut self, framework: u32, tasks: Vec<call::reconcile::Task>) {
        let reconcile = call::Reconcile { tasks, ..Default::default() };
        self.call(
            framework,
            scheduler::Call {
                r#type: Some(call::Type::Reconcile),
                reconcile: Some(reconcile),
                ..Default::default()
            },
        );
    }

    pub(super) fn reconciled(&mut self, framework: u32, status: &mesos::TaskStatus) {
        let now = self.now();
        let Some(reconciliation) = &mut self.reconciliation else { return };
        let id = &status.task_id.value;
        let problem = match &mut reconciliation.question {
            Question::Unknown { framework: asker, expected } => {
                let number: Option<usize> =
                    id.strip_prefix("unknown-").and_then(|number| number.parse().ok());
                match number.and_then(|number| expected.get_mut(number)) {
                    _ if *asker != framework => Some("told to a framework that did not ask"),
                    None => Some("not asked for"),
                    Some(slot) => match slot.take() {
                        None => Some("answered twice"),
                        Some(state) if state != status.state => Some("in the wrong state"),
                        Some(_) => None,
                    },
                }
            }
            Question::All { answered } => {
                let number = messages::task_number(&status.task_id);
                match number.map(|number| (number, self.ledger.task(number))) {
                    Some((number, Some(task))) if task.framework == framework => {
                        let is_right = match task.told {
                            Told::Running => status.state == TaskState::TaskRunning,
                            Told::Launched | Told::Ended => true,
                        };
                        match (answered.insert(number), is_right) {
                            (false, _) => Some("answered twice"),
                            (true, false) => Some("in the wrong state"),
                            (true, true) => None,
                        }
                    }
                    Some(_) | None => Some("not a task of the framework that asked"),
                }
            }
        };
        if let Some(problem) = problem {
            let state = status.state;
            self.ledger
                .violations
                .add(format!("reconciliation: task {id} is {state:?}: {problem}"));
        }
        reconciliation.answers += 1;
        reconciliation.latest = Some(now);
    }
}
