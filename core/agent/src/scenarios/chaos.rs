//! Anything in any order: messages doubled, lost and late, agents killed at any time. What must hold
//! is checked by the agent's own assertions and at the end of each run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::{any, prop, proptest};
use proptest::test_runner::Config as ProptestConfig;
use protocol::executor::call::{Subscribe, Update};
use protocol::internal::{
    DrainSlaveMessage, KillTaskMessage, ShutdownExecutorMessage, StatusUpdate,
};
use protocol::mesos::{self, TaskState};
use protocol::messages::MasterToAgent;

use super::samples::{
    command_task, executor_id, executor_task, framework, framework_id, run_group, run_task, task_id,
};
use super::world::World;
use crate::checkpoint::{self, EntryKind, Tree};
use crate::event::{ConnectionId, Event};
use crate::executor::State;

/// The world with a memory of what its inhabitants did.
struct Chaos {
    world: World,
    connections: Vec<ConnectionId>,
    sent: Vec<StatusUpdate>,
    /// Statuses executors made and did not see acknowledged, by executor.
    unacknowledged: BTreeMap<String, Vec<mesos::TaskStatus>>,
    told: BTreeMap<String, Vec<TaskState>>,
    seen: BTreeSet<Vec<u8>>,
    launched: BTreeSet<String>,
}

const STATES: [TaskState; 4] = [
    TaskState::TaskStarting,
    TaskState::TaskRunning,
    TaskState::TaskFinished,
    TaskState::TaskKilled,
];

impl Chaos {
    fn step(&mut self, kind: u8, which: u8) {
        match kind % 14 {
            0 | 1 => self.run(which),
            2 => {
                let executor = executor_of(which);
                let pending = self.unacknowledged.get(&executor).cloned().unwrap_or_default();
                let updates = pending.into_iter();
                let subscribe = Subscribe {
                    unacknowledged_updates: updates
                        .map(|status| Update { status, ..Default::default() })
                        .collect(),
                    ..Default::default()
                };
                let connection = self.world.subscribe_with("F", &executor, subscribe);
                self.connections.push(connection);
            }
            3..=5 => self.update(which),
            6 => self.world.master_says(MasterToAgent::KillTask(KillTaskMessage {
                framework_id: framework_id("F"),
                task_id: task_id(&format!("t{}", which % 12)),
                ..Default::default()
            })),
            7 => self.exit_one(which),
            8 => {
                let index = usize::from(which) % self.sent.len().max(1);
                if let Some(update) = self.sent.get(index).cloned() {
                    self.world.acknowledge(&update);
                }
            }
            9 => {
                let index = usize::from(which) % self.connections.len().max(1);
                if let Some(connection) = self.connections.get(index).copied() {
                    self.world.handle(Event::ExecutorConnectionClosed { connection });
                }
            }
            10 => self.world.pass(Duration::from_secs(u64::from(which))),
            11 => {
                self.world.master_says(MasterToAgent::ShutdownExecutor(ShutdownExecutorMessage {
                    framework_id: Some(framework_id("F")),
                    executor_id: Some(executor_id(&executor_of(which))),
                    ..Default::default()
                }));
            }
            12 if which < 64 => {
                let config = mesos::DrainConfig {
                    mark_gone: Some(which.is_multiple_of(2)),
                    ..Default::default()
                };
                let drain = DrainSlaveMessage { config, ..Default::default() };
                self.world.master_says(MasterToAgent::DrainSlave(drain));
            }
            _ => {
                self.world.handle(Event::MasterDetected { leader: None });
                self.world.register();
            }
        }
        self.listen();
    }

    fn run(&mut self, which: u8) {
        let task = format!("t{}", which % 12);
        if self.launched.contains(&task) && which.is_multiple_of(2) {
            return;
        }
        self.world.master_says(match which % 3 {
            0 => run_task(framework("F", true), command_task(&task)),
            1 => run_task(framework("F", true), executor_task(&task, &executor_of(which))),
            _ => {
                let executor = super::samples::custom_executor(&executor_of(which));
                run_group(framework("F", true), executor, vec![command_task(&task)])
            }
        });
        self.launched.insert(task);
    }

    fn update(&mut self, which: u8) {
        let view = self.world.view();
        let mut executors = view.frameworks.iter().flat_map(|framework| &framework.executors);
        let task = format!("t{}", which % 12);
        let owner = executors.find(|executor| {
            executor.launched_tasks.iter().any(|known| known.task_id.value == task)
        });
        let Some(owner) = owner else { return };
        let executor = owner.info.executor_id.value.clone();
        let status = self.world.status(&task, STATES[usize::from(which / 12) % STATES.len()]);
        self.unacknowledged.entry(executor.clone()).or_default().push(status.clone());
        if !which.is_multiple_of(5) {
            self.world.update("F", &executor, status);
        }
    }

    fn exit_one(&mut self, which: u8) {
        let containers = self.containers();
        let index = usize::from(which) % containers.len().max(1);
        if let Some(container) = containers.get(index) {
            self.world.container_exited(container, 9);
        }
    }

    fn containers(&mut self) -> Vec<mesos::ContainerId> {
        let view = self.world.view();
        let executors = view.frameworks.iter().flat_map(|framework| &framework.executors);
        executors
            .filter(|executor| executor.state != State::Terminated)
            .map(|executor| executor.container.clone())
            .collect()
    }

    /// What the outside notices.
    fn listen(&mut self) {
        for launch in self.world.launches() {
            self.world.container_launched(&launch.container);
        }
        for (_, event) in self.world.events() {
            if let Some(acknowledged) = event.acknowledged {
                for pending in self.unacknowledged.values_mut() {
                    pending.retain(|status| status.uuid.as_ref() != Some(&acknowledged.uuid));
                }
            }
        }
        for update in self.world.updates() {
            if self.seen.insert(update.uuid.clone().unwrap()) {
                let task = update.status.task_id.value.clone();
                self.told.entry(task).or_default().push(update.status.state);
            }
            self.sent.push(update);
        }
    }

    /// The agent is killed and started again; of its containers some are gone.
    fn restart(self, which: u8) -> Self {
        let Self { world, sent, unacknowledged, told, seen, launched, .. } = self;
        let world = world.restart().unwrap();
        let connections = Vec::new();
        let mut chaos = Self { world, connections, sent, unacknowledged, told, seen, launched };
        let containers = chaos.containers();
        let (dead, alive): (Vec<_>, Vec<_>) =
            containers.iter().enumerate().partition(|(index, _)| (which >> (index % 8)) & 1 == 0);
        for (_, container) in dead {
            chaos.world.container_exited(container, 9);
        }
        let alive: Vec<&mesos::ContainerId> = alive.into_iter().map(|(_, id)| id).collect();
        chaos.world.recover_containers(&alive);
        chaos.world.pass(Duration::from_secs(3));
        chaos.world.register();
        chaos.listen();
        chaos
    }

    /// Everything comes to rest: containers end, updates are acknowledged.
    fn settle(&mut self) {
        for container in self.containers() {
            self.world.container_exited(&container, 9);
        }
        self.listen();
        let mut acknowledged = 0;
        while acknowledged < self.sent.len() {
            let update = self.sent[acknowledged].clone();
            acknowledged += 1;
            self.world.acknowledge(&update);
            self.listen();
        }
        self.world.pass(Duration::from_secs(700));
        self.listen();
        for update in self.sent.split_off(acknowledged) {
            self.world.acknowledge(&update);
        }
        self.listen();
    }
}

fn executor_of(which: u8) -> String {
    match which % 3 {
        // A command task's executor has the task's name.
        0 => format!("t{}", which % 12),
        _ => format!("e{}", which % 4),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_and_its_framework_hears_of_it(
        steps in prop::collection::vec((any::<u8>(), any::<u8>()), 0..120),
    ) {
        let mut chaos = Chaos {
            world: World::registered(),
            connections: Vec::new(),
            sent: Vec::new(),
            unacknowledged: BTreeMap::new(),
            told: BTreeMap::new(),
            seen: BTreeSet::new(),
            launched: BTreeSet::new(),
        };
        for (kind, which) in steps {
            if kind > 245 {
                chaos = chaos.restart(which);
            } else {
                chaos.step(kind, which);
            }
        }
        chaos.settle();
        let left = chaos.world.view().frameworks.clone();
        assert!(left.is_empty(), "left: {left:?}");
        assert!(chaos.world.view().drain_config.is_none(), "nothing is left to drain");
        let drain = checkpoint::drain_config(&super::samples::agent_id());
        assert!(chaos.world.disk.file(&drain).is_none());
        for task in &chaos.launched {
            let told = chaos.told.get(task).and_then(|states| states.last()).copied();
            assert!(told.is_some_and(TaskState::is_terminal), "task {task}: {:?}", chaos.told.get(task));
        }
    }

    #[test]
    fn no_damage_on_disk_makes_the_agent_panic(
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>(), any::<u8>()), 1..4),
        strict in any::<bool>(),
    ) {
        let mut world = World::registered();
        world.launch(framework("F", true), command_task("t"));
        world.subscribe("F", "t");
        let running = world.status("t", TaskState::TaskRunning);
        world.update("F", "t", running);
        world.acknowledge_all();
        let mut disk = world.disk;
        for (index, place, value) in damages {
            let path = index.get(&disk.entries.keys().cloned().collect::<Vec<_>>()).clone();
            damage(&mut disk, &path, usize::from(place), value);
        }
        let config = crate::Config { strict, ..super::samples::config() };
        if let Ok(mut world) = World::start(config, disk) {
            world.recover_containers(&[]);
            world.register();
            world.acknowledge_all();
        }
    }
}

/// Removes, cuts or scribbles over one entry.
fn damage(disk: &mut Tree, path: &str, place: usize, value: u8) {
    let Some(content) = disk.file(path).map(<[u8]>::to_vec) else {
        disk.entries.remove(path);
        return;
    };
    let mut content = content;
    match place % 3 {
        0 => drop(disk.entries.remove(path)),
        1 => content.truncate(place % (content.len() + 1)),
        _ => {
            if let Some(length) = content.len().checked_sub(1) {
                content[place % (length + 1)] = value;
            }
        }
    }
    if let Some(entry) = disk.entries.get_mut(path) {
        entry.kind = EntryKind::File(content);
    }
}
