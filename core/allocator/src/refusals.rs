//! Filters: what frameworks have refused, on which agents, and for how long.

use std::collections::BTreeMap;

use protocol::flat::FlatMap;
use protocol::time::Timestamp;
use resources::Resources;

use crate::slots::{AgentIndex, ClientIndex};

/// Filters that one framework may have for one agent in one role. One more takes the place of that
/// which expires first. Filters that others make superfluous do not count.
pub const FILTERS_PER_CLIENT_AND_AGENT_MAX: usize = 8;

/// Entries of the expiry queue that may be out of date beyond the number of filters before it is
/// cleaned.
const STALE_EXPIRIES_MAX: usize = 1024;

/// The same resources refused by any number of clients: most refuse the same, all that is free.
#[derive(Clone, Debug)]
struct Refusal {
    refused: Resources,
    until: FlatMap<ClientIndex, Timestamp>,
}

/// The filters for one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    refusals: Vec<Refusal>,
}

/// How many filters were added and removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) added: usize,
    pub(crate) removed: usize,
}

/// Refusals that hold for an offer: positions in [`Refusals`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Covering {
    positions: Vec<usize>,
}

impl Refusals {
    /// Notes that a client does not want `refused`, or less, before `until`.
    pub(crate) fn insert(
        &mut self,
        client: ClientIndex,
        refused: &Resources,
        until: Timestamp,
    ) -> Change {
        let mut change = Change::default();
        let mut same = None;
        let mut own = Vec::new();
        for (position, refusal) in self.refusals.iter_mut().enumerate() {
            let equal = refusal.refused == *refused;
            if equal {
                same = Some(position);
            }
            let Some(&own_until) = refusal.until.get(&client) else { continue };
            if own_until >= until && (equal || refusal.refused.contains(refused)) {
                return change;
            }
            if own_until <= until && (equal || refused.contains(&refusal.refused)) {
                refusal.until.remove(&client);
                change.removed += 1;
            } else {
                own.push((own_until, position));
            }
        }
        if own.len() >= FILTERS_PER_CLIENT_AND_AGENT_MAX
            && let Some(&(_, position)) = own.iter().min()
        {
            self.refusals[position].until.remove(&client);
            change.removed += 1;
        }
        let position = same.unwrap_or_else(|| {
            if self.refusals.is_empty() {
                // Most often there is one.
                self.refusals.reserve_exact(1);
            }
            self.refusals.push(Refusal { refused: refused.clone(), until: FlatMap::default() });
            self.refusals.len() - 1
        });
        self.refusals[position].until.insert(client, until);
        change.added += 1;
        self.drop_empty();
        change
    }

    /// Removes the filters of a client that do not last beyond `now`.
    pub(crate) fn expire(&mut self, client: ClientIndex, now: Timestamp) -> Change {
        let mut change = Change::default();
        for refusal in &mut self.refusals {
            if refusal.until.get(&client).is_some_and(|&until| until <= now) {
                refusal.until.remove(&client);
                change.removed += 1;
            }
        }
        self.drop_empty();
        change
    }

    /// Removes all filters of a client.
    pub(crate) fn remove_client(&mut self, client: ClientIndex) -> Change {
        self.expire(client, Timestamp::MAX)
    }

    /// Removes all filters; gives the client of each.
    pub(crate) fn clear(&mut self) -> Vec<ClientIndex> {
        let refusals = std::mem::take(&mut self.refusals);
        refusals.iter().flat_map(|refusal| refusal.until.keys().copied()).collect()
    }

    fn drop_empty(&mut self) {
        self.refusals.retain(|refusal| !refusal.until.is_empty());
        if self.refusals.is_empty() {
            self.refusals = Vec::new();
        }
    }

    pub(crate) fn holds(&self, client: ClientIndex) -> bool {
        self.refusals.iter().any(|refusal| refusal.until.get(&client).is_some())
    }

    /// The refusals that hold for an offer.
    pub(crate) fn covering(&self, offer: &Resources) -> Covering {
        let covers = |&(_, refusal): &(usize, &Refusal)| refusal.refused.contains(offer);
        let refusals = self.refusals.iter().enumerate().filter(covers);
        Covering { positions: refusals.map(|(position, _)| position).collect() }
    }

    /// Until when a client refuses the offer that `covering` was made for, if it still does.
    pub(crate) fn refused_until(
        &self,
        now: Timestamp,
        covering: &Covering,
        client: ClientIndex,
    ) -> Option<Timestamp> {
        let until = |&position: &usize| self.refusals[position].until.get(&client).copied();
        covering.positions.iter().filter_map(until).max().filter(|&until| until > now)
    }

    /// Each client with a filter and when that expires.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClientIndex, Timestamp)> + '_ {
        let pairs = self.refusals.iter().flat_map(|refusal| &refusal.until);
        pairs.map(|(&client, &until)| (client, until))
    }
}

/// When filters expire. An entry may outlive its filter; then nothing is found to remove.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expiries {
    queue: BTreeMap<Timestamp, Vec<(AgentIndex, ClientIndex)>>,
    length: usize,
}

impl Expiries {
    pub(crate) fn push(&mut self, at: Timestamp, agent: AgentIndex, client: ClientIndex) {
        self.queue.entry(at).or_default().push((agent, client));
        self.length += 1;
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|(&at, _)| at)
    }

    /// The agents and clients with a filter that was to expire by `now`.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Vec<(AgentIndex, ClientIndex)>> {
        let entry = self.queue.first_entry().filter(|entry| *entry.key() <= now)?;
        let due = entry.remove();
        self.length -= due.len();
        Some(due)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Whether so many entries are out of date that it pays to make the queue anew.
    pub(crate) fn is_stale(&self, filter_count: usize) -> bool {
        self.length > 2 * filter_count + STALE_EXPIRIES_MAX
    }
}
