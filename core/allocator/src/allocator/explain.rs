//! Answers the question why a framework gets no offers, by the code that decides about offers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use protocol::mesos::FrameworkId;
use protocol::time::Timestamp;

use super::offering::{Obstacle, Offering, Surroundings, counted};
use super::{Agent, Allocator, Attention};
use crate::explanation::{
    AgentSample, COMPETITORS_MAX, Cause, Competitor, Explanation, LACKING_ROLES_MAX, Reason,
    Standing,
};
use crate::quota::{Quotas, Stage};
use crate::roles::{RoleTree, View};
use crate::slots::{AgentIndex, ClientIndex};

/// A reason and when it ends.
type Verdict = Result<(), (Reason, Option<Timestamp>)>;

impl Allocator {
    /// Why a framework gets no offers in a role, or on how many agents it could get one. `None` for
    /// frameworks that are not known.
    ///
    /// Looks at every agent, so it is for those who ask, not for every cycle.
    #[must_use]
    pub fn explain(
        &self,
        now: Timestamp,
        framework: &FrameworkId,
        role: &str,
    ) -> Option<Explanation> {
        let entry = &self.frameworks[self.frameworks.find(framework)?];
        if !entry.is_added {
            return None;
        }
        let client = entry.clients.get(role).copied();
        let client = client.filter(|&client| self.tree.client(client).subscribed);
        let mut possible = AgentSample::default();
        let mut causes: BTreeMap<Reason, (AgentSample, Option<Timestamp>)> = BTreeMap::new();
        let mut agents = 0;
        let mut restraints = Restraints::new(&self.quotas);
        for (agent, entry) in self.agents.iter() {
            agents += 1;
            let verdict = match client {
                Some(client) => self.judge_agent(now, &mut restraints, agent, client),
                None => Err((Reason::NotSubscribed, None)),
            };
            match verdict {
                Ok(()) => possible.add(&entry.id),
                Err((reason, until)) => {
                    let (sample, first) = causes.entry(reason).or_default();
                    sample.add(&entry.id);
                    *first = first.iter().chain(&until).min().copied();
                }
            }
        }
        if let Some(reason) = self.client_obstacle(framework, role)
            && !causes.contains_key(&reason)
        {
            causes.insert(reason, (std::mem::take(&mut possible), None));
        }
        let cause = |(reason, (agents, until))| Cause { reason, agents, until };
        Some(Explanation {
            framework: framework.clone(),
            role: role.to_owned(),
            agents,
            possible,
            causes: causes.into_iter().map(cause).collect(),
            standing: client.map(|client| self.standing(client)).unwrap_or_default(),
        })
    }

    /// What keeps a framework from all offers in a role.
    fn client_obstacle(&self, framework: &FrameworkId, role: &str) -> Option<Reason> {
        let entry = &self.frameworks[self.frameworks.find(framework)?];
        if !entry.profile.roles.contains(role) {
            Some(Reason::NotSubscribed)
        } else if !entry.profile.active {
            Some(Reason::FrameworkInactive)
        } else if entry.profile.suppressed_roles.contains(role) {
            Some(Reason::Suppressed)
        } else if self.is_paused {
            Some(Reason::Paused)
        } else {
            None
        }
    }

    fn judge_agent(
        &self,
        now: Timestamp,
        restraints: &mut Restraints,
        agent: AgentIndex,
        client: ClientIndex,
    ) -> Verdict {
        let entry = &self.agents[agent];
        if !entry.profile.active {
            return Err((Reason::AgentInactive, None));
        }
        if !entry.is_listed {
            return Err((Reason::NotWhitelisted, None));
        }
        let surroundings = self.surroundings(now, agent, None);
        let mut verdict = Err(Obstacle::NothingFree);
        let stages: &[Stage] = if self.quotas.is_active() {
            &[Stage::Guarantees, Stage::FairShare]
        } else {
            &[Stage::FairShare]
        };
        for &stage in stages {
            let quotas = &mut restraints.all;
            verdict = Offering::new(surroundings, quotas, stage).ask_alone(client);
            if verdict.is_ok() {
                break;
            }
        }
        match verdict {
            Ok(_) => self.next_look(now, agent, entry, client),
            Err(obstacle) if !self.quotas.is_active() => Err(reason(obstacle)),
            Err(_) => Err(self.judge_quota(restraints, surroundings, client)),
        }
    }

    /// Why an agent is not offered, which may be because of quota.
    fn judge_quota(
        &self,
        restraints: &mut Restraints,
        surroundings: Surroundings<'_>,
        client: ClientIndex,
    ) -> (Reason, Option<Timestamp>) {
        let ask = |quotas: &mut Quotas| {
            Offering::new(surroundings, quotas, Stage::FairShare).ask_alone(client)
        };
        let wanted = match ask(&mut restraints.none) {
            Ok(offer) => counted(&self.names, &offer),
            Err(obstacle) => return reason(obstacle),
        };
        let quota = self.tree.quota(self.tree.client(client).role);
        let reason = match quota.filter(|_| ask(&mut restraints.limits).is_err()) {
            Some(quota) => {
                let limited = self.quotas.limited(quota, &wanted).into_iter();
                let resources = limited.map(|name| self.names.get(name).to_owned()).collect();
                Reason::QuotaLimit { resources }
            }
            None => {
                let roles = self.quotas.lacking(&wanted, LACKING_ROLES_MAX);
                Reason::HeldForGuarantees { roles }
            }
        };
        (reason, None)
    }

    /// Shared resources stay free when they are offered; the agent is not looked at again before the
    /// interval is over.
    fn next_look(
        &self,
        now: Timestamp,
        agent: AgentIndex,
        entry: &Agent,
        client: ClientIndex,
    ) -> Verdict {
        let is_due = match entry.attention {
            Attention::Everyone => true,
            Attention::Returning => entry.returning.contains(&client),
            Attention::Nobody => false,
        };
        if entry.shared.is_empty() || is_due || self.tree.client(client).is_in(View::Fresh) {
            return Ok(());
        }
        let mut revisits = self.revisits.iter().filter(|(_, agents)| agents.contains(&agent));
        match revisits.next() {
            Some((&at, _)) if at > now => Err((Reason::SharedOfferedAlready, Some(at))),
            Some(_) | None => Ok(()),
        }
    }

    fn standing(&self, client: ClientIndex) -> Standing {
        let tree = if self.tree.is_current() {
            Cow::Borrowed(&self.tree)
        } else {
            let mut tree = self.tree.clone();
            tree.refresh();
            Cow::Owned(tree)
        };
        let (share, role_share) = tree.shares(client);
        let mut standing = Standing { share, role_share, ..Standing::default() };
        self.find_ahead(&tree, client, &mut standing);
        standing
    }

    fn find_ahead(&self, tree: &RoleTree, client: ClientIndex, standing: &mut Standing) {
        let mut walk = tree.walk(View::All);
        while let Some(role) = walk.next_role() {
            while let Some(other) = walk.next_client() {
                if other == client {
                    return;
                }
                standing.ahead += 1;
                if standing.competitors.len() < COMPETITORS_MAX {
                    let (share, role_share) = tree.shares(other);
                    let framework = &self.frameworks[tree.client(other).framework];
                    standing.competitors.push(Competitor {
                        framework: (*framework.id).clone(),
                        role: tree.path(role).to_owned(),
                        share,
                        role_share,
                    });
                }
            }
        }
    }
}

/// Quotas, and what would be without a part of them.
struct Restraints {
    all: Quotas,
    limits: Quotas,
    none: Quotas,
}

impl Restraints {
    fn new(quotas: &Quotas) -> Self {
        Self {
            all: quotas.clone(),
            limits: quotas.without_guarantees(),
            none: quotas.unrestrained(),
        }
    }
}

fn reason(obstacle: Obstacle) -> (Reason, Option<Timestamp>) {
    let reason = match obstacle {
        Obstacle::AgentWithoutMultiRole => Reason::AgentWithoutMultiRole,
        Obstacle::AgentWithoutHierarchicalRole => Reason::AgentWithoutHierarchicalRole,
        Obstacle::Gpus => Reason::Gpus,
        Obstacle::RemoteRegion => Reason::RemoteRegion,
        Obstacle::Constraints => Reason::Constraints,
        Obstacle::NothingFree => Reason::NothingFree,
        Obstacle::ReservedForOthers => Reason::ReservedForOthers,
        Obstacle::NotUnderstood => Reason::NotUnderstood,
        Obstacle::BelowMinimum => Reason::BelowMinimum,
        Obstacle::Refused(until) => return (Reason::Refused, Some(until)),
    };
    (reason, None)
}
