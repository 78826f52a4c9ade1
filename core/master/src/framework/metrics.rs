//! What is counted for each framework, under `master/frameworks/<name>/<id>/` (`docs/monitoring.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use protocol::Names;
use protocol::mesos::offer::operation;
use protocol::mesos::{FrameworkId, FrameworkInfo, TaskState};
use protocol::scheduler::{call, event};

/// How often each value occurred.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tally<K>(BTreeMap<K, u64>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Copy + Ord> Tally<K> {
    /// Counts one more.
    pub(crate) fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    /// Counts one less.
    pub(crate) fn remove(&mut self, key: K) {
        let count = self.0.entry(key).or_default();
        debug_assert!(*count > 0, "only what was counted is taken away");
        *count = count.saturating_sub(1);
    }

    pub(crate) fn get(&self, key: K) -> u64 {
        self.0.get(&key).copied().unwrap_or(0)
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// The counters of one framework.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FrameworkMetrics {
    pub(crate) calls: Tally<call::Type>,
    pub(crate) events: Tally<event::Type>,
    pub(crate) operations: Tally<operation::Type>,
    pub(crate) offers_sent: u64,
    pub(crate) offers_accepted: u64,
    pub(crate) offers_declined: u64,
    pub(crate) offers_rescinded: u64,
    /// Tasks by the state in which they ended.
    pub(crate) ended: Tally<TaskState>,
    /// Tasks that the master knows, by state.
    pub(crate) tasks: Tally<TaskState>,
}

impl FrameworkMetrics {
    /// A task is known now.
    pub(crate) fn task_added(&mut self, state: TaskState) {
        self.tasks.add(state);
        if state.is_terminal() {
            self.ended.add(state);
        }
    }

    /// A known task has got another state.
    pub(crate) fn task_changed(&mut self, before: TaskState, after: TaskState) {
        if before == after {
            return;
        }
        self.tasks.remove(before);
        self.task_added(after);
    }
}

/// The counters of one framework and what their names are made of, as of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameworkCounts {
    prefix: String,
    subscribed: bool,
    suppressed: BTreeMap<String, bool>,
    unreachable: usize,
    metrics: FrameworkMetrics,
}

impl FrameworkCounts {
    pub(crate) fn new(id: &FrameworkId, info: &FrameworkInfo, metrics: &FrameworkMetrics) -> Self {
        Self {
            prefix: format!("master/frameworks/{}/{}/", encode(&info.name), id.value),
            subscribed: false,
            suppressed: BTreeMap::new(),
            unreachable: 0,
            metrics: metrics.clone(),
        }
    }

    /// Adds what only a framework that is not removed has.
    pub(crate) fn registered(
        mut self,
        subscribed: bool,
        roles: &BTreeSet<String>,
        suppressed: &BTreeSet<String>,
        unreachable: usize,
    ) -> Self {
        self.subscribed = subscribed;
        self.suppressed =
            roles.iter().map(|role| (role.clone(), suppressed.contains(role))).collect();
        self.unreachable = unreachable;
        self
    }

    /// Hands every metric with its whole name to `show`.
    #[expect(clippy::cast_precision_loss, reason = "Mesos' metrics are doubles")]
    pub fn for_each(&self, mut show: impl FnMut(String, f64)) {
        let metrics = &self.metrics;
        let mut set = |name: &str, value: u64| show(format!("{}{name}", self.prefix), value as f64);
        set("subscribed", u64::from(self.subscribed));
        set("calls", metrics.calls.total());
        for kind in call::Type::ALL.iter().filter(|it| **it != call::Type::Unknown) {
            set(&lower("calls/", kind.name(Names::V1)), metrics.calls.get(*kind));
        }
        set("events", metrics.events.total());
        for kind in event::Type::ALL.iter().filter(|it| **it != event::Type::Unknown) {
            set(&lower("events/", kind.name(Names::V1)), metrics.events.get(*kind));
        }
        set("operations", metrics.operations.total());
        for kind in operation::Type::ALL.iter().filter(|it| **it != operation::Type::Unknown) {
            set(&lower("operations/", kind.name(Names::V1)), metrics.operations.get(*kind));
        }
        set("offers/sent", metrics.offers_sent);
        set("offers/accepted", metrics.offers_accepted);
        set("offers/declined", metrics.offers_declined);
        set("offers/rescinded", metrics.offers_rescinded);
        for state in TaskState::ALL {
            if state.is_terminal() {
                let count = metrics.ended.get(*state);
                set(&lower("tasks/terminal/", state.name(Names::V1)), count);
                continue;
            }
            let unreachable =
                if *state == TaskState::TaskUnreachable { self.unreachable } else { 0 };
            let count = metrics.tasks.get(*state) + unreachable as u64;
            set(&lower("tasks/active/", state.name(Names::V1)), count);
        }
        for (role, suppressed) in &self.suppressed {
            set(&format!("roles/{role}/suppressed"), u64::from(*suppressed));
        }
    }
}

fn lower(group: &str, name: &str) -> String {
    let mut text = String::with_capacity(group.len() + name.len());
    text.push_str(group);
    text.push_str(name);
    text.make_ascii_lowercase();
    text
}

/// Percent-encodes a framework's name as libprocess does (`http::encode`), so that it is one component.
fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        let special = b"$&+,/:;=?@ \"<>#%{}|\\^~[]`".contains(&byte);
        if special || !(0x20..=0x7f).contains(&byte) {
            let _ = write!(encoded, "%{byte:02X}");
        } else {
            encoded.push(char::from(byte));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_as_in_mesos() {
        assert_eq!(encode("mesos-execute instance"), "mesos-execute%20instance");
        assert_eq!(encode("a/b%~é\n"), "a%2Fb%25%7E%C3%A9%0A");
        assert_eq!(encode("plain_Name-1.2(x)*'!"), "plain_Name-1.2(x)*'!");
    }

    #[test]
    fn a_task_counts_where_it_is_and_once_where_it_ended() {
        let mut metrics = FrameworkMetrics::default();
        metrics.task_added(TaskState::TaskStaging);
        metrics.task_changed(TaskState::TaskStaging, TaskState::TaskRunning);
        metrics.task_changed(TaskState::TaskRunning, TaskState::TaskRunning);
        metrics.task_changed(TaskState::TaskRunning, TaskState::TaskFinished);
        assert_eq!(metrics.tasks.get(TaskState::TaskRunning), 0);
        assert_eq!(metrics.ended.get(TaskState::TaskFinished), 1);
    }
}
