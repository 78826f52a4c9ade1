//! Decides whom to offer which resources, and when.
//!
//! [`Allocator`] is the hierarchical allocator of Mesos (`src/master/allocator/mesos`): weighted
//! dominant-resource fairness between the roles of a tree, then between the frameworks of a role, with
//! reservations, filters, suppression and minimum allocations. Unlike that one it is incremental: a
//! cycle looks at what has changed since the last one, so that its cost does not grow with the cluster.

mod allocator;
mod constraints;
mod explanation;
mod policy;
mod profile;
mod quota;
mod refusals;
mod roles;
mod share;
mod slots;

pub use allocator::{Allocator, NotAvailable, REFUSE_MAX, RoleStatus};
pub use constraints::{
    ConstraintError, ConstraintLimits, InvalidConstraint, OfferConstraints, PatternError,
};
pub use explanation::{
    AgentSample, COMPETITORS_MAX, Cause, Competitor, EXAMPLES_MAX, Explanation, LACKING_ROLES_MAX,
    Reason, Standing,
};
pub use policy::SorterPolicy;
pub use profile::{
    AgentCapabilities, AgentProfile, Allocation, Config, FrameworkCapabilities, FrameworkProfile,
    InverseAllocation, InverseOfferStatus, Unavailability,
};
pub use quota::Quota;
pub use refusals::FILTERS_PER_CLIENT_AND_AGENT_MAX;
