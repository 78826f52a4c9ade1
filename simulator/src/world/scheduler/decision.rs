//! What a framework does of its own accord: launch, decline, kill, ask, and now and then something
//! foolish.

use std::collections::{BTreeMap, BTreeSet};

use protocol::mesos::offer::operation;
use protocol::mesos::{
    AgentId, CommandInfo, Filters, Offer, OfferId, Resource, TaskId, TaskInfo, TaskState, offer,
};
use protocol::scheduler::call;
use resources::Resources;

use crate::happening::Happening;
use crate::world::World;
use crate::world::executor::custom_executor;
use crate::world::scheduler::{Entry, scalar};

/// No framework has more tasks than this at a time, so that runs stay short.
const TASKS_MAX: usize = 40;
/// Longer than any run, in seconds.
const FOREVER: f64 = 1_000_000.0;

impl World {
    pub(crate) fn offers_arrive(&mut self, scheduler: usize, offers: &[Offer]) {
        let mut by_agent: BTreeMap<(AgentId, Option<String>), Vec<OfferId>> = BTreeMap::new();
        for offer in offers {
            let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
            let of_agent = by_agent.entry((offer.agent_id.clone(), role)).or_default();
            of_agent.push(offer.id.clone());
            self.schedulers[scheduler].offers.insert(offer.id.clone(), offer.clone());
        }
        let life = self.schedulers[scheduler].life;
        for offers in by_agent.into_values() {
            let high = if self.random.chance(200) { 10_000 } else { 200 };
            self.plan(0, high, Happening::SchedulerAnswer { scheduler, life, offers });
        }
    }

    /// Uses offers of one agent, or declines them.
    pub(crate) fn answer_offers(&mut self, scheduler: usize, ids: &[OfferId]) {
        let declines = self.healing || self.random.chance(250);
        let host = &mut self.schedulers[scheduler];
        let offers: Vec<Offer> = ids.iter().filter_map(|id| host.offers.remove(id)).collect();
        let Some(first) = offers.first().cloned() else { return };
        let living = host.book.values().filter(|entry| !entry.is_over()).count();
        if declines || living >= TASKS_MAX {
            self.decline(scheduler, offers.into_iter().map(|offer| offer.id).collect());
            return;
        }
        if self.settings.policy.operations && self.random.chance(350) && offers.len() == 1 {
            if !self.operate(scheduler, &first) {
                self.decline(scheduler, vec![first.id]);
            }
            return;
        }
        self.schedulers[scheduler].stale = Some(first);
        self.launch(scheduler, &offers);
    }

    fn decline(&mut self, scheduler: usize, offer_ids: Vec<OfferId>) {
        let refuse_seconds =
            if self.healing { FOREVER } else { [0.0, 1.0, 5.0, 30.0][self.random.index(4)] };
        let filters = Filters { refuse_seconds: Some(refuse_seconds), ..Default::default() };
        let decline = call::Decline { offer_ids, filters: Some(filters), ..Default::default() };
        self.call(scheduler, call::Type::Decline, |call| call.decline = Some(decline));
    }

    fn launch(&mut self, scheduler: usize, offers: &[Offer]) {
        let Some(agent) = offers.first().map(|offer| offer.agent_id.clone()) else { return };
        let mut left: Resources = offers
            .iter()
            .map(|offer| Resources::from_wire(&offer.resources).unwrap_or_default().unallocated())
            .sum();
        let number = self.name();
        let ids: Vec<OfferId> = offers.iter().map(|offer| offer.id.clone()).collect();
        let mut tasks = Vec::new();
        for _ in 0..self.random.between(1, 4) {
            let asks_too_much = self.random.chance(10);
            let mut task = self.new_task(scheduler, &agent, asks_too_much);
            if self.settings.policy.roles {
                for resource in &mut task.resources {
                    fit(resource, &left);
                }
            }
            let mut wanted = Resources::from_wire(&task.resources).unwrap_or_default();
            if let Some(executor) = &task.executor {
                wanted += &Resources::from_wire(&executor.resources).unwrap_or_default();
            }
            if !asks_too_much && !left.checked_sub_assign(&wanted) {
                break;
            }
            let entry = Entry {
                agent: agent.clone(),
                state: TaskState::TaskStaging,
                by_master: false,
                is_uncertain: false,
                seen: BTreeSet::new(),
                highest: None,
            };
            self.schedulers[scheduler].book.insert(task.task_id.clone(), entry);
            self.ledger.launches.insert(task.task_id.clone(), (number, ids.clone()));
            self.ledger.owners.insert(task.task_id.clone(), self.owner(scheduler));
            self.statistics.tasks_launched += 1;
            tasks.push(task);
        }
        if tasks.is_empty() {
            self.decline(scheduler, ids);
            return;
        }
        let operation = offer::Operation {
            r#type: Some(operation::Type::Launch),
            launch: Some(operation::Launch { task_infos: tasks, ..Default::default() }),
            ..Default::default()
        };
        let filters = Filters { refuse_seconds: Some(0.0), ..Default::default() };
        let accept = call::Accept {
            offer_ids: ids,
            operations: vec![operation],
            filters: Some(filters),
            ..Default::default()
        };
        self.call(scheduler, call::Type::Accept, |call| call.accept = Some(accept));
    }

    fn new_task(&mut self, scheduler: usize, agent: &AgentId, asks_too_much: bool) -> TaskInfo {
        let host = &mut self.schedulers[scheduler];
        host.next_task += 1;
        let name = format!("task-{scheduler}-{}", host.next_task);
        let cpus = if asks_too_much { 900_000 } else { 100 * draw(&mut self.random, 1, 15) };
        let memory = 32_000 * draw(&mut self.random, 1, 16);
        let mut task = TaskInfo {
            name: name.clone(),
            task_id: TaskId { value: name, ..Default::default() },
            agent_id: agent.clone(),
            resources: vec![scalar("cpus", cpus), scalar("mem", memory)],
            ..Default::default()
        };
        if self.random.chance(self.settings.custom_executors) {
            task.executor = Some(Box::new(custom_executor(self.random.below(3))));
        } else {
            task.command =
                Some(CommandInfo { value: Some("true".to_owned()), ..Default::default() });
        }
        task
    }

    pub(crate) fn scheduler_idea(&mut self, scheduler: usize) {
        let life = self.schedulers[scheduler].life;
        if self.healing {
            return;
        }
        self.plan(200, 4_000, Happening::SchedulerIdea { scheduler, life });
        match self.random.below(100) {
            0..30 => self.kill_something(scheduler),
            30..40 => {
                let all = call::Reconcile::default();
                self.call(scheduler, call::Type::Reconcile, |call| call.reconcile = Some(all));
            }
            40..50 => self.doubt_something(scheduler),
            50..54 => {
                let suppress = call::Suppress::default();
                self.call(scheduler, call::Type::Suppress, |call| call.suppress = Some(suppress));
            }
            54..70 => {
                let revive = call::Revive::default();
                self.call(scheduler, call::Type::Revive, |call| call.revive = Some(revive));
            }
            70..75 => {
                // An offer that is not its own any more.
                if let Some(offer) = self.schedulers[scheduler].stale.clone() {
                    self.launch(scheduler, &[offer]);
                }
            }
            75 if self.schedulers[scheduler].is_subscribed => {
                self.statistics.fault("framework torn down");
                self.call(scheduler, call::Type::Teardown, |_| {});
                self.become_another_framework(scheduler);
                self.scheduler_disconnected(scheduler);
            }
            _ => {}
        }
    }

    fn kill_something(&mut self, scheduler: usize) {
        let host = &self.schedulers[scheduler];
        let living = host.book.iter().filter(|(_, entry)| !entry.is_over());
        let tasks: Vec<(TaskId, AgentId)> =
            living.map(|(task, entry)| (task.clone(), entry.agent.clone())).collect();
        let Some((task_id, agent)) = self.random.pick(&tasks) else { return };
        let agent_id = self.random.chance(500).then_some(agent);
        let kill = call::Kill { task_id, agent_id, ..Default::default() };
        self.call(scheduler, call::Type::Kill, |call| call.kill = Some(kill));
    }

    /// Asks about some tasks for no particular reason.
    fn doubt_something(&mut self, scheduler: usize) {
        let host = &mut self.schedulers[scheduler];
        for entry in host.book.values_mut().filter(|entry| !entry.is_over()).take(3) {
            entry.is_uncertain = true;
        }
        self.ask_soon(scheduler);
    }
}

/// Takes the same amount of whatever reserved or unreserved part of the offers has enough.
fn fit(wanted: &mut Resource, offered: &Resources) {
    let Ok(parsed) = resources::Resource::from_wire(wanted) else { return };
    let amount = parsed.quantity();
    let part = offered
        .iter()
        .find(|it| it.name() == parsed.name() && it.disk().is_none() && it.quantity() >= amount);
    if let Some(part) = part.and_then(|part| part.shrunk_to(amount)) {
        *wanted = part.to_wire();
    }
}

fn draw(random: &mut crate::random::Random, low: u64, high: u64) -> u32 {
    u32::try_from(random.between(low, high)).unwrap_or(1)
}
