//! What operators do to agents and machines, and what frameworks answer.

use protocol::maintenance::{Schedule, Window};
use protocol::master::Call;
use protocol::master::call::{
    DeactivateAgent, DrainAgent, MarkAgentGone, ReactivateAgent, StartMaintenance, StopMaintenance,
    Type, UpdateMaintenanceSchedule,
};
use protocol::mesos::{AgentId, MachineId, TimeInfo, Unavailability};

/// A call of an operator.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Drain { mark_gone: bool },
    Deactivate,
    Reactivate,
    MarkGone,
    Schedule { start: u8 },
    ClearSchedule,
    Down,
    Up,
}

impl Order {
    pub fn call(self, agent: AgentId, number: u8) -> Call {
        let machine = MachineId {
            hostname: Some(format!("node-{number}")),
            ip: Some(format!("10.0.0.{number}")),
            ..Default::default()
        };
        let machines = vec![machine];
        let mut call = Call::default();
        let agent_id = agent;
        match self {
            Self::Drain { mark_gone } => {
                call.r#type = Some(Type::DrainAgent);
                let mark_gone = Some(mark_gone);
                call.drain_agent = Some(DrainAgent { agent_id, mark_gone, ..Default::default() });
            }
            Self::Deactivate => {
                call.r#type = Some(Type::DeactivateAgent);
                call.deactivate_agent = Some(DeactivateAgent { agent_id, ..Default::default() });
            }
            Self::Reactivate => {
                call.r#type = Some(Type::ReactivateAgent);
                call.reactivate_agent = Some(ReactivateAgent { agent_id, ..Default::default() });
            }
            Self::MarkGone => {
                call.r#type = Some(Type::MarkAgentGone);
                call.mark_agent_gone = Some(MarkAgentGone { agent_id, ..Default::default() });
            }
            Self::Schedule { start } => return update(vec![window(machines, start)]),
            Self::ClearSchedule => return update(Vec::new()),
            Self::Down => {
                call.r#type = Some(Type::StartMaintenance);
                call.start_maintenance = Some(StartMaintenance { machines, ..Default::default() });
            }
            Self::Up => {
                call.r#type = Some(Type::StopMaintenance);
                call.stop_maintenance = Some(StopMaintenance { machines, ..Default::default() });
            }
        }
        call
    }
}

fn window(machine_ids: Vec<MachineId>, start: u8) -> Window {
    let start = TimeInfo { nanoseconds: i64::from(start), ..Default::default() };
    let unavailability = Unavailability { start, ..Default::default() };
    Window { machine_ids, unavailability, ..Default::default() }
}

fn update(windows: Vec<Window>) -> Call {
    let schedule = Schedule { windows, ..Default::default() };
    Call {
        r#type: Some(Type::UpdateMaintenanceSchedule),
        update_maintenance_schedule: Some(UpdateMaintenanceSchedule {
            schedule,
            ..Default::default()
        }),
        ..Default::default()
    }
}
