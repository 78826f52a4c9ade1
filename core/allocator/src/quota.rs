//! Quota: how much roles are guaranteed, the most they may have, and how much of it they consume.
//!
//! A role consumes what is held in it and below it of unreserved, non-revocable scalars, and everything
//! that is reserved for it or below it, whether held or not (`docs/quota.md` of Mesos). What is missing
//! to the guarantees of all roles is the headroom: so much stays free that whoever is guaranteed it can
//! have it. All sums are kept as things change, so that a cycle in which nothing did costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use resources::{Limits, Quantities, Quantity, Resource, Resources};

use crate::share::{Amounts, Name, Names};
use crate::slots::{QuotaIndex, Slab};

/// What a role is guaranteed and the most it may have, with all roles below it. The default is no quota.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// So much is kept free for the role until it has it.
    pub guarantees: Quantities,
    /// It never gets more than this.
    pub limits: Limits,
}

impl Quota {
    fn is_default(&self) -> bool {
        self.guarantees.is_empty() && self.limits.is_empty()
    }
}

/// The two passes of a cycle over its agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Roles that miss something of their guarantees get it.
    Guarantees,
    /// Everybody gets a fair share of the rest.
    FairShare,
}

/// Where a top-level role takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) quota: Option<QuotaIndex>,
    /// It is at its limits for all that quota can be set on.
    pub(crate) is_shut: bool,
    /// It misses something of its guarantees.
    pub(crate) is_lacking: bool,
}

/// One resource name of one quota.
#[derive(Clone, Debug)]
struct Row {
    name: Name,
    guarantee: i128,
    limit: Option<i128>,
    consumed: i128,
    /// What was consumed when all agents had been considered for the role.
    settled: i128,
}

impl Row {
    fn room(&self) -> Option<i128> {
        self.limit.map(|limit| (limit - self.consumed).max(0))
    }

    fn missing(&self) -> i128 {
        let guarantee = self.limit.map_or(self.guarantee, |limit| limit.min(self.guarantee));
        (guarantee - self.consumed).max(0)
    }
}

#[derive(Clone, Debug)]
struct RoleQuota {
    role: String,
    quota: Quota,
    rows: Vec<Row>,
    gate: Gate,
    /// In `Quotas.touched`.
    is_touched: bool,
}

impl RoleQuota {
    fn row_mut(&mut self, name: Name) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.name == name)
    }

    /// Whether less is consumed than when all agents had been considered.
    fn is_eased(&self) -> bool {
        self.rows.iter().any(|row| row.consumed < row.settled)
    }
}

/// How much of each name may be given; names that are not there are not restrained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowance(Vec<(Name, i128)>);

impl Allowance {
    /// Whether so much may be given.
    pub(crate) fn covers(&self, amounts: &Amounts) -> bool {
        self.0.iter().all(|&(name, allowed)| amounts.get(name) <= allowed)
    }

    /// Whether nothing at all of `amounts` may be given.
    pub(crate) fn is_nothing_of(&self, amounts: &Amounts) -> bool {
        let is_kept = |(name, _): (Name, i128)| self.0.contains(&(name, 0));
        amounts.iter().all(is_kept)
    }

    /// As much of the resources as may be given. Of scalars that cannot be split those that fit are
    /// kept, the smallest first, so that whoever may have more gets no other things instead.
    pub(crate) fn shrink(mut self, names: &Names, resources: &Resources) -> Resources {
        let mut wholes: Vec<&Resource> = Vec::new();
        let mut kept: Vec<Resource> = Vec::new();
        for resource in resources {
            if !is_counted(resource) {
                kept.push(resource.clone());
            } else if resource.is_indivisible() {
                wholes.push(resource);
            } else {
                kept.extend(self.part(names, resource));
            }
        }
        wholes.sort_by_key(|resource| resource.quantity());
        for whole in wholes {
            kept.extend(self.part(names, whole));
        }
        kept.into_iter().collect()
    }

    fn part(&mut self, names: &Names, resource: &Resource) -> Option<Resource> {
        let name = names.find(resource.name());
        let entry = self.0.iter_mut().find(|entry| Some(entry.0) == name);
        let Some((_, allowed)) = entry else { return Some(resource.clone()) };
        let target = Quantity::from_thousandths(i64::try_from(*allowed).unwrap_or(i64::MAX))?;
        let part = resource.shrunk_to(target)?;
        *allowed -= i128::from(part.quantity().thousandths());
        Some(part)
    }
}

/// Whether quota counts a resource when it is held; what is reserved it counts in any case.
pub(crate) fn is_counted(resource: &Resource) -> bool {
    resource.value().scalar().is_some() && resource.is_unreserved() && !resource.is_revocable()
}

/// All quotas, and what they are compared with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quotas {
    roles: Slab<QuotaIndex, RoleQuota>,
    names: BTreeMap<String, QuotaIndex>,
    /// What is reserved on all agents, by role.
    reserved: BTreeMap<String, Amounts>,
    /// What all agents have that is neither reserved nor revocable.
    total: Amounts,
    /// What is free of `total`. Kept only while there are quotas.
    free: Amounts,
    /// What is missing to all guarantees.
    headroom: Amounts,
    /// The surplus of what had headroom when all agents had been considered.
    settled_surplus: Vec<(Name, i128)>,
    /// Roles whose consumption has changed since all agents were considered.
    touched: Vec<QuotaIndex>,
    /// Roles that consume less since then.
    eased: BTreeSet<QuotaIndex>,
}

impl Quotas {
    /// Whether any role has a quota.
    pub(crate) fn is_active(&self) -> bool {
        !self.names.is_empty()
    }

    pub(crate) fn find(&self, role: &str) -> Option<QuotaIndex> {
        self.names.get(role).copied()
    }

    pub(crate) fn get(&self, role: &str) -> Option<&Quota> {
        Some(&self.roles[self.find(role)?].quota)
    }

    pub(crate) fn role(&self, index: QuotaIndex) -> &str {
        &self.roles[index].role
    }

    pub(crate) fn gate(&self, index: QuotaIndex) -> Gate {
        self.roles[index].gate
    }

    /// Roles with a quota or a reservation.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &str> {
        self.names.keys().chain(self.reserved.keys()).map(String::as_str)
    }

    /// What is reserved for a role and those below it.
    pub(crate) fn reserved(&self, role: &str) -> Amounts {
        let mut sum = self.reserved.get(role).cloned().unwrap_or_default();
        // What lies below `a` begins with `a/`; `a-b` stands between the two.
        let below = format!("{role}/");
        let rest = self.reserved.range(below.clone()..);
        for (_, amounts) in rest.take_while(|(name, _)| name.starts_with(&below)) {
            sum.add_all(amounts);
        }
        sum
    }

    /// Sets a quota, which replaces an earlier one. `held` is what the role holds, and `all_held` what
    /// everybody holds, of what quota counts.
    pub(crate) fn set(
        &mut self,
        role: &str,
        quota: Quota,
        names: &mut Names,
        held: &Amounts,
        all_held: &Amounts,
    ) -> Gate {
        if !self.is_active() {
            self.free = self.total.minus(all_held);
        }
        self.remove(role);
        if quota.is_default() {
            return Gate::default();
        }
        let mut consumed = self.reserved(role);
        consumed.add_all(held);
        let mut rows: BTreeMap<Name, Row> = BTreeMap::new();
        let limits = quota.limits.iter().map(|(name, limit)| (name, None, Some(limit)));
        let guarantees = quota.guarantees.iter().map(|(name, amount)| (name, Some(amount), None));
        for (name, guarantee, limit) in guarantees.chain(limits) {
            let name = names.intern(name);
            let consumed = consumed.get(name);
            let row = rows.entry(name).or_insert(Row {
                name,
                guarantee: 0,
                limit: None,
                consumed,
                settled: consumed,
            });
            let thousandths = |amount: Quantity| i128::from(amount.thousandths());
            row.guarantee = guarantee.map_or(row.guarantee, thousandths);
            row.limit = limit.map(thousandths).or(row.limit);
        }
        let rows: Vec<Row> = rows.into_values().collect();
        for row in &rows {
            self.headroom.add(row.name, row.missing());
        }
        let role = role.to_owned();
        let entry =
            RoleQuota { role: role.clone(), quota, rows, gate: Gate::default(), is_touched: false };
        let index = self.roles.insert(entry);
        self.names.insert(role, index);
        self.update_gate(index);
        self.gate(index)
    }

    fn remove(&mut self, role: &str) {
        let Some(index) = self.names.remove(role) else { return };
        let Some(entry) = self.roles.remove(index) else { return };
        self.touched.retain(|&other| other != index);
        self.eased.remove(&index);
        for row in &entry.rows {
            self.headroom.add(row.name, -row.missing());
        }
    }

    /// Notes that somebody, in a role with this quota if any, now holds `amounts` of what quota counts.
    /// Gives the quota if its gate has changed.
    pub(crate) fn charge(
        &mut self,
        quota: Option<QuotaIndex>,
        amounts: &Amounts,
    ) -> Option<QuotaIndex> {
        if !self.is_active() {
            return None;
        }
        self.free.subtract_all(amounts);
        self.consume(quota?, amounts, 1)
    }

    /// Notes that somebody no longer holds `amounts`.
    pub(crate) fn discharge(
        &mut self,
        quota: Option<QuotaIndex>,
        amounts: &Amounts,
    ) -> Option<QuotaIndex> {
        if !self.is_active() {
            return None;
        }
        self.free.add_all(amounts);
        self.consume(quota?, amounts, -1)
    }

    /// Notes that what an agent has changes by one part of its resources.
    pub(crate) fn change_total(&mut self, parts: &Parts, sign: i128) -> Vec<QuotaIndex> {
        let mut changed = Vec::new();
        let had = self.total.len();
        for (name, amount) in parts.counted.iter() {
            self.total.add(name, sign * amount);
            if self.is_active() {
                self.free.add(name, sign * amount);
            }
        }
        for (role, amounts) in &parts.reserved {
            let sum = self.reserved.entry(role.clone()).or_default();
            for (name, amount) in amounts.iter() {
                sum.add(name, sign * amount);
            }
            if sum.is_empty() {
                self.reserved.remove(role);
            }
            let top = role.split('/').next().unwrap_or_default();
            if let Some(index) = self.find(top) {
                changed.extend(self.consume(index, amounts, sign));
            }
        }
        // A name that nobody has can shut no role.
        if had != self.total.len() {
            let all: Vec<QuotaIndex> = self.roles.indices().collect();
            changed.extend(all.into_iter().filter(|&index| self.update_gate(index)));
        }
        changed
    }

    fn consume(&mut self, index: QuotaIndex, amounts: &Amounts, sign: i128) -> Option<QuotaIndex> {
        let entry = &mut self.roles[index];
        let mut is_changed = false;
        for (name, amount) in amounts.iter() {
            if let Some(row) = entry.row_mut(name) {
                let missing = row.missing();
                row.consumed += sign * amount;
                self.headroom.add(name, row.missing() - missing);
                is_changed = true;
            }
        }
        if !is_changed {
            return None;
        }
        if !entry.is_touched {
            entry.is_touched = true;
            self.touched.push(index);
        }
        if entry.is_eased() {
            self.eased.insert(index);
        } else {
            self.eased.remove(&index);
        }
        self.update_gate(index).then_some(index)
    }

    fn update_gate(&mut self, index: QuotaIndex) -> bool {
        let entry = &mut self.roles[index];
        let has_no_room =
            |name: Name| entry.rows.iter().any(|row| row.name == name && row.room() == Some(0));
        let gate = Gate {
            quota: Some(index),
            is_shut: self.total.iter().all(|(name, _)| has_no_room(name)),
            is_lacking: entry.rows.iter().any(|row| row.missing() > 0),
        };
        std::mem::replace(&mut entry.gate, gate) != gate
    }

    /// What is free of a name beyond the headroom.
    fn surplus(&self, name: Name, headroom: i128) -> i128 {
        (self.free.get(name) - headroom).max(0)
    }

    /// What may be given to roles without quota.
    pub(crate) fn surplus_allowance(&self) -> Allowance {
        let surplus = |(name, headroom)| (name, self.surplus(name, headroom));
        Allowance(self.headroom.iter().map(surplus).collect())
    }

    /// What may be given to a role with this quota.
    pub(crate) fn allowance(&self, index: QuotaIndex, stage: Stage) -> Allowance {
        let mut allowance = self.surplus_allowance();
        for row in &self.roles[index].rows {
            let entry = allowance.0.iter_mut().find(|entry| entry.0 == row.name);
            match entry {
                Some((_, allowed)) => {
                    if stage == Stage::Guarantees {
                        *allowed += row.missing();
                    }
                    *allowed = row.room().map_or(*allowed, |room| room.min(*allowed));
                }
                None => allowance.0.extend(row.room().map(|room| (row.name, room))),
            }
        }
        allowance
    }

    /// The same limits with no guarantees: what they cost alone.
    pub(crate) fn without_guarantees(&self) -> Self {
        Self { headroom: Amounts::default(), ..self.clone() }
    }

    /// Quotas of the same roles that restrain nobody.
    pub(crate) fn unrestrained(&self) -> Self {
        let mut quotas = self.without_guarantees();
        for index in quotas.roles.indices().collect::<Vec<_>>() {
            quotas.roles[index].rows.clear();
        }
        quotas
    }

    /// Of which names the limits of a role leave less than these amounts.
    pub(crate) fn limited(&self, index: QuotaIndex, amounts: &Amounts) -> Vec<Name> {
        let is_limited = |row: &&Row| row.room().is_some_and(|room| room < amounts.get(row.name));
        self.roles[index].rows.iter().filter(is_limited).map(|row| row.name).collect()
    }

    /// The roles for whose guarantees some of these amounts are held back; by name, so many at most.
    pub(crate) fn lacking(&self, amounts: &Amounts, count_max: usize) -> Vec<String> {
        let is_short = |name: Name, missing: i128| {
            missing > 0 && self.surplus(name, self.headroom.get(name)) < amounts.get(name)
        };
        let is_lacking = |index: &&QuotaIndex| {
            self.roles[**index].rows.iter().any(|row| is_short(row.name, row.missing()))
        };
        let lacking = self.names.values().filter(is_lacking);
        lacking.take(count_max).map(|&index| self.role(index).to_owned()).collect()
    }

    /// Whether some of the amounts are missing to the guarantees of a role.
    pub(crate) fn is_wanted(&self, index: QuotaIndex, amounts: &Amounts) -> bool {
        let is_wanted = |row: &Row| row.missing() > 0 && amounts.get(row.name) > 0;
        self.roles[index].rows.iter().any(is_wanted)
    }

    /// Roles that consume less than when all agents had been considered for them.
    pub(crate) fn eased(&self) -> &BTreeSet<QuotaIndex> {
        &self.eased
    }

    /// Whether more is free beyond the headroom than when all agents had been considered.
    pub(crate) fn has_more_surplus(&self) -> bool {
        let is_more = |&(name, settled): &(Name, i128)| {
            let headroom = self.headroom.get(name);
            headroom <= 0 || self.surplus(name, headroom) > settled
        };
        self.settled_surplus.iter().any(is_more)
    }

    /// Notes that all agents have been considered for everyone.
    pub(crate) fn settle(&mut self) {
        self.eased.clear();
        for index in std::mem::take(&mut self.touched) {
            let entry = &mut self.roles[index];
            entry.is_touched = false;
            for row in &mut entry.rows {
                row.settled = row.consumed;
            }
        }
        let surplus = |(name, headroom)| (name, self.surplus(name, headroom));
        self.settled_surplus = self.headroom.iter().map(surplus).collect();
    }
}

/// The scalars of an agent's total as quota sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) counted: Amounts,
    pub(crate) reserved: BTreeMap<String, Amounts>,
}

impl Parts {
    pub(crate) fn of(names: &mut Names, resources: &Resources) -> Self {
        let mut parts = Self::default();
        for resource in resources.iter().filter(|it| it.value().scalar().is_some()) {
            let name = names.intern(resource.name());
            let amount = i128::from(resource.quantity().thousandths());
            if let Some(role) = resource.reservation_role() {
                match parts.reserved.get_mut(role) {
                    Some(amounts) => amounts.add(name, amount),
                    None => parts.reserved.entry(role.to_owned()).or_default().add(name, amount),
                }
            } else if !resource.is_revocable() {
                parts.counted.add(name, amount);
            }
        }
        parts
    }
}
