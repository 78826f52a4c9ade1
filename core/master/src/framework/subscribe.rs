//! A framework subscribes: for the first time, again, or with a new scheduler in place of the old.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::internal::UpdateFrameworkMessage;
use protocol::mesos::{FrameworkId, FrameworkInfo};
use protocol::messages::MasterToAgent;
use protocol::pid::Pid;
use protocol::scheduler;
use protocol::scheduler::call::Type;
use protocol::scheduler::event::Type as EventType;
use resources::{Quantities, Quantity};

use crate::Master;
use crate::effect::{Effect, Response};
use crate::event::{ConnectionId, RequestId};
use crate::framework::{Constraints, Framework, FrameworkCapabilities, Peer, Presence, roles};
use crate::metrics::Counter;
use crate::notice::{Notice, error_event};
use crate::registry::{FrameworkRecord, FrameworkStanding, framework_change};
use crate::timer::Timer;
use crate::validation;

/// What a framework says when it subscribes or updates itself.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) info: FrameworkInfo,
    pub(crate) suppressed_roles: BTreeSet<String>,
    pub(crate) offer_constraints: Option<scheduler::OfferConstraints>,
}

impl Master {
    /// `SUBSCRIBE` over HTTP.
    pub(crate) fn scheduler_subscribe(
        &mut self,
        request: RequestId,
        connection: ConnectionId,
        stream_id: Option<&str>,
        call: scheduler::Call,
        principal: Option<String>,
    ) {
        let refuse =
            |text: String| Effect::Respond { request, response: Response::BadRequest(text) };
        if let Err(error) = validation::call::scheduler(&call, principal.as_deref()) {
            self.metrics.add(Counter::InvalidCalls);
            self.effects.push(refuse(format!("Failed to validate scheduler::Call: {error}")));
            return;
        }
        if stream_id.is_some() {
            self.effects.push(refuse(
                "Subscribe calls should not include the 'Mesos-Stream-Id' header".to_owned(),
            ));
            return;
        }
        let Some(subscribe) = call.subscribe else {
            return;
        };
        let mut info = subscribe.framework_info;
        if info.principal.is_none() {
            info.principal = principal;
        }
        let stream_id = self.uuids.next_uuid();
        self.effects.push(Effect::AcceptSubscription { request, connection, stream_id });
        let subscription = Subscription {
            info,
            suppressed_roles: subscribe.suppressed_roles.into_iter().collect(),
            offer_constraints: subscribe.offer_constraints,
        };
        let peer = Peer::Stream { connection, stream_id };
        if let Err(error) = self.subscribe(&peer, subscription, true) {
            self.effects
                .push(Effect::SendToScheduler { connection, event: Arc::new(error_event(error)) });
            self.effects.push(Effect::CloseConnection { connection });
        }
    }

    /// Subscribes a framework that is reached by `peer`. `force` takes it over from another peer.
    ///
    /// An error is the text of the `ERROR` event; nothing has changed then.
    pub(crate) fn subscribe(
        &mut self,
        peer: &Peer,
        mut subscription: Subscription,
        force: bool,
    ) -> Result<(), String> {
        let id = subscription.info.id.clone().filter(|id| !id.value.is_empty());
        self.metrics.add(if id.is_none() {
            Counter::MessagesRegisterFramework
        } else {
            Counter::MessagesReregisterFramework
        });
        self.validate_framework(&subscription.info)?;
        let constraints =
            validation::framework::subscription(&subscription, self.config.constraint_limits)?;

        let Some(id) = id else {
            let id = self.new_framework_id();
            subscription.info.id = Some(id.clone());
            self.add_framework(&id, subscription, constraints, peer);
            self.count_framework(&id, |metrics| metrics.calls.add(Type::Subscribe));
            return Ok(());
        };
        let recovered_now = !self.frameworks.registered.contains_key(&id);
        let old = match self.frameworks.registered.get(&id) {
            Some(framework) => framework.info.clone(),
            None => Arc::new(subscription.info.clone()),
        };
        validation::framework::preserve_immutable_fields(&old, &mut subscription.info);
        validation::framework::update(&old, &subscription.info)?;
        if let Some(framework) = self.frameworks.registered.get(&id)
            && let Peer::Driver(pid) = peer
            && !framework.recovered()
            && framework.pid.as_ref() != Some(pid)
            && !force
        {
            return Err("Framework failed over".to_owned());
        }
        if recovered_now {
            self.recover_framework(&id, subscription.info.clone());
        }
        self.update_framework(&id, subscription, constraints);
        self.reconnect_framework(&id, peer, force);
        self.broadcast_framework(&id);
        self.count_framework(&id, |metrics| metrics.calls.add(Type::Subscribe));
        Ok(())
    }

    /// Checks that need the master's settings and memory, over those of the message alone.
    pub(crate) fn validate_framework(&self, info: &FrameworkInfo) -> Result<(), String> {
        validation::framework::info(info)?;
        if let Some(allowed) = &self.config.roles {
            let invalid: Vec<String> = roles(info)
                .into_iter()
                .filter(|role| role != "*" && !allowed.contains(role))
                .collect();
            if !invalid.is_empty() {
                return Err(format!(
                    "Roles {{ {} }} are not present in the master's --roles",
                    invalid.join(", ")
                ));
            }
        }
        if info.user == "root" && !self.config.root_submissions {
            return Err(
                "User 'root' is not allowed to run frameworks without --root_submissions set"
                    .to_owned(),
            );
        }
        let removed = |id| {
            let framework = self.frameworks.registered.get(id);
            self.frameworks.completed.contains_key(id) || framework.is_some_and(|it| it.leaving)
        };
        if info.id.as_ref().is_some_and(removed) {
            return Err("Framework has been removed".to_owned());
        }
        Ok(())
    }

    fn add_framework(
        &mut self,
        id: &FrameworkId,
        subscription: Subscription,
        constraints: Constraints,
        peer: &Peer,
    ) {
        let mut framework = Framework::new(id.clone(), subscription.info, self.now);
        framework.suppressed_roles = subscription.suppressed_roles;
        framework.offer_constraints = subscription.offer_constraints.map(Arc::new);
        framework.constraints = constraints;
        framework.presence = Presence::Connected { peer: peer.clone(), active: true };
        framework.pid = driver_pid(peer);
        self.allocator.add_framework(id, profile(&framework), &[]);
        self.frameworks.registered.insert(Arc::clone(&framework.id), framework);
        self.views.touch_framework(id);
        self.index_peer(id, peer);
        self.record_framework(id, FrameworkStanding::Subscribed);
        self.notify(id, Notice::Subscribed { again: false });
        self.start_scheduler_heartbeat(id, peer);
        self.publish_framework_added(id);
    }

    /// Makes a framework known that is not subscribed: from the registry, an agent, or its own word.
    pub(crate) fn recover_framework(&mut self, id: &FrameworkId, mut info: FrameworkInfo) {
        info.id = Some(id.clone());
        let framework = Framework::new(id.clone(), info, self.now);
        self.allocator.add_framework(id, profile(&framework), &[]);
        let patience = self.recovered_framework_patience(&framework);
        self.frameworks.registered.insert(Arc::clone(&framework.id), framework);
        self.views.touch_framework(id);
        let timer = self.timers.start(self.now + patience, Timer::FrameworkFailover(id.clone()));
        if let Some(framework) = self.frameworks.registered.get_mut(id) {
            framework.failover_timer = Some(timer);
        }
        self.publish_framework_added(id);
    }

    /// How long a framework that was subscribed with another master may take to come here: as long as
    /// agents may, since it needs the same time to notice, but not less than it asked for.
    pub(crate) fn recovered_framework_patience(&self, framework: &Framework) -> Duration {
        failover_timeout(&framework.info).max(self.config.agent_reregister_timeout)
    }

    /// Takes over what the framework says of itself.
    pub(crate) fn update_framework(
        &mut self,
        id: &FrameworkId,
        subscription: Subscription,
        constraints: Constraints,
    ) {
        let Some(framework) = self.framework_mut(id) else {
            return;
        };
        let mut info = subscription.info;
        info.id = Some(id.clone());
        framework.roles = roles(&info);
        framework.capabilities = FrameworkCapabilities::of(&info);
        framework.info = Arc::new(info);
        framework.suppressed_roles = subscription.suppressed_roles;
        framework.offer_constraints = subscription.offer_constraints.map(Arc::new);
        framework.constraints = constraints;
        let profile = profile(framework);
        let new_roles = framework.roles.clone();
        let offers: Vec<_> = framework.offers.keys().cloned().collect();
        self.allocator.update_framework(id, profile);
        for offer in offers {
            if self.offers.get(&offer).is_some_and(|offer| !new_roles.contains(&*offer.role)) {
                self.rescind_offer(&offer);
            }
        }
    }

    /// Puts a known framework in the hands of `peer`.
    fn reconnect_framework(&mut self, id: &FrameworkId, peer: &Peer, force: bool) {
        let now = self.now;
        let Some(framework) = self.framework_mut(id) else {
            return;
        };
        let was_recovered = framework.recovered();
        if was_recovered {
            framework.registered_time = now;
        }
        framework.reregistered_time = Some(now);
        let timer = framework.failover_timer.take();
        let offers: Vec<_> = framework.offers.keys().cloned().collect();
        let old = framework.presence.clone();
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
        let same_driver = matches!(
            (&old, peer),
            (Presence::Connected { peer: Peer::Driver(old), .. }, Peer::Driver(new)) if old == new
        );
        // A driver that asks again keeps its offers only in its own mind; tell it that they are void.
        for offer in offers {
            if same_driver && !force {
                self.rescind_offer(&offer);
            } else {
                self.discard_offer(&offer, None);
            }
        }
        self.repeat_inverse_offers(id);
        if let Presence::Connected { peer: old_peer, .. } = &old
            && !same_driver
        {
            let error = Notice::Error("Framework failed over".to_owned());
            self.notify_peer(id, old_peer, error);
            if let Peer::Stream { connection, .. } = old_peer {
                self.effects.push(Effect::CloseConnection { connection: *connection });
            }
        }
        self.forget_peer(&old);
        if let Some(framework) = self.framework_mut(id) {
            framework.presence = Presence::Connected { peer: peer.clone(), active: true };
            framework.pid = driver_pid(peer);
        }
        self.index_peer(id, peer);
        self.allocator.activate_framework(id);
        self.record_framework(id, FrameworkStanding::Subscribed);
        let again = matches!(peer, Peer::Driver(_)) && !was_recovered && !force;
        self.notify(id, Notice::Subscribed { again });
        self.start_scheduler_heartbeat(id, peer);
    }

    fn index_peer(&mut self, id: &FrameworkId, peer: &Peer) {
        match peer {
            Peer::Stream { connection, .. } => {
                self.frameworks.by_connection.insert(*connection, id.clone());
            }
            Peer::Driver(pid) => {
                self.frameworks.by_pid.insert(pid.clone(), id.clone());
                self.effects.push(Effect::Link { pid: pid.clone() });
            }
        }
    }

    pub(crate) fn forget_peer(&mut self, presence: &Presence) {
        match presence {
            Presence::Connected { peer: Peer::Stream { connection, .. }, .. } => {
                self.frameworks.by_connection.remove(connection);
            }
            Presence::Connected { peer: Peer::Driver(pid), .. } => {
                self.frameworks.by_pid.remove(pid);
            }
            Presence::Recovered | Presence::Disconnected => {}
        }
    }

    /// Tells operators and agents what has become of a framework.
    pub(crate) fn broadcast_framework(&mut self, id: &FrameworkId) {
        self.publish_framework_updated(id);
        let Some(framework) = self.frameworks.registered.get(id) else {
            return;
        };
        let message = UpdateFrameworkMessage {
            framework_id: id.clone(),
            pid: Some(framework.pid_text()),
            framework_info: Some(Box::new((*framework.info).clone())),
            ..Default::default()
        };
        for pid in self.agent_pids() {
            self.send_to_agent(pid, MasterToAgent::UpdateFramework(message.clone()));
        }
    }

    /// Stores where a framework stands. Nothing waits for it: a framework whose record is lost is known
    /// again as soon as it or an agent of it comes back.
    pub(crate) fn record_framework(&mut self, id: &FrameworkId, standing: FrameworkStanding) {
        if let Some(framework) = self.frameworks.registered.get(id) {
            let record = FrameworkRecord { standing, info: (*framework.info).clone() };
            self.persist(vec![framework_change(&record)], crate::durable::AfterWrite::Nothing);
        }
    }

    fn start_scheduler_heartbeat(&mut self, id: &FrameworkId, peer: &Peer) {
        if let Peer::Stream { connection, .. } = peer {
            self.scheduler_heartbeat(id.clone(), *connection);
        }
    }

    /// Sends a heartbeat, if the stream is still the framework's, and starts the timer of the next.
    pub(crate) fn scheduler_heartbeat(&mut self, id: FrameworkId, connection: ConnectionId) {
        if self.frameworks.by_connection.get(&connection) != Some(&id) {
            return;
        }
        let event = scheduler::Event { r#type: Some(EventType::Heartbeat), ..Default::default() };
        self.effects.push(Effect::SendToScheduler { connection, event: Arc::new(event) });
        self.count_framework(&id, |metrics| metrics.events.add(EventType::Heartbeat));
        let at = self.now + self.config.heartbeat_interval;
        self.timers.start(at, Timer::SchedulerHeartbeat(id, connection));
    }
}

fn driver_pid(peer: &Peer) -> Option<Pid> {
    match peer {
        Peer::Driver(pid) => Some(pid.clone()),
        Peer::Stream { .. } => None,
    }
}

/// `FrameworkInfo.failover_timeout`; 0 by default. Validated when it was taken in.
pub(crate) fn failover_timeout(info: &FrameworkInfo) -> Duration {
    Duration::try_from_secs_f64(info.failover_timeout.unwrap_or(0.0)).unwrap_or(Duration::ZERO)
}

/// What the allocator needs to know of a framework.
pub(crate) fn profile(framework: &Framework) -> allocator::FrameworkProfile {
    let capabilities = framework.capabilities;
    allocator::FrameworkProfile {
        roles: framework.roles.clone(),
        suppressed_roles: framework.suppressed_roles.clone(),
        capabilities: allocator::FrameworkCapabilities {
            multi_role: capabilities.multi_role,
            gpu_resources: capabilities.gpu_resources,
            revocable_resources: capabilities.revocable_resources,
            shared_resources: capabilities.shared_resources,
            reservation_refinement: capabilities.reservation_refinement,
            region_aware: capabilities.region_aware,
        },
        minimum_allocatable: minimum_allocatable(&framework.info),
        constraints: framework.constraints.clone(),
        active: framework.active(),
    }
}

/// `FrameworkInfo.offer_filters`: the least an offer must hold, for roles that ask for it.
fn minimum_allocatable(info: &FrameworkInfo) -> BTreeMap<String, Vec<Quantities>> {
    let filters = info.offer_filters.iter().filter_map(|(role, filters)| {
        let minimum = filters.min_allocatable_resources.as_ref()?;
        let alternatives = minimum.quantities.iter().map(|alternative| {
            let mut quantities = Quantities::new();
            for (name, scalar) in &alternative.quantities {
                let quantity = Quantity::from_f64(scalar.value).unwrap_or(Quantity::ZERO);
                quantities.increase(name, quantity);
            }
            quantities
        });
        Some((role.clone(), alternatives.collect()))
    });
    filters.collect()
}
