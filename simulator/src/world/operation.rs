//! Frameworks reserve, refine, make and resize volumes, and undo all that; and follow each operation by
//! its id until they are told how it ended.

use protocol::mesos::offer::Operation;
use protocol::mesos::offer::operation::{
    Create, Destroy, GrowVolume, Reserve, ShrinkVolume, Type, Unreserve,
};
use protocol::mesos::resource::disk_info::Persistence;
use protocol::mesos::resource::reservation_info::Type as ReservationType;
use protocol::mesos::resource::{DiskInfo, ReservationInfo, SharedInfo};
use protocol::mesos::volume::Mode;
use protocol::mesos::{
    AgentId, Filters, Label, Labels, Offer, OfferId, OperationId, OperationState, OperationStatus,
    Resource, Volume, value,
};
use protocol::scheduler::call;

use crate::happening::Happening;
use crate::world::World;

/// What a framework knows of one of its operations.
#[derive(Debug)]
pub(crate) struct Doing {
    pub(crate) agent: AgentId,
    pub(crate) state: OperationState,
}

impl Doing {
    /// Whether the framework was told how it ended, or that nobody knows of it.
    pub(crate) fn is_over(&self) -> bool {
        self.state.is_terminal() || self.state == OperationState::OperationUnknown
    }
}

/// The part of a scalar, or the whole if it is smaller.
fn part(resource: &Resource, amount: f64) -> Resource {
    let mut part = resource.clone();
    if let Some(scalar) = &mut part.scalar {
        scalar.value = scalar.value.min(amount);
    }
    part.allocation_info = None;
    part
}

fn last_role(resource: &Resource) -> Option<&str> {
    resource.reservations.last()?.role.as_deref()
}

fn is_volume(resource: &Resource) -> bool {
    resource.disk.as_ref().is_some_and(|disk| disk.persistence.is_some())
}

fn reservation(role: &str, label: Option<String>) -> ReservationInfo {
    let labels = label.map(|key| Labels {
        labels: vec![Label { key, ..Default::default() }],
        ..Default::default()
    });
    ReservationInfo {
        r#type: Some(ReservationType::Dynamic),
        role: Some(role.to_owned()),
        labels,
        ..Default::default()
    }
}

impl World {
    /// Changes something about the resources of an offer; whether the offer was used.
    pub(crate) fn operate(&mut self, scheduler: usize, offer: &Offer) -> bool {
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
        let Some(operation) = role.and_then(|role| self.some_operation(offer, &role)) else {
            return false;
        };
        let host = &mut self.schedulers[scheduler];
        host.next_operation += 1;
        let id = format!("operation-{scheduler}-{}-{}", host.identity, host.next_operation);
        let agent = offer.agent_id.clone();
        let doing = Doing { agent, state: OperationState::OperationPending };
        host.operations.insert(id.clone(), doing);
        self.statistics.operations += 1;
        let operation =
            Operation { id: Some(OperationId { value: id, ..Default::default() }), ..operation };
        let filters = Filters { refuse_seconds: Some(0.0), ..Default::default() };
        let accept = call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![operation],
            filters: Some(filters),
            ..Default::default()
        };
        self.call(scheduler, call::Type::Accept, |call| call.accept = Some(accept));
        self.ask_soon(scheduler);
        true
    }

    fn some_operation(&mut self, offer: &Offer, role: &str) -> Option<Operation> {
        let scalars = offer.resources.iter().filter(|it| it.r#type == value::Type::Scalar);
        let scalars: Vec<Resource> = scalars.cloned().collect();
        let resource = self.random.pick(&scalars)?;
        let amount = [0.5, 1.0, 64.0, 128.0][self.random.index(4)];
        let own = last_role(&resource) == Some(role);
        if is_volume(&resource) {
            return Some(self.operation_on_volume(&resource, &scalars, amount));
        }
        if own && resource.name == "disk" && self.random.chance(600) {
            let mut volume = part(&resource, amount);
            let name = self.name();
            let persistence = Persistence { id: format!("volume-{name}"), ..Default::default() };
            let inside =
                Volume { container_path: "data".to_owned(), mode: Mode::Rw, ..Default::default() };
            let disk = DiskInfo {
                persistence: Some(persistence),
                volume: Some(inside),
                ..Default::default()
            };
            volume.disk = Some(disk.into());
            volume.shared = self.random.chance(300).then(SharedInfo::default);
            let create = Create { volumes: vec![volume], ..Default::default() };
            return Some(Operation {
                r#type: Some(Type::Create),
                create: Some(create),
                ..Default::default()
            });
        }
        if own && self.random.chance(600) {
            let resources = vec![part(&resource, amount)];
            let unreserve = Unreserve { resources, ..Default::default() };
            return Some(Operation {
                r#type: Some(Type::Unreserve),
                unreserve: Some(unreserve),
                ..Default::default()
            });
        }
        let mut reserved = part(&resource, amount);
        let label = self.random.chance(200).then(|| "label".to_owned());
        reserved.reservations.push(reservation(role, label));
        let reserve = Reserve { resources: vec![reserved], ..Default::default() };
        Some(Operation {
            r#type: Some(Type::Reserve),
            reserve: Some(reserve),
            ..Default::default()
        })
    }

    fn operation_on_volume(
        &mut self,
        volume: &Resource,
        others: &[Resource],
        amount: f64,
    ) -> Operation {
        let whole = part(volume, f64::MAX);
        let addition = others.iter().find(|it| {
            it.name == "disk" && !is_volume(it) && it.reservations == volume.reservations
        });
        match (self.random.below(3), addition) {
            (0, Some(addition)) => {
                let addition = part(addition, amount);
                let grow = GrowVolume { volume: whole, addition, ..Default::default() };
                Operation {
                    r#type: Some(Type::GrowVolume),
                    grow_volume: Some(Box::new(grow)),
                    ..Default::default()
                }
            }
            (1, _) => {
                let subtract = value::Scalar { value: amount, ..Default::default() };
                let shrink = ShrinkVolume { volume: whole, subtract, ..Default::default() };
                Operation {
                    r#type: Some(Type::ShrinkVolume),
                    shrink_volume: Some(Box::new(shrink)),
                    ..Default::default()
                }
            }
            (_, Some(_) | None) => {
                let destroy = Destroy { volumes: vec![whole], ..Default::default() };
                Operation {
                    r#type: Some(Type::Destroy),
                    destroy: Some(destroy),
                    ..Default::default()
                }
            }
        }
    }

    pub(crate) fn operation_update_arrives(&mut self, scheduler: usize, status: &OperationStatus) {
        let Some(id) = status.operation_id.as_ref().map(|id| id.value.clone()) else { return };
        if status.uuid.is_some() {
            let life = self.schedulers[scheduler].life;
            let status = Box::new(status.clone());
            let happening = Happening::OperationAcknowledge { scheduler, life, status };
            self.plan(0, 200, happening);
        }
        let Some(doing) = self.schedulers[scheduler].operations.get_mut(&id) else {
            self.violate(format!("operations: framework {scheduler} hears of {id}, not its own"));
            return;
        };
        let (old, new) = (doing.state, status.state);
        if old.is_terminal() {
            // Before it heard of the acknowledgement, the master may call the agent gone.
            let is_gone = new == OperationState::OperationGoneByOperator;
            if new.is_terminal() && new != old && !is_gone {
                self.violate(format!("operations: {id} goes from {old:?} to {new:?}"));
            }
            return;
        }
        doing.state = new;
        self.statistics.operations_finished += u64::from(new == OperationState::OperationFinished);
    }

    pub(crate) fn operation_acknowledged(&mut self, scheduler: usize, status: OperationStatus) {
        let (Some(operation_id), Some(uuid)) = (status.operation_id, status.uuid) else { return };
        let id = operation_id.clone();
        let known = self.schedulers[scheduler].operations.get(&id.value);
        let agent_id = status.agent_id.or_else(|| known.map(|doing| doing.agent.clone()));
        let acknowledge = call::AcknowledgeOperationStatus {
            agent_id,
            uuid: uuid.value,
            operation_id,
            ..Default::default()
        };
        self.call(scheduler, call::Type::AcknowledgeOperationStatus, |call| {
            call.acknowledge_operation_status = Some(acknowledge);
        });
    }

    /// Asks about the operations whose end the framework was not told; whether there are any.
    pub(crate) fn ask_about_operations(&mut self, scheduler: usize) -> bool {
        let open = self.schedulers[scheduler].operations.iter().filter(|(_, it)| !it.is_over());
        let operations: Vec<_> = open
            .map(|(id, doing)| call::reconcile_operations::Operation {
                operation_id: OperationId { value: id.clone(), ..Default::default() },
                agent_id: Some(doing.agent.clone()),
                ..Default::default()
            })
            .collect();
        if operations.is_empty() {
            return false;
        }
        let reconcile = call::ReconcileOperations { operations, ..Default::default() };
        self.call(scheduler, call::Type::ReconcileOperations, |call| {
            call.reconcile_operations = Some(reconcile);
        });
        true
    }

    pub(crate) fn answer_inverse_offer(&mut self, scheduler: usize, id: OfferId) {
        let filters = Filters { refuse_seconds: Some(1.0), ..Default::default() };
        if self.random.chance(500) {
            let accept = call::AcceptInverseOffers {
                inverse_offer_ids: vec![id],
                filters: Some(filters),
                ..Default::default()
            };
            self.call(scheduler, call::Type::AcceptInverseOffers, |call| {
                call.accept_inverse_offers = Some(accept);
            });
        } else {
            let decline = call::DeclineInverseOffers {
                inverse_offer_ids: vec![id],
                filters: Some(filters),
                ..Default::default()
            };
            self.call(scheduler, call::Type::DeclineInverseOffers, |call| {
                call.decline_inverse_offers = Some(decline);
            });
        }
    }
}
