//! Keeps the books of the whole cluster and finds what does not add up.
//!
//! Both ends of the master are in this process: what frameworks are offered and launch, and what
//! agents are told to run. So no resource may be promised twice, no agent may be told to run more
//! than it has, and each task must end exactly once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use protocol::mesos::TaskState;

use crate::amount::Amount;
use crate::timers::Moment;

/// How long the news that explains a contradiction may take. An offer that replaces a rescinded one
/// may come before the rescission, on another connection.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// So many violations are kept as text; the rest is only counted.
const TEXTS_MAX: usize = 50;

/// What went wrong.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    count: u64,
    texts: Vec<String>,
}

impl Violations {
    pub(crate) fn add(&mut self, text: impl Into<String>) {
        self.count += 1;
        if self.texts.len() < TEXTS_MAX {
            let text = text.into();
            tracing::error!("{text}");
            self.texts.push(text);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }
}

/// How far a task is, as its framework was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Launched,
    Running,
    Ended,
}

/// How far a task is at its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The agent has not heard of it.
    Unknown,
    /// It runs, and that is not acknowledged.
    Started,
    /// It runs, and that is acknowledged.
    Running,
    /// It has done its work before its start was acknowledged.
    Waiting,
    /// Its end was sent and is not acknowledged.
    Ended,
    /// Its end is acknowledged.
    Done,
}

/// One task, from its launch until both ends have forgotten it.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) framework: u32,
    pub(crate) agent: u32,
    pub(crate) launched: Moment,
    pub(crate) told: Told,
    pub(crate) progress: Progress,
    /// Whether some update was sent more than once, so that the framework may see it twice.
    is_repeated: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    total: Amount,
    /// Held by offers that were not answered, and by tasks from their launch to their end.
    claimed: Amount,
    /// Used by the tasks that the agent was told to run and that have not ended.
    running: Amount,
    /// Tasks from their launch to their end.
    tasks: u32,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    framework: u32,
    agent: u32,
    amount: Amount,
}

/// More was offered than there seems to be.
#[derive(Debug)]
struct Suspicion {
    due: Moment,
    agent: u32,
    offer: String,
    /// What explains it must add up to this.
    excess: Amount,
    explained: Amount,
    text: String,
}

/// What a status update means to the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The task runs: this long after its launch.
    Running(Duration),
    /// The task has ended, with success or not.
    Ended { finished: bool },
    /// Nothing new.
    Again,
}

/// The books.
#[derive(Debug)]
pub(crate) struct Ledger {
    task_amount: Amount,
    accounts: Vec<Account>,
    held: HashMap<String, Held>,
    tasks: HashMap<u64, Task>,
    next_task: u64,
    /// Tasks forgotten whose updates may still come again.
    repeated: HashSet<u64>,
    suspicions: Vec<Suspicion>,
    /// Launched, and neither running nor ended as far as their frameworks know.
    launching: u32,
    /// Running as far as their frameworks know.
    running: u64,
    /// Ended, and that is not acknowledged.
    ending: u32,
    pub(crate) violations: Violations,
}

impl Ledger {
    /// Books for agents with these totals and tasks that all take `task_amount`.
    pub(crate) fn new(agents: u32, agent_amount: Amount, task_amount: Amount) -> Self {
        let account = Account { total: agent_amount, ..Account::default() };
        Self {
            task_amount,
            accounts: (0..agents).map(|_| account).collect(),
            held: HashMap::new(),
            tasks: HashMap::new(),
            next_task: 1,
            repeated: HashSet::new(),
            suspicions: Vec::new(),
            launching: 0,
            running: 0,
            ending: 0,
            violations: Violations::default(),
        }
    }

    /// Tasks that are not forgotten.
    pub(crate) fn live(&self) -> usize {
        self.tasks.len()
    }

    /// Tasks launched of which nothing was heard.
    pub(crate) fn launching(&self) -> u32 {
        self.launching
    }

    /// How many tasks of an agent were launched and have not ended.
    pub(crate) fn tasks_of(&self, agent: u32) -> u32 {
        self.accounts.get(agent as usize).map_or(0, |account| account.tasks)
    }

    /// Tasks that have ended and whose agents do not know that everyone knows.
    pub(crate) fn ending(&self) -> u32 {
        self.ending
    }

    /// Tasks that run as far as their frameworks know.
    pub(crate) fn running(&self) -> u64 {
        self.running
    }

    pub(crate) fn task(&self, number: u64) -> Option<&Task> {
        self.tasks.get(&number)
    }

    /// The numbers of all tasks that are not forgotten, in order.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.tasks.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// A framework was offered this. Says when a contradiction must be looked at again.
    pub(crate) fn offered(
        &mut self,
        now: Moment,
        framework: u32,
        offer: &str,
        agent: u32,
        amount: Amount,
    ) -> Option<Moment> {
        let held = Held { framework, agent, amount };
        if self.held.insert(offer.to_owned(), held).is_some() {
            self.violations.add(format!("offer {offer} was made twice"));
            return None;
        }
        let account = self.accounts.get_mut(agent as usize)?;
        account.claimed += amount;
        if account.claimed.fits_in(account.total) {
            return None;
        }
        let due = now + GRACE;
        let text = format!(
            "offer {offer} with {amount} of agent {agent}: {} of {} are promised",
            account.claimed, account.total
        );
        let excess = account.claimed - account.total;
        let offer = offer.to_owned();
        self.suspicions.push(Suspicion {
            due,
            agent,
            offer,
            excess,
            explained: Amount::default(),
            text,
        });
        Some(due)
    }

    /// An offer is being accepted or declined: what is not launched is the master's again.
    pub(crate) fn answered(&mut self, offer: &str) {
        if let Some(held) = self.held.remove(offer) {
            self.release(held.agent, held.amount);
        }
    }

    /// The master has taken an offer back. One that was answered meanwhile is unknown.
    pub(crate) fn rescinded(&mut self, offer: &str) {
        self.suspicions.retain(|suspicion| suspicion.offer != offer);
        if let Some(held) = self.held.remove(offer) {
            self.release(held.agent, held.amount);
            self.explain(held.agent, held.amount);
        }
    }

    /// A framework's connection broke, and with it its offers are void.
    pub(crate) fn disconnected(&mut self, framework: u32) {
        let mut void: Vec<String> = self
            .held
            .iter()
            .filter(|(_, held)| held.framework == framework)
            .map(|(offer, _)| offer.clone())
            .collect();
        void.sort_unstable();
        for offer in void {
            self.rescinded(&offer);
        }
    }

    /// A framework launches a task. Gives its number.
    pub(crate) fn launched(&mut self, now: Moment, framework: u32, agent: u32) -> u64 {
        let number = self.next_task;
        self.next_task += 1;
        let (told, progress) = (Told::Launched, Progress::Unknown);
        let task = Task { framework, agent, launched: now, told, progress, is_repeated: false };
        self.tasks.insert(number, task);
        self.launching += 1;
        if let Some(account) = self.accounts.get_mut(agent as usize) {
            account.claimed += self.task_amount;
            account.tasks += 1;
        }
        number
    }

    /// An agent is told to run a task. Says whether it is to.
    pub(crate) fn started(&mut self, agent: u32, number: u64) -> bool {
        let amount = self.task_amount;
        let Some(task) = self.tasks.get_mut(&number) else {
            self.violations.add(format!("agent {agent} was told to run ended task {number}"));
            return false;
        };
        if task.agent != agent {
            let other = task.agent;
            self.violations.add(format!("agent {agent} was told to run task {number} of {other}"));
            return false;
        }
        if task.progress != Progress::Unknown || task.told == Told::Ended {
            self.violations.add(format!("agent {agent} was told again to run task {number}"));
            return false;
        }
        task.progress = Progress::Started;
        if let Some(account) = self.accounts.get_mut(agent as usize) {
            account.running += amount;
            if !account.running.fits_in(account.total) {
                self.violations.add(format!(
                    "agent {agent} was told to run {} and has {}",
                    account.running, account.total
                ));
            }
        }
        true
    }

    /// A task has done its work. Says whether its end is to be sent now.
    pub(crate) fn worked(&mut self, number: u64) -> bool {
        let Some(task) = self.tasks.get_mut(&number) else { return false };
        match task.progress {
            Progress::Started => {
                task.progress = Progress::Waiting;
                false
            }
            Progress::Running => {
                self.end(number);
                true
            }
            Progress::Unknown | Progress::Waiting | Progress::Ended | Progress::Done => false,
        }
    }

    /// The agent's update number `sequence` of a task is acknowledged. Says whether the task's end
    /// is to be sent now.
    pub(crate) fn acknowledged(&mut self, number: u64, sequence: u8) -> bool {
        let Some(task) = self.tasks.get_mut(&number) else { return false };
        match (task.progress, sequence) {
            (Progress::Started, STARTED) => {
                task.progress = Progress::Running;
                false
            }
            (Progress::Waiting, STARTED) => {
                self.end(number);
                true
            }
            (Progress::Ended, ENDED) => {
                task.progress = Progress::Done;
                self.ending -= 1;
                self.forget(number);
                false
            }
            // Acknowledged twice, because it was sent twice.
            (
                Progress::Unknown
                | Progress::Started
                | Progress::Running
                | Progress::Waiting
                | Progress::Ended
                | Progress::Done,
                _,
            ) => false,
        }
    }

    /// An update is sent again.
    pub(crate) fn repeated(&mut self, number: u64) {
        if let Some(task) = self.tasks.get_mut(&number) {
            task.is_repeated = true;
        }
    }

    /// Whether the task waits for the acknowledgement of this update.
    pub(crate) fn awaits(&self, number: u64, sequence: u8) -> bool {
        self.tasks.get(&number).is_some_and(|task| match task.progress {
            Progress::Started | Progress::Waiting => sequence == STARTED,
            Progress::Ended => sequence == ENDED,
            Progress::Unknown | Progress::Running | Progress::Done => false,
        })
    }

    /// A framework is told about a task of its.
    pub(crate) fn heard(
        &mut self,
        now: Moment,
        framework: u32,
        number: u64,
        state: TaskState,
    ) -> Heard {
        let Some(task) = self.tasks.get_mut(&number) else {
            if !self.repeated.contains(&number) {
                self.violations.add(format!("task {number} has ended and is now {state:?}"));
            }
            return Heard::Again;
        };
        if task.framework != framework {
            let owner = task.framework;
            self.violations
                .add(format!("framework {framework} is told of task {number} of {owner}"));
            return Heard::Again;
        }
        let before = task.told;
        let is_end = state.is_terminal();
        match before {
            Told::Ended => {
                if !task.is_repeated {
                    self.violations.add(format!("task {number} ended twice, now as {state:?}"));
                }
                return Heard::Again;
            }
            Told::Launched => {
                self.launching -= u32::from(is_end || state == TaskState::TaskRunning);
            }
            Told::Running => self.running -= u64::from(is_end),
        }
        if is_end {
            self.end_told(number);
            return Heard::Ended { finished: state == TaskState::TaskFinished };
        }
        if state == TaskState::TaskRunning && before == Told::Launched {
            task.told = Told::Running;
            self.running += 1;
            return Heard::Running(now.saturating_sub(task.launched));
        }
        Heard::Again
    }

    /// Looks at the contradictions that had time to be explained.
    pub(crate) fn judge(&mut self, now: Moment) {
        let due: Vec<Suspicion> =
            self.suspicions.extract_if(.., |suspicion| suspicion.due <= now).collect();
        for suspicion in due {
            if !suspicion.excess.fits_in(suspicion.explained) {
                self.violations.add(suspicion.text);
            }
        }
    }

    /// At the end: every task must have ended.
    pub(crate) fn close(&mut self) {
        for number in self.numbers() {
            if let Some(task) = self.tasks.get(&number) {
                let (framework, agent) = (task.framework, task.agent);
                let (told, progress) = (task.told, task.progress);
                self.violations.add(format!(
                    "task {number} of framework {framework} on agent {agent} never ended: \
                     framework {told:?}, agent {progress:?}"
                ));
            }
        }
        self.judge(Moment::MAX);
    }

    /// The agent ends the task: what it used is free from now on.
    fn end(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        task.progress = Progress::Ended;
        self.ending += 1;
        let (agent, was_told) = (task.agent, task.told == Told::Ended);
        let amount = self.task_amount;
        if let Some(account) = self.accounts.get_mut(agent as usize) {
            account.running -= amount;
        }
        // A task that the master has given up before is claimed no more.
        if !was_told {
            self.free(agent);
        }
    }

    fn end_told(&mut self, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        task.told = Told::Ended;
        let agent = task.agent;
        match task.progress {
            // The master gave it up by itself.
            Progress::Unknown | Progress::Started | Progress::Running | Progress::Waiting => {
                self.free(agent);
                self.explain(agent, self.task_amount);
            }
            Progress::Ended | Progress::Done => {}
        }
        self.forget(number);
    }

    fn forget(&mut self, number: u64) {
        let Some(task) = self.tasks.get(&number) else { return };
        let is_over = match task.progress {
            Progress::Unknown | Progress::Done => task.told == Told::Ended,
            Progress::Started | Progress::Running | Progress::Waiting | Progress::Ended => false,
        };
        if is_over {
            if task.is_repeated {
                self.repeated.insert(number);
            }
            self.tasks.remove(&number);
        }
    }

    /// A task is over: what it took can be promised again.
    fn free(&mut self, agent: u32) {
        self.release(agent, self.task_amount);
        if let Some(account) = self.accounts.get_mut(agent as usize) {
            account.tasks -= 1;
        }
    }

    fn release(&mut self, agent: u32, amount: Amount) {
        if let Some(account) = self.accounts.get_mut(agent as usize) {
            account.claimed -= amount;
        }
    }

    fn explain(&mut self, agent: u32, amount: Amount) {
        for suspicion in self.suspicions.iter_mut().filter(|it| it.agent == agent) {
            suspicion.explained += amount;
        }
    }
}

/// The number of a task's first update.
pub(crate) const STARTED: u8 = 1;
/// The number of a task's last update.
pub(crate) const ENDED: u8 = 2;

#[cfg(test)]
mod tests;
