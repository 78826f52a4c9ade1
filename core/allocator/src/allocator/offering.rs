//! Who takes what of one agent.

use std::borrow::Cow;

use protocol::time::Timestamp;
use resources::{Quantities, Resource, Resources, role};

use super::Agent;
use crate::profile::{Config, FrameworkCapabilities};
use crate::quota::{Allowance, Quotas, Stage, is_counted};
use crate::refusals::Covering;
use crate::roles::{RoleTree, Terms, View, Walk};
use crate::share::{Amounts, Names};
use crate::slots::{ClientIndex, QuotaIndex, RoleIndex};

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
/// turn down an amount turn down less, and what quota allows only shrinks. So one walk is enough, and
/// clients may be asked more often than needed but never have to be.
#[derive(Debug)]
pub(super) struct Offering<'a> {
    surroundings: Surroundings<'a>,
    quotas: &'a mut Quotas,
    stage: Stage,
    left: Cow<'a, Resources>,
    /// What is unreserved of `left`, as far as the headroom allows.
    unreserved: Pool<'a>,
    /// What quota counts of `left`. Empty if nobody has a quota.
    counted: Amounts,
    /// Whether what is left without that is enough for anybody, once it is asked for.
    is_rest_enough: Option<bool>,
    /// Roles for which something in `left` is reserved.
    reserved_roles: Vec<String>,
    /// What the current role may have, when that is not what is unreserved.
    own: Option<Pool<'a>>,
    outcome: Outcome,
}

/// What an [`Offering`] looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) now: Timestamp,
    pub(super) config: &'a Config,
    pub(super) names: &'a Names,
    pub(super) tree: &'a RoleTree,
    pub(super) agent: &'a Agent,
    /// Shared resources that have been given in this cycle.
    pub(super) given: Option<&'a Resources>,
    /// Some clients have a minimum of their own.
    pub(super) has_own_minima: bool,
}

/// What became of an [`Offering`].
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What each client takes, already charged to quotas.
    pub(super) taken: Vec<(ClientIndex, Resources)>,
    /// Quotas whose gates have changed.
    pub(super) gates: Vec<QuotaIndex>,
    /// Something was not given, for the headroom.
    pub(super) is_held_back: bool,
}

impl<'a> Offering<'a> {
    pub(super) fn new(
        surroundings: Surroundings<'a>,
        quotas: &'a mut Quotas,
        stage: Stage,
    ) -> Self {
        let Surroundings { agent, given, .. } = surroundings;
        let left = match given {
            None if agent.shared.is_empty() => Cow::Borrowed(&agent.free),
            None => Cow::Owned(&agent.free + &agent.shared),
            Some(given) => Cow::Owned(&agent.free + &agent.shared.saturating_sub(given)),
        };
        let mut offering = Self {
            surroundings,
            quotas,
            stage,
            left,
            unreserved: Pool::new(Cow::Owned(Resources::EMPTY)),
            counted: Amounts::default(),
            is_rest_enough: None,
            reserved_roles: Vec::new(),
            own: None,
            outcome: Outcome::default(),
        };
        offering.divide();
        offering
    }

    /// Whether all that is free may be enough for anybody.
    pub(super) fn is_enough(&self) -> bool {
        self.may_be_enough(&self.left)
    }

    fn may_be_enough(&self, resources: &Resources) -> bool {
        let minima = &self.surroundings.config.minimum_allocatable;
        self.surroundings.has_own_minima || meets(minima, resources)
    }

    /// Asks all clients of a view.
    pub(super) fn ask_view(&mut self, view: View) {
        let tree = self.surroundings.tree;
        match self.stage {
            Stage::Guarantees => return self.ask_walk(tree.walk_lacking(view), true),
            Stage::FairShare => {}
        }
        if self.may_be_enough(&self.unreserved.offer) {
            let walk = if self.is_rest_enough() { tree.walk(view) } else { tree.walk_open(view) };
            self.ask_walk(walk, true);
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
    pub(super) fn ask_clients(&mut self, clients: &[ClientIndex]) {
        let tree = self.surroundings.tree;
        let is_active = |&client: &ClientIndex| {
            tree.get_client(client).is_some_and(|client| client.is_in(View::All))
        };
        let mut clients: Vec<ClientIndex> = clients.iter().copied().filter(is_active).collect();
        clients.sort_by(|&left, &right| tree.compare(left, right));
        clients.dedup();
        for client in clients {
            if self.enter(tree.client(client).role) {
                self.ask(client);
            }
        }
    }

    pub(super) fn into_outcome(self) -> Outcome {
        self.outcome
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
        let entry = self.surroundings.tree.client(client);
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
        let Surroundings { agent, tree, .. } = self.surroundings;
        agent.profile.capabilities.hierarchical_role || !tree.is_hierarchical(role)
    }

    /// Turns to a role; false when there is nothing for it.
    fn enter(&mut self, role: RoleIndex) -> bool {
        let tree = self.surroundings.tree;
        if !self.suits(role) {
            return false;
        }
        let path = tree.path(role);
        let is_own = |reserved: &String| role::is_in_subtree_of(path, reserved);
        let is_reserved = self.reserved_roles.iter().any(is_own);
        let Some(restraint) = self.restraint(tree.quota(role), is_reserved) else { return false };
        self.own = if is_reserved {
            let offer = self.left.allocatable_to(path);
            Some(self.restrained_pool(restraint, offer))
        } else {
            restraint.map(|allowance| self.restrained_pool(Some(allowance), self.left.unreserved()))
        };
        let pool = self.own.as_ref().unwrap_or(&self.unreserved);
        !pool.offer.is_empty()
    }

    /// How far quota restrains what a role may have of what is left; `None` when it is of no use to ask.
    fn restraint(
        &mut self,
        quota: Option<QuotaIndex>,
        is_reserved: bool,
    ) -> Option<Option<Allowance>> {
        let is_wanted = |quota: QuotaIndex| self.quotas.is_wanted(quota, &self.counted);
        match self.stage {
            Stage::Guarantees if !quota.is_some_and(is_wanted) => return None,
            Stage::Guarantees | Stage::FairShare => {}
        }
        let allowance = match quota {
            Some(quota) => self.quotas.allowance(quota, self.stage),
            None if is_reserved => self.quotas.surplus_allowance(),
            // What is unreserved is kept as far as the headroom allows.
            None => return Some(None),
        };
        if allowance.covers(&self.counted) {
            return Some(None);
        }
        let is_useless =
            !is_reserved && allowance.is_nothing_of(&self.counted) && !self.is_rest_enough();
        (!is_useless).then_some(Some(allowance))
    }

    fn restrained_pool(&self, allowance: Option<Allowance>, offer: Resources) -> Pool<'a> {
        Pool::new(Cow::Owned(match allowance {
            Some(allowance) => allowance.shrink(self.surroundings.names, &offer),
            None => offer,
        }))
    }

    /// Whether what quota does not count of the unreserved may be enough for anybody.
    fn is_rest_enough(&mut self) -> bool {
        if !self.quotas.is_active() {
            // Nobody is at a limit.
            return false;
        }
        self.is_rest_enough.unwrap_or_else(|| {
            let rest = self.left.filter(|it| it.is_unreserved() && !is_counted(it));
            // It is offered together with what is reserved.
            let has_more = !rest.is_empty() && !self.reserved_roles.is_empty();
            let is_enough = has_more || self.may_be_enough(&rest);
            self.is_rest_enough = Some(is_enough);
            is_enough
        })
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
        let Surroundings { now, config, tree, agent, .. } = self.surroundings;
        let terms = &tree.client(client).terms;
        self.suits_agent(terms)?;
        let refusals = &agent.refusals;
        let pool = self.own.as_mut().unwrap_or(&mut self.unreserved);
        let offer = &pool.offer;
        let covering = pool.covering.get_or_insert_with(|| refusals.covering(offer));
        if let Some(until) = refusals.refused_until(now, covering, client) {
            return Err(Obstacle::Refused(until));
        }
        if pool.is_special {
            let is_understood = |resource: &Resource| understands(terms.capabilities, resource);
            let offer = offer.filter(is_understood);
            let minimum = terms.minimum.as_deref().unwrap_or(&config.minimum_allocatable);
            if offer.is_empty() {
                return Err(Obstacle::NotUnderstood);
            }
            if !meets(minimum, &offer) {
                return Err(Obstacle::BelowMinimum);
            }
            match refusals.refused_until(now, &refusals.covering(&offer), client) {
                Some(until) => Err(Obstacle::Refused(until)),
                None => Ok(offer),
            }
        } else {
            let meets_minimum = match &terms.minimum {
                Some(minimum) => meets(minimum, offer),
                None => *pool
                    .meets_minimum
                    .get_or_insert_with(|| meets(&config.minimum_allocatable, offer)),
            };
            if meets_minimum { Ok(offer.clone().into_owned()) } else { Err(Obstacle::BelowMinimum) }
        }
    }

    fn take(&mut self, client: ClientIndex, taken: Resources) {
        let Surroundings { names, tree, .. } = self.surroundings;
        if self.quotas.is_active() {
            let quota = tree.quota(tree.client(client).role);
            let changed = self.quotas.charge(quota, &counted(names, &taken));
            self.outcome.gates.extend(changed);
        }
        let rest = if *self.left == taken {
            Resources::EMPTY
        } else {
            self.left.checked_sub(&taken).expect("what is taken is part of what is left")
        };
        self.left = Cow::Owned(rest);
        self.outcome.taken.push((client, taken));
        self.divide();
    }

    /// Divides what is left into reserved and unreserved.
    fn divide(&mut self) {
        self.own = None;
        self.reserved_roles.clear();
        let unreserved = if self.left.iter().all(Resource::is_unreserved) {
            self.left.clone()
        } else {
            for role in self.left.iter().filter_map(Resource::reservation_role) {
                // Resources are ordered by reservation, so equal roles are mostly neighbours.
                if self.reserved_roles.last().is_none_or(|last| last != role) {
                    self.reserved_roles.push(role.to_owned());
                }
            }
            self.reserved_roles.sort_unstable();
            self.reserved_roles.dedup();
            Cow::Owned(self.left.unreserved())
        };
        self.unreserved = Pool::new(if self.quotas.is_active() {
            self.keep_headroom(unreserved)
        } else {
            unreserved
        });
    }

    /// What may be given to roles without quota.
    fn keep_headroom(&mut self, unreserved: Cow<'a, Resources>) -> Cow<'a, Resources> {
        let names = self.surroundings.names;
        self.is_rest_enough = None;
        self.counted = counted(names, &unreserved);
        let surplus = self.quotas.surplus_allowance();
        if surplus.covers(&self.counted) {
            return unreserved;
        }
        self.outcome.is_held_back = true;
        match self.stage {
            // Each role that is asked has an allowance of its own.
            Stage::Guarantees => unreserved,
            Stage::FairShare => Cow::Owned(surplus.shrink(names, &unreserved)),
        }
    }

    /// Whether a client may get anything at all of the agent.
    fn suits_agent(&self, terms: &Terms) -> Result<(), Obstacle> {
        let Surroundings { config, agent, .. } = self.surroundings;
        let capabilities = terms.capabilities;
        if capabilities.multi_role && !agent.profile.capabilities.multi_role {
            return Err(Obstacle::AgentWithoutMultiRole);
        }
        if agent.has_gpus && config.filter_gpu_resources && !capabilities.gpu_resources {
            return Err(Obstacle::Gpus);
        }
        if agent.is_remote && !capabilities.region_aware {
            return Err(Obstacle::RemoteRegion);
        }
        match &terms.demand {
            Some(demand) if !agent.verdicts.admit(demand, &agent.profile) => {
                Err(Obstacle::Constraints)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What quota counts of resources.
pub(super) fn counted(names: &Names, resources: &Resources) -> Amounts {
    let mut amounts = Amounts::default();
    for resource in resources.iter().filter(|it| is_counted(it)) {
        // All names of an agent's resources are known.
        if let Some(name) = names.find(resource.name()) {
            amounts.add(name, i128::from(resource.quantity().thousandths()));
        }
    }
    amounts
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
