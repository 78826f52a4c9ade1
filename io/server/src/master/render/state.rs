//! `/state` and `/flags`.

use master::view::Snapshot;
use protocol::time::Timestamp;
use protocol::{Names, mesos};

use super::{agents, document, frameworks};
use crate::http::json::JsonWriter;
use crate::http::shared::Output;

/// What the process knows of itself.
#[derive(Clone, Debug)]
pub(in crate::master) struct Process {
    /// The version of Mesos that is offered, which peers compare.
    pub version: String,
    /// The name that is published.
    pub hostname: String,
    /// The port that is published.
    pub port: u16,
    /// When the process started.
    pub start_time: Timestamp,
    /// `--cluster`.
    pub cluster: Option<String>,
    /// The flags, as they are shown.
    pub flags: Vec<(String, String)>,
}

impl Process {
    fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(flag, _)| flag == name).map(|(_, value)| value.as_str())
    }
}

fn write_flags(json: &mut JsonWriter, flags: &[(String, String)]) {
    json.object(|json| {
        for (name, value) in flags {
            json.key(name).string(value);
        }
    });
}

/// `/flags`.
pub(in crate::master) fn flags(flags: &[(String, String)]) -> Vec<u8> {
    document(|json| {
        json.key("flags");
        write_flags(json, flags);
    })
}

#[expect(clippy::cast_precision_loss, reason = "Mesos shows counts as doubles")]
fn count(json: &mut JsonWriter, name: &str, count: usize) {
    json.key(name).double(count as f64);
}

/// `/state`.
pub(in crate::master) fn state(snapshot: &Snapshot, process: &Process) -> Vec<u8> {
    let mut json = JsonWriter::new();
    write_state(&mut json, snapshot, process);
    json.into_bytes()
}

/// `/state`, piece by piece.
pub(in crate::master) fn stream_state(snapshot: &Snapshot, process: &Process, output: Output) {
    let mut json = JsonWriter::streamed(output);
    write_state(&mut json, snapshot, process);
    json.finish();
}

fn write_state(json: &mut JsonWriter, snapshot: &Snapshot, process: &Process) {
    json.object(|json| {
        head(json, snapshot, process);
        json.key("flags");
        write_flags(json, &process.flags);
        json.key("slaves").array(|json| {
            for agent in snapshot.agents.values() {
                if json.is_abandoned() {
                    return;
                }
                json.object(|json| agents::agent(json, agent));
            }
        });
        agents::recovered(json, snapshot, None);
        json.key("frameworks").array(|json| {
            for framework in snapshot.frameworks.values() {
                json.object(|json| frameworks::framework(json, framework));
            }
        });
        json.key("completed_frameworks").array(|json| {
            for framework in &snapshot.completed_frameworks {
                json.object(|json| frameworks::framework(json, framework));
            }
        });
        // Neither exists any more; readers still expect the lists.
        json.key("orphan_tasks").array(|_| ());
        json.key("unregistered_frameworks").array(|_| ());
    });
}

fn head(json: &mut JsonWriter, snapshot: &Snapshot, process: &Process) {
    let info = crate::version::info(&process.version);
    let master = snapshot.master.as_ref();
    let pid = master.pid.as_deref().unwrap_or_default();
    json.key("version").string(&info.version);
    for (name, value) in
        [("git_sha", &info.git_sha), ("git_branch", &info.git_branch), ("git_tag", &info.git_tag)]
    {
        if let Some(value) = value {
            json.key(name).string(value);
        }
    }
    json.key("build_date").string(info.build_date.as_deref().unwrap_or_default());
    json.key("build_time").double(info.build_time.unwrap_or(0.0));
    json.key("build_user").string(info.build_user.as_deref().unwrap_or_default());
    json.key("start_time").double(process.start_time.as_secs_f64());
    json.key("elected_time").double(snapshot.elected_time.as_secs_f64());
    json.key("id").string(&master.id);
    json.key("pid").string(pid);
    json.key("hostname").string(master.hostname.as_deref().unwrap_or_default());
    json.key("capabilities").array(|json| {
        for capability in &master.capabilities {
            let name = capability.r#type.map_or("UNKNOWN", |r#type| r#type.name(Names::V0));
            json.string(name);
        }
    });
    let active = snapshot.agents.values().filter(|agent| agent.active).count();
    count(json, "activated_slaves", active);
    count(json, "deactivated_slaves", snapshot.agents.len() - active);
    count(json, "unreachable_slaves", snapshot.unreachable_agents);
    domain(json, master.domain.as_ref());
    json.key("leader").string(pid);
    json.key("leader_info").object(|json| {
        json.key("id").string(&master.id);
        json.key("pid").string(pid);
        json.key("port").integer(master.port.into());
        json.key("hostname").string(master.hostname.as_deref().unwrap_or_default());
        domain(json, master.domain.as_ref());
    });
    if let Some(cluster) = &process.cluster {
        json.key("cluster").string(cluster);
    }
    for name in ["log_dir", "external_log_file"] {
        if let Some(value) = process.flag(name) {
            json.key(name).string(value);
        }
    }
}

pub(super) fn domain(json: &mut JsonWriter, domain: Option<&mesos::DomainInfo>) {
    if let Some(domain) = domain {
        json.key("domain").message(domain, Names::V0);
    }
}
