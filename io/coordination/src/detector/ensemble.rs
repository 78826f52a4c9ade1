//! Follows the leader in an ensemble (`src/master/detector/zookeeper.cpp`).

use std::sync::Arc;
use std::time::Duration;

use protocol::mesos::MasterInfo;
use protocol::pid::Pid;
use protocol::{Message as _, Names};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;

use super::{Detected, DetectorError, Leader, report};
use crate::candidates::{Candidate, JSON_LABEL, PROTOBUF_LABEL, candidates};
use crate::url::ZooKeeperUrl;
use crate::zookeeper::{Client, Code, Options, RequestError, SessionEnd, Watch};

/// Pauses before a new session is tried, doubled up to the longest: all agents of a cluster lose their
/// sessions at the same time.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);

/// Understands the leader's node: given the candidate, the path of its node and its data.
pub(crate) type ReadNode<L> = fn(&Candidate, &str, &[u8]) -> Result<L, DetectorError>;

/// Looks for the leader for ever, in one session after the other.
pub(crate) async fn watch<L: PartialEq>(
    url: ZooKeeperUrl,
    session_timeout: Duration,
    read: ReadNode<L>,
    detected: watch::Sender<Detected<L>>,
) {
    let options = Options::new(&url, session_timeout);
    let mut pause = PAUSE_FIRST;
    loop {
        let client = Client::connect(options.clone());
        let is_connected = client.connected().await.is_ok();
        if is_connected {
            pause = PAUSE_FIRST;
        }
        let end = tokio::select! {
            end = follow(&client, &url, read, &detected) => end,
            end = client.over() => RequestError::SessionOver(end),
        };
        let news = match end {
            error @ (RequestError::Refused(_)
            | RequestError::SessionOver(SessionEnd::Credentials)) => {
                let place = url.to_string();
                Detected::Failed(Arc::new(DetectorError::Refused { place, source: error.into() }))
            }
            error @ (RequestError::SessionOver(_)
            | RequestError::Interrupted
            | RequestError::Malformed(_)
            | RequestError::TooLong { .. }) => {
                let error = crate::EnsembleError::from(error);
                warn!("looking for the leader at {url} again: {error}");
                Detected::Unreachable
            }
        };
        report(&detected, news);
        client.close().await;
        sleep(pause + pause.mul_f64(fastrand::f64())).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

/// Reports the leader, and each other one that follows, until something goes wrong.
async fn follow<L: PartialEq>(
    client: &Client,
    url: &ZooKeeperUrl,
    read: ReadNode<L>,
    detected: &watch::Sender<Detected<L>>,
) -> RequestError {
    let mut known = None;
    loop {
        match look(client, url, read, &mut known, detected).await {
            Ok(watch) => watch.changed().await,
            // The same session goes on with another server.
            Err(RequestError::Interrupted) => {}
            Err(error) => return error,
        }
    }
}

/// Looks once; gives a watch that tells when to look again.
async fn look<L: PartialEq>(
    client: &Client,
    url: &ZooKeeperUrl,
    read: ReadNode<L>,
    known: &mut Option<Candidate>,
    detected: &watch::Sender<Detected<L>>,
) -> Result<Watch, RequestError> {
    let base = url.path();
    let (children, watch) = match client.watch_children(base).await {
        Ok(found) => found,
        // No master has ever been there. Mesos makes the path; whoever only looks need not.
        Err(RequestError::Refused(Code::NoNode)) => {
            let (exists, watch) = client.watch_existence(base).await?;
            if exists {
                return Box::pin(look(client, url, read, known, detected)).await;
            }
            (Vec::new(), watch)
        }
        Err(error) => return Err(error),
    };
    let first = candidates(&children).into_iter().next();
    if first.is_some() && first == *known {
        return Ok(watch);
    }
    *known = None;
    let Some(candidate) = first else {
        report(detected, Detected::Nobody);
        return Ok(watch);
    };
    let path = format!("{base}/{}", candidate.name);
    let news = match client.data(&path).await {
        Ok((data, _)) => match read(&candidate, &path, &data) {
            Ok(leader) => Detected::Leader(Arc::new(leader)),
            Err(error) => Detected::Failed(Arc::new(error)),
        },
        // It has gone in the meantime, which the watch tells too.
        Err(RequestError::Refused(Code::NoNode)) => Detected::Nobody,
        Err(RequestError::Refused(code)) => Detected::Failed(Arc::new(DetectorError::Refused {
            place: path,
            source: RequestError::Refused(code).into(),
        })),
        Err(error) => return Err(error),
    };
    *known = Some(candidate);
    report(detected, news);
    Ok(watch)
}

/// Understands the node of a leading master.
pub(super) fn read_master(
    candidate: &Candidate,
    node: &str,
    data: &[u8],
) -> Result<Leader, DetectorError> {
    let failed = |expected, source| DetectorError::Data { node: node.to_owned(), expected, source };
    let of_info = |info: MasterInfo| {
        let pid = info.pid.as_deref().unwrap_or_default().parse();
        let pid = pid.map_err(|error: protocol::pid::PidError| failed("pid", error.into()))?;
        Ok(Leader { pid, info: Some(info) })
    };
    match candidate.label() {
        Some(JSON_LABEL) => of_info(
            MasterInfo::from_json(data, Names::V0)
                .map_err(|error| failed("MasterInfo in JSON", error.into()))?,
        ),
        Some(PROTOBUF_LABEL) => of_info(
            MasterInfo::decode(data)
                .map_err(|error| failed("MasterInfo in protobuf", error.into()))?,
        ),
        Some(_) => Err(DetectorError::Label { node: node.to_owned() }),
        None => {
            let text = String::from_utf8_lossy(data);
            let pid: Pid = text
                .parse()
                .map_err(|error: protocol::pid::PidError| failed("pid", error.into()))?;
            Ok(Leader { pid, info: None })
        }
    }
}
