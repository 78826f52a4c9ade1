//! The flags of the agent, under the names of `src/slave/flags.cpp`.

use super::logging_flags::{GENERAL, LOGGING};
use super::{Flag, FlagTable, Kind};

const NO_MODULES: &str = "compiled C++ modules cannot be loaded";
const NO_EXECUTOR_TOKENS: &str = "this version gives executors no tokens";
const NO_AUTHORIZATION: &str = "this version knows who somebody is but allows everybody the same; restrict who gets credentials";
const NO_IMAGES: &str = "container images are not in this version";
const NO_DOCKER: &str = "the docker containerizer is not in this version";
const NO_CGROUPS: &str = "cgroups are not in this version";
const NO_NETWORK: &str = "container networks are not in this version";
const NO_STORAGE: &str = "resource providers are not in this version";
const NO_OVERSUBSCRIPTION: &str = "oversubscription is not in this version";
const PORT_MAPPING: &str = "the network/port_mapping isolator is left out on purpose: use \
    network/cni, or a bandwidth plugin";
const NO_APPC: &str = "Appc images are left out on purpose: use OCI or Docker images";

pub(super) const TABLE: FlagTable = FlagTable {
    program: "agent",
    summary: "Runs an agent: it offers this machine's resources to a master and runs tasks.",
    usage: "meseta agent --master=HOST:PORT|zk://… --work_dir=PATH [flags]",
    groups: &[
        ("General", GENERAL),
        ("Master and network", NETWORK),
        ("Resources", RESOURCES),
        ("Executors and recovery", RECOVERY),
        ("Containers", CONTAINERS),
        ("Sandboxes and disk", DISK),
        ("Fetcher", FETCHER),
        ("Images and Docker", IMAGES),
        ("Isolation", ISOLATION),
        ("Container networks", CONTAINER_NETWORKS),
        ("Security", SECURITY),
        ("Oversubscription and storage", STORAGE),
        ("The network/port_mapping isolator", PORT_MAPPING_FLAGS),
        ("Logging", LOGGING),
        ("Other", OTHER),
    ],
};

const NETWORK: &[Flag] = &[
    Flag::new(
        "master",
        Kind::Place,
        "The master: host:port, or zk://[user:password@]host:port,…/path for the one \
        that leads at this path of a ZooKeeper ensemble, or file:///path of a file that holds either. \
        A file keeps the password from those who see the machine's processes.",
    )
    .required(),
    Flag::new(
        "ip",
        Kind::Address,
        "The address to listen on, which the master must be able to \
        dial.",
    ),
    Flag::new("port", Kind::Port, "The port to listen on.").default("5051"),
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
    Flag::new("ip6", Kind::Text, "IPv6 address of containers on the host network.")
        .refused("IPv6 is not in this version"),
    Flag::new("ip6_discovery_command", Kind::Text, "A command that prints that address.")
        .refused("IPv6 is not in this version"),
    Flag::new(
        "registration_backoff_factor",
        Kind::Duration,
        "The first wait between attempts to \
        register, drawn at random below this and doubled up to a minute.",
    )
    .default("1secs"),
    Flag::new(
        "zk_session_timeout",
        Kind::Duration,
        "How long the ZooKeeper ensemble may be out of \
        reach until no master is known any more; tasks go on, their updates wait.",
    )
    .default("10secs"),
    Flag::new("master_detector", Kind::Text, "Detection module.").refused(NO_MODULES),
];

const RESOURCES: &[Flag] = &[
    Flag::new(
        "resources",
        Kind::Text,
        "What the agent offers: name(role):value;… such as \
        cpus:24;mem:24576;ports:[21000-24000], a JSON array of resources, or the path of a file \
        with one. What is not named is detected.",
    ),
    Flag::new("attributes", Kind::Text, "Attributes of the machine, such as rack:abc;level:10."),
    Flag::new("default_role", Kind::Text, "The role of resources that name none.").default("*"),
    Flag::new(
        "reconfiguration_policy",
        Kind::OneOf(&["equal", "additive", "any"]),
        "What may change \
        between runs in the same --work_dir: nothing (equal), resources and attributes may be \
        added (additive), or all attributes and the resources that no running task uses may change \
        (any; not in Mesos).",
    )
    .default("equal"),
    Flag::new("domain", Kind::Json, "The region and zone of the agent.")
        .refused("fault domains are not in this version"),
    Flag::new("agent_features", Kind::Json, "The capabilities to report to the master.")
        .ignored("the agent reports what it implements"),
];

const RECOVERY: &[Flag] = &[
    Flag::new(
        "work_dir",
        Kind::Path,
        "The folder for checkpoints and sandboxes; keep it over \
        restarts.",
    )
    .required(),
    Flag::new("runtime_dir", Kind::Path, "The folder for state that a reboot may lose.")
        .default("/var/run/mesos"),
    Flag::new(
        "recover",
        Kind::OneOf(&["reconnect", "cleanup"]),
        "After a restart: take up live \
        executors again (reconnect), or kill them and exit (cleanup).",
    )
    .default("reconnect"),
    Flag::new(
        "recovery_timeout",
        Kind::Duration,
        "How long executors wait for the agent to come \
        back.",
    )
    .default("15mins"),
    Flag::new(
        "strict",
        Kind::Boolean,
        "Stop at any error in the checkpoints; otherwise broken \
        parts are skipped.",
    )
    .default("true"),
    Flag::new(
        "executor_registration_timeout",
        Kind::Duration,
        "How long a new executor may take \
        to subscribe.",
    )
    .default("1mins"),
    Flag::new(
        "executor_reregistration_timeout",
        Kind::DurationWithin(0, 15),
        "How long executors \
        may take to come back after the agent restarted.",
    )
    .default("2secs"),
    Flag::new(
        "executor_reregistration_retry_interval",
        Kind::Duration,
        "How often executors \
        are asked again to come back.",
    )
    .ignored("HTTP executors come back on their own"),
    Flag::new(
        "executor_shutdown_grace_period",
        Kind::Duration,
        "How long an executor may take to \
        shut down.",
    )
    .default("5secs"),
    Flag::new(
        "executor_environment_variables",
        Kind::Json,
        "A JSON object of environment \
        variables for executors, instead of the agent's own PATH.",
    ),
    Flag::new(
        "max_completed_executors_per_framework",
        Kind::Integer(0),
        "How many completed \
        executors to remember for each framework.",
    )
    .default("150"),
    Flag::new(
        "http_command_executor",
        Kind::Boolean,
        "Let command tasks use the HTTP executor API.",
    )
    .default("false")
    .ignored("the command executor always uses the HTTP API"),
    Flag::new(
        "http_heartbeat_interval",
        Kind::Duration,
        "Time between heartbeats on streams of \
        containers.",
    )
    .default("30secs")
    .ignored("attached containers are not in this version"),
    Flag::new("http_executor_domain_sockets", Kind::Boolean, "Serve executors on a local socket.")
        .default("false")
        .refused("executors connect over TCP in this version"),
    Flag::new("domain_socket_location", Kind::Path, "Where that socket stands.")
        .ignored("executors connect over TCP in this version"),
];

const CONTAINERS: &[Flag] = &[
    Flag::new("containerizers", Kind::OneOf(&["mesos"]), "How containers are run.")
        .default("mesos"),
    Flag::new("launcher", Kind::OneOf(&["posix", "linux"]), "How processes are grouped.")
        .default("posix")
        .refused("only the posix launcher is in this version"),
    Flag::new(
        "isolation",
        Kind::Text,
        "Isolators, separated by commas: posix/cpu and posix/mem \
        report usage, filesystem/posix is always on.",
    )
    .default("posix/cpu,posix/mem"),
    Flag::new("launcher_dir", Kind::Path, "Folder of helper programs.")
        .default("/usr/libexec/mesos")
        .ignored("the helpers are part of the program"),
    Flag::new("switch_user", Kind::Boolean, "Run tasks as the user they name; needs root.")
        .default("true"),
    Flag::new("sandbox_directory", Kind::Path, "Where the sandbox stands inside of images.")
        .default("/mnt/mesos/sandbox")
        .ignored(NO_IMAGES),
    Flag::new("container_logger", Kind::Text, "Container logger module.").refused(NO_MODULES),
    Flag::new("default_container_info", Kind::Json, "The container of executors that name none.")
        .refused(NO_IMAGES),
];

const DISK: &[Flag] = &[
    Flag::new(
        "gc_delay",
        Kind::Duration,
        "How long sandboxes of ended executors are kept; less \
        when the disk fills up.",
    )
    .default("1weeks"),
    Flag::new("gc_disk_headroom", Kind::Number, "The share of the disk to keep free.")
        .default("0.1"),
    Flag::new(
        "gc_non_executor_container_sandboxes",
        Kind::Boolean,
        "Also remove sandboxes of \
        nested containers.",
    )
    .default("false")
    .ignored("nested containers are not in this version"),
    Flag::new("disk_watch_interval", Kind::Duration, "How often disk usage is looked at.")
        .default("1mins"),
    Flag::new(
        "container_disk_watch_interval",
        Kind::Duration,
        "How often the disk usage of \
        containers is looked at.",
    )
    .default("15secs")
    .ignored("disk isolators are not in this version"),
    Flag::new(
        "enforce_container_disk_quota",
        Kind::Boolean,
        "Kill containers over their disk \
        quota.",
    )
    .default("false")
    .refused("disk isolators are not in this version"),
    Flag::new("xfs_project_range", Kind::Text, "XFS project ids.")
        .default("[5000-10000]")
        .ignored("disk isolators are not in this version"),
    Flag::new("xfs_kill_containers", Kind::Boolean, "Kill containers over their XFS quota.")
        .default("false")
        .refused("disk isolators are not in this version"),
    Flag::new("xfs_quota_headroom", Kind::Bytes, "Headroom of hard XFS quotas.")
        .default("10MB")
        .ignored("disk isolators are not in this version"),
];

const FETCHER: &[Flag] = &[
    Flag::new("frameworks_home", Kind::Text, "The folder of relative paths in task URIs.")
        .default(""),
    Flag::new("fetcher_stall_timeout", Kind::Duration, "How long a download may stand still.")
        .default("1mins"),
    Flag::new("fetcher_cache_size", Kind::Bytes, "Size of the fetcher's cache.")
        .default("2GB")
        .ignored("downloads are not cached in this version"),
    Flag::new("fetcher_cache_dir", Kind::Path, "Folder of the fetcher's cache.")
        .default("/tmp/mesos/fetch")
        .ignored("downloads are not cached in this version"),
    Flag::new("hadoop_home", Kind::Path, "Where the Hadoop client stands.")
        .refused("hdfs URIs are not in this version; serve the files over HTTP"),
];

const IMAGES: &[Flag] = &[
    Flag::new("image_providers", Kind::Text, "Kinds of images.").refused(NO_IMAGES),
    Flag::new("image_provisioner_backend", Kind::Text, "How layers are joined.").refused(NO_IMAGES),
    Flag::new("image_gc_config", Kind::Json, "When images are removed.").refused(NO_IMAGES),
    Flag::new("appc_simple_discovery_uri_prefix", Kind::Text, "Where Appc images come from.")
        .default("http://")
        .ignored(NO_APPC),
    Flag::new("appc_store_dir", Kind::Path, "Where Appc images are kept.")
        .default("/tmp/mesos/store/appc")
        .ignored(NO_APPC),
    Flag::new("docker", Kind::Path, "The docker program.").default("docker").ignored(NO_DOCKER),
    Flag::new("docker_socket", Kind::Path, "The Docker Engine's socket.")
        .default("/var/run/docker.sock")
        .ignored(NO_DOCKER),
    Flag::new("docker_config", Kind::Json, "Registry passwords.").ignored(NO_DOCKER),
    Flag::new("docker_mesos_image", Kind::Text, "The image the agent itself runs in.")
        .refused(NO_DOCKER),
    Flag::new("docker_registry", Kind::Text, "Where images come from.")
        .default("https://registry-1.docker.io")
        .ignored(NO_IMAGES),
    Flag::new("docker_store_dir", Kind::Path, "Where images are kept.")
        .default("/tmp/mesos/store/docker")
        .ignored(NO_IMAGES),
    Flag::new("docker_ignore_runtime", Kind::Boolean, "Ignore an image's entry point.")
        .default("false")
        .ignored(NO_IMAGES),
    Flag::new("docker_remove_delay", Kind::Duration, "How long ended containers are kept.")
        .default("6hrs")
        .ignored(NO_DOCKER),
    Flag::new("docker_stop_timeout", Kind::Duration, "How long containers may take to stop.")
        .default("0ns")
        .ignored(NO_DOCKER),
    Flag::new("docker_kill_orphans", Kind::Boolean, "Remove containers nobody knows.")
        .default("true")
        .ignored(NO_DOCKER),
    Flag::new("docker_volume_checkpoint_dir", Kind::Path, "Where volumes are checkpointed.")
        .default("/var/run/mesos/isolators/docker/volume")
        .ignored(NO_DOCKER),
    Flag::new("docker_volume_chown", Kind::Boolean, "Give volumes to the task's user.")
        .default("false")
        .ignored(NO_DOCKER),
];

const ISOLATION: &[Flag] = &[
    Flag::new("cgroups_hierarchy", Kind::Path, "Where cgroups are mounted.")
        .default("/sys/fs/cgroup")
        .ignored(NO_CGROUPS),
    Flag::new("cgroups_root", Kind::Text, "The root cgroup's name.")
        .default("mesos")
        .ignored(NO_CGROUPS),
    Flag::new("cgroups_enable_cfs", Kind::Boolean, "Hard limits on CPU time.")
        .default("false")
        .refused(NO_CGROUPS),
    Flag::new("cgroups_limit_swap", Kind::Boolean, "Limits on swap.")
        .default("false")
        .refused(NO_CGROUPS),
    Flag::new(
        "cgroups_cpu_enable_pids_and_tids_count",
        Kind::Boolean,
        "Count processes and \
        threads.",
    )
    .default("false")
    .ignored("processes and threads are always counted"),
    Flag::new("cgroups_destroy_timeout", Kind::Duration, "Time limit for removing a cgroup.")
        .default("1mins")
        .ignored(NO_CGROUPS),
    Flag::new("cgroups_net_cls_primary_handle", Kind::Text, "Network class.").refused(NO_CGROUPS),
    Flag::new("cgroups_net_cls_secondary_handles", Kind::Text, "Network classes.")
        .refused(NO_CGROUPS),
    Flag::new("allowed_devices", Kind::Json, "Devices every container may use.")
        .refused(NO_CGROUPS),
    Flag::new("agent_subsystems", Kind::Text, "Cgroups for the agent itself.")
        .formerly(&["slave_subsystems"])
        .refused(NO_CGROUPS),
    Flag::new("revocable_cpu_low_priority", Kind::Boolean, "Run revocable CPUs at low priority.")
        .default("true")
        .ignored(NO_CGROUPS),
    Flag::new("perf_events", Kind::Text, "Performance counters.").refused(NO_CGROUPS),
    Flag::new("perf_interval", Kind::Duration, "How often counters are read.")
        .default("1mins")
        .ignored(NO_CGROUPS),
    Flag::new("perf_duration", Kind::Duration, "How long counters are read.")
        .default("10secs")
        .ignored(NO_CGROUPS),
    Flag::new(
        "systemd_enable_support",
        Kind::Boolean,
        "Let tasks survive a restart of the \
        agent's unit.",
    )
    .default("false")
    .ignored("set KillMode=process in the agent's unit"),
    Flag::new("systemd_runtime_directory", Kind::Path, "systemd's folder.")
        .default("/run/systemd/system")
        .ignored("systemd is not asked"),
    Flag::new("nvidia_gpu_devices", Kind::Text, "GPUs to offer.")
        .refused("GPU isolation is not in this version"),
    Flag::new("effective_capabilities", Kind::Json, "Linux capabilities of tasks.")
        .formerly(&["allowed_capabilities"])
        .refused("capabilities are not in this version"),
    Flag::new("bounding_capabilities", Kind::Json, "The most Linux capabilities of tasks.")
        .refused("capabilities are not in this version"),
    Flag::new("seccomp_config_dir", Kind::Path, "Folder of seccomp profiles.")
        .refused("seccomp is not in this version"),
    Flag::new("seccomp_profile_name", Kind::Text, "The default seccomp profile.")
        .refused("seccomp is not in this version"),
    Flag::new("default_container_shm_size", Kind::Bytes, "Size of /dev/shm.")
        .refused("namespaces are not in this version"),
    Flag::new("disallow_sharing_agent_ipc_namespace", Kind::Boolean, "Private IPC for all.")
        .default("false")
        .refused("namespaces are not in this version"),
    Flag::new("disallow_sharing_agent_pid_namespace", Kind::Boolean, "Private pids for all.")
        .default("false")
        .refused("namespaces are not in this version"),
    Flag::new("host_path_volume_force_creation", Kind::Text, "Host paths to create.")
        .refused("host path volumes are not in this version"),
    Flag::new("volume_gid_range", Kind::Text, "Groups for shared volumes.")
        .refused("shared volumes are not in this version"),
];

const CONTAINER_NETWORKS: &[Flag] = &[
    Flag::new("network_cni_plugins_dir", Kind::Path, "Folders of CNI plugins.").refused(NO_NETWORK),
    Flag::new("network_cni_config_dir", Kind::Path, "Folder of CNI networks.").refused(NO_NETWORK),
    Flag::new("network_cni_root_dir_persist", Kind::Boolean, "Keep CNI state over a reboot.")
        .default("false")
        .ignored(NO_NETWORK),
    Flag::new("network_cni_metrics", Kind::Boolean, "Have CNI metrics.")
        .default("true")
        .ignored(NO_NETWORK),
    Flag::new("default_container_dns", Kind::Json, "DNS servers of containers.")
        .refused(NO_NETWORK),
    Flag::new("container_ports_watch_interval", Kind::Duration, "How often ports are looked at.")
        .ignored(NO_NETWORK),
    Flag::new("check_agent_port_range_only", Kind::Boolean, "Look at offered ports only.")
        .ignored(NO_NETWORK),
    Flag::new("enforce_container_ports", Kind::Boolean, "Kill containers on foreign ports.")
        .refused(NO_NETWORK),
    Flag::new("container_ports_isolated_range", Kind::Text, "Ports to look at.")
        .ignored(NO_NETWORK),
];

const SECURITY: &[Flag] = &[
    Flag::new(
        "credential",
        Kind::Secret,
        "A file with the principal and secret for the master: {\"principal\": \"p\", \"secret\": \"s\"}, \
        or both on one line.",
    ),
    Flag::new("authenticatee", Kind::OneOf(&["crammd5"]), "How to authenticate with the master.")
        .default("crammd5"),
    Flag::new(
        "authentication_backoff_factor",
        Kind::Duration,
        "How far the time limits of attempts are \
        spread: at random up to twice this above the shortest, doubled after each attempt that took \
        too long.",
    )
    .default("1secs"),
    Flag::new("authentication_timeout_min", Kind::Duration, "Shortest time limit of an attempt.")
        .default("5secs"),
    Flag::new("authentication_timeout_max", Kind::Duration, "Longest time limit of an attempt.")
        .default("1mins"),
    Flag::new("authenticate_http_readonly", Kind::Boolean, "Read-only endpoints need a password.")
        .default("false"),
    Flag::new("authenticate_http_readwrite", Kind::Boolean, "Changing endpoints need a password.")
        .default("false"),
    Flag::new("authenticate_http_executors", Kind::Boolean, "Executors need a token.")
        .default("false")
        .refused(NO_EXECUTOR_TOKENS),
    Flag::new(
        "http_credentials",
        Kind::Secret,
        "A file of principals and secrets, as --credentials of the master.",
    ),
    Flag::new("http_authenticators", Kind::OneOf(&["basic"]), "How HTTP clients authenticate."),
    Flag::new("acls", Kind::Json, "Who may do what.").refused(NO_AUTHORIZATION),
    Flag::new("authorizer", Kind::OneOf(&["local"]), "Who decides what is allowed.")
        .default("local"),
    Flag::new("jwt_secret_key", Kind::Path, "The key of executor tokens.")
        .formerly(&["executor_secret_key"])
        .refused(NO_EXECUTOR_TOKENS),
    Flag::new("secret_resolver", Kind::Text, "Secret module.").refused(NO_MODULES),
    Flag::new("firewall_rules", Kind::Json, "Endpoints to switch off.")
        .refused("restrict access in the network or a proxy instead"),
];

const STORAGE: &[Flag] = &[
    Flag::new("resource_provider_config_dir", Kind::Path, "Folder of providers.")
        .refused(NO_STORAGE),
    Flag::new("csi_plugin_config_dir", Kind::Path, "Folder of CSI plugins.").refused(NO_STORAGE),
    Flag::new("disk_profile_adaptor", Kind::Text, "Disk profile module.").refused(NO_MODULES),
    Flag::new("resource_estimator", Kind::Text, "Estimator of spare resources.")
        .refused(NO_OVERSUBSCRIPTION),
    Flag::new("qos_controller", Kind::Text, "Who corrects oversubscription.")
        .refused(NO_OVERSUBSCRIPTION),
    Flag::new("qos_correction_interval_min", Kind::Duration, "Shortest time between corrections.")
        .default("0ns")
        .ignored(NO_OVERSUBSCRIPTION),
    Flag::new(
        "oversubscribed_resources_interval",
        Kind::Duration,
        "How often spare resources are \
        reported.",
    )
    .default("15secs")
    .ignored(NO_OVERSUBSCRIPTION),
];

const PORT_MAPPING_FLAGS: &[Flag] = &[
    Flag::new("ephemeral_ports_per_container", Kind::Integer(0), "Ports.").refused(PORT_MAPPING),
    Flag::new("eth0_name", Kind::Text, "Public interface.").refused(PORT_MAPPING),
    Flag::new("lo_name", Kind::Text, "Loopback interface.").refused(PORT_MAPPING),
    Flag::new("egress_rate_limit_per_container", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("egress_rate_per_cpu", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("minimum_egress_rate_limit", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("maximum_egress_rate_limit", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("egress_ceil_limit", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("egress_burst", Kind::Bytes, "Burst.").refused(PORT_MAPPING),
    Flag::new("egress_unique_flow_per_container", Kind::Boolean, "Flows.").refused(PORT_MAPPING),
    Flag::new("egress_flow_classifier_parent", Kind::Text, "Flows.").refused(PORT_MAPPING),
    Flag::new("ingress_rate_limit_per_container", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("ingress_rate_per_cpu", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("minimum_ingress_rate_limit", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("maximum_ingress_rate_limit", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("ingress_ceil_limit", Kind::Bytes, "Rate.").refused(PORT_MAPPING),
    Flag::new("ingress_burst", Kind::Bytes, "Burst.").refused(PORT_MAPPING),
    Flag::new("ingress_isolate_existing_containers", Kind::Boolean, "Scope.").refused(PORT_MAPPING),
    Flag::new("network_link_speed", Kind::Bytes, "Speed.").refused(PORT_MAPPING),
    Flag::new("network_enable_socket_statistics_summary", Kind::Boolean, "Statistics.")
        .refused(PORT_MAPPING),
    Flag::new("network_enable_socket_statistics_details", Kind::Boolean, "Statistics.")
        .refused(PORT_MAPPING),
    Flag::new("network_enable_snmp_statistics", Kind::Boolean, "Statistics.").refused(PORT_MAPPING),
    Flag::new("network_enable_rate_statistics", Kind::Boolean, "Statistics.").refused(PORT_MAPPING),
    Flag::new("network_rate_statistics_window", Kind::Duration, "Statistics.")
        .refused(PORT_MAPPING),
    Flag::new("network_rate_statistics_interval", Kind::Duration, "Statistics.")
        .refused(PORT_MAPPING),
];

const OTHER: &[Flag] = &[
    Flag::new("modules", Kind::Json, "Modules to load.").refused(NO_MODULES),
    Flag::new("modules_dir", Kind::Path, "Folder of module manifests.").refused(NO_MODULES),
    Flag::new("hooks", Kind::Text, "Hook modules.").refused(NO_MODULES),
    Flag::new("memory_profiling", Kind::Boolean, "Serve heap profiles.")
        .default("false")
        .refused("use a profiler from outside the process"),
];
