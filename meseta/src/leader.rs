//! Where the leading master is, for commands that ask it once.

use std::time::Duration;

use anyhow::Result;
use coordination::Detector;

/// The `host:port` to ask. A master at a fixed address is taken as it is, and redirects if it does not
/// lead; one that an ensemble elects is looked for, for at most `limit`.
pub(crate) async fn authority(master: &str, limit: Duration) -> Result<String> {
    let detector = Detector::new(master)?;
    if detector.zookeeper().is_none() {
        return Ok(detector.to_string());
    }
    Ok(detector.resolve(limit).await?.pid.address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fixed_addresses_are_taken_as_they_are() {
        for (text, expected) in [
            ("localhost:5050", "localhost:5050"),
            ("master@10.0.0.1:5050", "10.0.0.1:5050"),
            (" host:1\n", "host:1"),
        ] {
            assert_eq!(authority(text, Duration::ZERO).await.unwrap(), expected);
        }
        for text in ["host", "zk://host/mesos", "zk://a:2181"] {
            assert!(authority(text, Duration::ZERO).await.is_err(), "{text}");
        }
    }
}
