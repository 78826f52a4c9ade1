//! Where the agent's master is.

use agent::event::{Event, Leader};
use protocol::pid::Pid;

use super::machine::Input;
use crate::event_loop::Inputs;

/// A master that is known by its address alone and always leads.
#[derive(Debug)]
pub(super) struct Detection {
    master: Pid,
    inputs: Inputs<Input>,
}

impl Detection {
    pub(super) fn new(master: Pid, inputs: Inputs<Input>) -> Self {
        Self { master, inputs }
    }

    /// Reports the leader, as for the first time.
    pub(super) fn again(&self) {
        let leader = Some(Leader { pid: self.master.clone(), info: None });
        // Nobody is interested once the loop has ended.
        let _ = self.inputs.complete(Input::Event(Box::new(Event::MasterDetected { leader })));
    }
}
