//! A framework on the SDK that launches short tasks for as long as it lives.
//!
//! As its sibling in Python it can end at any moment and be started again: what it knows stands in its ledger.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::mesos::FrameworkInfo;
use protocol::scheduler::{Call, Event};
use protocol::{Message as _, Names};
use sdk::{Incoming, Scheduler, SchedulerOptions};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::clock;
use super::ledger::{Ledger, is_terminal};

/// How many launches are made up for after a time without offers.
const BURST: f64 = 10.0;
/// How many tasks may be there at a time.
const OPEN_MAX: usize = 40;
/// How many tasks go to one agent at a time.
const LAUNCH_MAX: usize = 3;
/// After how long without news a task is asked for, and how often.
const SILENCE: Duration = Duration::from_secs(3);
/// Each so many'th task takes longer than most faults.
const LONG_TASK_EVERY: usize = 25;
const CPUS: f64 = 0.05;
const MEM: f64 = 8.0;

/// Where a stream of tasks comes from, and what it leaves.
#[derive(Clone, Debug)]
pub(super) struct StreamSettings {
    /// What the framework is given as its master.
    pub(super) master: String,
    pub(super) ledger: PathBuf,
    /// Where tasks write that they begin and end.
    pub(super) starts: PathBuf,
    pub(super) tasks_per_second: f64,
}

/// A framework in a thread of this process. Dropping it is as sudden as the death of a process: its
/// connections end.
#[derive(Debug)]
pub(super) struct SdkStream {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SdkStream {
    pub(super) fn start(settings: StreamSettings) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = run(settings) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for SdkStream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed, and the checks see that it launches no more.
            let _ = thread.join();
        }
    }
}

async fn run(settings: StreamSettings) {
    let mut stream = Stream::resume(&settings);
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
    let mut framework = json!({
        "user": user.ok().flatten().expect("a user name").name,
        "name": "sdk stream",
        "checkpoint": true,
        "failover_timeout": 3600.0,
        "capabilities": [{"type": "PARTITION_AWARE"}],
    });
    if let Some(id) = &stream.framework {
        framework["id"] = json!({"value": id});
    }
    let framework = FrameworkInfo::from_json(framework.to_string().as_bytes(), Names::V1);
    let options = SchedulerOptions::new(settings.master, framework.expect("a framework"));
    let (scheduler, mut incoming) = Scheduler::start(options).expect("a URL of an ensemble");
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            news = incoming.recv() => match news {
                Some(Incoming::Event(event)) => stream.take(&scheduler, &event).await,
                Some(Incoming::Disconnected { .. }) => {}
                Some(Incoming::Failed(error)) => {
                    stream.write(json!({"error": error.to_string()}));
                    return;
                }
                None => return,
            },
            _ = tick.tick() => stream.reconcile(&scheduler).await,
        }
    }
}

/// A task without a terminal state.
struct Open {
    agent: String,
    /// When something was heard of it, or asked; never since the framework was started.
    heard: Option<Instant>,
}

struct Stream {
    ledger: File,
    starts: PathBuf,
    framework: Option<String>,
    open: BTreeMap<String, Open>,
    launched: usize,
    tasks_per_second: f64,
    tokens: f64,
    refilled: Instant,
    tells_offers: bool,
}

impl Stream {
    fn resume(settings: &StreamSettings) -> Self {
        let mut past = Ledger::open(&settings.ledger);
        past.read();
        let open = past.tasks.iter().filter(|(_, task)| task.end().is_none());
        let open =
            open.map(|(id, task)| (id.clone(), Open { agent: task.agent.clone(), heard: None }));
        Self {
            ledger: open_ledger(&settings.ledger),
            starts: settings.starts.clone(),
            framework: past.framework.clone(),
            open: open.collect(),
            launched: past.tasks.len(),
            tasks_per_second: settings.tasks_per_second,
            tokens: 0.0,
            refilled: Instant::now(),
            tells_offers: false,
        }
    }

    fn write(&mut self, mut entry: Value) {
        entry["at"] = json!(clock());
        let line = format!("{entry}\n");
        self.ledger.write_all(line.as_bytes()).expect("the ledger can be written");
    }

    async fn take(&mut self, scheduler: &Scheduler, event: &Event) {
        let event: Value =
            serde_json::from_str(&event.to_json(Names::V1)).expect("events are JSON");
        match event["type"].as_str().unwrap_or_default() {
            "SUBSCRIBED" => {
                let id = event["subscribed"]["framework_id"]["value"].clone();
                self.write(json!({"subscribed": id}));
                self.tells_offers = true;
            }
            "OFFERS" => {
                let offers = event["offers"]["offers"].as_array().cloned().unwrap_or_default();
                if std::mem::take(&mut self.tells_offers) {
                    self.write(json!({"offers": offers.len()}));
                }
                for offer in offers {
                    let tasks = self.tasks_for(&offer);
                    call(scheduler, answer_to(&offer, &tasks)).await;
                }
            }
            "UPDATE" => self.update(scheduler, &event["update"]["status"]).await,
            "ERROR" => self.write(json!({"error": event["error"]["message"]})),
            _ => {}
        }
    }

    fn tasks_for(&mut self, offer: &Value) -> Vec<Value> {
        let passed = self.refilled.elapsed().as_secs_f64();
        self.refilled = Instant::now();
        self.tokens = (self.tokens + passed * self.tasks_per_second).min(BURST);
        let (mut cpus, mut mem) = (amount(offer, "cpus"), amount(offer, "mem"));
        let mut tasks = Vec::new();
        while self.tokens >= 1.0
            && tasks.len() < LAUNCH_MAX
            && self.open.len() < OPEN_MAX
            && cpus >= CPUS
            && mem >= MEM
        {
            self.tokens -= 1.0;
            cpus -= CPUS;
            mem -= MEM;
            tasks.push(self.task(offer));
        }
        tasks
    }

    fn task(&mut self, offer: &Value) -> Value {
        let number = self.launched;
        self.launched += 1;
        let id = format!("s-{number:05}");
        let agent = offer["agent_id"]["value"].as_str().unwrap_or_default().to_owned();
        let seconds = match number % LONG_TASK_EVERY {
            7 => "30",
            _ => ["0.5", "1", "1.5", "2"][number % 4],
        };
        self.write(json!({"launch": id, "agent": agent}));
        self.open.insert(id.clone(), Open { agent, heard: Some(Instant::now()) });
        let starts = self.starts.display();
        let command = format!(
            "echo start {id} $$ >> {starts}; sleep {seconds}; echo end {id} $$ >> {starts}"
        );
        json!({
            "name": id,
            "task_id": {"value": id},
            "agent_id": offer["agent_id"],
            "command": {"value": command},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": CPUS}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": MEM}},
            ],
        })
    }

    async fn update(&mut self, scheduler: &Scheduler, status: &Value) {
        let id = status["task_id"]["value"].as_str().unwrap_or_default().to_owned();
        self.write(json!({
            "update": id,
            "state": status["state"],
            "reason": status["reason"],
            "source": status["source"],
            "message": status["message"],
        }));
        if self.open.contains_key(&id) {
            if is_terminal(status["state"].as_str().unwrap_or_default()) {
                self.open.remove(&id);
            } else if let Some(open) = self.open.get_mut(&id) {
                open.heard = Some(Instant::now());
            }
        }
        if status["uuid"].is_string() {
            let acknowledge = json!({
                "agent_id": status["agent_id"],
                "task_id": status["task_id"],
                "uuid": status["uuid"],
            });
            call(scheduler, json!({"type": "ACKNOWLEDGE", "acknowledge": acknowledge})).await;
        }
    }

    async fn reconcile(&mut self, scheduler: &Scheduler) {
        let mut silent = Vec::new();
        for (id, open) in &mut self.open {
            if open.heard.is_none_or(|heard| heard.elapsed() > SILENCE) {
                open.heard = Some(Instant::now());
                silent.push(json!({"task_id": {"value": id}, "agent_id": {"value": open.agent}}));
            }
        }
        if !silent.is_empty() {
            call(scheduler, json!({"type": "RECONCILE", "reconcile": {"tasks": silent}})).await;
        }
    }
}

fn open_ledger(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a ledger in the folder")
}

fn amount(offer: &Value, name: &str) -> f64 {
    let resources = offer["resources"].as_array().into_iter().flatten();
    resources.filter(|it| it["name"] == name).filter_map(|it| it["scalar"]["value"].as_f64()).sum()
}

fn answer_to(offer: &Value, tasks: &[Value]) -> Value {
    let offer_ids = json!([offer["id"]]);
    let filters = json!({"refuse_seconds": 0.3});
    if tasks.is_empty() {
        let decline = json!({"offer_ids": offer_ids, "filters": filters});
        return json!({"type": "DECLINE", "decline": decline});
    }
    let operation = json!({"type": "LAUNCH", "launch": {"task_infos": tasks}});
    let accept = json!({"offer_ids": offer_ids, "operations": [operation], "filters": filters});
    json!({"type": "ACCEPT", "accept": accept})
}

/// Makes a call. One that fails is made up for: offers and updates come again, and what was launched is asked
/// for.
async fn call(scheduler: &Scheduler, call: Value) {
    let call = Call::from_json(call.to_string().as_bytes(), Names::V1).expect("a call");
    let _ = scheduler.call(call).await;
}
