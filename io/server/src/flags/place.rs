//! Texts that say where masters are, and may hold the password of a ZooKeeper ensemble.

use coordination::ZooKeeperUrl;

/// How every URL of an ensemble begins.
const SCHEME: &str = "zk://";

/// The text as it may stand in logs and on pages: without the password, also when it is no valid URL.
pub(super) fn without_password(text: &str) -> String {
    if let Ok(url) = text.parse::<ZooKeeperUrl>() {
        return url.to_string();
    }
    let Some(start) = text.find(SCHEME) else { return text.to_owned() };
    let (before, rest) = text.split_at(start + SCHEME.len());
    let Some((credentials, after)) = rest.rsplit_once('@') else { return text.to_owned() };
    match credentials.split_once(':') {
        Some((user, _)) => format!("{before}{user}:***@{after}"),
        None => format!("{before}***@{after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_password_is_shown() {
        for (text, shown) in [
            ("10.0.0.1:5050", "10.0.0.1:5050"),
            ("zk://a:1,b:2/mesos", "zk://a:1,b:2/mesos"),
            ("zk://me:secret@a:1/mesos", "zk://me:***@a:1/mesos"),
            ("zk://me:sec@ret:@a:1/mesos", "zk://me:***@a:1/mesos"),
            // What is no URL, for the message that says so.
            ("zk://me:secret@a/mesos", "zk://me:***@a/mesos"),
            ("zk://me:sec/ret@a:1/mesos", "zk://me:***@a:1/mesos"),
            ("zk://secret@a:1/mesos", "zk://***@a:1/mesos"),
            ("-master=zk://me:secret@a:1/mesos", "-master=zk://me:***@a:1/mesos"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }
}
