//! Names: which v1 type a v0 type is, and what a protobuf name is called in Rust.

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};

use super::model::Place;

/// Packages that exist as `mesos.X` and as `mesos.v1.X`.
const PAIRED: [&str; 9] = [
    "mesos",
    "mesos.agent",
    "mesos.allocator",
    "mesos.executor",
    "mesos.maintenance",
    "mesos.master",
    "mesos.quota",
    "mesos.resource_provider",
    "mesos.scheduler",
];

/// The v1 name a v0 type would have: `mesos.SlaveInfo` gives `mesos.v1.AgentInfo`.
pub fn partner(package: &str, full_name: &str) -> Option<String> {
    if !PAIRED.contains(&package) {
        return None;
    }
    let inner = full_name.strip_prefix(package)?.replace("Slave", "Agent");
    Some(format!("{}{inner}", package.replacen("mesos", "mesos.v1", 1)))
}

/// The module of a package, without the types' outer messages.
fn module(package: &str) -> String {
    match package {
        "mesos" | "mesos.v1" => "mesos".to_owned(),
        "google.protobuf" => "google".to_owned(),
        "mesos.internal.slave" => "checkpoint".to_owned(),
        "mesos.slave" => "containerizer".to_owned(),
        _ => package.rsplit('.').next().unwrap_or_default().to_owned(),
    }
}

/// Where the type `full_name` of `package` goes.
pub fn place(package: &str, full_name: &str, differs_from_v1: bool) -> Place {
    let suffix = if differs_from_v1 { "_v0" } else { "" };
    let mut modules = vec![format!("{}{suffix}", module(package))];
    let inner = full_name.strip_prefix(package).unwrap_or(full_name).trim_start_matches('.');
    let mut segments: Vec<&str> = inner.split('.').collect();
    let name = segments.pop().unwrap_or_default().to_upper_camel_case();
    modules.extend(segments.iter().map(|segment| identifier(segment)));
    Place { modules, name }
}

/// A field's or module's name as a Rust identifier.
pub fn identifier(name: &str) -> String {
    const KEYWORDS: [&str; 8] = ["type", "use", "ref", "move", "match", "loop", "mod", "in"];
    let name = name.to_snake_case();
    if KEYWORDS.contains(&name.as_str()) { format!("r#{name}") } else { name }
}

/// An enum value's Rust name: `TASK_RUNNING` gives `TaskRunning`; `Self` is taken by the language.
pub fn variant(name: &str) -> String {
    let variant = name.to_upper_camel_case();
    if variant == "Self" { "SelfValue".to_owned() } else { variant }
}
