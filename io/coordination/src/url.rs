//! `zk://[user:password@]host:port[,host:port…]/path` (`include/mesos/zookeeper/url.hpp`).

use std::fmt;
use std::str::FromStr;

use crate::zookeeper::Acl;

/// What every such URL begins with.
const SCHEME: &str = "zk://";

/// Which nodes of which ensemble, and as whom. `Display` and `Debug` hide the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperUrl {
    credentials: Option<Credentials>,
    servers: Vec<String>,
    path: String,
}

/// A user and a password for ZooKeeper's scheme `digest`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// `user:password`, as it goes to the ensemble.
    pub(crate) fn as_digest(&self) -> String {
        format!("{}:{}", self.user, self.password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.user)
    }
}

impl ZooKeeperUrl {
    /// Whether a text is meant as such a URL: it begins with `zk://`.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.trim_start().starts_with(SCHEME)
    }

    /// The servers, each `host:port`; there is at least one.
    #[must_use]
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// The path below which masters contend, such as `/mesos`: no slash at its end, never the root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whom nodes belong to that are made below the path.
    pub(crate) fn acl(&self) -> Acl {
        if self.credentials.is_some() { Acl::ReadableByAll } else { Acl::Open }
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

impl FromStr for ZooKeeperUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(UrlError::Scheme)?;
        // As in Mesos the path begins at the first slash and the servers after the last `@` before it:
        // a password may hold an `@`, but no slash.
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (credentials, servers) = match authority.rsplit_once('@') {
            Some((credentials, servers)) => (Some(read_credentials(credentials)?), servers),
            // A slash in the password; what looks like the servers is a part of it.
            None if rest.contains('@') => return Err(UrlError::Credentials),
            None => (None, authority),
        };
        let servers = servers.split(',').map(read_server).collect::<Result<_, _>>()?;
        Ok(Self { credentials, servers, path: read_path(path)? })
    }
}

fn read_credentials(text: &str) -> Result<Credentials, UrlError> {
    let (user, password) = text.split_once(':').ok_or(UrlError::Credentials)?;
    if user.is_empty() || password.is_empty() {
        return Err(UrlError::Credentials);
    }
    Ok(Credentials { user: user.to_owned(), password: password.to_owned() })
}

fn read_server(text: &str) -> Result<String, UrlError> {
    let text = text.trim();
    let invalid = || UrlError::Server(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    let is_ipv6 = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || (host.contains(':') && !is_ipv6) || host.contains(char::is_whitespace) {
        return Err(invalid());
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(invalid()),
    }
}

fn read_path(text: &str) -> Result<String, UrlError> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let Some(names) = path.strip_prefix('/') else { return Err(UrlError::Root) };
    let is_bad = |name: &str| {
        name.is_empty() || name == "." || name == ".." || name.contains(char::is_control)
    };
    if names.split('/').any(is_bad) {
        return Err(UrlError::Path(path.to_owned()));
    }
    Ok(path.to_owned())
}

impl fmt::Display for ZooKeeperUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if let Some(credentials) = &self.credentials {
            write!(f, "{credentials:?}@")?;
        }
        write!(f, "{}{}", self.servers.join(","), self.path)
    }
}

/// What is wrong with a ZooKeeper URL. The text itself is left out, as it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It begins with something else.
    #[error("a ZooKeeper URL begins with 'zk://'")]
    Scheme,
    /// What stands before the `@` is not `user:password`.
    #[error("expected 'user:password' before the '@' of the ZooKeeper URL (without slashes)")]
    Credentials,
    /// A server is not `host:port`.
    #[error(
        "'{0}' is not a server of ZooKeeper: expected host:port (ZooKeeper's usual port is 2181)"
    )]
    Server(String),
    /// There is no path, or the root.
    #[error(
        "the ZooKeeper URL needs a path such as '/mesos' after the servers; the root is not allowed"
    )]
    Root,
    /// A part of the path is empty or cannot be the name of a node.
    #[error("'{0}' is not the path of a node of ZooKeeper")]
    Path(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_read() {
        let url: ZooKeeperUrl = " zk://me:p@:ss@a:2181,[::1]:2182/mesos/eu/ \n".parse().unwrap();
        assert_eq!(url.servers(), ["a:2181", "[::1]:2182"]);
        assert_eq!(url.path(), "/mesos/eu");
        assert_eq!(url.credentials().unwrap().as_digest(), "me:p@:ss");
        assert_eq!("zk://a:1/m".parse::<ZooKeeperUrl>().unwrap().credentials(), None);
    }

    #[test]
    fn passwords_are_not_shown() {
        let url: ZooKeeperUrl = "zk://me:secret@a:2181/mesos".parse().unwrap();
        assert_eq!(url.to_string(), "zk://me:***@a:2181/mesos");
        assert!(!format!("{url:?}").contains("secret"));
        for text in [
            "zk://me:secret@a/mesos",
            "zk://me:secret@a:1",
            "zk://secret@a:1/m",
            "zk://me:secret/x@a:1/m",
        ] {
            let error = text.parse::<ZooKeeperUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let server = |text: &str| UrlError::Server(text.to_owned());
        for (text, error) in [
            ("http://a:1/m", UrlError::Scheme),
            ("zk://a:1", UrlError::Root),
            ("zk://a:1/", UrlError::Root),
            ("zk://a:1//", UrlError::Path("/".to_owned())),
            ("zk://a:1/m//n", UrlError::Path("/m//n".to_owned())),
            ("zk:///m", server("")),
            ("zk://a/m", server("a")),
            ("zk://a:1,/m", server("")),
            ("zk://a:0/m", server("a:0")),
            ("zk://a:99999/m", server("a:99999")),
            ("zk://user@a:1/m", UrlError::Credentials),
            ("zk://:p@a:1/m", UrlError::Credentials),
        ] {
            assert_eq!(text.parse::<ZooKeeperUrl>(), Err(error), "{text}");
        }
    }
}
