//! `meseta explain`: asks the master why a framework gets no offers, and tells it in words.

mod page;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sdk::{Credential, HttpClient};
use serde_json::Value;
use server::flags::Values;

use crate::terminal::print;

/// The most redirects followed: a master leads to the leader in one.
const REDIRECTS_MAX: usize = 3;

/// How long the leader is looked for in an ensemble.
const SEARCH_LIMIT: Duration = Duration::from_secs(10);

/// Runs `meseta explain FRAMEWORK [ROLE]`.
pub(crate) fn run(values: &Values, words: &[String]) -> Result<i32> {
    let (framework, role) = match words {
        [framework] => (framework, None),
        [framework, role] => (framework, Some(role)),
        _ => bail!("name a framework by its ID or name, and a role if need be"),
    };
    let mut path = format!("/explain?framework_id={}", encode(framework));
    if let Some(role) = role {
        path.push_str("&role=");
        path.push_str(&encode(role));
    }
    let text = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(ask(values, &path))?;
    if values.boolean("json") {
        print(&format!("{text}\n"));
        return Ok(0);
    }
    let answer: Value = serde_json::from_str(&text).context("the master's answer is no JSON")?;
    print(&page::page(&answer));
    Ok(0)
}

/// The answer of the leading master.
async fn ask(values: &Values, path: &str) -> Result<String> {
    let master = values.text("master").unwrap_or_default();
    let mut authority = crate::leader::authority(master, SEARCH_LIMIT).await?;
    for _ in 0..=REDIRECTS_MAX {
        let mut client = HttpClient::new(&authority);
        if let (Some(principal), Some(secret)) = (values.text("principal"), values.text("secret")) {
            let credential =
                Credential { principal: principal.to_owned(), secret: secret.to_owned() };
            client = client.with_credential(&credential);
        }
        let response = client.get(path).await?;
        let text = String::from_utf8_lossy(&response.body).into_owned();
        if response.status.is_success() {
            return Ok(text);
        }
        match response.location.as_deref().and_then(leader) {
            Some(leader) if response.status.is_redirection() => authority = leader,
            Some(_) | None => bail!("{authority} answered {}: {}", response.status, text.trim()),
        }
    }
    bail!("{master} leads from one master to the next, and none answers")
}

/// `host:port` in `//host:port/path`, with or without a scheme.
fn leader(location: &str) -> Option<String> {
    let (_, rest) = location.split_once("//")?;
    let authority = rest.split(['/', '?']).next()?;
    (!authority.is_empty()).then(|| authority.to_owned())
}

/// A value of a query, percent-encoded.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_name_the_leader() {
        assert_eq!(leader("//10.0.0.2:5050/explain?a=b").as_deref(), Some("10.0.0.2:5050"));
        assert_eq!(leader("http://host:1").as_deref(), Some("host:1"));
        assert_eq!(leader("/elsewhere"), None);
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encode("a b/c&d"), "a%20b%2Fc%26d");
        assert_eq!(encode("m-0001"), "m-0001");
    }
}
