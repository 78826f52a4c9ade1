//! Where the agent's master is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent::event::{Event, Leader};
use protocol::pid::Pid;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::machine::Input;
use crate::event_loop::Inputs;

/// The first pause between two attempts to reach a master that went away, doubled up to the longest.
/// A restarted master so knows its agents within moments, not after a missed ping.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// A master that is known by its address alone and always leads.
#[derive(Clone, Debug)]
pub(super) struct Detection {
    master: Pid,
    inputs: Inputs<Input>,
    /// Whether somebody is trying to reach the master.
    is_dialling: Arc<AtomicBool>,
}

impl Detection {
    pub(super) fn new(master: Pid, inputs: Inputs<Input>) -> Self {
        Self { master, inputs, is_dialling: Arc::default() }
    }

    /// Reports the leader again as soon as somebody listens at its address.
    pub(super) fn lost(&self, runtime: &Handle) {
        if self.is_dialling.swap(true, Ordering::Relaxed) {
            return;
        }
        let detection = self.clone();
        runtime.spawn(async move {
            let mut pause = PAUSE_FIRST;
            loop {
                tokio::time::sleep(pause).await;
                let dialled = TcpStream::connect(detection.master.address);
                match tokio::time::timeout(PAUSE_LONGEST, dialled).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(_)) | Err(_) => pause = (pause * 2).min(PAUSE_LONGEST),
                }
            }
            detection.is_dialling.store(false, Ordering::Relaxed);
            detection.again();
        });
    }

    /// Reports the leader, as for the first time.
    pub(super) fn again(&self) {
        let leader = Some(Leader { pid: self.master.clone(), info: None });
        // Nobody is interested once the loop has ended.
        let _ = self.inputs.complete(Input::Event(Box::new(Event::MasterDetected { leader })));
    }
}
