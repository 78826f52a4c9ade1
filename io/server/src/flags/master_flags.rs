//! The flags of the master, under the names of `src/master/flags.cpp`.

use super::logging_flags::{GENERAL, LOGGING};
use super::{Flag, FlagTable, Kind};

const NO_MODULES: &str = "compiled C++ modules cannot be loaded";
const NO_AUTHORIZATION: &str = "this version knows who somebody is but allows everybody the same; restrict who gets credentials";
const NO_RATE_LIMITS: &str = "this version does not limit rates";
const NO_REPLICATED_LOG: &str = "the registry is kept in ZooKeeper (--zk) or in one embedded file, not in a replicated \
    log: there is no quorum of masters to size and no log to create";

pub(super) const TABLE: FlagTable = FlagTable {
    program: "master",
    summary: "Runs a master: it collects agents into one pool and offers it to frameworks.",
    usage: "meseta master --work_dir=PATH [flags]",
    groups: &[
        ("General", GENERAL),
        ("Network", NETWORK),
        ("Registry and availability", REGISTRY),
        ("Agents", AGENTS),
        ("Allocation", ALLOCATION),
        ("Security", SECURITY),
        ("History", HISTORY),
        ("Logging", LOGGING),
        ("Other", OTHER),
    ],
};

const NETWORK: &[Flag] = &[
    Flag::new(
        "ip",
        Kind::Address,
        "The address to listen on; also the address in the master's \
        pid, which agents and frameworks must be able to dial.",
    ),
    Flag::new("port", Kind::Port, "The port to listen on.").default("5050"),
    Flag::new("advertise_ip", Kind::Address, "The address to publish instead of --ip."),
    Flag::new("advertise_port", Kind::Port, "The port to publish instead of --port."),
    Flag::new(
        "hostname",
        Kind::Text,
        "The name to publish; by default the machine's name, or the \
        address with --no-hostname_lookup.",
    ),
    Flag::new(
        "hostname_lookup",
        Kind::Boolean,
        "Publish the machine's name rather than its \
        address when --hostname is not given.",
    )
    .default("true"),
    Flag::new(
        "ip_discovery_command",
        Kind::Text,
        "A shell command that prints the address to \
        listen on; cannot be combined with --ip.",
    ),
];

const REGISTRY: &[Flag] = &[
    Flag::new("work_dir", Kind::Path, "The folder that holds the registry of a master without --zk.").required(),
    Flag::new(
        "registry",
        Kind::OneOf(&["replicated_log", "in_memory"]),
        "Where the registry is \
        kept: `replicated_log` means in ZooKeeper with --zk and else in the embedded file in --work_dir, \
        `in_memory` forgets everything when the master stops.",
    )
    .default("replicated_log"),
    Flag::new(
        "zk",
        Kind::Place,
        "The ZooKeeper ensemble in which masters elect their leader and keep the registry, as \
        zk://[user:password@]host1:port1,host2:port2,.../path. Without it this master leads alone. \
        With a password, give the flag as file:///path.",
    ),
    Flag::new(
        "zk_session_timeout",
        Kind::DurationWithin(1, 600),
        "The ZooKeeper session timeout: how long a leader may be cut off before another one is elected.",
    )
    .default("10secs"),
    Flag::new(
        "step_down",
        Kind::Boolean,
        "A master that loses its leadership stands by again instead of exiting for its supervisor to \
        restart it.",
    )
    .default("false"),
    Flag::new("quorum", Kind::Integer(1), "Size of the replicated log's quorum.")
        .ignored(NO_REPLICATED_LOG),
    Flag::new(
        "registry_fetch_timeout",
        Kind::Duration,
        "Time limit for reading the registry in ZooKeeper.",
    )
    .default("1mins"),
    Flag::new(
        "registry_store_timeout",
        Kind::Duration,
        "Time limit for writing to the registry in ZooKeeper.",
    )
    .default("20secs"),
    Flag::new("registry_strict", Kind::Boolean, "Refuse agents that the registry does not know.")
        .default("false")
        .refused("it must stay false, as in Apache Mesos"),
    Flag::new(
        "log_auto_initialize",
        Kind::Boolean,
        "Create the replicated log when it is missing.",
    )
    .default("true")
    .ignored(NO_REPLICATED_LOG),
    Flag::new(
        "registry_gc_interval",
        Kind::Duration,
        "How often unreachable and gone agents are \
        reviewed for removal from the registry.",
    )
    .default("15mins"),
    Flag::new(
        "registry_max_agent_age",
        Kind::Duration,
        "How long unreachable and gone agents \
        stay in the registry.",
    )
    .default("2weeks"),
    Flag::new(
        "registry_max_agent_count",
        Kind::Integer(0),
        "How many unreachable and gone agents \
        stay in the registry.",
    )
    .default("102400"),
    Flag::new("master_contender", Kind::Text, "Election module.").refused(NO_MODULES),
    Flag::new("master_detector", Kind::Text, "Detection module.").refused(NO_MODULES),
];

const AGENTS: &[Flag] = &[
    Flag::new(
        "agent_ping_timeout",
        Kind::DurationWithin(1, 900),
        "How long an agent may take to \
        answer a ping; also the time between pings.",
    )
    .default("15secs")
    .formerly(&["slave_ping_timeout"]),
    Flag::new(
        "max_agent_ping_timeouts",
        Kind::Integer(1),
        "How many pings in a row may go \
        unanswered before the agent counts as unreachable.",
    )
    .default("5")
    .formerly(&["max_slave_ping_timeouts"]),
    Flag::new(
        "agent_reregister_timeout",
        Kind::DurationWithin(600, 31_536_000),
        "How long \
        agents may take to come back after the master restarted or the connection broke before \
        they count as unreachable.",
    )
    .default("10mins")
    .formerly(&["slave_reregister_timeout"]),
    Flag::new(
        "agent_removal_rate_limit",
        Kind::Rate,
        "The most agents to mark unreachable in a \
        time, such as 1/10mins.",
    )
    .formerly(&["slave_removal_rate_limit"]),
    Flag::new(
        "recovery_agent_removal_limit",
        Kind::Percent,
        "The share of agents that may be \
        marked unreachable after a restart before the master gives up instead.",
    )
    .default("100%")
    .formerly(&["recovery_slave_removal_limit"]),
    Flag::new(
        "whitelist",
        Kind::Path,
        "A file of host names, one a line, whose agents alone receive offers. It is read again \
        every five seconds; `*` stands for all hosts.",
    ),
    Flag::new("max_executors_per_agent", Kind::Integer(0), "The most executors on one agent.")
        .formerly(&["max_executors_per_slave"])
        .refused("limit executors with agent resources"),
];

const ALLOCATION: &[Flag] = &[
    Flag::new(
        "allocation_interval",
        Kind::Duration,
        "The longest time between looks at the whole \
        pool; changes are acted on at once.",
    )
    .default("1secs"),
    Flag::new(
        "offer_timeout",
        Kind::Duration,
        "How long a framework may hold an offer before it \
        is rescinded; unset means for ever.",
    ),
    Flag::new(
        "min_allocatable_resources",
        Kind::Text,
        "The least worth offering: alternatives \
        separated by |, each a list such as cpus:0.01;mem:32.",
    )
    .default("cpus:0.01|mem:32"),
    Flag::new(
        "weights",
        Kind::Text,
        "Weights of roles, such as ads=2,search=3. Weights set \
        through the API win over these.",
    ),
    Flag::new("roles", Kind::Text, "The only roles that frameworks may use; unset allows all."),
    Flag::new(
        "role_sorter",
        Kind::OneOf(&["drf", "random", "priority"]),
        "How roles take turns: by dominant \
        share, at random in proportion to their weights, or the one of the highest weight first.",
    )
    .default("drf")
    .formerly(&["user_sorter"]),
    Flag::new(
        "framework_sorter",
        Kind::OneOf(&["drf", "random", "priority"]),
        "How frameworks of one role \
        take turns: by dominant share, or at random. Priority is the same as drf, as they have no weights.",
    )
    .default("drf"),
    Flag::new(
        "filter_gpu_resources",
        Kind::Boolean,
        "Offer agents with GPUs only to frameworks \
        with the GPU_RESOURCES capability.",
    )
    .default("true"),
    Flag::new(
        "fair_sharing_excluded_resource_names",
        Kind::Text,
        "Resources, separated by \
        commas, that do not count towards fair shares.",
    ),
    Flag::new("allocator", Kind::OneOf(&["hierarchical"]), "The allocator.")
        .default("hierarchical"),
    Flag::new(
        "allocator_agent_recovery_factor",
        Kind::Number,
        "The share of agents to wait for \
        after a restart when quota is set.",
    )
    .default("0.8"),
    Flag::new("allocator_recovery_timeout", Kind::Duration, "The longest such wait.")
        .default("10mins"),
    Flag::new(
        "offer_constraints_re2_max_mem",
        Kind::Bytes,
        "Memory limit of a regular expression \
        in offer constraints.",
    )
    .default("4KB"),
    Flag::new(
        "offer_constraints_re2_max_program_size",
        Kind::Integer(0),
        "Size limit of a regular \
        expression in offer constraints.",
    )
    .default("100"),
];

const SECURITY: &[Flag] = &[
    Flag::new("root_submissions", Kind::Boolean, "Whether frameworks may run as root.")
        .default("true"),
    Flag::new(
        "authenticate_frameworks",
        Kind::Boolean,
        "Only authenticated frameworks may \
        register.",
    )
    .default("false")
    .formerly(&["authenticate"]),
    Flag::new("authenticate_agents", Kind::Boolean, "Only authenticated agents may register.")
        .default("false")
        .formerly(&["authenticate_slaves"]),
    Flag::new("authenticate_http_readonly", Kind::Boolean, "Read-only endpoints need a password.")
        .default("false"),
    Flag::new("authenticate_http_readwrite", Kind::Boolean, "Changing endpoints need a password.")
        .default("false")
        .formerly(&["authenticate_http"]),
    Flag::new("authenticate_http_frameworks", Kind::Boolean, "The scheduler API needs a password.")
        .default("false"),
    Flag::new(
        "credentials",
        Kind::Secret,
        "A file of principals and secrets: {\"credentials\": [{\"principal\": \"p\", \"secret\": \"s\"}]}, \
        or a pair on each line.",
    ),
    Flag::new("acls", Kind::Json, "Who may do what.").refused(NO_AUTHORIZATION),
    Flag::new("authenticators", Kind::OneOf(&["crammd5"]), "How peers authenticate.")
        .default("crammd5"),
    Flag::new("authentication_v0_timeout", Kind::Duration, "Time limit of an authentication.")
        .default("15secs"),
    Flag::new("http_authenticators", Kind::OneOf(&["basic"]), "How HTTP clients authenticate.")
        .default("basic"),
    Flag::new(
        "http_framework_authenticators",
        Kind::OneOf(&["basic"]),
        "How HTTP frameworks \
        authenticate.",
    ),
    Flag::new("authorizers", Kind::OneOf(&["local"]), "Who decides what is allowed.")
        .default("local"),
    Flag::new("rate_limits", Kind::Json, "Limits on messages by principal.")
        .refused(NO_RATE_LIMITS),
    Flag::new("firewall_rules", Kind::Json, "Endpoints to switch off.")
        .refused("restrict access in the network or a proxy instead"),
];

const HISTORY: &[Flag] = &[
    Flag::new(
        "max_completed_frameworks",
        Kind::Integer(0),
        "How many completed frameworks to \
        remember.",
    )
    .default("50"),
    Flag::new(
        "max_completed_tasks_per_framework",
        Kind::Integer(0),
        "How many completed tasks to \
        remember for each framework.",
    )
    .default("1000"),
    Flag::new(
        "max_unreachable_tasks_per_framework",
        Kind::Integer(0),
        "How many unreachable tasks \
        to remember for each framework.",
    )
    .default("1000"),
    Flag::new(
        "max_operator_event_stream_subscribers",
        Kind::Integer(1),
        "How many operator event \
        streams to serve; the oldest is closed for a new one.",
    )
    .default("1000"),
    Flag::new("publish_per_framework_metrics", Kind::Boolean, "Have metrics for each framework.")
        .default("true"),
];

const OTHER: &[Flag] = &[
    Flag::new("cluster", Kind::Text, "The cluster's name, shown to people."),
    Flag::new("webui_dir", Kind::Path, "Folder of the web pages.")
        .default("/usr/share/mesos/webui")
        .ignored("the pages are part of the program"),
    Flag::new(
        "domain",
        Kind::Json,
        "The region and zone of the master, such as \
        {\"fault_domain\": {\"region\": {\"name\": \"eu\"}, \"zone\": {\"name\": \"eu-1\"}}}. Agents of \
        other regions are offered to frameworks with the REGION_AWARE capability alone.",
    ),
    Flag::new("require_agent_domain", Kind::Boolean, "Refuse agents without a region and zone.")
        .default("false"),
    Flag::new("modules", Kind::Json, "Modules to load.").refused(NO_MODULES),
    Flag::new("modules_dir", Kind::Path, "Folder of module manifests.").refused(NO_MODULES),
    Flag::new("hooks", Kind::Text, "Hook modules.").refused(NO_MODULES),
    Flag::new("memory_profiling", Kind::Boolean, "Serve heap profiles.")
        .default("false")
        .refused("use a profiler from outside the process"),
];
