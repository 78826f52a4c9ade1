//! The kinds of values that flags take.

use std::io::{self, Read};
use std::net::Ipv4Addr;

use super::VALUE_FILE_BYTES_MAX;
use super::place::without_password;

/// What values a flag accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path; `file://` is taken off and the file is not read.
    Path,
    /// `true`, `false`, `1`, `0`, `--name` or `--no-name`.
    Boolean,
    /// A TCP port.
    Port,
    /// A whole number of at least this.
    Integer(u64),
    /// A decimal number that is not negative.
    Number,
    /// `15secs`, `1.5hrs`.
    Duration,
    /// A duration within bounds, given in seconds.
    DurationWithin(u64, u64),
    /// `2GB`.
    Bytes,
    /// `50%`.
    Percent,
    /// `1/10mins`.
    Rate,
    /// An IPv4 address.
    Address,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A JSON document, inline or as the path of a file.
    Json,
    /// The path of a file that holds secrets, or the secrets themselves. Its content is never shown.
    Secret,
    /// Where masters are: an address, or the URL of a ZooKeeper ensemble, whose password is never shown.
    Place,
}

/// Shown in place of secrets that were given on the command line itself.
const HIDDEN: &str = "(not shown)";

impl Kind {
    /// What is accepted, for error messages and help pages.
    #[must_use]
    pub fn accepted(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Boolean => "true, false, 1 or 0".to_owned(),
            Self::Port => "a port from 0 to 65535 (0 lets the system choose)".to_owned(),
            Self::Integer(minimum) => format!("a whole number of at least {minimum}"),
            Self::Number => "a number that is not negative".to_owned(),
            Self::Duration => {
                "a duration such as 15secs (ns, us, ms, secs, mins, hrs, days, weeks)".to_owned()
            }
            Self::DurationWithin(minimum, maximum) => {
                format!("a duration from {minimum}secs to {maximum}secs")
            }
            Self::Bytes => "an amount of bytes such as 2GB (B, KB, MB, GB, TB)".to_owned(),
            Self::Percent => "a percentage such as 50%".to_owned(),
            Self::Rate => "a number per duration such as 1/10mins".to_owned(),
            Self::Address => "an IPv4 address".to_owned(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Secret => "the path of a file that holds secrets".to_owned(),
            Self::Place => "host:port or zk://[user:password@]host:port,…/path".to_owned(),
            Self::Json => "a JSON document, or the path of a file that holds one".to_owned(),
        }
    }

    /// The value as `/flags` shows it, or `None` when it does not fit.
    pub(super) fn normalise(self, text: &str) -> Option<String> {
        match self {
            Self::Text | Self::Secret => Some(text.to_owned()),
            Self::Place => Some(text.trim().to_owned()),
            Self::Path => Some(text.to_owned()).filter(|text| !text.is_empty()),
            Self::Boolean => match text {
                "true" | "1" => Some("true".to_owned()),
                "false" | "0" => Some("false".to_owned()),
                _ => None,
            },
            Self::Port => text.parse::<u16>().ok().map(|port| port.to_string()),
            Self::Integer(minimum) => text
                .parse::<u64>()
                .ok()
                .filter(|value| *value >= minimum)
                .map(|value| value.to_string()),
            Self::Number => text
                .parse::<f64>()
                .ok()
                .filter(|value| value.is_finite() && *value >= 0.0)
                .map(|value| value.to_string()),
            Self::Duration => protocol::duration::parse(text).ok().map(protocol::duration::format),
            Self::DurationWithin(minimum, maximum) => protocol::duration::parse(text)
                .ok()
                .filter(|duration| {
                    duration.as_secs_f64() >= std::time::Duration::from_secs(minimum).as_secs_f64()
                        && *duration <= std::time::Duration::from_secs(maximum)
                })
                .map(protocol::duration::format),
            Self::Bytes => protocol::bytes::parse(text).ok().map(protocol::bytes::format),
            Self::Percent => {
                let number = text.strip_suffix('%')?.parse::<f64>().ok()?;
                (0.0..=100.0).contains(&number).then(|| text.to_owned())
            }
            Self::Rate => {
                let (permits, per) = text.split_once('/')?;
                let permits = permits.parse::<u32>().ok().filter(|permits| *permits > 0)?;
                let per = protocol::duration::parse(per).ok()?;
                Some(format!("{permits}/{}", protocol::duration::format(per)))
            }
            Self::Address => text.parse::<Ipv4Addr>().ok().map(|address| address.to_string()),
            Self::OneOf(words) => words.contains(&text).then(|| text.to_owned()),
            Self::Json => {
                serde_json::from_str::<serde_json::Value>(text).ok().map(|_| text.to_owned())
            }
        }
    }
}

impl Kind {
    /// The value as others may see it, from what was given and what it stands for.
    pub(super) fn shown(self, given: &str, value: &str) -> String {
        match self {
            Self::Secret if given.starts_with(['/', '.']) || given.starts_with("file://") => {
                given.to_owned()
            }
            Self::Secret => HIDDEN.to_owned(),
            // As Mesos does, which shows the path of a file and not what is in it.
            Self::Place => match given.strip_prefix("file://") {
                Some(path) => path.to_owned(),
                None => without_password(value),
            },
            Self::Text
            | Self::Path
            | Self::Boolean
            | Self::Port
            | Self::Integer(_)
            | Self::Number
            | Self::Duration
            | Self::DurationWithin(..)
            | Self::Bytes
            | Self::Percent
            | Self::Rate
            | Self::Address
            | Self::OneOf(_)
            | Self::Json => value.to_owned(),
        }
    }
}

/// Replaces a value that names a file by the file's content, without the line end that editors
/// leave behind.
pub(super) fn fetch(kind: Kind, value: &str) -> io::Result<String> {
    let path = match (kind, value.strip_prefix("file://")) {
        (Kind::Path, Some(path)) => return Ok(path.to_owned()),
        (Kind::Path, None) => return Ok(value.to_owned()),
        (_, Some(path)) => path,
        (Kind::Json | Kind::Secret, None) if value.starts_with('/') => value,
        (_, None) => return Ok(value.to_owned()),
    };
    let mut content = String::new();
    let read =
        std::fs::File::open(path)?.take(VALUE_FILE_BYTES_MAX + 1).read_to_string(&mut content)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > VALUE_FILE_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {VALUE_FILE_BYTES_MAX} bytes")));
    }
    content.truncate(content.trim_end_matches(['\n', '\r']).len());
    Ok(content)
}
