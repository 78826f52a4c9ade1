//! What a schedule and a list of machines must be like, in the words of Mesos'
//! `src/master/maintenance.cpp`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use protocol::maintenance::Schedule;
use protocol::mesos::MachineId;
use protocol::{Message, Names};

use super::Machine;

/// A schedule; the answer is the machines it names.
pub(super) fn schedule(schedule: &Schedule) -> Result<BTreeSet<Machine>, String> {
    let mut named = BTreeSet::new();
    for window in &schedule.windows {
        if window.machine_ids.is_empty() {
            return Err("List of machines in the maintenance window is empty".to_owned());
        }
        let duration = window.unavailability.duration.as_ref();
        if duration.is_some_and(|duration| duration.nanoseconds < 0) {
            return Err("Unavailability 'duration' is negative".to_owned());
        }
        distinct(&window.machine_ids, &mut named)?;
    }
    Ok(named)
}

/// The machines of a call that takes them down or up.
pub(super) fn machines(ids: &[MachineId]) -> Result<(), String> {
    if ids.is_empty() {
        return Err("List of machines is empty".to_owned());
    }
    distinct(ids, &mut BTreeSet::new())
}

fn distinct(ids: &[MachineId], named: &mut BTreeSet<Machine>) -> Result<(), String> {
    for id in ids {
        machine(id)?;
        if !named.insert(Machine::new(id)) {
            let machine = json(id);
            return Err(format!("Machine '{machine}' appears more than once in the schedule"));
        }
    }
    Ok(())
}

fn machine(id: &MachineId) -> Result<(), String> {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let (hostname, ip) = (part(&id.hostname), part(&id.ip));
    if hostname.is_empty() && ip.is_empty() {
        return Err("Both 'hostname' and 'ip' for a machine are empty".to_owned());
    }
    if !ip.is_empty() && ip.parse::<Ipv4Addr>().is_err() {
        return Err(format!("Failed to parse IPv4: {ip}"));
    }
    Ok(())
}

/// A machine as error messages name it.
pub(super) fn json(id: &MachineId) -> String {
    id.to_json(Names::V0)
}

/// A machine as people name it.
pub(crate) fn readable(id: &MachineId) -> String {
    match (&id.hostname, &id.ip) {
        (Some(hostname), Some(ip)) => format!("{hostname} ({ip})"),
        (Some(hostname), None) => hostname.clone(),
        (None, ip) => format!("({})", ip.as_deref().unwrap_or_default()),
    }
}
