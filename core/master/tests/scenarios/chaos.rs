//! Any order of events: nothing panics, the books agree after every event, nobody's task vanishes
//! without a word.

mod operators;
mod reservations;

use std::collections::BTreeMap;
use std::time::Duration;

use master::{Effect, Event};
use proptest::prelude::*;
use protocol::internal::{ReregisterSlaveMessage, UnregisterSlaveMessage};
use protocol::mesos::{FrameworkInfo, OfferId, Task, TaskState};
use protocol::messages::MasterToAgent;
use protocol::scheduler;
use protocol::scheduler::call::{AcceptInverseOffers, Acknowledge, Decline, Kill, Reconcile, Type};

use crate::cluster::{
    Agent, Cluster, Scheduler, accept_call, events, framework_info, launch, launched, offers,
    partition_aware, registered_id, registration, reregistration, statuses, task, task_id,
};

use operators::Order;

#[derive(Clone, Copy, Debug)]
enum Step {
    Register(u8),
    Reregister(u8),
    Unregister(u8),
    Break(u8),
    Subscribe(u8),
    Close(u8),
    Teardown(u8),
    Launch { framework: u8, cpus: u8 },
    Decline { framework: u8, seconds: u8 },
    Update { framework: u8, task: u8, state: u8 },
    Acknowledge { framework: u8, task: u8 },
    Kill { framework: u8, task: u8 },
    Reconcile(u8),
    Operate { agent: u8, order: Order },
    AnswerInverse(u8),
    Wait(u16),
    Writes(bool),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let small = || 0_u8..3;
    let step = prop_oneof![
        3 => small().prop_map(Step::Register),
        3 => small().prop_map(Step::Reregister),
        1 => small().prop_map(Step::Unregister),
        2 => small().prop_map(Step::Break),
        4 => small().prop_map(Step::Subscribe),
        1 => small().prop_map(Step::Close),
        1 => small().prop_map(Step::Teardown),
        24 => (small(), 1_u8..12).prop_map(|(framework, cpus)| Step::Launch { framework, cpus }),
        2 => (small(), 0_u8..20).prop_map(|(framework, seconds)| Step::Decline { framework, seconds }),
        16 => (small(), any::<u8>(), 0_u8..5)
            .prop_map(|(framework, task, state)| Step::Update { framework, task, state }),
        8 => (small(), any::<u8>()).prop_map(|(framework, task)| Step::Acknowledge { framework, task }),
        1 => (small(), any::<u8>()).prop_map(|(framework, task)| Step::Kill { framework, task }),
        1 => small().prop_map(Step::Reconcile),
        4 => (small(), order()).prop_map(|(agent, order)| Step::Operate { agent, order }),
        2 => small().prop_map(Step::AnswerInverse),
        10 => (0_u16..12).prop_map(Step::Wait),
        1 => (600_u16..700).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Writes),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..80)
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        2 => any::<bool>().prop_map(|mark_gone| Order::Drain { mark_gone }),
        1 => Just(Order::Deactivate),
        2 => Just(Order::Reactivate),
        1 => Just(Order::MarkGone),
        3 => (0_u8..3).prop_map(|start| Order::Schedule { start }),
        1 => Just(Order::ClearSchedule),
        2 => Just(Order::Down),
        2 => Just(Order::Up),
    ]
}

/// What the peers of the master know, as real ones would.
struct World {
    cluster: Cluster,
    agents: BTreeMap<u8, Agent>,
    frameworks: BTreeMap<u8, Scheduler>,
    offers: BTreeMap<u8, Vec<(OfferId, protocol::mesos::AgentId)>>,
    inverse_offers: BTreeMap<u8, Vec<OfferId>>,
    /// What each agent runs, as it would say when it reregisters.
    running: BTreeMap<String, Task>,
    /// The last that a framework heard of a task.
    heard: BTreeMap<String, TaskState>,
    launches: u32,
}

impl World {
    fn new() -> Self {
        Self {
            cluster: Cluster::new(),
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            offers: BTreeMap::new(),
            inverse_offers: BTreeMap::new(),
            running: BTreeMap::new(),
            heard: BTreeMap::new(),
            launches: 0,
        }
    }

    fn take(&mut self, effects: &[Effect]) {
        for (number, scheduler) in &self.frameworks {
            let held = self.offers.entry(*number).or_default();
            held.extend(
                offers(effects, scheduler.connection).into_iter().map(|it| (it.id, it.agent_id)),
            );
            for event in events(effects, scheduler.connection) {
                let asked = self.inverse_offers.entry(*number).or_default();
                if let Some(made) = &event.inverse_offers {
                    asked.extend(made.inverse_offers.iter().map(|it| it.id.clone()));
                }
                if let Some(rescind) = &event.rescind_inverse_offer {
                    let known = asked.iter().position(|id| *id == rescind.inverse_offer_id);
                    asked.remove(known.expect("only what was made is rescinded"));
                }
            }
            for status in statuses(effects, scheduler.connection) {
                self.heard.insert(status.task_id.value.clone(), status.state);
            }
        }
        for effect in effects {
            let Effect::SendToAgent { to, message } = effect else { continue };
            match &**message {
                MasterToAgent::SlaveRegistered(message) => {
                    let number = to.address.ip().octets()[3];
                    let info = protocol::mesos::AgentInfo {
                        id: Some(message.slave_id.clone()),
                        ..crate::cluster::agent_info(number)
                    };
                    let agent = Agent { id: message.slave_id.clone(), pid: to.clone(), info };
                    self.agents.insert(number, agent);
                }
                MasterToAgent::RunTask(message) => {
                    let task = Task {
                        name: message.task.name.clone(),
                        task_id: message.task.task_id.clone(),
                        framework_id: message.framework.id.clone().unwrap(),
                        agent_id: message.task.agent_id.clone(),
                        resources: message.task.resources.clone(),
                        state: TaskState::TaskStaging,
                        ..Default::default()
                    };
                    self.running.insert(task.task_id.value.clone(), task);
                }
                MasterToAgent::ShutdownFramework(message) => {
                    let agent = self.agents.values().find(|agent| agent.pid == *to);
                    let agent = agent.map(|agent| agent.id.clone());
                    self.running.retain(|_, task| {
                        task.framework_id != message.framework_id
                            || Some(&task.agent_id) != agent.as_ref()
                    });
                }
                _ => {}
            }
        }
    }

    fn event(&mut self, event: Event) {
        let effects = self.cluster.event(event);
        self.take(&effects);
    }

    fn call(&mut self, framework: u8, call: scheduler::Call) -> Vec<Effect> {
        let Some(scheduler) = self.frameworks.get(&framework).cloned() else {
            return Vec::new();
        };
        let (_, effects) = self.cluster.try_call(&scheduler, call);
        self.take(&effects);
        effects
    }

    fn subscribe(&mut self, framework: u8) {
        let info = FrameworkInfo {
            failover_timeout: Some(f64::from(framework) * 1000.0),
            checkpoint: Some(framework != 1),
            ..if framework == 0 { partition_aware("f") } else { framework_info("f") }
        };
        let view = self.cluster.master.snapshot();
        let away = self
            .frameworks
            .get(&framework)
            .is_some_and(|it| view.frameworks.get(&it.id).is_some_and(|view| !view.connected));
        if away {
            // Its removal may be under way, and would refuse it.
            let effects = self.cluster.complete_writes();
            self.take(&effects);
        }
        let view = self.cluster.master.snapshot();
        let known = self.frameworks.get(&framework).map(|it| it.id.clone()).filter(|id| {
            view.completed_frameworks.iter().all(|it| it.info.id.as_ref() != Some(id))
        });
        let (scheduler, effects) = self.cluster.subscribe(FrameworkInfo { id: known, ..info });
        self.offers.insert(framework, Vec::new());
        self.inverse_offers.insert(framework, Vec::new());
        self.frameworks.insert(framework, scheduler);
        self.take(&effects);
    }

    fn launch(&mut self, framework: u8, cpus: u8) {
        let Some((offer, agent)) = self.offers.get_mut(&framework).and_then(Vec::pop) else {
            return;
        };
        self.launches += 1;
        let id = format!("{}", self.launches);
        let task = task(&id, &agent, f64::from(cpus) / 10.0, 10.0);
        let effects = self.call(framework, accept_call(vec![offer], vec![launch(vec![task])]));
        // A framework that is subscribed gets its task, or is told why not.
        if !effects.is_empty() {
            let connected = effects.iter().any(|effect| {
                matches!(effect, Effect::Respond { response, .. } if response.status() == 202)
            });
            if connected {
                assert!(
                    launched(&effects).contains(&id) || self.heard.contains_key(&id),
                    "task {id} vanished: {effects:?}"
                );
            }
        }
    }

    fn own_task(&self, framework: u8, task: u8) -> Option<Task> {
        let id = &self.frameworks.get(&framework)?.id;
        let own: Vec<&Task> =
            self.running.values().filter(|task| task.framework_id == *id).collect();
        let index = usize::from(task).checked_rem(own.len())?;
        Some(own[index].clone())
    }

    fn update(&mut self, framework: u8, task: u8, state: u8) {
        let Some(mut task) = self.own_task(framework, task) else { return };
        let Some(agent) = self.agents.values().find(|it| it.id == task.agent_id).cloned() else {
            return;
        };
        let state = [
            TaskState::TaskStarting,
            TaskState::TaskRunning,
            TaskState::TaskFinished,
            TaskState::TaskFailed,
            TaskState::TaskKilled,
        ][usize::from(state)];
        let id = task.task_id.value.clone();
        let message =
            crate::cluster::status_update(&agent, &task.framework_id, &id, state, state as u8);
        let ended = !matches!(
            task.state,
            TaskState::TaskStaging | TaskState::TaskStarting | TaskState::TaskRunning
        );
        if !ended {
            task.state = state;
            self.running.insert(id, task);
        }
        let effects = self.cluster.agent_message(&agent.pid, message);
        self.take(&effects);
    }

    fn acknowledge(&mut self, framework: u8, task: u8) {
        let Some(task) = self.own_task(framework, task) else { return };
        let call = scheduler::Call {
            r#type: Some(Type::Acknowledge),
            acknowledge: Some(Acknowledge {
                agent_id: task.agent_id.clone(),
                task_id: task.task_id.clone(),
                uuid: vec![task.state as u8; 16],
                ..Default::default()
            }),
            ..Default::default()
        };
        self.call(framework, call);
    }

    fn reregister(&mut self, number: u8) {
        let Some(agent) = self.agents.get(&number).cloned() else { return };
        let tasks: Vec<Task> =
            self.running.values().filter(|task| task.agent_id == agent.id).cloned().collect();
        let mut frameworks = BTreeMap::new();
        for task in &tasks {
            let info = FrameworkInfo {
                id: Some(task.framework_id.clone()),
                checkpoint: Some(true),
                ..framework_info("f")
            };
            frameworks.insert(task.framework_id.clone(), info);
        }
        let message = ReregisterSlaveMessage {
            tasks,
            frameworks: frameworks.into_values().collect(),
            ..reregistration(&agent)
        };
        let effects = self.cluster.agent_message(&agent.pid, message);
        self.take(&effects);
    }

    fn decline(&mut self, framework: u8, seconds: u8) {
        let Some(held) = self.offers.get_mut(&framework) else { return };
        let offer_ids = std::mem::take(held).into_iter().map(|(id, _)| id).collect();
        let filters = protocol::mesos::Filters {
            refuse_seconds: Some(f64::from(seconds)),
            ..Default::default()
        };
        let decline = Decline { offer_ids, filters: Some(filters), ..Default::default() };
        let call = scheduler::Call {
            r#type: Some(Type::Decline),
            decline: Some(decline),
            ..Default::default()
        };
        self.call(framework, call);
    }

    fn kill(&mut self, framework: u8, task: u8) {
        let id = self.own_task(framework, task).map(|it| it.task_id);
        let id = id.unwrap_or_else(|| task_id("unknown"));
        let call = scheduler::Call {
            r#type: Some(Type::Kill),
            kill: Some(Kill { task_id: id, ..Default::default() }),
            ..Default::default()
        };
        self.call(framework, call);
    }

    fn operate(&mut self, number: u8, order: Order) {
        let agent = self.agents.get(&number).map(|agent| agent.id.clone());
        let call = order.call(agent.unwrap_or_default(), number);
        let (_, effects) = self.cluster.operate(call);
        self.take(&effects);
    }

    fn answer_inverse(&mut self, framework: u8) {
        let asked = self.inverse_offers.get_mut(&framework).map(std::mem::take);
        let accept_inverse_offers = AcceptInverseOffers {
            inverse_offer_ids: asked.unwrap_or_default(),
            ..Default::default()
        };
        let call = scheduler::Call {
            r#type: Some(Type::AcceptInverseOffers),
            accept_inverse_offers: Some(accept_inverse_offers),
            ..Default::default()
        };
        self.call(framework, call);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Register(number) => {
                let number = number + 1;
                let pid = crate::cluster::agent_pid(number);
                let effects = self.cluster.agent_message(&pid, registration(number));
                if registered_id(&effects).is_some() {
                    self.take(&effects);
                }
            }
            Step::Reregister(number) => self.reregister(number + 1),
            Step::Unregister(number) => {
                let Some(agent) = self.agents.get(&(number + 1)).cloned() else { return };
                let slave_id = agent.id;
                let message = UnregisterSlaveMessage { slave_id, ..Default::default() };
                let effects = self.cluster.agent_message(&agent.pid, message);
                self.take(&effects);
            }
            Step::Break(number) => {
                self.event(Event::Exited { pid: crate::cluster::agent_pid(number + 1) });
            }
            Step::Subscribe(framework) => self.subscribe(framework),
            Step::Close(framework) => {
                if let Some(scheduler) = self.frameworks.get(&framework) {
                    let connection = scheduler.connection;
                    self.event(Event::ConnectionClosed { connection });
                }
            }
            Step::Teardown(framework) => {
                let call = scheduler::Call { r#type: Some(Type::Teardown), ..Default::default() };
                self.call(framework, call);
            }
            Step::Launch { framework, cpus } => self.launch(framework, cpus),
            Step::Decline { framework, seconds } => self.decline(framework, seconds),
            Step::Update { framework, task, state } => self.update(framework, task, state),
            Step::Acknowledge { framework, task } => self.acknowledge(framework, task),
            Step::Kill { framework, task } => self.kill(framework, task),
            Step::Reconcile(framework) => {
                let call = scheduler::Call {
                    r#type: Some(Type::Reconcile),
                    reconcile: Some(Reconcile::default()),
                    ..Default::default()
                };
                self.call(framework, call);
            }
            Step::Operate { agent, order } => self.operate(agent + 1, order),
            Step::AnswerInverse(framework) => self.answer_inverse(framework),
            Step::Wait(seconds) => {
                let effects = self.cluster.advance(Duration::from_secs(seconds.into()));
                self.take(&effects);
            }
            Step::Writes(complete) => {
                self.cluster.writes_complete = complete;
                if complete {
                    let effects = self.cluster.complete_writes();
                    self.take(&effects);
                }
            }
            Step::Restart => {
                let effects = self.cluster.restart();
                self.take(&effects);
            }
        }
    }

    /// What the read model says must agree with itself.
    fn check(&mut self) {
        let view = self.cluster.master.snapshot();
        for agent in view.agents.values() {
            let taken = &agent.used_resources + &agent.offered_resources;
            assert!(
                agent.total_resources.contains(&taken.unallocated())
                    || agent.offered_resources.is_empty(),
                "{taken} of {}",
                agent.total_resources
            );
            assert!(!agent.deactivated || agent.offered_resources.is_empty(), "{agent:?}");
            let ip = agent.pid.address.ip().to_string();
            let down = &view.maintenance.status.down_machines;
            assert!(
                !self.cluster.writes_complete || !down.iter().any(|it| it.ip.as_ref() == Some(&ip)),
                "{agent:?} is on a machine that is down"
            );
        }
        let of_agents: resources::Resources =
            view.agents.values().map(|it| it.used_resources.scalars()).sum();
        let of_frameworks: resources::Resources =
            view.frameworks.values().map(|it| it.used_resources.scalars()).sum();
        assert_eq!(of_agents, of_frameworks);
        for framework in view.frameworks.values() {
            for task in framework.tasks.iter() {
                assert!(view.agents.contains_key(&task.agent_id), "{task:?} is nowhere");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_order_of_events_keeps_the_books(steps in steps()) {
        let mut world = World::new();
        let peers = (0..3).flat_map(|number| [Step::Register(number), Step::Subscribe(number)]);
        for step in peers.chain(steps) {
            world.step(step);
            world.check();
        }
    }
}
