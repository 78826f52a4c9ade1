//! What the short life of a task costs: an offer and its acceptance, two status updates forwarded and
//! two acknowledgements, in a cluster that stays full.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use master::{ConnectionId, Effect, Event};
use protocol::Message;
use protocol::internal::PongSlaveMessage;
use protocol::mesos::{AgentId, FrameworkId, Offer, TaskId, TaskState};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use protocol::scheduler::call::{Revive, Type};
use protocol::scheduler::{self, Call};

use crate::cluster::{Cluster, Scheduler, agent_event};
use crate::messages::{accept, acknowledge, room, status_update};

/// How many tasks end before the allocator has its turn: events come in batches.
const BATCH: usize = 64;
/// So many lives pass in a second of the cluster's time.
const LIVES_PER_SECOND: u32 = 10_000;
/// A batch of lives takes as long.
const BATCH_TIME: Duration =
    Duration::from_micros(BATCH as u64 * 1_000_000 / LIVES_PER_SECOND as u64);

struct Live {
    agent: AgentId,
    framework: FrameworkId,
    task: TaskId,
}

/// Where time went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// In the master, deciding.
    pub(crate) deciding: Duration,
    /// Encoding what it sends, as its thread does.
    pub(crate) encoding: Duration,
}

/// A cluster in which tasks come and go.
pub(crate) struct Lives<'a> {
    cluster: &'a mut Cluster,
    schedulers: BTreeMap<ConnectionId, &'a Scheduler>,
    pids: BTreeMap<AgentId, Pid>,
    live: Vec<Live>,
    /// The part of an agent that a task takes.
    share: f64,
    random: u64,
    lives: u64,
    times: Times,
}

impl<'a> Lives<'a> {
    /// All frameworks want offers again.
    pub(crate) fn new(cluster: &'a mut Cluster, schedulers: &'a [Scheduler], share: f64) -> Self {
        let snapshot = cluster.master.snapshot();
        let pids = snapshot.agents.iter().map(|(id, agent)| (id.clone(), agent.pid.clone()));
        let tasks = snapshot.frameworks.values().flat_map(|framework| framework.tasks.iter());
        let live = tasks.map(|task| Live {
            agent: (*task.agent_id).clone(),
            framework: (*task.framework_id).clone(),
            task: (*task.task_id).clone(),
        });
        let (pids, live) = (pids.collect(), live.collect());
        for scheduler in schedulers {
            let revive = Some(Revive::default());
            let call = Call { r#type: Some(Type::Revive), revive, ..Default::default() };
            cluster.call(scheduler, call);
        }
        let mut lives = Self {
            cluster,
            schedulers: schedulers.iter().map(|it| (it.connection, it)).collect(),
            pids,
            live,
            share,
            random: 1,
            lives: 0,
            times: Times::default(),
        };
        lives.expire();
        lives
    }

    /// At least so many lives; gives back how many, and what they cost.
    pub(crate) fn run(&mut self, count: u64) -> (u64, Times) {
        (self.lives, self.times) = (0, Times::default());
        while self.lives < count {
            self.batch();
        }
        (self.lives, self.times)
    }

    fn batch(&mut self) {
        self.cluster.now += BATCH_TIME;
        let mut events = Vec::with_capacity(BATCH);
        for _ in 0..BATCH.min(self.live.len()) {
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x1405_7b7e);
            let position = usize::try_from(self.random >> 33).expect("31 bits") % self.live.len();
            let ended = self.live.swap_remove(position);
            events.push(self.update(&ended, TaskState::TaskFinished));
        }
        self.handle(events);
        self.expire();
    }

    /// Hands in events, and what comes back of them, until nothing does.
    fn handle(&mut self, events: Vec<Event>) {
        let mut events = events;
        while !events.is_empty() {
            let start = Instant::now();
            let mut effects = Vec::new();
            for event in events {
                effects.append(&mut self.cluster.master.handle(self.cluster.now, event));
            }
            self.times.deciding += start.elapsed();
            events = self.react(effects);
        }
    }

    fn expire(&mut self) {
        let start = Instant::now();
        let effects = self.cluster.master.expire(self.cluster.now);
        self.times.deciding += start.elapsed();
        let events = self.react(effects);
        self.handle(events);
    }

    /// What agents and frameworks say to what they are told.
    fn react(&mut self, effects: Vec<Effect>) -> Vec<Event> {
        let mut events = Vec::new();
        for effect in &effects {
            match effect {
                Effect::SendToAgent { to, message } => events.extend(self.agent(to, message)),
                Effect::SendToScheduler { connection, event } => {
                    self.scheduler(*connection, event, &mut events);
                }
                Effect::Respond { .. } => {}
                other @ (Effect::Persist { .. }
                | Effect::SendToDriver { .. }
                | Effect::SendAuthentication { .. }
                | Effect::Link { .. }
                | Effect::AcceptSubscription { .. }
                | Effect::AcceptSubscriber { .. }
                | Effect::CloseConnection { .. }
                | Effect::SendToSubscribers { .. }
                | Effect::Abort { .. }) => panic!("not part of a task's life: {other:?}"),
            }
        }
        let start = Instant::now();
        for effect in effects {
            if let Effect::SendToAgent { message, .. } = &effect {
                black_box(message.encode());
            } else if let Effect::SendToScheduler { event, .. } = &effect {
                black_box(event.encode_to_vec());
            }
        }
        self.times.encoding += start.elapsed();
        events
    }

    fn agent(&mut self, to: &Pid, message: &MasterToAgent) -> Option<Event> {
        if let MasterToAgent::RunTask(run) = message {
            let task = &run.task;
            let live = Live {
                agent: task.agent_id.clone(),
                framework: run.framework.id.clone().expect("a framework has its id"),
                task: task.task_id.clone(),
            };
            let event = self.update(&live, TaskState::TaskRunning);
            self.live.push(live);
            return Some(event);
        }
        if let MasterToAgent::PingSlave(_) = message {
            let body = PongSlaveMessage::default().encode_to_vec();
            return Some(agent_event(to, "mesos.internal.PongSlaveMessage", &body));
        }
        None
    }

    fn scheduler(
        &mut self,
        connection: ConnectionId,
        event: &scheduler::Event,
        events: &mut Vec<Event>,
    ) {
        let scheduler = self.schedulers[&connection];
        for offer in event.offers.iter().flat_map(|offers| &offers.offers) {
            events.push(self.use_offer(scheduler, offer));
        }
        if let Some(update) = &event.update {
            let status = &update.status;
            let agent = status.agent_id.as_ref().expect("an agent's update");
            let uuid = status.uuid.clone().expect("it is to be acknowledged");
            let call = acknowledge(agent, &status.task_id, uuid);
            events.push(self.cluster.call_event(scheduler, call));
            self.lives += u64::from(status.state.is_terminal());
        }
    }

    fn use_offer(&mut self, scheduler: &Scheduler, offer: &Offer) -> Event {
        let tasks = room(offer, self.share);
        assert!(tasks > 0, "the master offers what is enough for a task");
        let first = self.cluster.next();
        (1..tasks).for_each(|_| _ = self.cluster.next());
        self.cluster.call_event(scheduler, accept(offer, first, tasks, self.share))
    }

    fn update(&mut self, live: &Live, state: TaskState) -> Event {
        let number = self.cluster.next();
        let pid = &self.pids[&live.agent];
        let message = status_update(pid, &live.agent, &live.framework, &live.task, state, number);
        agent_event(pid, "mesos.internal.StatusUpdateMessage", &message.encode_to_vec())
    }
}
