//! Messages and replies as bytes (`3rdparty/libprocess/src/encoder.hpp`).

use std::io::Write;
use std::net::SocketAddrV4;
use std::time::SystemTime;

use protocol::pid::Pid;

/// Appends one message to `output`, exactly as libprocess writes it: `User-Agent` first (old
/// receivers look only there), the body as one chunk, and for an empty body no framing header.
pub fn encode_message(
    from_actor: &str,
    from_address: SocketAddrV4,
    to: &Pid,
    name: &str,
    body: &[u8],
    output: &mut Vec<u8>,
) {
    output.reserve(body.len() + 2 * from_actor.len() + to.id.len() + name.len() + 256);
    output.extend_from_slice(b"POST ");
    if !to.id.is_empty() {
        output.push(b'/');
        output.extend_from_slice(to.id.as_bytes());
    }
    append(
        output,
        format_args!(
            "/{name} HTTP/1.1\r\n\
             User-Agent: libprocess/{from_actor}@{from_address}\r\n\
             Libprocess-From: {from_actor}@{from_address}\r\n\
             Connection: Keep-Alive\r\n\
             Host: {}\r\n",
            to.address
        ),
    );
    if body.is_empty() {
        output.extend_from_slice(b"\r\n");
        return;
    }
    append(output, format_args!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()));
    output.extend_from_slice(body);
    output.extend_from_slice(b"\r\n0\r\n\r\n");
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The message was delivered.
    Accepted,
    /// No such actor.
    NotFound,
    /// The request is not one we take.
    BadRequest(String),
    /// The request is a message, but nobody can tell from whom or to whom.
    InternalServerError(String),
}

/// Appends one reply to `output`.
pub(crate) fn encode_reply(reply: &Reply, now: SystemTime, output: &mut Vec<u8>) {
    let (status, body) = match reply {
        Reply::Accepted => ("202 Accepted", ""),
        Reply::NotFound => ("404 Not Found", ""),
        Reply::BadRequest(reason) => ("400 Bad Request", reason.as_str()),
        Reply::InternalServerError(reason) => ("500 Internal Server Error", reason.as_str()),
    };
    append(
        output,
        format_args!(
            "HTTP/1.1 {status}\r\nDate: {}\r\nContent-Length: {}\r\n\r\n{body}",
            httpdate::HttpDate::from(now),
            body.len()
        ),
    );
}

fn append(output: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = output.write_fmt(text);
}
