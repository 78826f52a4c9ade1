//! libprocess addresses: `id@ip:port` (`3rdparty/libprocess/src/pid.cpp`).

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

/// The address of one actor of one libprocess peer, such as `slave(1)@10.0.0.2:5051`.
///
/// Only IPv4 literals are read: Mesos writes no others, and resolving a host name is not this
/// crate's business.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid {
    /// The actor, such as `master` or `scheduler-<uuid>`.
    pub id: String,
    /// Where the peer listens.
    pub address: SocketAddrV4,
}

impl Pid {
    /// The pid that stands for "none". Mesos sends it as the text `@0.0.0.0:0`, never as an absent
    /// field.
    pub const EMPTY: Self =
        Self { id: String::new(), address: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0) };

    /// [`Pid::EMPTY`] as text.
    pub const EMPTY_TEXT: &'static str = "@0.0.0.0:0";

    /// The actor `id` at `address`.
    #[must_use]
    pub fn new(id: impl Into<String>, address: SocketAddrV4) -> Self {
        Self { id: id.into(), address }
    }

    /// Whether this pid stands for "none".
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.id.is_empty() && self.address.ip().is_unspecified() && self.address.port() == 0
    }
}

impl Default for Pid {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.address)
    }
}

/// Why a text is not a pid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PidError {
    /// There is no `@`.
    #[error("pid '{0}' has no '@'")]
    NoAt(String),
    /// What follows the `@` is not `<IPv4 address>:<port>`.
    #[error("pid '{0}' has no IPv4 address and port after '@'")]
    Address(String),
}

impl FromStr for Pid {
    type Err = PidError;

    fn from_str(text: &str) -> Result<Self, PidError> {
        let text = text.trim();
        let (id, address) = text.split_once('@').ok_or_else(|| PidError::NoAt(text.to_owned()))?;
        let address = address.parse().map_err(|_| PidError::Address(text.to_owned()))?;
        Ok(Self { id: id.to_owned(), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["master@10.0.0.1:5050", "slave(1)@127.0.0.1:5051", "@0.0.0.0:0"] {
            assert_eq!(text.parse::<Pid>().unwrap().to_string(), text);
        }
        assert!("@0.0.0.0:0".parse::<Pid>().unwrap().is_empty());
        assert_eq!(Pid::EMPTY.to_string(), Pid::EMPTY_TEXT);
    }

    #[test]
    fn errors_say_what_is_missing() {
        assert_eq!("master".parse::<Pid>(), Err(PidError::NoAt("master".into())));
        for text in ["master@host:5050", "master@1.2.3.4", "a@1.2.3.4:99999", "a@", "a@1.2.3:5"] {
            assert_eq!(text.parse::<Pid>(), Err(PidError::Address(text.into())));
        }
    }
}
