//! The smallest HTTP client that the tests need.

use std::time::Duration;

use serde_json::Value;

/// How long a single request may take before the test fails.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(REQUEST_TIMEOUT))
        .http_status_as_error(false)
        .build()
        .into()
}

/// The status and body of a GET.
#[must_use]
pub fn get(url: &str) -> (u16, String) {
    let mut response = agent().get(url).call().unwrap_or_else(|e| panic!("GET {url}: {e}"));
    let body = response.body_mut().read_to_string().unwrap_or_else(|e| panic!("GET {url}: {e}"));
    (response.status().as_u16(), body)
}

/// The JSON body of a GET, `None` while nobody listens or the answer is no success.
#[must_use]
pub fn try_get_json(url: &str) -> Option<Value> {
    let mut response = agent().get(url).call().ok()?;
    if response.status().as_u16() != 200 {
        return None;
    }
    serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()
}

/// The JSON body of a GET that must succeed.
#[must_use]
pub fn get_json(url: &str) -> Value {
    let (status, body) = get(url);
    assert_eq!(status, 200, "GET {url}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("GET {url}: {e}: {body}"))
}

/// The status and body of a POST of a form, as `curl --data-urlencode` sends it.
#[must_use]
pub fn post_form(url: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let fields = fields.iter().copied();
    let mut response =
        agent().post(url).send_form(fields).unwrap_or_else(|e| panic!("POST {url}: {e}"));
    let body = response.body_mut().read_to_string().unwrap_or_else(|e| panic!("POST {url}: {e}"));
    (response.status().as_u16(), body)
}

/// The status and body of a POST of JSON.
#[must_use]
pub fn post_json(url: &str, body: &Value) -> (u16, String) {
    let request = agent().post(url).header("Content-Type", "application/json");
    let mut response = request.send(body.to_string()).unwrap_or_else(|e| panic!("POST {url}: {e}"));
    let body = response.body_mut().read_to_string().unwrap_or_else(|e| panic!("POST {url}: {e}"));
    (response.status().as_u16(), body)
}

/// An answer as it came, redirects too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Such as 307.
    pub status: u16,
    /// The `Location` header, or nothing.
    pub location: String,
    /// The body.
    pub body: String,
}

/// The answer to a `GET`, or to a `POST` of JSON, that does not follow redirects; `None` when there is none
/// within `limit`.
#[must_use]
pub fn exchange(method: &str, url: &str, body: &str, limit: Duration) -> Option<Exchange> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .into();
    let answer = match method {
        "GET" => agent.get(url).call(),
        _ => agent.post(url).header("Content-Type", "application/json").send(body),
    };
    let mut answer = answer.ok()?;
    let location = answer.headers().get("Location").and_then(|value| value.to_str().ok());
    Some(Exchange {
        status: answer.status().as_u16(),
        location: location.unwrap_or_default().to_owned(),
        body: answer.body_mut().read_to_string().ok()?,
    })
}
