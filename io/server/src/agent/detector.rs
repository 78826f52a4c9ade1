//! Where the agent's master is, and telling the core of it.

use std::time::Duration;

use agent::event::{Event, Leader};
use coordination::{Detected, Detector, DetectorError};
use protocol::causes::with_causes;
use protocol::pid::Pid;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::machine::Input;
use crate::event_loop::Inputs;

/// The first pause between two attempts to reach a master that went away, doubled up to the longest.
/// A restarted master so knows its agents within moments, not after a missed ping.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// Where to look.
#[derive(Debug)]
enum Place {
    /// The master always leads, and its address alone is known.
    Address(Pid),
    /// Whoever leads in an ensemble. The search ends with this.
    Ensemble(coordination::Detection),
}

/// Tells the core who leads, at each change and when it asks.
#[derive(Debug)]
pub(super) struct Detection {
    place: Place,
    inputs: Inputs<Input>,
    /// The master that somebody tries to reach, and who tries.
    dialling: Option<(Pid, JoinHandle<()>)>,
}

impl Detection {
    /// Begins to look. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// The master's fixed address has a name that cannot be resolved.
    pub(super) fn start(
        detector: &Detector,
        session_timeout: Duration,
        inputs: Inputs<Input>,
    ) -> Result<Self, DetectorError> {
        let place = if detector.zookeeper().is_some() {
            let detection = detector.watch(session_timeout);
            tokio::spawn(follow(detector.to_string(), detection.detected(), inputs.clone()));
            Place::Ensemble(detection)
        } else {
            let pid = detector.leader()?;
            report(&inputs, Some(Leader { pid: pid.clone(), info: None }));
            Place::Address(pid)
        };
        Ok(Self { place, inputs, dialling: None })
    }

    /// Reports what is known, as for the first time.
    pub(super) fn again(&self) {
        report(&self.inputs, self.known().now());
    }

    /// The connection to a master broke: reports the leader again as soon as somebody listens at its
    /// address, provided that it leads still.
    pub(super) fn lost(&mut self, runtime: &Handle, pid: &Pid) {
        let known = self.known();
        let Some(leader) = known.now().filter(|leader| leader.pid.address == pid.address) else {
            return;
        };
        if let Some((dialled, task)) = self.dialling.take() {
            if dialled == leader.pid && !task.is_finished() {
                self.dialling = Some((dialled, task));
                return;
            }
            task.abort();
        }
        let pid = leader.pid.clone();
        let task = runtime.spawn(dial(leader, known, self.inputs.clone()));
        self.dialling = Some((pid, task));
    }

    fn known(&self) -> Known {
        match &self.place {
            Place::Address(pid) => Known::Always(pid.clone()),
            Place::Ensemble(detection) => Known::Watched(detection.detected()),
        }
    }
}

/// What is known of the leader, for those who outlive a call.
enum Known {
    Always(Pid),
    Watched(watch::Receiver<Detected>),
}

impl Known {
    fn now(&self) -> Option<Leader> {
        match self {
            Self::Always(pid) => Some(Leader { pid: pid.clone(), info: None }),
            Self::Watched(detected) => leader_of(&detected.borrow()),
        }
    }
}

fn leader_of(detected: &Detected) -> Option<Leader> {
    detected.leader().map(|leader| Leader { pid: leader.pid.clone(), info: leader.info.clone() })
}

fn report(inputs: &Inputs<Input>, leader: Option<Leader>) {
    // Nobody is interested once the loop has ended.
    let _ = inputs.complete(Input::Event(Box::new(Event::MasterDetected { leader })));
}

/// Reports each change, and says in the log why there is no leader.
async fn follow(place: String, mut detected: watch::Receiver<Detected>, inputs: Inputs<Input>) {
    while detected.changed().await.is_ok() {
        let news = detected.borrow_and_update().clone();
        match &news {
            Detected::Leader(_) => {}
            Detected::Nobody => tracing::warn!("no master leads at {place}"),
            Detected::Unreachable => {
                tracing::warn!("{place} is out of reach: who leads is not known");
            }
            Detected::Failed(error) => {
                let error = with_causes(&**error);
                tracing::error!("the leading master is not known: {error}");
            }
        }
        report(&inputs, leader_of(&news));
    }
}

/// Tries to reach the leader until somebody listens there or it leads no more.
async fn dial(leader: Leader, known: Known, inputs: Inputs<Input>) {
    let mut pause = PAUSE_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        if known.now().as_ref() != Some(&leader) {
            return;
        }
        let dialled = TcpStream::connect(leader.pid.address);
        if let Ok(Ok(_)) = tokio::time::timeout(PAUSE_LONGEST, dialled).await {
            break;
        }
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
    // Its successor was reported when it was elected.
    if known.now().as_ref() == Some(&leader) {
        report(&inputs, Some(leader));
    }
}

impl Drop for Detection {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.dialling {
            task.abort();
        }
    }
}
