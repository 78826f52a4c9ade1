//! Whether this master leads, and where requests are sent when it does not.

use hyper::StatusCode;

use super::endpoint::Endpoint;
use crate::http::{Request, Response};

/// What is known of the leading master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This master leads.
    Leading,
    /// This master is elected and not ready yet.
    Recovering,
    /// Another one does.
    Elsewhere {
        /// The name it publishes.
        hostname: String,
        /// Its port.
        port: u16,
    },
    /// Nobody is known to lead.
    Unknown,
}

impl Leadership {
    /// The answer to a request that only the leader answers, if this master does not lead.
    pub(super) fn divert(&self, endpoint: Endpoint, request: &Request) -> Option<Response> {
        if !endpoint.needs_leader() || endpoint == Endpoint::Redirect {
            return None;
        }
        match self {
            Self::Leading => None,
            Self::Recovering => {
                let text = "Master has not finished recovery";
                Some(Response::text(StatusCode::SERVICE_UNAVAILABLE, text))
            }
            Self::Unknown => {
                Some(Response::text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected"))
            }
            Self::Elsewhere { hostname, port } => Some(Response::temporary_redirect(&format!(
                "//{hostname}:{port}{}",
                request.target
            ))),
        }
    }

    /// `/redirect`: to the leader, which may be this master. `own` is its own name and port.
    pub(super) fn redirect(&self, own: (&str, u16), request: &Request) -> Response {
        // A longer path would come back here for ever.
        let path = request.path.trim_end_matches('/');
        if path != "/redirect" && path != "/master/redirect" {
            return Response::not_found();
        }
        let (hostname, port) = match self {
            Self::Leading | Self::Recovering => own,
            Self::Elsewhere { hostname, port } => (hostname.as_str(), *port),
            Self::Unknown => {
                return Response::text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected");
            }
        };
        Response::temporary_redirect(&format!("//{hostname}:{port}"))
    }
}
