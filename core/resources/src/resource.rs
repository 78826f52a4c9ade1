use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use protocol::mesos;
use protocol::mesos::resource::disk_info;
use protocol::mesos::resource::disk_info::source::Type as SourceType;

use crate::reservation::{Reservation, ReservationKind};
use crate::{Quantity, Ranges, Set, Value, ValueKind, role};

/// One resource: so much of a name, with everything that says who may use it and how.
///
/// What describes the resource is shared between copies, so cloning, allocating and splitting do
/// not copy reservations and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub(crate) key: Arc<Key>,
    pub(crate) allocation: Option<Arc<str>>,
    pub(crate) value: Value,
    /// How many equal ones are meant. Above one only where equal resources cannot be merged into
    /// a bigger one: for shared volumes it is the number of users.
    pub(crate) copies: u32,
}

/// What two resources must have in common to be added up, but for the role they are allocated to.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: Arc<str>,
    pub(crate) kind: ValueKind,
    pub(crate) reservations: Arc<[Reservation]>,
    pub(crate) disk: Option<Arc<mesos::resource::DiskInfo>>,
    pub(crate) provider_id: Option<Arc<str>>,
    pub(crate) revocable: bool,
    pub(crate) shared: bool,
    /// Fields of newer peers. They are passed on but do not tell resources apart.
    pub(crate) unknown: protocol::UnknownFields,
}

impl Key {
    pub(crate) fn new(name: &str, kind: ValueKind) -> Self {
        Self {
            name: Arc::from(name),
            kind,
            reservations: Arc::default(),
            disk: None,
            provider_id: None,
            revocable: false,
            shared: false,
            unknown: protocol::UnknownFields::default(),
        }
    }

    /// Nearly all resources are one of a few: those share one description each, which saves memory and,
    /// as they are the same pointer, comparing them.
    pub(crate) fn everyday(name: &str, kind: ValueKind) -> Option<Arc<Self>> {
        static EVERYDAY: LazyLock<[Arc<Key>; 5]> = LazyLock::new(|| {
            let scalar = |name| Arc::new(Key::new(name, ValueKind::Scalar));
            let ports = Arc::new(Key::new("ports", ValueKind::Ranges));
            [scalar("cpus"), scalar("gpus"), scalar("mem"), scalar("disk"), ports]
        });
        let key = EVERYDAY.iter().find(|key| key.kind == kind && *key.name == *name);
        key.map(Arc::clone)
    }

    fn share(self) -> Arc<Self> {
        let is_plain = self.reservations.is_empty()
            && self.disk.is_none()
            && self.provider_id.is_none()
            && !self.revocable
            && !self.shared
            && self.unknown.is_empty();
        let everyday = if is_plain { Self::everyday(&self.name, self.kind) } else { None };
        everyday.unwrap_or_else(|| Arc::new(self))
    }

    /// Whether the resource is a whole that is never merged with another nor split: a persistent
    /// volume, a MOUNT or BLOCK disk, a RAW disk with an identity.
    fn is_indivisible(&self) -> bool {
        let Some(disk) = &self.disk else { return self.shared };
        if self.shared || disk.persistence.is_some() {
            return true;
        }
        disk.source.as_ref().is_some_and(|source| match source.r#type {
            SourceType::Mount | SourceType::Block => true,
            SourceType::Raw => source.id.is_some(),
            SourceType::Path | SourceType::Unknown => false,
        })
    }
}

/// Places the names everyone knows first, in the order in which agents list them.
fn name_rank(name: &str) -> u8 {
    match name {
        "cpus" => 0,
        "gpus" => 1,
        "mem" => 2,
        "disk" => 3,
        "ports" => 4,
        _ => 5,
    }
}

/// The volume says how a task uses a disk and the principal who made it; as in Mesos, neither
/// tells disks apart.
fn compare_disks(left: &mesos::resource::DiskInfo, right: &mesos::resource::DiskInfo) -> Ordering {
    let persistence = |disk: &mesos::resource::DiskInfo| disk.persistence.is_some();
    let id = |disk| persistence_id(disk).unwrap_or_default();
    left.source
        .cmp(&right.source)
        .then_with(|| persistence(left).cmp(&persistence(right)))
        .then_with(|| id(left).cmp(id(right)))
}

fn persistence_id(disk: &mesos::resource::DiskInfo) -> Option<&str> {
    disk.persistence.as_ref().map(|persistence| persistence.id.as_str())
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.reservations
            .cmp(&other.reservations)
            .then_with(|| name_rank(&self.name).cmp(&name_rank(&other.name)))
            .then_with(|| self.name.cmp(&other.name))
            .then_with(|| self.kind.cmp(&other.kind))
            .then_with(|| self.revocable.cmp(&other.revocable))
            .then_with(|| self.shared.cmp(&other.shared))
            .then_with(|| self.provider_id.cmp(&other.provider_id))
            .then_with(|| match (&self.disk, &other.disk) {
                (Some(left), Some(right)) => compare_disks(left, right),
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Less,
                (Some(_), None) => Ordering::Greater,
            })
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl Resource {
    /// An unreserved resource.
    #[must_use]
    pub fn new(name: &str, value: Value) -> Self {
        Self::from_key(Key::new(name, value.kind()), value)
    }

    pub(crate) fn from_key(key: Key, value: Value) -> Self {
        Self { key: key.share(), allocation: None, value, copies: 1 }
    }

    /// An unreserved amount.
    #[must_use]
    pub fn scalar(name: &str, quantity: Quantity) -> Self {
        Self::new(name, Value::Scalar(quantity))
    }

    /// Unreserved numbers, such as ports.
    #[must_use]
    pub fn ranges(name: &str, ranges: Ranges) -> Self {
        Self::new(name, Value::Ranges(ranges))
    }

    /// Unreserved items.
    #[must_use]
    pub fn set(name: &str, set: Set) -> Self {
        Self::new(name, Value::Set(set))
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.name
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.key.name
    }

    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The amount, or how many members; a shared volume counts once however many use it.
    #[must_use]
    pub fn quantity(&self) -> Quantity {
        let quantity = self.value.quantity();
        if self.key.shared || self.copies == 1 {
            return quantity;
        }
        let thousandths = quantity.thousandths().saturating_mul(i64::from(self.copies));
        Quantity::from_thousandths(thousandths).unwrap_or(Quantity::MAX)
    }

    /// How many equal resources stand here; for a shared volume, how many users.
    #[must_use]
    pub fn copies(&self) -> u32 {
        self.copies
    }

    /// The stack of reservations, outermost first. Empty when unreserved.
    #[must_use]
    pub fn reservations(&self) -> &[Reservation] {
        &self.key.reservations
    }

    /// The role the resource is reserved for: that of the innermost reservation.
    #[must_use]
    pub fn reservation_role(&self) -> Option<&str> {
        self.key.reservations.last().map(|reservation| reservation.role.as_str())
    }

    #[must_use]
    pub fn is_reserved(&self) -> bool {
        !self.key.reservations.is_empty()
    }

    #[must_use]
    pub fn is_unreserved(&self) -> bool {
        self.key.reservations.is_empty()
    }

    /// Whether the resource is reserved for exactly this role.
    #[must_use]
    pub fn is_reserved_to(&self, role: &str) -> bool {
        self.reservation_role() == Some(role)
    }

    /// Whether the innermost reservation was made at run time.
    #[must_use]
    pub fn is_dynamically_reserved(&self) -> bool {
        self.key.reservations.last().is_some_and(|it| it.kind == ReservationKind::Dynamic)
    }

    #[must_use]
    pub fn has_refined_reservations(&self) -> bool {
        self.key.reservations.len() > 1
    }

    /// Whether a framework in this role may be offered the resource: it is unreserved, or
    /// reserved for the role or one of the roles above.
    #[must_use]
    pub fn is_allocatable_to(&self, role: &str) -> bool {
        self.reservation_role().is_none_or(|reserved| role::is_in_subtree_of(role, reserved))
    }

    /// The role the resource is allocated to at present.
    #[must_use]
    pub fn allocation_role(&self) -> Option<&str> {
        self.allocation.as_deref()
    }

    /// The same, for whoever keeps it.
    #[must_use]
    pub fn shared_allocation_role(&self) -> Option<&Arc<str>> {
        self.allocation.as_ref()
    }

    #[must_use]
    pub fn is_revocable(&self) -> bool {
        self.key.revocable
    }

    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.key.shared
    }

    /// What is said about a disk, as it came.
    #[must_use]
    pub fn disk(&self) -> Option<&mesos::resource::DiskInfo> {
        self.key.disk.as_deref()
    }

    #[must_use]
    pub fn disk_source(&self) -> Option<&disk_info::Source> {
        self.disk()?.source.as_ref()
    }

    #[must_use]
    pub fn is_persistent_volume(&self) -> bool {
        self.persistence_id().is_some()
    }

    /// The id of the persistent volume, unique per role and agent.
    #[must_use]
    pub fn persistence_id(&self) -> Option<&str> {
        persistence_id(self.disk()?)
    }

    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        self.key.provider_id.as_deref()
    }

    /// Whether the resource is a whole that is never merged with another nor split, such as a
    /// persistent volume or a MOUNT disk.
    #[must_use]
    pub fn is_indivisible(&self) -> bool {
        self.key.is_indivisible()
    }

    /// Whether an agent must remember the resource across restarts.
    #[must_use]
    pub fn needs_checkpointing(&self) -> bool {
        self.is_dynamically_reserved() || self.is_persistent_volume()
    }

    /// The same resource with another amount; `None` if the type differs.
    #[must_use]
    pub fn with_value(&self, value: Value) -> Option<Self> {
        (value.kind() == self.key.kind).then(|| Self { value, ..self.clone() })
    }

    /// At most this much of a scalar; `None` when the resource is bigger and indivisible, or
    /// when it is no scalar.
    #[must_use]
    pub fn shrunk_to(&self, target: Quantity) -> Option<Self> {
        if self.value.scalar()? <= target {
            return Some(self.clone());
        }
        (!self.is_indivisible()).then(|| Self { value: Value::Scalar(target), ..self.clone() })
    }

    /// The same resource, revocable.
    #[must_use]
    pub fn into_revocable(self) -> Self {
        self.changed(|key| key.revocable = true)
    }

    /// The same resource without any reservation.
    #[must_use]
    pub fn without_reservations(self) -> Self {
        if self.is_unreserved() {
            return self;
        }
        self.changed(|key| key.reservations = Arc::default())
    }

    /// The disk as it was before a volume was made on it.
    #[must_use]
    pub fn without_volume(self) -> Self {
        self.changed(|key| {
            key.shared = false;
            key.disk = key.disk.take().and_then(|disk| {
                disk.source.is_some().then(|| {
                    let mut disk = Arc::unwrap_or_clone(disk);
                    disk.persistence = None;
                    disk.volume = None;
                    Arc::new(disk)
                })
            });
        })
    }

    pub(crate) fn with_reservations(self, reservations: Arc<[Reservation]>) -> Self {
        self.changed(|key| key.reservations = reservations)
    }

    /// A volume that is gone has no users to count, so what can be merged is one copy.
    fn changed(self, change: impl FnOnce(&mut Key)) -> Self {
        let mut key = Arc::unwrap_or_clone(self.key);
        change(&mut key);
        let copies = if key.is_indivisible() { self.copies } else { 1 };
        Self { key: key.share(), copies, ..self }
    }

    /// Where the resource stands among others. Resources that can be merged compare equal.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        self.allocation
            .cmp(&other.allocation)
            .then_with(|| {
                let same = Arc::ptr_eq(&self.key, &other.key);
                if same { Ordering::Equal } else { self.key.cmp(&other.key) }
            })
            .then_with(|| {
                let whole = self.key.is_indivisible();
                if whole { self.value.cmp(&other.value) } else { Ordering::Equal }
            })
    }

    /// Whether `other`, of equal order, is not more than this.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        if self.key.is_indivisible() {
            self.copies >= other.copies
        } else {
            self.value.contains(&other.value)
        }
    }

    /// Merges a resource of equal order into this one.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.key.is_indivisible() {
            self.copies = self.copies.saturating_add(other.copies);
        } else {
            self.value.add(&other.value);
        }
    }

    /// What is left after taking away a resource of equal order, as far as it is here; `None`
    /// when nothing is left.
    pub(crate) fn minus(&self, other: &Self) -> Option<Self> {
        if self.key.is_indivisible() {
            let copies = self.copies.saturating_sub(other.copies);
            return (copies > 0).then(|| Self { copies, ..self.clone() });
        }
        let value = self.value.saturating_sub(&other.value);
        (!value.is_empty()).then(|| Self { value, ..self.clone() })
    }
}
