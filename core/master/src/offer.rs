//! Offers: what the allocator gives away, in the hands of frameworks until they answer.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use protocol::mesos::resource::AllocationInfo;
use protocol::mesos::{AgentId, FrameworkId, Offer, OfferId};
use protocol::pid::Pid;
use protocol::scheduler::call::Decline;
use protocol::time::Timestamp;
use resources::Resources;

use crate::Master;
use crate::agent::Agent;
use crate::directory::Directory;
use crate::metrics::Counter;
use crate::notice::Notice;
use crate::timer::{Timer, TimerKey};

/// How long resources are not offered again to a framework that declined them without saying
/// (`Filters.refuse_seconds`).
const REFUSE_SECONDS_DEFAULT: f64 = 5.0;

/// The same as a duration.
pub(crate) const REFUSE_DEFAULT: Duration = Duration::from_secs(5);

/// An outstanding offer.
#[derive(Clone, Debug)]
pub(crate) struct OutstandingOffer {
    pub(crate) id: Arc<OfferId>,
    pub(crate) framework_id: Arc<FrameworkId>,
    pub(crate) agent_id: Arc<AgentId>,
    pub(crate) role: Arc<str>,
    /// Allocated to `role`.
    pub(crate) resources: Resources,
    timer: Option<TimerKey>,
    /// The offer as readers of the state see it, from when the first does.
    shown: OnceCell<Arc<Offer>>,
}

impl OutstandingOffer {
    /// The offer, with allocation info even when the framework does not get to see it.
    pub(crate) fn shown(&self, agent: &Agent) -> &Arc<Offer> {
        self.shown.get_or_init(|| Arc::new(self.to_message(agent)))
    }

    fn to_message(&self, agent: &Agent) -> Offer {
        let share = agent.frameworks.get(&self.framework_id);
        let executors = share.map(|share| share.executors.keys().cloned().collect());
        Offer {
            id: (*self.id).clone(),
            framework_id: (*self.framework_id).clone(),
            agent_id: (*self.agent_id).clone(),
            hostname: agent.info.hostname.as_ref().to_owned(),
            url: Some(agent.url()),
            domain: agent.info.domain.as_deref().cloned(),
            resources: self.resources.to_wire(),
            attributes: agent.info.attributes.to_vec(),
            unavailability: agent.unavailability.as_deref().cloned(),
            executor_ids: executors.unwrap_or_default(),
            allocation_info: Some(AllocationInfo {
                role: Some(self.role.as_ref().to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

/// The outstanding offers.
pub(crate) type Offers = Directory<Arc<OfferId>, OutstandingOffer>;

impl Master {
    /// When the allocator has something to do. Events that free or add resources make it due at once;
    /// filters that run out are looked after once in an allocation interval.
    pub(crate) fn allocation_due(&self) -> Option<Timestamp> {
        if self.allocator.needs_allocation() || self.allocator.needs_inverse_offers(self.now) {
            return Some(self.now);
        }
        let expiry = self.allocator.next_expiry()?;
        Some(expiry.max(self.last_allocation + self.config.allocation_interval))
    }

    /// Gives out what can be given out.
    pub(crate) fn allocate(&mut self) {
        self.last_allocation = self.now;
        self.metrics.add(Counter::AllocationRuns);
        let allocations = self.allocator.allocate(self.now);
        let by_framework =
            crate::group(allocations.into_iter().map(|it| (Arc::clone(&it.framework), it)));
        for (framework_id, allocations) in by_framework {
            let mut offers = Vec::new();
            for allocation in allocations {
                offers.extend(self.make_offer(
                    &framework_id,
                    allocation.role,
                    &allocation.agent,
                    allocation.resources,
                ));
            }
            if !offers.is_empty() {
                self.notify(&framework_id, Notice::Offers(offers));
            }
        }
        self.make_inverse_offers();
    }

    /// Records an offer, and returns it in the form that the framework understands.
    fn make_offer(
        &mut self,
        framework_id: &FrameworkId,
        role: Arc<str>,
        agent_id: &AgentId,
        resources: Resources,
    ) -> Option<(Offer, Pid)> {
        let now = self.now;
        let framework = self.frameworks.registered.get(framework_id).filter(|it| it.active());
        let agent = self.agents.registered.get(agent_id).filter(|it| it.active());
        let (Some(framework), Some(agent)) = (framework, agent) else {
            self.allocator.recover_resources(now, framework_id, agent_id, &resources, None);
            return None;
        };
        let capabilities = framework.capabilities;
        let id = Arc::new(self.ids.next_offer(&self.info));
        let timer = self
            .config
            .offer_timeout
            .map(|timeout| self.timers.start(now + timeout, Timer::OfferTimeout((*id).clone())));
        let outstanding = OutstandingOffer {
            id: Arc::clone(&id),
            framework_id: Arc::clone(&framework.id),
            agent_id: Arc::clone(&agent.id),
            role,
            resources,
            timer,
            shown: OnceCell::new(),
        };
        let (offer, pid) = (outstanding.to_message(agent), agent.pid.clone());
        self.offers.insert(Arc::clone(&id), outstanding);
        if let Some(framework) = self.framework_mut(framework_id) {
            framework.offers.insert(Arc::clone(&id), ());
        }
        if let Some(agent) = self.agent_mut(agent_id) {
            agent.offers.insert(id, ());
        }
        Some((visible_offer(offer, capabilities), pid))
    }

    /// Forgets an offer, without giving its resources back.
    pub(crate) fn take_offer(&mut self, id: &OfferId) -> Option<OutstandingOffer> {
        let offer = self.offers.remove(id)?;
        if let Some(timer) = offer.timer {
            self.timers.cancel(timer);
        }
        if let Some(framework) = self.framework_mut(&offer.framework_id) {
            framework.offers.remove(id);
        }
        if let Some(agent) = self.agent_mut(&offer.agent_id) {
            agent.offers.remove(id);
        }
        Some(offer)
    }

    /// Takes an offer back; the framework knows already, or is not there to be told.
    pub(crate) fn discard_offer(&mut self, id: &OfferId, refuse: Option<Duration>) {
        if let Some(offer) = self.take_offer(id) {
            self.allocator.recover_resources(
                self.now,
                &offer.framework_id,
                &offer.agent_id,
                &offer.resources,
                refuse,
            );
        }
    }

    /// Takes an offer back and tells the framework.
    pub(crate) fn rescind_offer(&mut self, id: &OfferId) {
        self.rescind_offer_for(id, None);
    }

    /// Takes an offer back and tells the framework, which is not offered the same for a while.
    pub(crate) fn rescind_offer_for(&mut self, id: &OfferId, refuse: Option<Duration>) {
        if let Some(offer) = self.offers.get(id) {
            let framework = Arc::clone(&offer.framework_id);
            self.discard_offer(id, refuse);
            self.notify(&framework, Notice::Rescind(id.clone()));
        }
    }

    pub(crate) fn decline(&mut self, framework_id: &FrameworkId, call: Decline) {
        self.metrics.add(Counter::MessagesDeclineOffers);
        let refuse = refusal(call.filters.as_ref());
        for id in call.offer_ids {
            // Mesos lets any framework decline any offer; an offer of another is none of its business.
            let own = self.offers.get(&id).is_some_and(|it| *it.framework_id == *framework_id);
            if own {
                self.discard_offer(&id, Some(refuse));
                self.count_framework(framework_id, |metrics| metrics.offers_declined += 1);
            }
        }
    }
}

/// For how long declined resources are not offered again: `refuse_seconds`, 5 s when it is missing,
/// negative or not a number; nothing for 0. The allocator bounds it to 365 days.
pub(crate) fn refusal(filters: Option<&protocol::mesos::Filters>) -> Duration {
    let seconds = filters.and_then(|filters| filters.refuse_seconds);
    let valid = seconds.filter(|seconds| *seconds >= 0.0).unwrap_or(REFUSE_SECONDS_DEFAULT);
    Duration::try_from_secs_f64(valid).unwrap_or(Duration::MAX)
}

/// The offer as frameworks without the newer capabilities know offers.
fn visible_offer(mut offer: Offer, capabilities: crate::framework::FrameworkCapabilities) -> Offer {
    offer.resources.retain(|resource| resource.name != "ephemeral_ports");
    if !capabilities.multi_role {
        offer.allocation_info = None;
        for resource in &mut offer.resources {
            resource.allocation_info = None;
        }
    }
    if !capabilities.reservation_refinement {
        crate::accept::downgrade(&mut offer.resources);
    }
    offer
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::mesos::Filters;

    #[test]
    fn refuse_seconds_defaults_to_five() {
        let with = |seconds| {
            refusal(Some(&Filters { refuse_seconds: Some(seconds), ..Default::default() }))
        };
        let default = Duration::from_secs(5);
        assert_eq!(refusal(None), default);
        assert_eq!(refusal(Some(&Filters::default())), default);
        assert_eq!(with(-1.0), default);
        assert_eq!(with(f64::NAN), default);
        assert_eq!(with(0.0), Duration::ZERO);
        assert_eq!(with(2.5), Duration::from_millis(2500));
        assert_eq!(with(f64::INFINITY), Duration::MAX);
    }
}
