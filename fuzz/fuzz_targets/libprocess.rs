//! Libprocess messages as they are framed on a connection.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use libprocess::{Decoder, Framed};

/// The messages of a connection whose bytes come in pieces of this size, up to the first thing
/// that is no message.
fn messages(input: &[u8], piece: usize) -> (Vec<libprocess::Request>, &'static str) {
    let mut decoder = Decoder::default();
    let mut buffer = BytesMut::new();
    let mut found = Vec::new();
    for piece in input.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer) {
                Ok(Framed::Incomplete) => break,
                Ok(Framed::Message(request)) => {
                    let _ = request.recipient();
                    found.push(request);
                }
                Ok(Framed::Http) => return (found, "http"),
                Err(_) => return (found, "error"),
            }
        }
    }
    (found, "end")
}

fuzz_target!(|input: &[u8]| {
    // However the bytes are cut, the messages are the same.
    let whole = messages(input, usize::MAX);
    assert_eq!(messages(input, 1), whole);
});
