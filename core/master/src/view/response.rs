//! The records as the v1 operator API shows them.

use protocol::master;

use crate::view::{AgentView, FrameworkView};

impl AgentView {
    /// The agent as `GET_AGENTS`, `GET_STATE` and `AGENT_ADDED` show it.
    #[must_use]
    pub fn to_response(&self) -> master::response::get_agents::Agent {
        master::response::get_agents::Agent {
            agent_info: self.info.to_info(),
            active: self.active,
            deactivated: Some(self.deactivated),
            drain_info: self.drain_info.as_deref().cloned(),
            estimated_drain_start_time: self.drain_start_time.map(time_info),
            version: self.version.as_ref().to_owned(),
            pid: Some(self.pid.to_string()),
            registered_time: Some(time_info(self.registered_time)),
            reregistered_time: self.reregistered_time.map(time_info),
            total_resources: self.total_resources.to_wire_endpoint(),
            allocated_resources: self.used_resources.to_wire_endpoint(),
            offered_resources: self.offered_resources.to_wire_endpoint(),
            capabilities: self.capabilities.list.clone(),
            ..Default::default()
        }
    }
}

impl FrameworkView {
    /// The framework as `GET_FRAMEWORKS`, `GET_STATE` and the framework events show it.
    #[must_use]
    pub fn to_response(&self) -> master::response::get_frameworks::Framework {
        master::response::get_frameworks::Framework {
            framework_info: (*self.info).clone(),
            active: self.active,
            connected: self.connected,
            recovered: self.recovered,
            registered_time: Some(time_info(self.registered_time)),
            reregistered_time: self.reregistered_time.map(time_info),
            unregistered_time: self.unregistered_time.map(time_info),
            offers: self.offers.iter().map(|offer| (**offer).clone()).collect(),
            inverse_offers: self.inverse_offers.iter().map(|offer| (**offer).clone()).collect(),
            allocated_resources: self.used_resources.to_wire_endpoint(),
            offered_resources: self.offered_resources.to_wire_endpoint(),
            offer_constraints: self.offer_constraints.as_ref().map(|it| (**it).clone()),
            ..Default::default()
        }
    }
}

fn time_info(time: protocol::time::Timestamp) -> protocol::mesos::TimeInfo {
    protocol::mesos::TimeInfo { nanoseconds: time.as_nanos(), ..Default::default() }
}
