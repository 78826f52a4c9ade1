//! `/weights` and `/quota` (`src/master/weights_handler.cpp`, `src/master/quota_handler.cpp`).

use hyper::Method;
use master::view::Snapshot;
use protocol::master::Call;
use protocol::master::call::{RemoveQuota, SetQuota, Type, UpdateWeights};
use protocol::mesos::WeightInfo;
use protocol::quota::QuotaRequest;
use protocol::{Message, Names, json};

use super::super::calls::json_error;
use super::super::handler::MasterHandler;
use super::super::operator_api::change;
use super::super::render;
use crate::event_loop::Stopped;
use crate::http::{ContentType, Request, Response};

/// `/weights`.
pub(in crate::master) async fn weights(
    handler: &MasterHandler,
    request: &Request,
) -> Result<Response, Stopped> {
    if request.is_read() {
        let body = handler.term()?.reads.render(render::weights).await?;
        return Ok(Response::json(body, request.query.get("jsonp")));
    }
    if request.method != Method::PUT {
        return Ok(Response::method_not_allowed(&["GET", "PUT"], &request.method));
    }
    let weight_infos = match read_weights(&request.body) {
        Ok(weight_infos) => weight_infos,
        Err(error) => return Ok(Response::bad_request(error)),
    };
    let call = Call {
        r#type: Some(Type::UpdateWeights),
        update_weights: Some(UpdateWeights { weight_infos, ..Default::default() }),
        ..Default::default()
    };
    change(handler, request.principal.clone(), call, ContentType::Json).await
}

fn read_weights(body: &[u8]) -> Result<Vec<WeightInfo>, String> {
    let text = String::from_utf8_lossy(body);
    let malformed =
        |reason| format!("Failed to parse update weights request JSON '{text}': {reason}");
    let value = json::parse(body).map_err(|error| malformed(json_error(&error, body)))?;
    let values = value.as_array().ok_or_else(|| malformed("Unexpected JSON type parsed".into()))?;
    let infos = values.iter().map(|value| WeightInfo::from_json_value(value, Names::V0));
    infos.collect::<Result<_, _>>().map_err(|error| {
        format!("Failed to convert weights JSON array to protobuf '{text}': {error}")
    })
}

/// `/quota`, and `/quota/<role>` for removal.
pub(in crate::master) async fn quota(
    handler: &MasterHandler,
    request: &Request,
) -> Result<Response, Stopped> {
    if request.is_read() {
        let body = handler.term()?.reads.render(render::quota).await?;
        return Ok(Response::json(body, request.query.get("jsonp")));
    }
    if request.method == Method::DELETE {
        let role = removed_role(&request.path);
        let snapshot = handler.term()?.reads.snapshot().await?;
        if let Err(error) = validate_removal(&snapshot, role) {
            return Ok(Response::bad_request(error));
        }
        let remove = RemoveQuota { role: role.to_owned(), ..Default::default() };
        let call = Call {
            r#type: Some(Type::RemoveQuota),
            remove_quota: Some(remove),
            ..Default::default()
        };
        return change(handler, request.principal.clone(), call, ContentType::Json).await;
    }
    if request.method != Method::POST {
        return Ok(Response::method_not_allowed(&["GET", "POST", "DELETE"], &request.method));
    }
    let quota_request = match read_quota(&request.body) {
        Ok(quota_request) => quota_request,
        Err(error) => return Ok(Response::bad_request(error)),
    };
    let call = Call {
        r#type: Some(Type::SetQuota),
        set_quota: Some(SetQuota { quota_request, ..Default::default() }),
        ..Default::default()
    };
    change(handler, request.principal.clone(), call, ContentType::Json).await
}

fn read_quota(body: &[u8]) -> Result<QuotaRequest, String> {
    let text = String::from_utf8_lossy(body);
    let malformed = |reason| format!("Failed to parse set quota request JSON '{text}': {reason}");
    let value = json::parse(body).map_err(|error| malformed(json_error(&error, body)))?;
    if !value.is_object() {
        return Err(malformed("Unexpected JSON type parsed".into()));
    }
    QuotaRequest::from_json_value(&value, Names::V0)
        .map_err(|error| format!("Failed to validate set quota request JSON '{text}': {error}"))
}

/// What follows `/quota/` in a path; it may have slashes.
fn removed_role(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.split_once("/quota/").map_or("", |(_, role)| role)
}

fn validate_removal(snapshot: &Snapshot, role: &str) -> Result<(), String> {
    if role.is_empty() {
        return Err("Failed to parse remove quota request for path '/master/quota': expected 3 \
                    tokens, found 2 tokens"
            .to_owned());
    }
    // The path that Mesos names is the one inside, whichever was asked for.
    let path = format!("/master/quota/{role}");
    let allowed = snapshot.allowed_roles.as_ref();
    if allowed.is_some_and(|allowed| role != "*" && !allowed.contains(role)) {
        return Err(format!(
            "Failed to validate remove quota request for path '{path}': Unknown role '{role}'"
        ));
    }
    if !snapshot.quotas.contains_key(role) {
        return Err(format!(
            "Failed to remove quota for path '{path}': Role '{role}' has no quota set"
        ));
    }
    Ok(())
}
