//! What a framework is told, in the form its connection speaks.

use std::sync::Arc;

use protocol::internal::{
    ExecutorToFrameworkMessage, ExitedExecutorMessage, FrameworkErrorMessage,
    FrameworkRegisteredMessage, FrameworkReregisteredMessage, LostSlaveMessage,
    RescindResourceOfferMessage, ResourceOffersMessage, StatusUpdate, StatusUpdateMessage,
};
use protocol::mesos::{AgentId, ExecutorId, FrameworkId, InverseOffer, Offer, OfferId};
use protocol::messages::MasterToScheduler;
use protocol::pid::Pid;
use protocol::scheduler::Event;
use protocol::scheduler::event::{
    Error, Failure, InverseOffers, Message, Offers, Rescind, RescindInverseOffer, Subscribed, Type,
    Update, UpdateOperationStatus,
};

use crate::Master;
use crate::effect::Effect;
use crate::framework::{Peer, Presence};

/// Something a framework is told.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// It is subscribed. Drivers tell the first subscription from later ones.
    Subscribed { again: bool },
    /// It may use these, each with the pid of its agent.
    Offers(Vec<(Offer, Pid)>),
    /// An offer is void.
    Rescind(OfferId),
    /// It is asked to give up agents that will be away (v1 only).
    InverseOffers(Vec<InverseOffer>),
    /// It need not answer an inverse offer any more (v1 only).
    RescindInverseOffer(OfferId),
    /// The state of a task changed. `acknowledge_to` is the agent that waits for an
    /// acknowledgement, or the empty pid.
    Update { update: Box<StatusUpdate>, acknowledge_to: Pid },
    /// An agent is lost.
    AgentLost(AgentId),
    /// An executor ended.
    ExecutorExited { agent: AgentId, executor: ExecutorId, status: i32 },
    /// Bytes of an executor.
    Message { agent: AgentId, executor: ExecutorId, data: Vec<u8> },
    /// The state of an operation changed (v1 only).
    Operation(Box<protocol::mesos::OperationStatus>),
    /// The framework must stop.
    Error(String),
}

impl Master {
    /// Tells a framework something, if it is connected.
    pub(crate) fn notify(&mut self, id: &FrameworkId, notice: Notice) {
        let Some(framework) = self.frameworks.registered.get(id) else {
            return;
        };
        let Presence::Connected { peer, .. } = framework.presence.clone() else {
            return;
        };
        self.notify_peer(id, &peer, notice);
    }

    /// Tells the framework something by way of a given connection.
    pub(crate) fn notify_peer(&mut self, id: &FrameworkId, peer: &Peer, notice: Notice) {
        self.count_notice(id, peer, &notice);
        match peer {
            Peer::Stream { connection, .. } => {
                if let Some(event) = self.event(id, notice) {
                    self.effects.push(Effect::SendToScheduler {
                        connection: *connection,
                        event: Arc::new(event),
                    });
                }
            }
            Peer::Driver(pid) => {
                if let Some(message) = self.driver_form(id, notice) {
                    self.effects
                        .push(Effect::SendToDriver { to: pid.clone(), message: Box::new(message) });
                }
            }
        }
    }

    fn count_notice(&mut self, id: &FrameworkId, peer: &Peer, notice: &Notice) {
        let kind = match notice {
            Notice::Subscribed { .. } => Type::Subscribed,
            Notice::Offers(_) => Type::Offers,
            Notice::Rescind(_) => Type::Rescind,
            Notice::Update { .. } => Type::Update,
            Notice::AgentLost(_) | Notice::ExecutorExited { .. } => Type::Failure,
            Notice::Message { .. } => Type::Message,
            // Drivers have neither operation feedback nor inverse offers.
            Notice::Operation(_) | Notice::InverseOffers(_) | Notice::RescindInverseOffer(_)
                if matches!(peer, Peer::Driver(_)) =>
            {
                return;
            }
            Notice::InverseOffers(_) => Type::InverseOffers,
            Notice::RescindInverseOffer(_) => Type::RescindInverseOffer,
            Notice::Operation(_) => Type::UpdateOperationStatus,
            Notice::Error(_) => Type::Error,
        };
        let offers = if let Notice::Offers(offers) = notice { offers.len() as u64 } else { 0 };
        self.count_framework(id, |metrics| {
            metrics.events.add(kind);
            metrics.offers_sent += offers;
            metrics.offers_rescinded += u64::from(kind == Type::Rescind);
        });
    }

    fn event(&self, id: &FrameworkId, notice: Notice) -> Option<Event> {
        let event = match notice {
            Notice::Subscribed { .. } => Event {
                r#type: Some(Type::Subscribed),
                subscribed: Some(Subscribed {
                    framework_id: id.clone(),
                    heartbeat_interval_seconds: Some(self.config.heartbeat_interval.as_secs_f64()),
                    master_info: Some(Box::new((*self.info).clone())),
                    ..Default::default()
                }),
                ..Default::default()
            },
            Notice::Offers(offers) => Event {
                r#type: Some(Type::Offers),
                offers: Some(Offers {
                    offers: offers.into_iter().map(|(offer, _)| offer).collect(),
                    ..Default::default()
                }),
                ..Default::default()
            },
            Notice::Rescind(offer_id) => Event {
                r#type: Some(Type::Rescind),
                rescind: Some(Rescind { offer_id, ..Default::default() }),
                ..Default::default()
            },
            Notice::InverseOffers(inverse_offers) => Event {
                r#type: Some(Type::InverseOffers),
                inverse_offers: Some(InverseOffers { inverse_offers, ..Default::default() }),
                ..Default::default()
            },
            Notice::RescindInverseOffer(inverse_offer_id) => Event {
                r#type: Some(Type::RescindInverseOffer),
                rescind_inverse_offer: Some(RescindInverseOffer {
                    inverse_offer_id,
                    ..Default::default()
                }),
                ..Default::default()
            },
            Notice::Update { update, .. } => Event {
                r#type: Some(Type::Update),
                update: Some(Box::new(Update { status: update.status, ..Default::default() })),
                ..Default::default()
            },
            Notice::AgentLost(agent) => failure(agent, None, None),
            Notice::ExecutorExited { agent, executor, status } => {
                failure(agent, Some(executor), Some(status))
            }
            Notice::Message { agent, executor, data } => Event {
                r#type: Some(Type::Message),
                message: Some(Message {
                    agent_id: agent,
                    executor_id: executor,
                    data,
                    ..Default::default()
                }),
                ..Default::default()
            },
            Notice::Operation(status) => Event {
                r#type: Some(Type::UpdateOperationStatus),
                update_operation_status: Some(UpdateOperationStatus {
                    status: *status,
                    ..Default::default()
                }),
                ..Default::default()
            },
            Notice::Error(message) => error_event(message),
        };
        Some(event)
    }

    fn driver_form(&self, id: &FrameworkId, notice: Notice) -> Option<MasterToScheduler> {
        let message = match notice {
            Notice::Subscribed { again: false } => {
                MasterToScheduler::FrameworkRegistered(FrameworkRegisteredMessage {
                    framework_id: id.clone(),
                    master_info: (*self.info).clone(),
                    ..Default::default()
                })
            }
            Notice::Subscribed { again: true } => {
                MasterToScheduler::FrameworkReregistered(FrameworkReregisteredMessage {
                    framework_id: id.clone(),
                    master_info: (*self.info).clone(),
                    ..Default::default()
                })
            }
            Notice::Offers(offers) => {
                let (offers, pids) =
                    offers.into_iter().map(|(offer, pid)| (offer, pid.to_string())).unzip();
                MasterToScheduler::ResourceOffers(ResourceOffersMessage {
                    offers,
                    pids,
                    ..Default::default()
                })
            }
            Notice::Rescind(offer_id) => {
                MasterToScheduler::RescindResourceOffer(RescindResourceOfferMessage {
                    offer_id,
                    ..Default::default()
                })
            }
            Notice::Update { update, acknowledge_to } => {
                MasterToScheduler::StatusUpdate(StatusUpdateMessage {
                    update: *update,
                    pid: Some(acknowledge_to.to_string()),
                    ..Default::default()
                })
            }
            Notice::AgentLost(slave_id) => {
                MasterToScheduler::LostSlave(LostSlaveMessage { slave_id, ..Default::default() })
            }
            Notice::ExecutorExited { agent, executor, status } => {
                MasterToScheduler::ExitedExecutor(ExitedExecutorMessage {
                    slave_id: agent,
                    framework_id: id.clone(),
                    executor_id: executor,
                    status,
                    ..Default::default()
                })
            }
            Notice::Message { agent, executor, data } => {
                MasterToScheduler::ExecutorToFramework(ExecutorToFrameworkMessage {
                    slave_id: agent,
                    framework_id: id.clone(),
                    executor_id: executor,
                    data,
                    ..Default::default()
                })
            }
            // Drivers have neither operation feedback nor inverse offers.
            Notice::Operation(_) | Notice::InverseOffers(_) | Notice::RescindInverseOffer(_) => {
                return None;
            }
            Notice::Error(message) => MasterToScheduler::FrameworkError(FrameworkErrorMessage {
                message,
                ..Default::default()
            }),
        };
        Some(message)
    }
}

/// An `ERROR` event.
pub(crate) fn error_event(message: String) -> Event {
    Event {
        r#type: Some(Type::Error),
        error: Some(Error { message, ..Default::default() }),
        ..Default::default()
    }
}

fn failure(agent: AgentId, executor_id: Option<ExecutorId>, status: Option<i32>) -> Event {
    Event {
        r#type: Some(Type::Failure),
        failure: Some(Failure { agent_id: Some(agent), executor_id, status, ..Default::default() }),
        ..Default::default()
    }
}
