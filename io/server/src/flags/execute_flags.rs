//! The flags of `meseta execute`, under the names of `src/cli/execute.cpp`.

use super::logging_flags::GENERAL;
use super::{Flag, FlagTable, Kind};

pub(super) const TABLE: FlagTable = FlagTable {
    program: "execute",
    summary: "Runs one command, task or task group on a cluster and prints what becomes of it.",
    usage: "meseta execute --master=MASTER --name=NAME --command=COMMAND [flags]",
    groups: &[("General", GENERAL), ("Task", TASK), ("Framework", FRAMEWORK)],
};

const TASK: &[Flag] = &[
    Flag::new("name", Kind::Text, "The task's name and id."),
    Flag::new("command", Kind::Text, "The command to run."),
    Flag::new(
        "shell",
        Kind::Boolean,
        "Whether the command is for a shell; otherwise its words \
        are the program and its arguments.",
    )
    .default("true"),
    Flag::new("env", Kind::Json, "A JSON object of environment variables."),
    Flag::new("resources", Kind::Text, "What the task needs.").default("cpus:1;mem:128"),
    Flag::new("task", Kind::Json, "A whole TaskInfo as JSON, instead of a command."),
    Flag::new("task_group", Kind::Json, "A TaskGroupInfo as JSON, instead of a command."),
    Flag::new("kill_after", Kind::Duration, "Kill the task after this time."),
    Flag::new("docker_image", Kind::Text, "The Docker image to run in."),
    Flag::new("appc_image", Kind::Text, "The Appc image to run in.")
        .refused("Appc images are left out on purpose: use --docker_image"),
    Flag::new("containerizer", Kind::OneOf(&["mesos", "docker"]), "Who runs the container.")
        .default("mesos"),
    Flag::new("volumes", Kind::Json, "A JSON array of volumes."),
    Flag::new("networks", Kind::Text, "Networks to join, separated by commas."),
    Flag::new("effective_capabilities", Kind::Json, "Linux capabilities of the task."),
    Flag::new("bounding_capabilities", Kind::Json, "The most Linux capabilities of the task."),
    Flag::new("rlimits", Kind::Json, "Resource limits of the task."),
    Flag::new("tty", Kind::Boolean, "Give the task a terminal.").default("false"),
    Flag::new("hadoop", Kind::Path, "The Hadoop client.")
        .default("hadoop")
        .ignored("packages are not uploaded; name URIs in --task"),
    Flag::new("hdfs", Kind::Text, "The HDFS server.")
        .default("hdfs://localhost")
        .ignored("packages are not uploaded; name URIs in --task"),
    Flag::new("package", Kind::Path, "A package to upload to HDFS.")
        .refused("serve the package over HTTP and name it under uris in --task"),
    Flag::new("overwrite", Kind::Boolean, "Overwrite the uploaded package.")
        .default("false")
        .ignored("packages are not uploaded; name URIs in --task"),
];

const FRAMEWORK: &[Flag] = &[
    Flag::new("master", Kind::Place, "The master: host:port, or zk://host:port,.../path.")
        .required(),
    Flag::new("role", Kind::Text, "The role to ask offers for.").default("*"),
    Flag::new("principal", Kind::Text, "The principal."),
    Flag::new("secret", Kind::Text, "The principal's secret."),
    Flag::new("checkpoint", Kind::Boolean, "Whether the task survives a restart of its agent.")
        .default("false"),
    Flag::new(
        "partition_aware",
        Kind::Boolean,
        "Whether to be told apart what became of lost \
        tasks.",
    )
    .default("true"),
    Flag::new("framework_capabilities", Kind::Text, "Further capabilities, separated by commas."),
    Flag::new("content_type", Kind::OneOf(&["protobuf", "json"]), "How to talk to the master.")
        .default("protobuf"),
];
