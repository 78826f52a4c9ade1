//! What the rest of the crate calls: typed requests in one session.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::error::{Code, RequestError, SessionEnd};
use super::operation::{self, Acl, Body, CreateMode, Operation, Stat};
use super::session::{Options, Request, Session, Status};

/// How many requests may wait to be sent.
const REQUESTS_QUEUED_MAX: usize = 1024;

/// The longest request a server takes, by ZooKeeper's default (`jute.maxbuffer`, 0xfffff bytes).
const REQUEST_BYTES_MAX: usize = 0xf_ffff;

/// How many reads of one [`Client::data_of_all`] are on their way.
const READS_MAX: usize = 512;

/// One session. It ends when the last clone is dropped, when the ensemble is out of reach for too long
/// or says so; a new session is a new client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Status>,
}

/// Tells of a change of a node, or that changes may have been missed: either way, look again.
#[derive(Debug)]
pub(crate) struct Watch(oneshot::Receiver<()>);

impl Watch {
    /// Waits for the change.
    pub(crate) async fn changed(self) {
        let _ = self.0.await;
    }
}

/// A request on its way.
#[derive(Debug)]
struct Pending(oneshot::Receiver<Result<Bytes, RequestError>>);

impl Client {
    /// Starts a session; requests wait until there is one. To be called inside a tokio runtime.
    pub(crate) fn connect(options: Options) -> Self {
        let (requests, receiver) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let (sender, status) = watch::channel(Status::Connecting);
        tokio::spawn(Session::new(options, receiver, sender).run());
        Self { requests, status }
    }

    /// Waits for a connection; gives the session's number and its negotiated timeout.
    pub(crate) async fn connected(&self) -> Result<(i64, Duration), SessionEnd> {
        let mut status = self.status.clone();
        let found = status.wait_for(|it| !matches!(it, Status::Connecting)).await;
        match found.as_deref() {
            Ok(Status::Connected { session, timeout }) => Ok((*session, *timeout)),
            Ok(Status::Over(end)) => Err(end.clone()),
            Ok(Status::Connecting) | Err(_) => Err(SessionEnd::Closed),
        }
    }

    /// Waits for the end of the session.
    pub(crate) async fn over(&self) -> SessionEnd {
        let mut status = self.status.clone();
        let found = status.wait_for(|it| matches!(it, Status::Over(_))).await;
        match found.as_deref() {
            Ok(Status::Over(end)) => end.clone(),
            Ok(Status::Connecting | Status::Connected { .. }) | Err(_) => SessionEnd::Closed,
        }
    }

    /// Ends the session, with a farewell to the ensemble if it can be reached within a second. Other
    /// clones keep the session, so this is for the last one.
    pub(crate) async fn close(self) {
        let Self { requests, mut status } = self;
        drop(requests);
        let _ = status.wait_for(|it| matches!(it, Status::Over(_))).await;
    }

    /// Waits until the server has all changes that were made before: reads after this one are as fresh
    /// as if the leader had answered.
    pub(crate) async fn sync(&self, path: &str) -> Result<(), RequestError> {
        self.request(operation::sync(path)).await.map(drop)
    }

    /// The node's description, or none if there is no such node.
    pub(crate) async fn exists(&self, path: &str) -> Result<Option<Stat>, RequestError> {
        match self.request(operation::exists(path, false)).await {
            Ok(answer) => operation::read_stat(&answer).map(Some),
            Err(RequestError::Refused(Code::NoNode)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the node exists, and a watch that tells when that, or its data, changes.
    pub(crate) async fn watch_existence(&self, path: &str) -> Result<(bool, Watch), RequestError> {
        let (pending, watch) = self.send_watched(path, operation::exists(path, true)).await?;
        match pending.answer().await {
            Ok(_) => Ok((true, watch)),
            Err(RequestError::Refused(Code::NoNode)) => Ok((false, watch)),
            Err(error) => Err(error),
        }
    }

    /// The data of a node.
    pub(crate) async fn data(&self, path: &str) -> Result<(Vec<u8>, Stat), RequestError> {
        operation::read_data(&self.request(operation::get_data(path)).await?)
    }

    /// The data of many nodes, in their order, read with many requests on their way.
    pub(crate) async fn data_of_all(
        &self,
        paths: impl Iterator<Item = String>,
    ) -> Result<Vec<Vec<u8>>, RequestError> {
        let bodies = paths.map(|path| operation::get_data(&path));
        let read = |answer: Bytes| Ok(operation::read_data(&answer)?.0);
        self.pipeline(bodies, read).await
    }

    /// The names of a node's children, in no order.
    pub(crate) async fn children(&self, path: &str) -> Result<Vec<String>, RequestError> {
        operation::read_children(&self.request(operation::get_children(path, false)).await?)
    }

    /// The names of the children of many nodes.
    pub(crate) async fn children_of_all(
        &self,
        paths: impl Iterator<Item = String>,
    ) -> Result<Vec<Vec<String>>, RequestError> {
        let bodies = paths.map(|path| operation::get_children(&path, false));
        self.pipeline(bodies, |answer| operation::read_children(&answer)).await
    }

    /// The names of a node's children, and a watch that tells when they change.
    pub(crate) async fn watch_children(
        &self,
        path: &str,
    ) -> Result<(Vec<String>, Watch), RequestError> {
        let (pending, watch) = self.send_watched(path, operation::get_children(path, true)).await?;
        Ok((operation::read_children(&pending.answer().await?)?, watch))
    }

    /// Makes a node and gives its path, which differs from the one asked for if it is sequential.
    pub(crate) async fn create(
        &self,
        path: &str,
        data: &[u8],
        acl: Acl,
        mode: CreateMode,
    ) -> Result<String, RequestError> {
        let operation = Operation::Create { path: path.to_owned(), data: data.to_vec(), acl, mode };
        operation::read_path(&self.request(operation.body()).await?)
    }

    /// Makes a persistent node without data, and those above it, where they are missing.
    pub(crate) async fn create_path(&self, path: &str, acl: Acl) -> Result<(), RequestError> {
        if self.exists(path).await?.is_some() {
            return Ok(());
        }
        let ends = path.match_indices('/').skip(1).map(|(end, _)| end).chain([path.len()]);
        for end in ends {
            match self.create(&path[..end], b"", acl, CreateMode::Persistent).await {
                Ok(_) | Err(RequestError::Refused(Code::NodeExists)) => {}
                // A node above may belong to somebody else, as long as it is there.
                Err(RequestError::Refused(Code::NoAuth))
                    if self.exists(&path[..end]).await?.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Replaces the data of a node of this version, whatever its version if `None`.
    pub(crate) async fn set(
        &self,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<Stat, RequestError> {
        let operation = Operation::Set { path: path.to_owned(), data: data.to_vec(), version };
        operation::read_stat(&self.request(operation.body()).await?)
    }

    /// Removes a node without children.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), RequestError> {
        let operation = Operation::Delete { path: path.to_owned() };
        self.request(operation.body()).await.map(drop)
    }

    /// Makes all of the changes or none. A majority of the servers has agreed when this returns.
    pub(crate) async fn multi(&self, operations: &[Operation]) -> Result<(), RequestError> {
        operation::read_multi(&self.request(operation::multi(operations)).await?)
    }

    async fn pipeline<T>(
        &self,
        bodies: impl Iterator<Item = Body>,
        read: impl Fn(Bytes) -> Result<T, RequestError>,
    ) -> Result<Vec<T>, RequestError> {
        let mut results = Vec::new();
        let mut pending: VecDeque<Pending> = VecDeque::new();
        for body in bodies {
            if pending.len() == READS_MAX
                && let Some(first) = pending.pop_front()
            {
                results.push(read(first.answer().await?)?);
            }
            pending.push_back(self.send(body, None).await?);
        }
        for left in pending {
            results.push(read(left.answer().await?)?);
        }
        Ok(results)
    }

    async fn request(&self, body: Body) -> Result<Bytes, RequestError> {
        self.send(body, None).await?.answer().await
    }

    async fn send_watched(&self, path: &str, body: Body) -> Result<(Pending, Watch), RequestError> {
        let (sender, receiver) = oneshot::channel();
        let pending = self.send(body, Some((path.to_owned(), sender))).await?;
        Ok((pending, Watch(receiver)))
    }

    async fn send(
        &self,
        body: Body,
        watch: Option<(String, oneshot::Sender<()>)>,
    ) -> Result<Pending, RequestError> {
        let bytes = body.fields.len() + 8;
        if bytes > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong { bytes, bytes_max: REQUEST_BYTES_MAX });
        }
        let (answer, receiver) = oneshot::channel();
        let request = Request { body, watch, answer };
        if self.requests.send(request).await.is_err() {
            return Err(RequestError::SessionOver(self.over().await));
        }
        Ok(Pending(receiver))
    }
}

impl Pending {
    async fn answer(self) -> Result<Bytes, RequestError> {
        // The session answers all that it takes; it is gone only with its runtime.
        self.0.await.unwrap_or(Err(RequestError::SessionOver(SessionEnd::Closed)))
    }
}

#[cfg(test)]
mod tests;
