//! Reads the calls of the v1 APIs off requests, and refuses them in the words of `src/master/http.cpp`.

use hyper::{StatusCode, header};
use protocol::{JsonError, Message, Names, json};

use crate::http::{ContentType, Request, Response};

/// Reads the body of a `POST` as a call.
pub(super) fn read<C: Message>(request: &Request) -> Result<C, Response> {
    if request.method != hyper::Method::POST {
        return Err(Response::method_not_allowed(&["POST"], &request.method));
    }
    let Some(content_type) = request.header(header::CONTENT_TYPE) else {
        return Err(Response::bad_request("Expecting 'Content-Type' to be present"));
    };
    match ContentType::parse(content_type) {
        Some(ContentType::Protobuf) => C::decode(&request.body).map_err(|error| {
            Response::bad_request(format!("Failed to parse body into Call protobuf: {error}"))
        }),
        Some(ContentType::Json) => {
            let value = json::parse(&request.body).map_err(|error| {
                let reason = json_error(&error, &request.body);
                Response::bad_request(format!("Failed to parse body into JSON: {reason}"))
            })?;
            C::from_json_value(&value, Names::V1).map_err(|error| {
                Response::bad_request(format!("Failed to convert JSON into Call protobuf: {error}"))
            })
        }
        None => Err(Response::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Expecting 'Content-Type' of application/json or application/x-protobuf",
        )),
    }
}

/// The encoding of the answer.
pub(super) fn accepted(request: &Request) -> Result<ContentType, Response> {
    request.accepted_content_type().ok_or_else(|| {
        Response::text(
            StatusCode::NOT_ACCEPTABLE,
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
        )
    })
}

/// A syntax error as Mesos' parser words it: with what follows the place where reading failed.
pub(super) fn json_error(error: &JsonError, body: &[u8]) -> String {
    let JsonError::Syntax(syntax) = error else { return error.to_string() };
    let line = body.split(|byte| *byte == b'\n').nth(syntax.line().saturating_sub(1));
    let rest = if syntax.is_eof() {
        &[][..]
    } else {
        let start = syntax.column().saturating_sub(1);
        line.and_then(|line| line.get(start..)).unwrap_or_default()
    };
    // Enough to find the place, whatever was sent.
    let near = String::from_utf8_lossy(rest.get(..NEAR_BYTES_MAX).unwrap_or(rest));
    format!("syntax error at line {} near: {near}", syntax.line().max(1))
}

/// How much of a malformed body is repeated in the answer.
const NEAR_BYTES_MAX: usize = 200;
