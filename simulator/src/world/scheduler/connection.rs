//! How a scheduler finds the leader, subscribes, and loses it again.

use master::ConnectionId;
use protocol::scheduler;
use protocol::scheduler::call;
use protocol::time::Timestamp;

use crate::happening::{Happening, SchedulerEvent};
use crate::settings::Sabotage;
use crate::world::World;
use crate::world::scheduler::{Stream, on_rack};

impl World {
    pub(crate) fn start_scheduler(&mut self, scheduler: usize) {
        let host = &mut self.schedulers[scheduler];
        if host.is_up {
            return;
        }
        host.is_up = true;
        host.life += 1;
        let life = host.life;
        host.is_connecting = true;
        host.is_asking = false;
        self.plan(0, 500, Happening::SchedulerDial { scheduler, life });
        self.plan(500, 3_000, Happening::SchedulerIdea { scheduler, life });
    }

    pub(crate) fn crash_scheduler(&mut self, scheduler: usize, low: u64, high: u64) {
        let host = &mut self.schedulers[scheduler];
        if !host.is_up {
            return;
        }
        host.is_up = false;
        host.life += 1;
        host.is_subscribed = false;
        host.stream_id = None;
        host.offers.clear();
        host.stale = None;
        for master in 0..self.masters.len() {
            let cut = self.now + self.random.millis(0, 200);
            self.break_scheduler(master, scheduler, cut);
        }
        self.plan(low, high, Happening::SchedulerStart { scheduler });
    }

    /// Breaks the connections between a scheduler and a master; calls that would arrive until `cut`
    /// still do.
    pub(crate) fn break_scheduler(&mut self, master: usize, scheduler: usize, cut: Timestamp) {
        let cut_down = self.now + self.random.millis(0, 200);
        let up = if self.masters[master].core.is_some() { cut } else { self.now };
        let host = &mut self.schedulers[scheduler];
        host.upward[master].sever(self.now, up);
        host.downward[master].sever(self.now, cut_down);
        let (life, attempt) = (host.life, host.attempt);
        if host.dialled == master {
            self.plan(0, 3_000, Happening::SchedulerLost { scheduler, life, attempt });
        }
        let process = self.masters[master].process(master);
        let streams: Vec<ConnectionId> = self.masters[master]
            .streams
            .iter_mut()
            .filter(|(_, stream)| stream.scheduler == scheduler)
            .map(|(connection, stream)| {
                stream.is_broken = true;
                *connection
            })
            .collect();
        for connection in streams {
            self.plan(0, 5_000, Happening::StreamBroken { process, connection });
        }
    }

    /// Who leads, by the service or by a redirect. A scheduler leaves another at once.
    pub(super) fn scheduler_detects(&mut self, scheduler: usize) {
        let Some(leader) = self.detected().filter(|_| self.settings.is_coordinated) else { return };
        let leader = leader.map(|process| process.master);
        let host = &mut self.schedulers[scheduler];
        host.leader = leader;
        if leader == Some(host.dialled) || host.stream_id.is_none() {
            return;
        }
        let (left, cut) = (host.dialled, self.now);
        self.scheduler_disconnected(scheduler);
        self.break_scheduler(left, scheduler, cut);
    }

    pub(super) fn scheduler_dials(&mut self, scheduler: usize) {
        let is_coordinated = self.settings.is_coordinated;
        // Who does not know asks anyone, and is sent away by who does not lead.
        let anyone = self.random.index(self.masters.len());
        let host = &mut self.schedulers[scheduler];
        host.is_connecting = false;
        if host.stream_id.is_some() {
            return;
        }
        let life = host.life;
        let attempt = host.attempt + 1;
        host.attempt = attempt;
        host.dialled = host.leader.filter(|_| is_coordinated).unwrap_or(anyone);
        if self.masters[host.dialled].core.is_none() {
            self.plan(0, 1_000, Happening::SchedulerDetects { scheduler, life });
            self.plan(200, 1_000, Happening::SchedulerLost { scheduler, life, attempt });
            return;
        }
        let mut subscribe =
            call::Subscribe { framework_info: host.info.clone(), ..Default::default() };
        let host = &self.schedulers[scheduler];
        let mut roles = host.info.roles.clone();
        if roles.is_empty() {
            roles.push("*".to_owned());
        }
        if let Some(rack) = &host.rack
            && !self.sabotaged(Sabotage::ForgetConstraints)
        {
            subscribe.offer_constraints = Some(on_rack(rack, &roles));
        }
        if self.healing {
            subscribe.suppressed_roles = roles;
        }
        let call = scheduler::Call {
            r#type: Some(call::Type::Subscribe),
            subscribe: Some(Box::new(subscribe)),
            framework_id: self.schedulers[scheduler].info.id.clone(),
            ..Default::default()
        };
        self.send_call(scheduler, call);
    }

    pub(crate) fn send_on_stream(
        &mut self,
        master: usize,
        connection: ConnectionId,
        event: SchedulerEvent,
    ) {
        let Some(stream) = self.masters[master].streams.get(&connection).copied() else { return };
        if stream.is_broken {
            self.statistics.fault("event lost");
            return;
        }
        self.send_to_scheduler(master, &stream, event);
    }

    pub(crate) fn send_to_scheduler(
        &mut self,
        master: usize,
        stream: &Stream,
        event: SchedulerEvent,
    ) {
        let Stream { scheduler, life, attempt, .. } = *stream;
        let delay = self.latency();
        let passage = self.schedulers[scheduler].downward[master].send(self.now, delay);
        let happening = Happening::AtScheduler { scheduler, life, master, passage, attempt, event };
        self.schedule.add(passage.at, happening);
    }

    pub(crate) fn scheduler_disconnected(&mut self, scheduler: usize) {
        let host = &mut self.schedulers[scheduler];
        host.attempt += 1;
        host.is_subscribed = false;
        host.stream_id = None;
        host.offers.clear();
        let life = host.life;
        if !std::mem::replace(&mut host.is_connecting, true) {
            self.plan(10, 1_500, Happening::SchedulerDial { scheduler, life });
        }
    }
}
