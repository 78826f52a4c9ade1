//! Keeps tasks running, whatever happens to the master, to the tasks or to itself: `sleepers MASTER STORE
//! COUNT`, where STORE is a folder or, for several instances of which one leads, `zk://…/path`.
#![expect(clippy::print_stdout, reason = "it tells what happens")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, SystemTime};

use protocol::mesos::{
    AgentId, CommandInfo, FrameworkInfo, Offer, Resource, TaskId, TaskInfo, value,
};
use protocol::scheduler::Event;
use sdk::{CallError, Change, Incoming, Instance, Scheduler, SchedulerOptions, Store};
use tokio::time::{Instant, interval_at};

/// What a task gets.
const NEEDS: [(&str, f64); 2] = [("cpus", 0.1), ("mem", 32.0)];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [master, place, count] = arguments.as_slice() else {
        return Err("usage: sleepers MASTER STORE COUNT".into());
    };
    if !place.starts_with("zk://") {
        return run(master, Store::open(place).await?, count).await;
    }
    let instance = Instance::start(place, &format!("process {}", std::process::id()))?;
    let mut leaders = instance.leaders();
    let epoch = loop {
        tokio::select! {
            elected = instance.elected() => break elected?,
            Ok(()) = leaders.changed() => println!("standing by, leader: {:?}", instance.leader()),
        }
    };
    println!("leading");
    tokio::select! {
        result = run(master, Store::open_elected(place, epoch).await?, count) => result,
        error = instance.ended() => Err(error.into()),
    }
}

async fn run(master: &str, store: Store, count: &str) -> Result<(), Box<dyn Error>> {
    let framework = FrameworkInfo {
        user: std::env::var("USER")?,
        name: "sleepers".to_owned(),
        // Tasks go on for an hour while nobody looks after them, also when their agent restarts.
        failover_timeout: Some(3600.0),
        checkpoint: Some(true),
        ..Default::default()
    };
    let options =
        SchedulerOptions { store: Some(store.clone()), ..SchedulerOptions::new(master, framework) };
    let (scheduler, mut incoming) = Scheduler::start(options)?;
    let mut sleepers =
        Sleepers { scheduler, count: count.parse()?, tasks: store.load().await?, store };
    let pause = Duration::from_secs(15);
    let mut again = interval_at(Instant::now() + pause, pause);
    loop {
        tokio::select! {
            news = incoming.recv() => match news {
                Some(Incoming::Event(event)) => sleepers.handle(*event).await?,
                Some(Incoming::Disconnected { reason }) => println!("not subscribed: {reason}"),
                Some(Incoming::Failed(error)) => return Err(error.into()),
                None => return Err("the subscription has ended".into()),
            },
            _ = again.tick() => sleepers.reconcile().await,
        }
    }
}

struct Sleepers {
    scheduler: Scheduler,
    store: Store,
    count: usize,
    /// The agent of each task that may be running; the store says the same.
    tasks: BTreeMap<String, Vec<u8>>,
}

impl Sleepers {
    async fn handle(&mut self, event: Event) -> Result<(), Box<dyn Error>> {
        if let Some(subscribed) = event.subscribed {
            println!("subscribed as {}", subscribed.framework_id.value);
            self.reconcile().await;
        }
        for offer in event.offers.map(|it| it.offers).unwrap_or_default() {
            self.answer(&offer).await?;
        }
        if let Some(error) = event.error {
            return Err(error.message.into());
        }
        let Some(status) = event.update.map(|update| update.status) else { return Ok(()) };
        println!("{} is {}", status.task_id.value, status.state.name(protocol::Names::V1));
        if status.state.is_terminal() && self.tasks.remove(&status.task_id.value).is_some() {
            self.store.commit(vec![Change::remove(&status.task_id.value)]).await?;
        }
        tell(self.scheduler.acknowledge(&status).await);
        Ok(())
    }

    /// Launches what is missing and fits. A task is in the store before the master hears of it.
    async fn answer(&mut self, offer: &Offer) -> Result<(), Box<dyn Error>> {
        let room = NEEDS.map(|(name, amount)| {
            let of_name = offer.resources.iter().filter(|resource| resource.name == name);
            let sum: f64 = of_name.filter_map(|it| it.scalar.as_ref()).map(|it| it.value).sum();
            (1..).take_while(|tasks| f64::from(*tasks) * amount <= sum).count()
        });
        let missing = self.count.saturating_sub(self.tasks.len());
        let time = SystemTime::UNIX_EPOCH.elapsed()?.as_millis();
        let agent = &offer.agent_id;
        let launched: Vec<TaskInfo> = (0..missing.min(room[0]).min(room[1]))
            .map(|number| sleeper(&format!("sleep-{time}-{number}"), agent))
            .collect();
        let records =
            launched.iter().map(|it| (it.task_id.value.clone(), agent.value.clone().into()));
        self.tasks.extend(records.clone());
        self.store.commit(records.map(|(id, agent)| Change::set(id, agent)).collect()).await?;
        tell(self.scheduler.launch(offer, launched).await);
        Ok(())
    }

    async fn reconcile(&self) {
        let text = |agent| str::from_utf8(agent).unwrap_or_default();
        let tasks = self.tasks.iter().map(|(task, agent)| (task.as_str(), text(agent)));
        tell(self.scheduler.reconcile(tasks).await);
    }
}

/// A call that was lost is no harm: the master is asked again and again.
fn tell(called: Result<(), CallError>) {
    called.unwrap_or_else(|error| println!("{error}"));
}

fn sleeper(id: &str, agent_id: &AgentId) -> TaskInfo {
    let resource = |(name, value): (&str, f64)| Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar,
        scalar: Some(value::Scalar { value, ..Default::default() }),
        ..Default::default()
    };
    TaskInfo {
        name: "sleeper".to_owned(),
        task_id: TaskId { value: id.to_owned(), ..Default::default() },
        agent_id: agent_id.clone(),
        resources: NEEDS.into_iter().map(resource).collect(),
        command: Some(CommandInfo { value: Some("sleep 86400".to_owned()), ..Default::default() }),
        ..Default::default()
    }
}
