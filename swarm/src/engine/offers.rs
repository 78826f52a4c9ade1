//! What frameworks do with their offers.

use protocol::mesos::{self, offer};
use protocol::scheduler::{self, call};

use super::frameworks::Role;
use super::messages;
use super::{Appetite, Engine};
use crate::amount::Amount;
use crate::timers::{Moment, Timer};

impl Engine {
    pub(super) fn offered(&mut self, now: Moment, framework: u32, offer: mesos::Offer) {
        self.counters.offers += 1;
        self.first_offer.get_or_insert(now);
        let Some(agent) = self.fleet.offered(&offer) else {
            let id = &offer.agent_id.value;
            self.ledger.violations.add(format!("an offer of {id}, which is not simulated"));
            return;
        };
        let amount = Amount::of(&offer.resources);
        if let Some(due) = self.ledger.offered(now, framework, &offer.id.value, agent, amount) {
            self.timers.set(due, Timer::Suspicion);
        }
        self.use_offer(now, framework, agent, offer);
    }

    /// Forgets that there were offers before.
    pub(crate) fn forget_offers(&mut self) {
        self.first_offer = None;
    }

    pub(super) fn rescinded(&mut self, offer: &str) {
        self.counters.rescinded += 1;
        self.ledger.rescinded(offer);
        self.held_offers.retain(|(_, held)| held.id.value != offer);
    }

    pub(super) fn use_held_offers(&mut self, now: Moment) {
        while !self.must_hold()
            && let Some((framework, offer)) = self.held_offers.pop_front()
        {
            if let Some(agent) = self.fleet.offered(&offer) {
                self.use_offer(now, framework, agent, offer);
                self.decline(framework);
            }
        }
    }

    /// Whether so many launches are under way that offers must wait.
    fn must_hold(&self) -> bool {
        self.ledger.launching() >= self.settings.common.launch_window
    }

    fn use_offer(&mut self, now: Moment, framework: u32, agent: u32, offer: mesos::Offer) {
        let role = self.frameworks.get(framework as usize).map(|framework| framework.role);
        let wanted = match role {
            Some(Role::Probe { since, has_launched }) => {
                if !has_launched {
                    self.counters.probe_offer_delay.record(now.saturating_sub(since));
                }
                u32::from(!has_launched)
            }
            Some(Role::Load) if self.must_hold() => {
                self.held_offers.push_back((framework, offer));
                return;
            }
            Some(Role::Load) => self.wanted(agent),
            None => 0,
        };
        let room = self.settings.task.times_in(Amount::of(&offer.resources));
        let count = wanted.min(room).min(self.settings.common.tasks_per_offer);
        self.ledger.answered(&offer.id.value);
        if count == 0 {
            self.declining.push(offer.id);
        } else {
            self.launch(now, framework, agent, offer, count);
        }
        if count > 0 && matches!(role, Some(Role::Probe { .. })) {
            self.probe_launched(framework);
        }
    }

    /// How many more tasks frameworks want on this agent.
    fn wanted(&self, agent: u32) -> u32 {
        match self.appetite {
            Appetite::None => 0,
            Appetite::Full => {
                self.settings.tasks_per_agent.saturating_sub(self.ledger.tasks_of(agent))
            }
        }
    }

    fn launch(&mut self, now: Moment, framework: u32, agent: u32, offer: mesos::Offer, count: u32) {
        let resources = self.settings.task.to_resources();
        let mut task_infos = Vec::new();
        for _ in 0..count {
            let number = self.ledger.launched(now, framework, agent);
            task_infos.push(mesos::TaskInfo {
                name: messages::TASK_NAME.to_owned(),
                task_id: messages::task_id(number),
                agent_id: offer.agent_id.clone(),
                resources: resources.clone(),
                command: Some(mesos::CommandInfo {
                    value: Some("sleep 30".to_owned()),
                    ..Default::default()
                }),
                ..Default::default()
            });
        }
        let launch = offer::operation::Launch { task_infos, ..Default::default() };
        let operation = offer::Operation {
            r#type: Some(offer::operation::Type::Launch),
            launch: Some(launch),
            ..Default::default()
        };
        let accept = call::Accept {
            offer_ids: vec![offer.id],
            operations: vec![operation],
            filters: Some(self.filters()),
            ..Default::default()
        };
        self.call(
            framework,
            scheduler::Call {
                r#type: Some(call::Type::Accept),
                accept: Some(accept),
                ..Default::default()
            },
        );
    }

    /// Declines, in one call, the offers that were not used.
    pub(super) fn decline(&mut self, framework: u32) {
        if self.declining.is_empty() {
            return;
        }
        let offer_ids = std::mem::take(&mut self.declining);
        self.counters.declined += u64::try_from(offer_ids.len()).unwrap_or(u64::MAX);
        let filters = Some(self.filters());
        let decline = call::Decline { offer_ids, filters, ..Default::default() };
        self.call(
            framework,
            scheduler::Call {
                r#type: Some(call::Type::Decline),
                decline: Some(decline),
                ..Default::default()
            },
        );
    }

    fn filters(&self) -> mesos::Filters {
        let refuse_seconds = Some(self.settings.common.refuse_seconds);
        mesos::Filters { refuse_seconds, ..Default::default() }
    }
}
