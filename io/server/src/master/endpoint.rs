//! The master's endpoints and the paths that lead to them (`route(` in `src/master/master.cpp` and `src/process.cpp`).

use crate::http::route::Router;

/// The actor that a path without an actor belongs to, and the id of the master's pid.
pub(super) const MASTER_ACTOR: &str = "master";

/// What the master serves over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Endpoint {
    /// `/api/v1`.
    Api,
    /// `/api/v1/scheduler`.
    Scheduler,
    /// `/flags`.
    Flags,
    /// `/health`.
    Health,
    /// `/redirect`.
    Redirect,
    /// `/version`.
    Version,
    /// `/metrics/snapshot`.
    Metrics,
    /// `/system/stats.json`.
    SystemStats,
    /// `/__processes__`.
    Processes,
    /// `/logging/toggle`.
    LoggingToggle,
    /// `/files/browse`, `/files/read` and `/files/download`: the master shows no files.
    Files(FilesRead),
    /// `/teardown`.
    Teardown,
    /// `/maintenance/schedule`.
    MaintenanceSchedule,
    /// `/maintenance/status`.
    MaintenanceStatus,
    /// `/weights`.
    Weights,
    /// `/quota`.
    Quota,
    /// `/machine/down` and `/machine/up`.
    Machines(Direction),
    /// An operation on the resources of an agent.
    Operation(ResourceOperation),
    /// `/explain`.
    Explain,
    /// `/hierarchical-allocator(1)/offer_constraints_debug`.
    OfferConstraintsDebug,
    /// One of the renderings of the cluster's state.
    Read(Read),
}

/// The endpoints that show files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum FilesRead {
    /// `/files/browse`.
    Browse,
    /// `/files/read`.
    Read,
    /// `/files/download`.
    Download,
    /// `/files/debug`.
    Debug,
}

/// The endpoints that render the state of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Read {
    /// `/state`.
    State,
    /// `/state-summary`.
    StateSummary,
    /// `/slaves`.
    Slaves,
    /// `/frameworks`.
    Frameworks,
    /// `/tasks`.
    Tasks,
    /// `/roles`.
    Roles,
}

/// The legacy endpoints of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ResourceOperation {
    /// `/reserve`.
    Reserve,
    /// `/unreserve`.
    Unreserve,
    /// `/create-volumes`.
    CreateVolumes,
    /// `/destroy-volumes`.
    DestroyVolumes,
}

/// What becomes of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Direction {
    /// `/machine/down`.
    Down,
    /// `/machine/up`.
    Up,
}

impl ResourceOperation {
    /// The fields that a form sent to it must have, in the order in which Mesos looks for them.
    pub(super) const fn required_fields(self) -> &'static [&'static str] {
        match self {
            Self::Reserve | Self::Unreserve => &["slaveId", "resources"],
            Self::CreateVolumes | Self::DestroyVolumes => &["slaveId", "volumes"],
        }
    }
}

impl Endpoint {
    /// Whether only the leading master answers; the others redirect to it.
    pub(super) const fn needs_leader(self) -> bool {
        match self {
            Self::Flags
            | Self::Health
            | Self::Version
            | Self::Metrics
            | Self::SystemStats
            | Self::Processes
            | Self::LoggingToggle
            | Self::Files(_) => false,
            Self::Api
            | Self::Scheduler
            | Self::Redirect
            | Self::Teardown
            | Self::MaintenanceSchedule
            | Self::MaintenanceStatus
            | Self::Machines(_)
            | Self::Weights
            | Self::Quota
            | Self::Operation(_)
            | Self::Explain
            | Self::OfferConstraintsDebug
            | Self::Read(_) => true,
        }
    }
}

impl Endpoint {
    /// In which realm a client must be known (`src/master/constants.hpp`); `None`: nobody is asked.
    pub(super) const fn realm(self) -> Option<&'static str> {
        match self {
            Self::Health | Self::Version | Self::Redirect => None,
            Self::Flags
            | Self::Metrics
            | Self::SystemStats
            | Self::Processes
            | Self::Files(_)
            | Self::MaintenanceStatus
            | Self::Explain
            | Self::OfferConstraintsDebug
            | Self::Read(_) => Some(READ_ONLY),
            Self::Api
            | Self::LoggingToggle
            | Self::Teardown
            | Self::MaintenanceSchedule
            | Self::Weights
            | Self::Quota
            | Self::Machines(_)
            | Self::Operation(_) => Some(READ_WRITE),
            Self::Scheduler => Some(SCHEDULER),
        }
    }
}

/// Endpoints that only read; `--authenticate_http_readonly`.
pub(super) const READ_ONLY: &str = "mesos-master-readonly";
/// Endpoints that may change something; `--authenticate_http_readwrite`.
pub(super) const READ_WRITE: &str = "mesos-master-readwrite";
/// The scheduler API; `--authenticate_http_frameworks`.
pub(super) const SCHEDULER: &str = "mesos-master-scheduler";

/// The table of all paths.
pub(super) fn router() -> Router<Endpoint> {
    Router::new(
        MASTER_ACTOR,
        &[
            (MASTER_ACTOR, "api/v1", Endpoint::Api),
            (MASTER_ACTOR, "api/v1/scheduler", Endpoint::Scheduler),
            (MASTER_ACTOR, "flags", Endpoint::Flags),
            (MASTER_ACTOR, "health", Endpoint::Health),
            (MASTER_ACTOR, "redirect", Endpoint::Redirect),
            (MASTER_ACTOR, "teardown", Endpoint::Teardown),
            (MASTER_ACTOR, "maintenance/schedule", Endpoint::MaintenanceSchedule),
            (MASTER_ACTOR, "maintenance/status", Endpoint::MaintenanceStatus),
            (MASTER_ACTOR, "explain", Endpoint::Explain),
            (
                "hierarchical-allocator(1)",
                "offer_constraints_debug",
                Endpoint::OfferConstraintsDebug,
            ),
            (MASTER_ACTOR, "weights", Endpoint::Weights),
            (MASTER_ACTOR, "quota", Endpoint::Quota),
            (MASTER_ACTOR, "reserve", Endpoint::Operation(ResourceOperation::Reserve)),
            (MASTER_ACTOR, "unreserve", Endpoint::Operation(ResourceOperation::Unreserve)),
            (MASTER_ACTOR, "create-volumes", Endpoint::Operation(ResourceOperation::CreateVolumes)),
            (
                MASTER_ACTOR,
                "destroy-volumes",
                Endpoint::Operation(ResourceOperation::DestroyVolumes),
            ),
            (MASTER_ACTOR, "machine/down", Endpoint::Machines(Direction::Down)),
            (MASTER_ACTOR, "machine/up", Endpoint::Machines(Direction::Up)),
            (MASTER_ACTOR, "state", Endpoint::Read(Read::State)),
            (MASTER_ACTOR, "state-summary", Endpoint::Read(Read::StateSummary)),
            (MASTER_ACTOR, "slaves", Endpoint::Read(Read::Slaves)),
            (MASTER_ACTOR, "frameworks", Endpoint::Read(Read::Frameworks)),
            (MASTER_ACTOR, "tasks", Endpoint::Read(Read::Tasks)),
            (MASTER_ACTOR, "roles", Endpoint::Read(Read::Roles)),
            ("version", "", Endpoint::Version),
            ("metrics", "snapshot", Endpoint::Metrics),
            ("system", "stats.json", Endpoint::SystemStats),
            ("__processes__", "", Endpoint::Processes),
            ("logging", "toggle", Endpoint::LoggingToggle),
            ("files", "browse", Endpoint::Files(FilesRead::Browse)),
            ("files", "read", Endpoint::Files(FilesRead::Read)),
            ("files", "download", Endpoint::Files(FilesRead::Download)),
            ("files", "debug", Endpoint::Files(FilesRead::Debug)),
        ],
    )
}
