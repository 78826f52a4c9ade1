//! The commands of scenarios.
//!
//! | command | meaning |
//! |---|---|
//! | `allocator KEY=VALUE…` | settings, before anything else: `role_sorter`, `framework_sorter`, `minimum`, `excluded`, `region`, `seed` |
//! | `framework NAME roles=A,B [capabilities=…] [minimum=ROLE/QUANTITIES]` | subscribes, or changes, a framework |
//! | `constraints NAME ROLE SELECTOR PREDICATE [TEXT] and … or …` | offer constraints; HOSTNAME, REGION and ZONE, or an attribute |
//! | `agent NAME RESOURCES [hostname= region= zone= attributes= revocable=]` | adds or changes an agent; its hostname is its name |
//! | `weights ROLE=WEIGHT…`, `quota ROLE [guarantees=…] [limits=…]` | as operators set them |
//! | `whitelist HOSTNAME…`, `whitelist off`, `pause`, `resume` | likewise |
//! | `maintenance AGENT start=SECONDS [duration=SECONDS]`, `maintenance AGENT off` | plans to take it down |
//! | `activate NAME`, `deactivate NAME`, `remove NAME` | an agent or framework |
//! | `suppress NAME [ROLE…]`, `revive NAME [ROLE…]` | as frameworks do |
//! | `offer` | a cycle; answers with what is offered to whom |
//! | `use FRAMEWORK AGENT RESOURCES [refuse=SECONDS]` | uses so much of its offer and declines the rest |
//! | `decline FRAMEWORK AGENT [refuse=SECONDS]` | declines its offer; 5 seconds if nothing is said |
//! | `finish FRAMEWORK AGENT [RESOURCES]` | ends the use of these resources, or of all |
//! | `reserve FRAMEWORK AGENT RESOURCES` | reserves what it is offered, on top of what is reserved already |
//! | `inverse`, `inverse accept\|decline FRAMEWORK AGENT [refuse=SECONDS]`, `inverse status AGENT` | inverse offers |
//! | `wait SECONDS`, `explain FRAMEWORK ROLE`, `roles` | time passes; why; how roles stand |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use allocator::{
    AgentCapabilities, AgentProfile, Allocation, Allocator, Config, FrameworkCapabilities,
    FrameworkProfile, Quota, SorterPolicy, Unavailability,
};
use protocol::mesos::{AgentId, FrameworkId};
use protocol::time::Timestamp;
use resources::{Attributes, Reservation, Resource, Resources, parse_alternatives};

mod answers;
mod constraints;

/// What is wrong with a command.
type Problem = Box<dyn std::error::Error>;
type Answers = Result<Vec<String>, Problem>;

/// When scenarios begin, in seconds; their times count from there.
const START: i64 = 1_000_000;

/// How long filters last when nothing is said (`Filters.refuse_seconds`).
const REFUSE_SECONDS: u64 = 5;

/// A cluster on paper.
pub struct World {
    allocator: Allocator,
    now: Timestamp,
    frameworks: BTreeMap<String, FrameworkProfile>,
    agents: BTreeMap<String, AgentProfile>,
    /// By framework and agent.
    offers: BTreeMap<(String, String), Vec<Allocation>>,
    used: BTreeMap<(String, String), Vec<Allocation>>,
}

/// The words of a command: those without `=`, and the others by key.
struct Words<'a> {
    plain: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        let mut words = Self { plain: Vec::new(), options: BTreeMap::new() };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => {
                    words.options.insert(key, value);
                }
                None => words.plain.push(word),
            }
        }
        words
    }

    fn get(&self, position: usize) -> Result<&'a str, Problem> {
        let word = self.plain.get(position).copied();
        word.ok_or_else(|| format!("word {} is missing", position + 1).into())
    }

    fn seconds(&self, key: &str) -> Result<Option<Duration>, Problem> {
        let seconds = self.options.get(key).map(|text| text.parse()).transpose()?;
        Ok(seconds.map(Duration::from_secs))
    }
}

fn framework_id(name: &str) -> FrameworkId {
    FrameworkId { value: name.to_owned(), ..Default::default() }
}

fn agent_id(name: &str) -> AgentId {
    AgentId { value: name.to_owned(), ..Default::default() }
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

impl World {
    pub fn new() -> Self {
        Self {
            allocator: Allocator::new(Config::default()),
            now: Timestamp::from_secs(START),
            frameworks: BTreeMap::new(),
            agents: BTreeMap::new(),
            offers: BTreeMap::new(),
            used: BTreeMap::new(),
        }
    }

    /// Runs a command; gives the allocator's answers.
    pub fn run(&mut self, line: &str) -> Answers {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = Words::new(rest);
        let done = match command {
            "offer" => return Ok(self.offer()),
            "inverse" => return self.inverse(&words),
            "explain" => return self.explain(words.get(0)?, words.get(1)?),
            "roles" => return Ok(self.roles()),
            "allocator" => self.configure(&words),
            "framework" => self.framework(&words),
            "constraints" => self.constraints(rest),
            "agent" => self.agent(&words),
            "weights" => self.weights(&words),
            "quota" => self.quota(&words),
            "whitelist" => self.whitelist(&words),
            "pause" => self.pause(true),
            "resume" => self.pause(false),
            "maintenance" => self.maintenance(&words),
            "activate" => self.activate(words.get(0)?, true),
            "deactivate" => self.activate(words.get(0)?, false),
            "remove" => self.remove(words.get(0)?),
            "suppress" | "revive" => self.suppress(&words, command == "suppress"),
            "use" => self.use_offer(&words),
            "decline" => self.decline(&words),
            "finish" => self.finish(&words),
            "reserve" => self.reserve(&words),
            "wait" => self.wait(words.get(0)?),
            other => Err(format!("there is no command {other}").into()),
        };
        done.map(|()| Vec::new())
    }

    fn configure(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let mut config = Config::default();
        let sorter = |text: &str| match text {
            "drf" => Ok(SorterPolicy::Drf),
            "random" => Ok(SorterPolicy::Random),
            "priority" => Ok(SorterPolicy::Priority),
            other => Err(format!("no such sorter: {other}")),
        };
        for (&key, &value) in &words.options {
            match key {
                "role_sorter" => config.role_sorter = sorter(value)?,
                "framework_sorter" => config.framework_sorter = sorter(value)?,
                "minimum" => config.minimum_allocatable = parse_alternatives(value)?,
                "region" => config.region = Some(value.to_owned()),
                "excluded" => config.fair_sharing_excluded = set(value.split(',')),
                "seed" => config.seed = value.parse()?,
                other => return Err(format!("no such setting: {other}").into()),
            }
        }
        self.allocator = Allocator::new(config);
        Ok(())
    }

    fn framework(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let name = words.get(0)?;
        let old = self.frameworks.get(name);
        let mut profile = old.cloned().unwrap_or_default();
        profile.active = true;
        profile.capabilities.multi_role = true;
        for (&key, &value) in &words.options {
            match key {
                "roles" => profile.roles = set(value.split(',')),
                "capabilities" => profile.capabilities = capabilities(value)?,
                "minimum" => {
                    let (role, minimum) = value.rsplit_once('/').ok_or("ROLE/QUANTITIES")?;
                    let minimum = parse_alternatives(minimum)?;
                    profile.minimum_allocatable.insert(role.to_owned(), minimum);
                }
                other => return Err(format!("frameworks have no {other}").into()),
            }
        }
        self.set_framework(name, profile);
        Ok(())
    }

    fn set_framework(&mut self, name: &str, profile: FrameworkProfile) {
        let id = framework_id(name);
        match self.frameworks.insert(name.to_owned(), profile.clone()) {
            Some(_) => self.allocator.update_framework(&id, profile),
            None => self.allocator.add_framework(&id, profile, &[]),
        }
    }

    fn constraints(&mut self, text: &str) -> Result<(), Problem> {
        let mut parts = text.splitn(3, ' ');
        let (Some(name), Some(role), Some(expression)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err("constraints FRAMEWORK ROLE EXPRESSION".into());
        };
        let mut profile = self.frameworks.get(name).ok_or("no such framework")?.clone();
        profile.constraints.extend(constraints::parse(role, expression)?);
        self.set_framework(name, profile);
        Ok(())
    }

    fn agent(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let name = words.get(0)?;
        let mut profile = self.agents.get(name).cloned().unwrap_or_else(|| AgentProfile {
            capabilities: AgentCapabilities { multi_role: true, hierarchical_role: true },
            hostname: name.into(),
            active: true,
            ..AgentProfile::default()
        });
        profile.total = Resources::parse(words.get(1)?, "*")?;
        for (&key, &value) in &words.options {
            match key {
                "hostname" => profile.hostname = value.into(),
                "region" => profile.region = Some(value.to_owned()),
                "zone" => profile.zone = Some(value.to_owned()),
                "attributes" => {
                    profile.attributes = Arc::from(Attributes::parse(value)?.to_wire());
                }
                "revocable" => {
                    let revocable = Resources::parse(value, "*")?;
                    profile.total.extend(revocable.into_iter().map(Resource::into_revocable));
                }
                other => return Err(format!("agents have no {other}").into()),
            }
        }
        self.set_agent(name, profile);
        Ok(())
    }

    fn set_agent(&mut self, name: &str, profile: AgentProfile) {
        let id = agent_id(name);
        match self.agents.insert(name.to_owned(), profile.clone()) {
            Some(_) => self.allocator.update_agent(&id, profile),
            None => self.allocator.add_agent(&Arc::new(id), profile, &[]),
        }
    }

    fn weights(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let mut weights = Vec::new();
        for (&role, weight) in &words.options {
            weights.push((role.to_owned(), weight.parse()?));
        }
        self.allocator.update_weights(&weights);
        Ok(())
    }

    fn quota(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let mut quota = Quota::default();
        if let Some(guarantees) = words.options.get("guarantees") {
            quota.guarantees = guarantees.parse()?;
        }
        if let Some(limits) = words.options.get("limits") {
            quota.limits = limits.parse()?;
        }
        self.allocator.set_quota(words.get(0)?, quota);
        Ok(())
    }

    fn whitelist(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let hostnames = (words.get(0)? != "off").then(|| set(words.plain.iter().copied()));
        self.allocator.set_whitelist(hostnames);
        Ok(())
    }

    fn pause(&mut self, pause: bool) -> Result<(), Problem> {
        if pause {
            self.allocator.pause();
        } else {
            self.allocator.resume();
        }
        Ok(())
    }

    fn maintenance(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let name = words.get(0)?;
        let mut profile = self.agents.get(name).ok_or("no such agent")?.clone();
        profile.unavailability = match words.seconds("start")? {
            Some(start) => Some(Unavailability {
                start: Timestamp::from_secs(START) + start,
                duration: words.seconds("duration")?,
            }),
            None => None,
        };
        self.set_agent(name, profile);
        Ok(())
    }

    fn activate(&mut self, name: &str, active: bool) -> Result<(), Problem> {
        if let Some(profile) = self.frameworks.get_mut(name) {
            profile.active = active;
            if active {
                self.allocator.activate_framework(&framework_id(name));
            } else {
                self.allocator.deactivate_framework(&framework_id(name));
            }
        } else {
            let profile = self.agents.get_mut(name).ok_or("no such framework or agent")?;
            profile.active = active;
            if active {
                self.allocator.activate_agent(&agent_id(name));
            } else {
                self.allocator.deactivate_agent(&agent_id(name));
            }
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), Problem> {
        if self.frameworks.remove(name).is_some() {
            self.allocator.remove_framework(&framework_id(name));
        } else if self.agents.remove(name).is_some() {
            self.allocator.remove_agent(&agent_id(name));
        } else {
            return Err("no such framework or agent".into());
        }
        let is_kept =
            |key: &(String, String), _: &mut Vec<Allocation>| key.0 != name && key.1 != name;
        self.offers.retain(is_kept);
        self.used.retain(is_kept);
        Ok(())
    }

    fn suppress(&mut self, words: &Words<'_>, suppress: bool) -> Result<(), Problem> {
        let id = framework_id(words.get(0)?);
        let roles = set(words.plain[1..].iter().copied());
        if suppress {
            self.allocator.suppress_offers(&id, &roles);
        } else {
            self.allocator.revive_offers(&id, &roles);
        }
        Ok(())
    }

    fn offer(&mut self) -> Vec<String> {
        let allocations = self.allocator.allocate(self.now);
        let answers = allocations.iter().map(answers::allocation).collect();
        for it in allocations {
            let key = (it.framework.value.clone(), it.agent.value.clone());
            self.offers.entry(key).or_default().push(it);
        }
        answers
    }

    /// Takes what a framework is offered on an agent.
    fn take_offer(&mut self, words: &Words<'_>) -> Result<Allocation, Problem> {
        let key = (words.get(0)?.to_owned(), words.get(1)?.to_owned());
        let offers = self.offers.get_mut(&key).filter(|offers| !offers.is_empty());
        Ok(offers.ok_or("there is no such offer")?.remove(0))
    }

    fn give_back(&mut self, part: &Allocation, refuse: Option<Duration>) {
        let (framework, agent) = (&part.framework, &part.agent);
        self.allocator.recover_resources(self.now, framework, agent, &part.resources, refuse);
    }

    fn use_offer(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let offer = self.take_offer(words)?;
        let used = parse_held(words.get(2)?, &offer.role)?;
        let rest = offer.resources.checked_sub(&used).ok_or("so much is not offered")?;
        if !rest.is_empty() {
            let refuse = words.seconds("refuse")?;
            let refuse = refuse.unwrap_or(Duration::from_secs(REFUSE_SECONDS));
            self.give_back(&Allocation { resources: rest, ..offer.clone() }, Some(refuse));
        }
        let key = (offer.framework.value.clone(), offer.agent.value.clone());
        self.used.entry(key).or_default().push(Allocation { resources: used, ..offer });
        Ok(())
    }

    fn decline(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let offer = self.take_offer(words)?;
        let refuse = words.seconds("refuse")?.unwrap_or(Duration::from_secs(REFUSE_SECONDS));
        self.give_back(&offer, Some(refuse));
        Ok(())
    }

    fn finish(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let key = (words.get(0)?.to_owned(), words.get(1)?.to_owned());
        let used = self.used.remove(&key).ok_or("it uses nothing there")?;
        let mut wanted = words.get(2).ok();
        for part in used {
            let Some(text) = wanted.take() else {
                self.give_back(&part, None);
                continue;
            };
            let ended = parse_held(text, &part.role)?;
            let rest = part.resources.checked_sub(&ended).ok_or("it does not use so much there")?;
            self.give_back(&Allocation { resources: ended, ..part.clone() }, None);
            if !rest.is_empty() {
                let rest = Allocation { resources: rest, ..part };
                self.used.entry(key.clone()).or_default().push(rest);
            }
        }
        Ok(())
    }

    fn reserve(&mut self, words: &Words<'_>) -> Result<(), Problem> {
        let mut offer = self.take_offer(words)?;
        let old = parse_held(words.get(2)?, &offer.role)?;
        let new = old.push_reservation(&Reservation::dynamic(&offer.role, None))?;
        let rest = offer.resources.checked_sub(&old).ok_or("so much is not offered")?;
        self.allocator.update_allocation(&offer.framework, &offer.agent, &old, &new);
        let profile = self.agents.get_mut(&offer.agent.value).ok_or("no such agent")?;
        let total = profile.total.checked_sub(&old.unallocated()).ok_or("the agent lacks that")?;
        profile.total = total + &new.unallocated();
        offer.resources = rest + &new;
        let key = (offer.framework.value.clone(), offer.agent.value.clone());
        self.offers.entry(key).or_default().push(offer);
        Ok(())
    }

    fn wait(&mut self, seconds: &str) -> Result<(), Problem> {
        self.now += Duration::from_secs(seconds.parse()?);
        Ok(())
    }
}

/// Resources as a framework holds them in a role.
fn parse_held(text: &str, role: &str) -> Result<Resources, Problem> {
    Ok(Resources::parse(text, "*")?.allocated_to(role))
}

fn capabilities(text: &str) -> Result<FrameworkCapabilities, Problem> {
    let mut capabilities = FrameworkCapabilities { multi_role: true, ..Default::default() };
    for name in text.split(',') {
        match name {
            "GPU_RESOURCES" => capabilities.gpu_resources = true,
            "REVOCABLE_RESOURCES" => capabilities.revocable_resources = true,
            "SHARED_RESOURCES" => capabilities.shared_resources = true,
            "RESERVATION_REFINEMENT" => capabilities.reservation_refinement = true,
            "REGION_AWARE" => capabilities.region_aware = true,
            other => return Err(format!("no such capability: {other}").into()),
        }
    }
    Ok(capabilities)
}
