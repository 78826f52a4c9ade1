//! What frameworks and tasks have written down of what happened to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// States after which nothing more comes. A framework that asks for a task which nobody knows is told
/// `TASK_UNKNOWN` and does not ask again.
const TERMINAL: &[&str] = &[
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_ERROR",
    "TASK_LOST",
    "TASK_DROPPED",
    "TASK_GONE",
    "TASK_GONE_BY_OPERATOR",
    "TASK_UNKNOWN",
];

/// The lines that were added to a file since the last look. A line without its end is left for the next.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    offset: u64,
}

impl Tail {
    fn read(&mut self) -> String {
        let Ok(mut file) = std::fs::File::open(&self.path) else { return String::new() };
        let mut bytes = Vec::new();
        let read =
            file.seek(SeekFrom::Start(self.offset)).and_then(|_| file.read_to_end(&mut bytes));
        read.expect("the file can be read");
        let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        bytes.truncate(length);
        self.offset += u64::try_from(length).expect("files are not that long");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Whether nothing comes after a state.
pub(super) fn is_terminal(state: &str) -> bool {
    TERMINAL.contains(&state)
}

/// One state of a task, as its framework was told.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) state: String,
    pub(super) reason: String,
    pub(super) source: String,
}

/// A task that a framework has launched, or tried to. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) agent: String,
    pub(super) launched: f64,
    pub(super) updates: Vec<Update>,
}

impl Task {
    /// The first update after which nothing more was expected.
    pub(super) fn end(&self) -> Option<&Update> {
        self.updates.iter().find(|update| is_terminal(&update.state))
    }

    pub(super) fn is_running(&self) -> bool {
        self.updates.last().is_some_and(|update| update.state == "TASK_RUNNING")
    }
}

/// What a framework wrote down.
#[derive(Debug)]
pub(super) struct Ledger {
    tail: Tail,
    pub(super) framework: Option<String>,
    pub(super) tasks: BTreeMap<String, Task>,
    /// When it was subscribed.
    pub(super) subscriptions: Vec<f64>,
    /// When the first offers after each subscription came.
    pub(super) first_offers: Vec<f64>,
    pub(super) errors: Vec<String>,
}

impl Ledger {
    pub(super) fn open(path: &Path) -> Self {
        Self {
            tail: Tail { path: path.to_owned(), offset: 0 },
            framework: None,
            tasks: BTreeMap::new(),
            subscriptions: Vec::new(),
            first_offers: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Takes note of what is new.
    pub(super) fn read(&mut self) {
        for line in self.tail.read().lines() {
            // Half a line of a process that was killed is none.
            if let Ok(entry) = serde_json::from_str::<Value>(line) {
                self.take(&entry);
            }
        }
    }

    fn take(&mut self, entry: &Value) {
        let at = entry["at"].as_f64().unwrap_or_default();
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        if entry["subscribed"].is_string() {
            self.framework = Some(text("subscribed"));
            self.subscriptions.push(at);
        } else if entry["offers"].is_number() {
            self.first_offers.push(at);
        } else if entry["launch"].is_string() {
            let task = Task { agent: text("agent"), launched: at, updates: Vec::new() };
            self.tasks.insert(text("launch"), task);
        } else if entry["update"].is_string() {
            let (state, reason, source) = (text("state"), text("reason"), text("source"));
            if let Some(task) = self.tasks.get_mut(&text("update")) {
                task.updates.push(Update { state, reason, source });
            }
        } else if entry["error"].is_string() {
            self.errors.push(text("error"));
        }
    }
}

/// What the tasks themselves wrote: one line when they began, one when they had done their work.
#[derive(Debug)]
pub(super) struct Runs {
    tail: Tail,
    /// The process ids of each start.
    pub(super) started: BTreeMap<String, Vec<String>>,
    pub(super) ended: BTreeSet<String>,
}

impl Runs {
    pub(super) fn open(path: &Path) -> Self {
        let tail = Tail { path: path.to_owned(), offset: 0 };
        Self { tail, started: BTreeMap::new(), ended: BTreeSet::new() }
    }

    /// Takes note of what is new.
    pub(super) fn read(&mut self) {
        for line in self.tail.read().lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["start", task, process] => {
                    let starts = self.started.entry((*task).to_owned()).or_default();
                    starts.push((*process).to_owned());
                }
                ["end", task, _] => {
                    self.ended.insert((*task).to_owned());
                }
                _ => {}
            }
        }
    }
}
