//! Any order of reservations and volumes by frameworks and operators: master and agent agree on what
//! there is, nothing is made or lost, and nothing reserved is offered to a stranger.

use std::collections::BTreeMap;
use std::time::Duration;

use master::Effect;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use protocol::internal::{
    ReregisterSlaveMessage, UpdateOperationStatusMessage, UpdateSlaveMessage, update_slave_message,
};
use protocol::master as api;
use protocol::mesos::framework_info::capability::Type as Capability;
use protocol::mesos::offer::Operation;
use protocol::mesos::resource::SharedInfo;
use protocol::mesos::{
    FrameworkInfo, Offer, Operation as Record, OperationState, OperationStatus, Resource, Task,
    TaskState,
};
use protocol::messages::MasterToAgent;
use resources::{Resource as Parsed, Resources};

use crate::cluster::{
    Agent, Cluster, Scheduler, accept_call, agent_info, capable, framework_info, launch, offers,
    reregistration, rescinded, scalar, status_update, task, to_agent, uuid,
};
use crate::operation_feedback::with_id;
use crate::reservations::{create, destroy, operator_reserve, reserve, unreserve, volume};
use crate::volumes::{grow, shrink};

#[derive(Clone, Copy, Debug)]
enum Step {
    Accept { framework: u8, choices: [Choice; 3] },
    Operate(Choice),
    Finish(u8),
    Wait(u8),
    Reregister,
    Restart,
}

/// What is done to which resource.
#[derive(Clone, Copy, Debug)]
struct Choice {
    kind: u8,
    pick: u8,
    amount: u8,
}

fn choice() -> impl Strategy<Value = Choice> {
    (0_u8..8, any::<u8>(), 1_u8..60).prop_map(|(kind, pick, amount)| Choice { kind, pick, amount })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_u8..3, [choice(), choice(), choice()])
            .prop_map(|(framework, choices)| Step::Accept { framework, choices }),
        4 => choice().prop_map(Step::Operate),
        4 => any::<u8>().prop_map(Step::Finish),
        6 => (1_u8..9).prop_map(Step::Wait),
        1 => Just(Step::Reregister),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

struct World {
    cluster: Cluster,
    agent: Agent,
    /// What the agent has, by its own account.
    total: Resources,
    unacknowledged: BTreeMap<Vec<u8>, Record>,
    running: Vec<Task>,
    frameworks: Vec<(FrameworkInfo, Scheduler)>,
    offers: Vec<Vec<Offer>>,
    launches: u32,
    operations: u32,
}

fn framework(number: u8) -> FrameworkInfo {
    let capabilities = [Capability::ReservationRefinement, Capability::SharedResources];
    FrameworkInfo {
        // Two share a role, the third is a stranger.
        role: Some(if number == 2 { "stranger" } else { "dev" }.to_owned()),
        failover_timeout: Some(1e6),
        ..capable(framework_info(&format!("f{number}")), &capabilities)
    }
}

impl World {
    fn new() -> Self {
        let mut cluster = Cluster::new();
        let agent = cluster.add_agent(1);
        let total = Resources::from_wire(&agent_info(1).resources).unwrap();
        let mut world = Self {
            cluster,
            agent,
            total,
            unacknowledged: BTreeMap::new(),
            running: Vec::new(),
            frameworks: Vec::new(),
            offers: vec![Vec::new(); 3],
            launches: 0,
            operations: 0,
        };
        for number in 0..3 {
            let (scheduler, effects) = world.cluster.subscribe(framework(number));
            let info = FrameworkInfo { id: Some(scheduler.id.clone()), ..framework(number) };
            world.frameworks.push((info, scheduler));
            world.take(&effects);
        }
        world
    }

    /// The agent does what it is told and answers; frameworks take note of their offers.
    fn take(&mut self, effects: &[Effect]) {
        for (number, (info, scheduler)) in self.frameworks.iter().enumerate() {
            let new = offers(effects, scheduler.connection);
            for resource in new.iter().flat_map(|offer| &offer.resources) {
                let role = resource.reservations.last().and_then(|it| it.role.as_deref());
                assert!(role.is_none() || role == info.role.as_deref(), "{resource:?} to {role:?}");
            }
            self.offers[number].extend(new);
            let gone = rescinded(effects, scheduler.connection);
            self.offers[number].retain(|offer| !gone.contains(&offer.id));
        }
        let messages: Vec<MasterToAgent> =
            to_agent(effects, &self.agent.pid).into_iter().cloned().collect();
        for message in messages {
            let answer = self.agent_hears(message);
            self.take(&answer);
        }
    }

    fn agent_hears(&mut self, message: MasterToAgent) -> Vec<Effect> {
        match message {
            MasterToAgent::ApplyOperation(message) => {
                for conversion in resources::conversions(&message.operation_info).unwrap() {
                    self.total.apply(&conversion.unallocated()).unwrap();
                }
                let status = OperationStatus {
                    state: OperationState::OperationFinished,
                    uuid: Some(message.operation_uuid.clone()),
                    ..Default::default()
                };
                let record = Record {
                    framework_id: message.framework_id.clone(),
                    info: message.operation_info,
                    latest_status: status.clone(),
                    uuid: message.operation_uuid.clone(),
                    ..Default::default()
                };
                self.unacknowledged.insert(record.uuid.value.clone(), record);
                let update = UpdateOperationStatusMessage {
                    framework_id: message.framework_id,
                    slave_id: Some(self.agent.id.clone()),
                    status,
                    operation_uuid: Some(message.operation_uuid),
                    ..Default::default()
                };
                self.cluster.agent_message(&self.agent.pid, update)
            }
            MasterToAgent::AcknowledgeOperationStatus(message) => {
                self.unacknowledged.remove(&message.operation_uuid.value);
                Vec::new()
            }
            MasterToAgent::RunTask(message) => {
                self.running.push(Task {
                    name: message.task.name,
                    task_id: message.task.task_id,
                    framework_id: message.framework.id.unwrap(),
                    agent_id: message.task.agent_id,
                    resources: message.task.resources,
                    state: TaskState::TaskRunning,
                    ..Default::default()
                });
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn accept(&mut self, number: u8, choices: [Choice; 3]) {
        let index = usize::from(number);
        if self.offers[index].is_empty() {
            return;
        }
        let offer = self.offers[index].remove(0);
        let role = self.frameworks[index].0.role.clone().unwrap();
        let operations = choices.map(|choice| self.operation(&offer.resources, &role, choice));
        let operations = operations.into_iter().flatten().collect();
        let scheduler = self.frameworks[index].1.clone();
        let (_, effects) = self.cluster.call(&scheduler, accept_call(vec![offer.id], operations));
        self.take(&effects);
    }

    /// Something to do with one of the resources; what was done before may have made it impossible.
    fn operation(&mut self, all: &[Resource], role: &str, choice: Choice) -> Option<Operation> {
        self.operations += 1;
        let id = format!("{}", self.operations);
        let picked = all.get(usize::from(choice.pick).checked_rem(all.len())?)?;
        let amount = f64::from(choice.amount);
        let of_role = |mut resource: Resource| {
            for reservation in &mut resource.reservations {
                reservation.role = Some(role.to_owned());
            }
            resource
        };
        let disk = || of_role(crate::reservations::reserved(scalar("disk", amount)));
        let is_volume = picked.disk.is_some();
        let operation = match (choice.kind, is_volume) {
            (0..=2, false) => reserve(vec![disk()]),
            (3, false) => unreserve(vec![disk()]),
            (4..=7, false) => {
                let volume = of_role(volume(&format!("v{}", choice.pick % 4), amount));
                let shared = (choice.kind >= 6).then(SharedInfo::default);
                create(vec![Resource { shared, ..volume }])
            }
            (0..=1, true) => destroy(vec![picked.clone()]),
            (2, true) => grow(picked.clone(), disk()),
            (3, true) => shrink(picked.clone(), amount),
            (_, _) => {
                self.launches += 1;
                let id = format!("t{}", self.launches);
                let mut task = task(&id, &self.agent.id, 0.1, 10.0);
                task.resources.push(picked.clone());
                return Some(launch(vec![task]));
            }
        };
        Some(if choice.kind == 0 { operation } else { with_id(&id, operation) })
    }

    fn operate(&mut self, choice: Choice) {
        let all = self.total.to_wire();
        let Some(operation) = self.operation(&all, "dev", choice) else { return };
        let agent_id = self.agent.id.clone();
        let call = if let Some(it) = operation.reserve {
            operator_reserve(&agent_id, it.resources)
        } else if let Some(it) = operation.destroy {
            api::Call {
                r#type: Some(api::call::Type::DestroyVolumes),
                destroy_volumes: Some(api::call::DestroyVolumes {
                    agent_id,
                    volumes: it.volumes,
                    ..Default::default()
                }),
                ..Default::default()
            }
        } else if let Some(it) = operation.create {
            api::Call {
                r#type: Some(api::call::Type::CreateVolumes),
                create_volumes: Some(api::call::CreateVolumes {
                    agent_id,
                    volumes: it.volumes,
                    ..Default::default()
                }),
                ..Default::default()
            }
        } else if let Some(it) = operation.unreserve {
            api::Call {
                r#type: Some(api::call::Type::UnreserveResources),
                unreserve_resources: Some(api::call::UnreserveResources {
                    agent_id,
                    resources: it.resources,
                    ..Default::default()
                }),
                ..Default::default()
            }
        } else {
            return;
        };
        let (_, effects) = self.cluster.operate(call);
        self.take(&effects);
    }

    fn finish(&mut self, pick: u8) {
        let Some(index) = usize::from(pick).checked_rem(self.running.len()) else { return };
        let task = self.running.remove(index);
        let (id, state) = (task.task_id.value.as_str(), TaskState::TaskFinished);
        let message = status_update(&self.agent, &task.framework_id, id, state, 9);
        let effects = self.cluster.agent_message(&self.agent.pid, message);
        self.take(&effects);
    }

    fn reregister(&mut self) {
        let message = ReregisterSlaveMessage {
            tasks: self.running.clone(),
            frameworks: self.frameworks.iter().map(|(info, _)| info.clone()).collect(),
            checkpointed_resources: self.total.filter(Parsed::needs_checkpointing).to_wire(),
            ..reregistration(&self.agent)
        };
        let effects = self.cluster.agent_message(&self.agent.pid, message);
        self.take(&effects);
        let operations = self.unacknowledged.values().cloned().collect();
        let update = UpdateSlaveMessage {
            slave_id: self.agent.id.clone(),
            update_oversubscribed_resources: Some(false),
            operations: Some(update_slave_message::Operations { operations, ..Default::default() }),
            resource_version_uuid: Some(uuid(200)),
            ..Default::default()
        };
        let effects = self.cluster.agent_message(&self.agent.pid, update);
        self.take(&effects);
    }

    fn restart(&mut self) {
        self.offers.iter_mut().for_each(Vec::clear);
        let effects = self.cluster.restart();
        self.take(&effects);
        for number in 0..self.frameworks.len() {
            let info = self.frameworks[number].0.clone();
            let (scheduler, effects) = self.cluster.subscribe(info);
            self.frameworks[number].1 = scheduler;
            self.take(&effects);
        }
        self.reregister();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Accept { framework, choices } => self.accept(framework, choices),
            Step::Operate(choice) => self.operate(choice),
            Step::Finish(pick) => self.finish(pick),
            Step::Wait(seconds) => {
                let effects = self.cluster.advance(Duration::from_secs(u64::from(seconds)));
                self.take(&effects);
                let pong = self.cluster.pong(&self.agent);
                self.take(&pong);
            }
            Step::Reregister => self.reregister(),
            Step::Restart => self.restart(),
        }
    }

    fn check(&mut self) {
        let view = self.cluster.master.snapshot();
        let believed = &view.agents[&self.agent.id].total_resources;
        assert_eq!(*believed, self.total, "master and agent agree");
        let plain = Resources::from_wire(&agent_info(1).resources).unwrap();
        assert_eq!(self.total.quantities(), plain.quantities(), "nothing is made or lost");
    }
}

/// Most of what is tried must be possible, or the property says little.
#[test]
fn volumes_are_made_shared_and_used_along_the_way() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut volumes, mut shared, mut running, mut followed) = (0, 0, 0, 0);
    for _ in 0..24 {
        let mut world = World::new();
        let steps = Strategy::new_tree(&steps(), &mut runner).unwrap().current();
        for step in steps {
            world.step(step);
            volumes += world.total.persistent_volumes().len();
            shared += world.total.shared().len();
            running += world.running.len();
            followed += usize::from(!world.unacknowledged.is_empty());
        }
    }
    assert!(volumes > 100 && shared > 20 && running > 20 && followed > 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_reservations_and_volumes_keeps_the_books(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
    }
}
