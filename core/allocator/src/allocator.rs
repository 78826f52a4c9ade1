// Signatures. Unknown frameworks and agents are ignored (they may have been removed a moment ago) unless noted.
impl Allocator {
    pub fn new(config: Config) -> Self;

    /// Adds a framework, or fills one in that agents have named as a user of theirs before.
    /// `used`: what it already holds, per agent, allocated to roles. Agents not known yet are skipped (they bring it
    /// with `add_agent`), and so are agents that already track something for this framework. Panics when added twice.
    pub fn add_framework(&mut self, id: &FrameworkId, profile: FrameworkProfile, used: &[(AgentId, Resources)]);
    /// New roles, suppression, capabilities... (UPDATE_FRAMEWORK, resubscription). Filters of roles it left are dropped.
    pub fn update_framework(&mut self, id: &FrameworkId, profile: FrameworkProfile);
    /// Frees everything it still holds.
    pub fn remove_framework(&mut self, id: &FrameworkId);
    /// Connected again: offers flow (its filters are kept; suppression too).
    pub fn activate_framework(&mut self, id: &FrameworkId);
    /// Disconnected: no offers; what it holds stays its own until recovered. Drops its filters (as Mesos does).
    pub fn deactivate_framework(&mut self, id: &FrameworkId);

    /// `used`: what tasks and executors on it already hold, allocated to roles; frameworks may be unknown yet.
    /// Panics when added twice.
    pub fn add_agent(&mut self, id: &AgentId, profile: AgentProfile, used: &[(FrameworkId, Resources)]);
    /// New total, capabilities, region. A changed total clears the filters for this agent.
    pub fn update_agent(&mut self, id: &AgentId, profile: AgentProfile);
    /// Attributes changed: frameworks may want it now.
    pub fn clear_agent_filters(&mut self, id: &AgentId);
    /// What was allocated on it is forgotten; later `recover_resources` for it are ignored.
    pub fn remove_agent(&mut self, id: &AgentId);
    pub fn activate_agent(&mut self, id: &AgentId);
    pub fn deactivate_agent(&mut self, id: &AgentId);

    /// Gives back what was declined or left unused (`refuse: Some(..)`), or what was freed by a terminated task, a rescinded
    /// offer... (`refuse: None`: offered again at the next `allocate`, to anyone). `resources` carry their allocation role
    /// (may be several). `Some(d)`: this framework is not offered these resources (or a subset), in this role, on this agent, for
    /// max(d, allocation_interval), at most 365 days.  Panics if the framework does not hold them there.
    pub fn recover_resources(&mut self, now: Timestamp, framework: &FrameworkId, agent: &AgentId, resources: &Resources, refuse: Option<Duration>);
    /// An operation in ACCEPT turned `old` (held by the framework, with allocation role) into `new`; the agent's total follows.
    pub fn update_allocation(&mut self, framework: &FrameworkId, agent: &AgentId, old: &Resources, new: &Resources);
    /// An operator's operation turned `old` (available on the agent, not allocated) into `new`.
    /// Err(NotAvailable) when `old` is not free: the master must recover offers first.
    pub fn update_available(&mut self, agent: &AgentId, old: &Resources, new: &Resources) -> Result<(), NotAvailable>;

    /// Empty `roles`: all of the framework's. Same for revive, which also clears its filters in these roles.
    pub fn suppress_offers(&mut self, framework: &FrameworkId, roles: &BTreeSet<String>);
    pub fn revive_offers(&mut self, framework: &FrameworkId, roles: &BTreeSet<String>);
    pub fn update_weights(&mut self, weights: &[(String, f64)]);

    /// One cycle: expires filters, then gives out what can be. O(1) when nothing changed.
    pub fn allocate(&mut self, now: Timestamp) -> Vec<Allocation>;
    /// Whether `allocate` could give something now (filters that expire later: see `next_expiry`).
    pub fn needs_allocation(&self) -> bool;
    /// When a filter expires next; call `allocate` then.
    pub fn next_expiry(&self) -> Option<Timestamp>;

    // Views for /state, /roles, metrics:
    pub fn available(&self, agent: &AgentId) -> Option<&Resources>;
    pub fn allocated(&self, agent: &AgentId, framework: &FrameworkId) -> Option<Resources>;
    pub fn filters_active(&self) -> usize;
}
