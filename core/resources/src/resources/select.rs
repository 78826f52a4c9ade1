//! Parts of resources: by reservation, by allocation, by kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Resources;
use crate::reservation::Reservation;
use crate::wire::{InvalidResource, check_refinement};
use crate::{Quantities, Quantity, Ranges, Resource, Value, role};

impl Resources {
    /// The resources for which the predicate holds.
    #[must_use]
    pub fn filter(&self, mut predicate: impl FnMut(&Resource) -> bool) -> Self {
        // Most questions are about all or none.
        let Some(first) = self.iter().position(|resource| !predicate(resource)) else {
            return self.clone();
        };
        let (before, rest) = (&self.0[..first], &self.0[first + 1..]);
        let rest = rest.iter().filter(|resource| predicate(resource));
        Self(before.iter().chain(rest).cloned().collect::<Vec<_>>().into())
    }

    /// The sum of the scalars of this name, whoever they are reserved for.
    #[must_use]
    pub fn scalar(&self, name: &str) -> Quantity {
        let scalars = self.iter().filter(|it| it.name() == name && it.value.scalar().is_some());
        scalars.map(Resource::quantity).sum()
    }

    #[must_use]
    pub fn cpus(&self) -> Quantity {
        self.scalar("cpus")
    }

    #[must_use]
    pub fn gpus(&self) -> Quantity {
        self.scalar("gpus")
    }

    /// Memory in megabytes.
    #[must_use]
    pub fn mem(&self) -> Quantity {
        self.scalar("mem")
    }

    /// Disk space in megabytes.
    #[must_use]
    pub fn disk(&self) -> Quantity {
        self.scalar("disk")
    }

    #[must_use]
    pub fn ports(&self) -> Ranges {
        self.ranges("ports")
    }

    /// All numbers in the ranges of this name.
    #[must_use]
    pub fn ranges(&self, name: &str) -> Ranges {
        let mut all = Ranges::default();
        for resource in self.iter().filter(|it| it.name() == name) {
            match &resource.value {
                Value::Ranges(ranges) => all = all.union(ranges),
                Value::Scalar(_) | Value::Set(_) => {}
            }
        }
        all
    }

    /// How much there is of each name; ranges and sets count their members.
    #[must_use]
    pub fn quantities(&self) -> Quantities {
        let mut quantities = Quantities::EMPTY;
        for resource in self {
            quantities.increase_shared(resource.shared_name(), resource.quantity());
        }
        quantities
    }

    /// How much there is of each scalar.
    #[must_use]
    pub fn scalar_quantities(&self) -> Quantities {
        let mut quantities = Quantities::EMPTY;
        for resource in self.iter().filter(|it| it.value.scalar().is_some()) {
            quantities.increase_shared(resource.shared_name(), resource.quantity());
        }
        quantities
    }

    /// The distinct names.
    pub fn names(&self) -> std::collections::BTreeSet<&str> {
        self.iter().map(Resource::name).collect()
    }

    /// The resources of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        self.filter(|resource| resource.name() == name)
    }

    /// Everything, marked as allocated to the role.
    #[must_use]
    pub fn allocated_to(&self, role: impl Into<Arc<str>>) -> Self {
        self.with_allocation(Some(&role.into()))
    }

    /// Everything, no longer marked as allocated.
    #[must_use]
    pub fn unallocated(&self) -> Self {
        self.with_allocation(None)
    }

    fn with_allocation(&self, role: Option<&Arc<str>>) -> Self {
        if self.iter().all(|resource| resource.allocation.as_ref() == role) {
            return self.clone();
        }
        let allocate =
            |resource: &Resource| Resource { allocation: role.cloned(), ..resource.clone() };
        let changed: Vec<_> = self.iter().map(allocate).collect();
        // When all were allocated alike their order holds; else some may merge now.
        let alike = self.0.windows(2).all(|pair| pair[0].allocation == pair[1].allocation);
        if alike { Self(changed.into()) } else { Self::from_unsorted(changed) }
    }

    /// Whether anything is marked as allocated.
    #[must_use]
    pub fn has_allocations(&self) -> bool {
        self.iter().any(|resource| resource.allocation.is_some())
    }

    /// What is allocated to each role. Resources that are not allocated are left out.
    #[must_use]
    pub fn allocations(&self) -> BTreeMap<String, Self> {
        self.group_by(Resource::allocation_role)
    }

    /// What is reserved for each role. Unreserved resources are left out.
    #[must_use]
    pub fn reservations(&self) -> BTreeMap<String, Self> {
        self.group_by(Resource::reservation_role)
    }

    fn group_by(&self, role: impl Fn(&Resource) -> Option<&str>) -> BTreeMap<String, Self> {
        let mut groups: BTreeMap<String, Self> = BTreeMap::new();
        for resource in self {
            let Some(role) = role(resource) else { continue };
            match groups.get_mut(role) {
                Some(group) => group.0.make_mut().push(resource.clone()),
                None => {
                    groups.insert(role.to_owned(), Self(vec![resource.clone()].into()));
                }
            }
        }
        groups
    }

    #[must_use]
    pub fn reserved(&self) -> Self {
        self.filter(Resource::is_reserved)
    }

    /// What is reserved for exactly this role.
    #[must_use]
    pub fn reserved_to(&self, role: &str) -> Self {
        self.filter(|resource| resource.is_reserved_to(role))
    }

    /// What is reserved for this role or one below it.
    #[must_use]
    pub fn reserved_to_subtree(&self, ancestor: &str) -> Self {
        let inside = |it: &Resource| {
            it.reservation_role().is_some_and(|role| role::is_in_subtree_of(role, ancestor))
        };
        self.filter(inside)
    }

    /// What is allocated to this role or one below it.
    #[must_use]
    pub fn allocated_to_subtree(&self, ancestor: &str) -> Self {
        let inside = |it: &Resource| {
            it.allocation_role().is_some_and(|role| role::is_in_subtree_of(role, ancestor))
        };
        self.filter(inside)
    }

    #[must_use]
    pub fn unreserved(&self) -> Self {
        self.filter(Resource::is_unreserved)
    }

    /// What a framework in this role may be offered: the unreserved, and what is reserved for
    /// the role or the roles above it.
    #[must_use]
    pub fn allocatable_to(&self, role: &str) -> Self {
        self.filter(|resource| resource.is_allocatable_to(role))
    }

    #[must_use]
    pub fn revocable(&self) -> Self {
        self.filter(Resource::is_revocable)
    }

    #[must_use]
    pub fn non_revocable(&self) -> Self {
        self.filter(|resource| !resource.is_revocable())
    }

    #[must_use]
    pub fn persistent_volumes(&self) -> Self {
        self.filter(Resource::is_persistent_volume)
    }

    #[must_use]
    pub fn shared(&self) -> Self {
        self.filter(Resource::is_shared)
    }

    #[must_use]
    pub fn non_shared(&self) -> Self {
        self.filter(|resource| !resource.is_shared())
    }

    /// The same in a list of its own: for a value that will be changed soon, while what it is made from stays.
    #[must_use]
    pub fn detached(mut self) -> Self {
        if !self.is_empty() {
            self.0.make_mut();
        }
        self
    }

    #[must_use]
    pub fn scalars(&self) -> Self {
        self.filter(|resource| resource.value.scalar().is_some())
    }

    /// Everything without reservations, merged where possible.
    #[must_use]
    pub fn to_unreserved(&self) -> Self {
        self.iter().cloned().map(Resource::without_reservations).collect()
    }

    /// Everything with one more reservation on the stack.
    ///
    /// # Errors
    /// The role is invalid, or does not refine the reservation below.
    pub fn push_reservation(&self, reservation: &Reservation) -> Result<Self, InvalidResource> {
        let push = |resource: &Resource| {
            let stack: Arc<[Reservation]> =
                resource.reservations().iter().chain([reservation]).cloned().collect();
            check_refinement(&stack)?;
            Ok(resource.clone().with_reservations(stack))
        };
        self.iter().map(push).collect()
    }

    /// Everything with the innermost reservation taken off; `None` when some of it is
    /// unreserved.
    #[must_use]
    pub fn pop_reservation(&self) -> Option<Self> {
        let pop = |resource: &Resource| {
            let (_, rest) = resource.reservations().split_last()?;
            Some(resource.clone().with_reservations(Arc::from(rest)))
        };
        self.iter().map(pop).collect()
    }
}
