//! HTTP Basic authentication (RFC 7617), as libprocess does it (`src/authenticator.cpp`).

use std::collections::BTreeSet;

use ::authentication::Credentials;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::{Request, Response};

/// Who may come in: clients of some realms say who they are, by the principal and secret that they send
/// with each request.
#[derive(Clone, Debug, Default)]
pub struct Access {
    realms: BTreeSet<&'static str>,
    credentials: Credentials,
}

impl Access {
    /// Only those who have one of these credentials may use the endpoints of these realms.
    #[must_use]
    pub fn new(realms: BTreeSet<&'static str>, credentials: Credentials) -> Self {
        Self { realms, credentials }
    }

    /// Who sent a request to an endpoint of a realm; nobody where nobody is asked.
    ///
    /// # Errors
    /// The answer that asks for a principal and secret: 401 with a challenge that names the realm.
    pub fn principal(
        &self,
        realm: Option<&'static str>,
        request: &Request,
    ) -> Result<Option<String>, Response> {
        let Some(realm) = realm.filter(|realm| self.realms.contains(realm)) else {
            return Ok(None);
        };
        request
            .header(header::AUTHORIZATION)
            .and_then(decode)
            .filter(|(principal, secret)| self.credentials.verify(principal, secret))
            .map(|(principal, _)| Some(principal))
            .ok_or_else(|| challenge(realm))
    }
}

/// The principal and secret of an `Authorization` header.
fn decode(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (principal, secret) = decoded.split_once(':')?;
    Some((principal.to_owned(), secret.to_owned()))
}

fn challenge(realm: &str) -> Response {
    let response = Response::empty(StatusCode::UNAUTHORIZED);
    match HeaderValue::from_str(&format!("Basic realm=\"{realm}\"")) {
        Ok(value) => response.with(header::WWW_AUTHENTICATE, value),
        Err(_) => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_the_rfc_writes_it() {
        let expected = Some(("Aladdin".to_owned(), "open:sesame".to_owned()));
        let encoded = STANDARD.encode("Aladdin:open:sesame");
        assert_eq!(decode(&format!("Basic {encoded}")), expected);
        assert_eq!(decode(&format!("basic  {encoded} ")), expected);
        for header in
            ["", "Basic", "Basic !!", "Bearer abc", &format!("Basic {}", STANDARD.encode("x"))]
        {
            assert_eq!(decode(header), None, "{header}");
        }
    }
}
