use protocol::mesos;
use protocol::mesos::resource::ReservationInfo;
use protocol::mesos::resource::reservation_info::Type;

/// One layer of the stack of reservations of a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    pub role: String,
    pub kind: ReservationKind,
    /// Who made the reservation.
    pub principal: Option<String>,
    /// Sorted, because the order of labels does not tell reservations apart.
    labels: Option<mesos::Labels>,
    /// Fields of newer peers, passed on.
    unknown: protocol::UnknownFields,
}

/// How a reservation came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservationKind {
    /// By the flags of the agent.
    Static,
    /// By an operation at run time.
    Dynamic,
}

impl Reservation {
    /// A reservation made by the flags of the agent.
    #[must_use]
    pub fn fixed(role: &str) -> Self {
        Self::new(role, ReservationKind::Static)
    }

    /// A reservation made at run time.
    #[must_use]
    pub fn dynamic(role: &str, principal: Option<&str>) -> Self {
        let principal = principal.map(str::to_owned);
        Self { principal, ..Self::new(role, ReservationKind::Dynamic) }
    }

    fn new(role: &str, kind: ReservationKind) -> Self {
        Self {
            role: role.to_owned(),
            kind,
            principal: None,
            labels: None,
            unknown: protocol::UnknownFields::default(),
        }
    }

    /// The same reservation with these labels.
    #[must_use]
    pub fn with_labels(self, mut labels: mesos::Labels) -> Self {
        labels.labels.sort();
        Self { labels: Some(labels), ..self }
    }

    #[must_use]
    pub fn labels(&self) -> Option<&mesos::Labels> {
        self.labels.as_ref()
    }

    /// `None` when the role or the type is missing.
    pub(crate) fn from_wire(info: &ReservationInfo) -> Option<Self> {
        let kind = match info.r#type? {
            Type::Static => ReservationKind::Static,
            Type::Dynamic => ReservationKind::Dynamic,
            Type::Unknown => return None,
        };
        let reservation = Self {
            role: info.role.clone()?,
            kind,
            principal: info.principal.clone(),
            labels: None,
            unknown: info.unknown.clone(),
        };
        Some(match &info.labels {
            Some(labels) => reservation.with_labels(labels.clone()),
            None => reservation,
        })
    }

    pub(crate) fn to_wire(&self) -> ReservationInfo {
        let kind = match self.kind {
            ReservationKind::Static => Type::Static,
            ReservationKind::Dynamic => Type::Dynamic,
        };
        ReservationInfo {
            r#type: Some(kind),
            role: Some(self.role.clone()),
            principal: self.principal.clone(),
            labels: self.labels.clone(),
            unknown: self.unknown.clone(),
        }
    }
}
