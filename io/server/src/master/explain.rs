//! `/explain`: why a framework gets no offers; and what its offer constraints leave out.

use std::sync::Arc;

use hyper::StatusCode;
use master::explain::ExplainError;

use super::handler::MasterHandler;
use super::render;
use crate::event_loop::Stopped;
use crate::http::{Rendered, Request, Response};

/// `/explain?framework_id=ID_OR_NAME&role=ROLE`.
pub(super) async fn answer(
    handler: &MasterHandler,
    request: &Request,
) -> Result<Response, Stopped> {
    if !request.is_read() {
        return Ok(Response::method_not_allowed(&["GET"], &request.method));
    }
    let Some(framework) = request.query.get("framework_id").map(str::to_owned) else {
        return Ok(Response::bad_request("Missing 'framework_id' query parameter"));
    };
    let role = request.query.get("role").map(str::to_owned);
    if let Some(Err(error)) = role.as_deref().map(resources::role::validate) {
        return Ok(Response::bad_request(format!("Invalid 'role' query parameter: {error}")));
    }
    let ask = move |master: &master::Master, now| master.explain(now, &framework, role.as_deref());
    Ok(match handler.term()?.reads.ask(ask).await? {
        Ok(explanation) => {
            let body = Arc::new(Rendered::new(render::explanation(&explanation)));
            Response::json(body, request.query.get("jsonp"))
        }
        Err(error @ ExplainError::Unknown(_)) => {
            Response::text(StatusCode::NOT_FOUND, error.to_string())
        }
        Err(error @ ExplainError::Ambiguous { .. }) => {
            Response::text(StatusCode::CONFLICT, error.to_string())
        }
    })
}

/// `/hierarchical-allocator(1)/offer_constraints_debug`.
pub(super) async fn constraints(
    handler: &MasterHandler,
    request: &Request,
) -> Result<Response, Stopped> {
    let excluded = handler.term()?.reads.ask(|master, _| master.excluded_by_constraints()).await?;
    let body = Arc::new(Rendered::new(render::offer_constraints_debug(&excluded)));
    Ok(Response::json(body, request.query.get("jsonp")))
}
