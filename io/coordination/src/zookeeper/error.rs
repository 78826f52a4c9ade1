//! What can come of a request, and of a session.

use super::jute::Malformed;

/// An answer that says no (`org/apache/zookeeper/KeeperException.java`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Code {
    #[error("there is no such node")]
    NoNode,
    #[error("the node exists already")]
    NodeExists,
    #[error("the node has another version")]
    BadVersion,
    #[error("access to the node is denied")]
    NoAuth,
    #[error("the credentials are refused")]
    AuthFailed,
    #[error("the session has expired")]
    SessionExpired,
    #[error("the session has moved to another server")]
    SessionMoved,
    #[error("the server has no majority with it")]
    ConnectionLoss,
    #[error("the ensemble answers with error {0}")]
    Other(i32),
}

impl Code {
    /// The answer of this number; `None` stands for success.
    pub(super) fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => None,
            -101 => Some(Self::NoNode),
            -110 => Some(Self::NodeExists),
            -103 => Some(Self::BadVersion),
            -102 => Some(Self::NoAuth),
            -115 => Some(Self::AuthFailed),
            -112 => Some(Self::SessionExpired),
            -118 => Some(Self::SessionMoved),
            -4 => Some(Self::ConnectionLoss),
            other => Some(Self::Other(other)),
        }
    }
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// The ensemble has refused: nothing was changed.
    #[error("the ensemble refuses")]
    Refused(#[source] Code),
    /// The connection broke after the request may have been sent: it may have been carried out, now
    /// or in a moment.
    #[error("the connection broke before the answer")]
    Interrupted,
    /// There is no session any more.
    #[error("there is no session")]
    SessionOver(#[source] SessionEnd),
    /// The answer cannot be read.
    #[error("the answer cannot be read")]
    Malformed(#[from] Malformed),
    /// The request is longer than a server takes. It was not sent.
    #[error("the request has {bytes} bytes, more than the {bytes_max} that a server takes")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SessionEnd {
    /// No server was heard for so long that the ensemble may have ended the session, or no session was
    /// given in that time; with what was wrong last.
    #[error("no server could be reached within the session timeout: {0}")]
    Unreachable(String),
    /// The ensemble says so.
    #[error("the ensemble has ended the session")]
    Expired,
    /// The credentials are refused.
    #[error("the ensemble refuses the credentials")]
    Credentials,
    /// This side has closed it.
    #[error("the session was closed")]
    Closed,
}
