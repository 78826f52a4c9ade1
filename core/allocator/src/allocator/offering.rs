//! Who takes what of one agent.

use std::borrow::Cow;

use protocol::time::Timestamp;
use resources::{Quantities, Resource, Resources, role};

use super::Agent;
use crate::profile::{Config, FrameworkCapabilities};
use crate::refusals::Covering;
use crate::roles::{RoleTree, Terms, View, Walk};
use crate::slots::{ClientIndex, RoleIndex};

/// Why a client takes nothing of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Obstacle {
    AgentWithoutMultiRole,
    AgentWithoutHierarchicalRole,
    Gpus,
    RemoteRegion,
    Constraints,
    NothingFree,
    ReservedForOthers,
    NotUnderstood,
    BelowMinimum,
    Refused(Timestamp),
}

/// What roles of one kind may have of what is left of the agent, with answers that are the same for
/// all their clients.
#[derive(Debug)]
struct Pool<'a> {
    offer: Cow<'a, Resources>,
    covering: Option<Covering>,
    meets_minimum: Option<bool>,
    /// Not every framework understands everything in it.
    is_special: bool,
}

impl<'a> Pool<'a> {
    fn new(offer: Cow<'a, Resources>) -> Self {
        let is_special = offer.iter().any(|resource| {
            resource.is_shared() || resource.is_revocable() || resource.has_refined_reservations()
        });
        Self { offer, covering: None, meets_minimum: None, is_special }
    }
}

/// One agent on its way through the candidates.
///
/// Whoever does not take what is left takes no part of it later: filters, minima and capabilities that
/// turn down an amount turn down less. So one walk is enough, and clients may be asked more often than
/// needed but never have to be.
#[derive(Debug)]
pub(super) struct Offering<'a> {
    now: Timestamp,
    config: &'a Config,
    tree: &'a RoleTree,
    agent: &'a Agent,
    left: Cow<'a, Resources>,
    /// What is unreserved of `left`.
    unreserved: Pool<'a>,
    /// Roles for which something in `left` is reserved.
    reserved_roles: Vec<String>,
    /// What the current role may have, when that is more than what is unreserved.
    own: Option<Pool<'a>>,
    taken: Vec<(ClientIndex, Resources)>,
}

impl<'a> Offering<'a> {
    pub(super) fn new(
        now: Timestamp,
        config: &'a Config,
        tree: &'a RoleTree,
        agent: &'a Agent,
    ) -> Self {
        let left = if agent.shared.is_empty() {
            Cow::Borrowed(&agent.free)
        } else {
            Cow::Owned(&agent.free + &agent.shared)
        };
        let mut offering = Self {
            now,
            config,
            tree,
            agent,
            left,
            unreserved: Pool::new(Cow::Owned(Resources::EMPTY)),
            reserved_roles: Vec::new(),
            own: None,
            taken: Vec::new(),
        };
        offering.divide();
        offering
    }

    /// Whether all that is free meets the allocator's own minimum.
    pub(super) fn meets_minimum(&self) -> bool {
        meets(&self.config.minimum_allocatable, &self.left)
    }

    /// Asks all clients of a view.
    pub(super) fn ask_view(&mut self, view: View) {
        let tree = self.tree;
        if !self.unreserved.offer.is_empty() {
            self.ask_walk(tree.walk(view), true);
        }
        // What is reserved is of interest below the reserved role alone.
        let topmost: Vec<RoleIndex> = self
            .reserved_roles
            .iter()
            .filter(|name| {
                let is_above = |other: &String| role::is_strict_subrole_of(name, other);
                !self.reserved_roles.iter().any(is_above)
            })
            .filter_map(|name| tree.find(name))
            .collect();
        for role in topmost {
            self.ask_walk(tree.walk_below(role, view), false);
        }
    }

    /// Asks some clients, in the order in which a walk would come to them.
    pub(super) fn ask_clients(&mut self, clients: &mut Vec<ClientIndex>) {
        let tree = self.tree;
        clients.retain(|&client| {
            tree.get_client(client).is_some_and(|client| client.is_in(View::All))
        });
        clients.sort_by(|&left, &right| tree.compare(left, right));
        clients.dedup();
        for &client in &*clients {
            if self.enter(tree.client(client).role) {
                self.ask(client);
            }
        }
    }

    /// What each client takes.
    pub(super) fn into_taken(self) -> Vec<(ClientIndex, Resources)> {
        self.taken
    }

    fn ask_walk(&mut self, mut walk: Walk<'_>, for_unreserved: bool) {
        while let Some(role) = walk.next_role() {
            if self.left.is_empty() || (for_unreserved && self.unreserved.offer.is_empty()) {
                return;
            }
            if !self.enter(role) {
                continue;
            }
            while let Some(client) = walk.next_client() {
                if self.ask(client) && !self.enter(role) {
                    break;
                }
            }
        }
    }

    /// What a client takes when it is the only one to be asked, or why it takes nothing.
    pub(super) fn ask_alone(&mut self, client: ClientIndex) -> Result<Resources, Obstacle> {
        let tree = self.tree;
        let entry = tree.client(client);
        self.suits_agent(&entry.terms)?;
        let role = entry.role;
        if !self.enter(role) {
            return Err(if !self.suits(role) {
                Obstacle::AgentWithoutHierarchicalRole
            } else if self.left.is_empty() {
                Obstacle::NothingFree
            } else {
                Obstacle::ReservedForOthers
            });
        }
        self.judge(client)
    }

    /// Whether agents of this age know roles of this kind.
    fn suits(&self, role: RoleIndex) -> bool {
        self.agent.profile.capabilities.hierarchical_role || !self.tree.is_hierarchical(role)
    }

    /// Turns to a role; false when there is nothing for it.
    fn enter(&mut self, role: RoleIndex) -> bool {
        if !self.suits(role) {
            return false;
        }
        let path = self.tree.path(role);
        let is_own = |reserved: &String| role::is_in_subtree_of(path, reserved);
        self.own = self
            .reserved_roles
            .iter()
            .any(is_own)
            .then(|| Pool::new(Cow::Owned(self.left.allocatable_to(path))));
        let pool = self.own.as_ref().unwrap_or(&self.unreserved);
        !pool.offer.is_empty()
    }

    /// Asks a client of the current role; true when it takes something.
    fn ask(&mut self, client: ClientIndex) -> bool {
        match self.judge(client) {
            Ok(taken) => {
                self.take(client, taken);
                true
            }
            Err(_) => false,
        }
    }

    /// What a client of the current role takes, or why it takes nothing.
    fn judge(&mut self, client: ClientIndex) -> Result<Resources, Obstacle> {
        let tree = self.tree;
        let terms = &tree.client(client).terms;
        self.suits_agent(terms)?;
        let refusals = &self.agent.refusals;
        let pool = self.own.as_mut().unwrap_or(&mut self.unreserved);
        let offer = &pool.offer;
        let covering = pool.covering.get_or_insert_with(|| refusals.covering(offer));
        if let Some(until) = refusals.refused_until(self.now, covering, client) {
            return Err(Obstacle::Refused(until));
        }
        if pool.is_special {
            let is_understood = |resource: &Resource| understands(terms.capabilities, resource);
            let offer = offer.filter(is_understood);
            let minimum = terms.minimum.as_deref().unwrap_or(&self.config.minimum_allocatable);
            if offer.is_empty() {
                return Err(Obstacle::NotUnderstood);
            }
            if !meets(minimum, &offer) {
                return Err(Obstacle::BelowMinimum);
            }
            match refusals.refused_until(self.now, &refusals.covering(&offer), client) {
                Some(until) => Err(Obstacle::Refused(until)),
                None => Ok(offer),
            }
        } else {
            let meets_minimum = match &terms.minimum {
                Some(minimum) => meets(minimum, offer),
                None => *pool
                    .meets_minimum
                    .get_or_insert_with(|| meets(&self.config.minimum_allocatable, offer)),
            };
            if meets_minimum { Ok(offer.clone().into_owned()) } else { Err(Obstacle::BelowMinimum) }
        }
    }

    fn take(&mut self, client: ClientIndex, taken: Resources) {
        let rest = if *self.left == taken {
            Resources::EMPTY
        } else {
            self.left.checked_sub(&taken).expect("what is taken is part of what is left")
        };
        self.left = Cow::Owned(rest);
        self.taken.push((client, taken));
        self.divide();
    }

    /// Divides what is left into reserved and unreserved.
    fn divide(&mut self) {
        self.own = None;
        self.reserved_roles.clear();
        if self.left.iter().all(Resource::is_unreserved) {
            self.unreserved = Pool::new(self.left.clone());
        } else {
            self.unreserved = Pool::new(Cow::Owned(self.left.unreserved()));
            for role in self.left.iter().filter_map(Resource::reservation_role) {
                // Resources are ordered by reservation, so equal roles are mostly neighbours.
                if self.reserved_roles.last().is_none_or(|last| last != role) {
                    self.reserved_roles.push(role.to_owned());
                }
            }
            self.reserved_roles.sort_unstable();
            self.reserved_roles.dedup();
        }
    }

    /// Whether a client may get anything at all of the agent.
    fn suits_agent(&self, terms: &Terms) -> Result<(), Obstacle> {
        let (agent, capabilities) = (self.agent, terms.capabilities);
        if capabilities.multi_role && !agent.profile.capabilities.multi_role {
            return Err(Obstacle::AgentWithoutMultiRole);
        }
        if agent.has_gpus && self.config.filter_gpu_resources && !capabilities.gpu_resources {
            return Err(Obstacle::Gpus);
        }
        if agent.is_remote && !capabilities.region_aware {
            return Err(Obstacle::RemoteRegion);
        }
        match &terms.constraints {
            Some(constraints) if !constraints.admit(&agent.profile) => Err(Obstacle::Constraints),
            Some(_) | None => Ok(()),
        }
    }
}

fn understands(capabilities: FrameworkCapabilities, resource: &Resource) -> bool {
    (capabilities.shared_resources || !resource.is_shared())
        && (capabilities.revocable_resources || !resource.is_revocable())
        && (capabilities.reservation_refinement || !resource.has_refined_reservations())
}

/// Whether resources are enough for one of several minima; without minima, whether there are any.
pub(super) fn meets(minima: &[Quantities], resources: &Resources) -> bool {
    let holds = |minimum: &Quantities| {
        minimum.iter().all(|(name, wanted)| {
            let entries = resources.iter().filter(|resource| resource.name() == name);
            let amounts = entries.map(|resource| i128::from(resource.quantity().thousandths()));
            amounts.sum::<i128>() >= i128::from(wanted.thousandths())
        })
    };
    !resources.is_empty() && (minima.is_empty() || minima.iter().any(holds))
}
