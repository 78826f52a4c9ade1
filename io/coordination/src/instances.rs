//! Elections among the instances of a program that is no master, such as a framework.
//!
//! They are those of masters, below a path of their own: nodes with the label `instance` that hold a text,
//! usually where the instance can be reached. Only the instance knows what its text means.

use std::time::Duration;

use tokio::sync::watch;

use crate::candidates::{Candidate, candidates};
use crate::contender::Contender;
use crate::detector::{Detected, Detection, DetectorError, ensemble};
use crate::url::ZooKeeperUrl;
use crate::zookeeper::Client;

const LABEL: &str = "instance";

impl Contender {
    /// Begins to contend among the instances of a program, with a node that holds `text`. To be called
    /// inside a tokio runtime. The path must not be that of masters.
    #[must_use]
    pub fn start_instance(url: &ZooKeeperUrl, session_timeout: Duration, text: &str) -> Self {
        Self::start_with_label(url, session_timeout, LABEL, text.into())
    }
}

/// Begins to follow the text of the leading instance. To be called inside a tokio runtime.
#[must_use]
pub fn watch_instances(url: &ZooKeeperUrl, session_timeout: Duration) -> Detection<String> {
    let (sender, detected) = watch::channel(Detected::Unreachable);
    let task = tokio::spawn(ensemble::watch(url.clone(), session_timeout, read_instance, sender));
    Detection::new(detected, task.abort_handle())
}

fn read_instance(candidate: &Candidate, node: &str, data: &[u8]) -> Result<String, DetectorError> {
    if candidate.label() != Some(LABEL) {
        return Err(DetectorError::Stranger { node: node.to_owned() });
    }
    String::from_utf8(data.to_vec()).map_err(|error| DetectorError::Data {
        node: node.to_owned(),
        expected: "text",
        source: error.into(),
    })
}

/// The name of a candidate that is no instance, where instances are about to contend: a node of theirs
/// would be in the way of masters. What cannot be listed is told by whoever joins.
pub(crate) async fn stranger(client: &Client, url: &ZooKeeperUrl, label: &str) -> Option<String> {
    if label != LABEL {
        return None;
    }
    let children = client.children(url.path()).await.ok()?;
    candidates(&children).into_iter().find(|it| it.label() != Some(LABEL)).map(|it| it.name)
}

#[cfg(test)]
mod tests {
    use ::ensemble::Ensemble;
    use tokio::time::timeout;

    use super::*;
    use crate::contender::ContenderError;
    use crate::testing::{PATIENCE, parse, run};

    const SESSION: Duration = Duration::from_secs(10);

    #[test]
    fn instances_elect_a_leader_and_know_it() {
        let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
        run(async {
            let url = parse(&ensemble.url("/frameworks/example"));
            let detection = watch_instances(&url, SESSION);
            let mut detected = detection.detected();
            let mut leader = async |expected: &str| {
                let is_expected = |it: &Detected<String>| {
                    it.leader().is_some_and(|text| text.as_str() == expected)
                };
                timeout(PATIENCE, detected.wait_for(is_expected)).await.expect(expected).unwrap();
            };
            let first = Contender::start_instance(&url, SESSION, "10.0.0.1:80");
            let epoch = first.elected().await.unwrap();
            leader("10.0.0.1:80").await;
            let second = Contender::start_instance(&url, SESSION, "10.0.0.2:80");
            first.withdraw().await;
            assert!(second.elected().await.unwrap() > epoch);
            leader("10.0.0.2:80").await;
        });
    }

    #[test]
    fn instances_stay_away_from_masters() {
        let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
        run(async {
            let url = parse(&ensemble.url("/mesos"));
            let master = Contender::start(&url, SESSION, b"{}".to_vec());
            master.elected().await.unwrap();
            let error = Contender::start_instance(&url, SESSION, "text").elected().await;
            assert!(matches!(error, Err(ContenderError::Occupied { .. })), "{error:?}");
            let detection = watch_instances(&url, SESSION);
            let mut detected = detection.detected();
            let is_failure = |it: &Detected<String>| matches!(it, Detected::Failed(_));
            let failed = timeout(PATIENCE, detected.wait_for(is_failure)).await.unwrap().unwrap();
            let Detected::Failed(error) = &*failed else { panic!("{failed:?}") };
            assert!(error.to_string().contains("of another program"), "{error}");
        });
    }
}
