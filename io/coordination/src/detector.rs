//! Where the leading master is, from the text of an agent's or a scheduler's `--master` flag
//! (`src/master/detector.cpp`).

use std::net::{SocketAddr, SocketAddrV4, ToSocketAddrs};
use std::str::FromStr;

use protocol::pid::Pid;

/// The actor that every master is.
const MASTER_ACTOR: &str = "master";

/// Knows where the leading master is: so far always at the one address it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detector {
    actor: String,
    host: String,
    port: u16,
}

impl Detector {
    /// The master's pid. A host name is resolved at each call, so that a moved name is followed;
    /// that may block for as long as the resolver takes.
    ///
    /// # Errors
    /// The host name has no IPv4 address.
    pub fn leader(&self) -> Result<Pid, DetectorError> {
        Ok(Pid::new(self.actor.clone(), self.resolve()?))
    }

    /// `host:port` as it was given: what an HTTP client dials.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn resolve(&self) -> Result<SocketAddrV4, DetectorError> {
        let unresolved =
            |source| DetectorError::Resolve { host: self.host.clone(), source: Some(source) };
        let addresses = (self.host.as_str(), self.port).to_socket_addrs().map_err(unresolved)?;
        addresses
            .filter_map(|address| match address {
                SocketAddr::V4(address) => Some(address),
                SocketAddr::V6(_) => None,
            })
            .next()
            .ok_or_else(|| DetectorError::Resolve { host: self.host.clone(), source: None })
    }
}

impl FromStr for Detector {
    type Err = DetectorError;

    /// Reads `host:port` or `master@host:port`.
    fn from_str(text: &str) -> Result<Self, DetectorError> {
        let text = text.trim();
        if text.starts_with("zk://") {
            return Err(DetectorError::ZooKeeper(text.to_owned()));
        }
        let invalid = || DetectorError::Invalid(text.to_owned());
        let (actor, address) = text.split_once('@').unwrap_or((MASTER_ACTOR, text));
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        if actor.is_empty() || host.is_empty() || host.contains(['/', ':', '@']) {
            return Err(invalid());
        }
        let port = port.parse().map_err(|_| invalid())?;
        Ok(Self { actor: actor.to_owned(), host: host.to_owned(), port })
    }
}

/// Why the leading master is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// The text names a ZooKeeper ensemble.
    #[error(
        "'{0}' names a ZooKeeper ensemble; ZooKeeper support is not in this version: give the \
         address of the one master as host:port"
    )]
    ZooKeeper(String),
    /// The text is no address.
    #[error("'{0}' is not the address of a master: expected host:port or master@host:port")]
    Invalid(String),
    /// The host has no IPv4 address.
    #[error("cannot resolve the master's host '{host}' to an IPv4 address")]
    Resolve {
        /// The host name.
        host: String,
        /// What the resolver said; `None` when it knows only IPv6 addresses.
        source: Option<std::io::Error>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_addresses() {
        for (text, pid, authority) in [
            ("127.0.0.1:5050", "master@127.0.0.1:5050", "127.0.0.1:5050"),
            ("master@10.0.0.1:5050\n", "master@10.0.0.1:5050", "10.0.0.1:5050"),
            ("localhost:5051", "master@127.0.0.1:5051", "localhost:5051"),
        ] {
            let detector: Detector = text.parse().unwrap();
            assert_eq!(detector.leader().unwrap().to_string(), pid);
            assert_eq!(detector.authority(), authority);
        }
    }

    #[test]
    fn refusals_say_what_to_give_instead() {
        let error = "zk://a:2181,b:2181/mesos".parse::<Detector>().unwrap_err().to_string();
        assert!(error.contains("ZooKeeper support is not in this version"), "{error}");
        for text in ["", "localhost", "localhost:", ":5050", "@1.2.3.4:1", "a:99999", "http://a:1"]
        {
            let error = text.parse::<Detector>().unwrap_err().to_string();
            assert!(error.contains("expected host:port"), "{text}: {error}");
        }
        let unknown: Detector = "no-such-host.invalid:5050".parse().unwrap();
        assert!(unknown.leader().unwrap_err().to_string().contains("no-such-host.invalid"));
    }
}
