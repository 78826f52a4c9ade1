use super::*;
use proptest::prelude::*;

fn decode_all(bytes: &[u8]) -> (Vec<Request>, Option<BytesMut>) {
    decode_pieces(bytes, bytes.len().max(1)).unwrap()
}

/// The messages, and what is left when ordinary HTTP begins.
fn decode_pieces(
    bytes: &[u8],
    piece: usize,
) -> Result<(Vec<Request>, Option<BytesMut>), DecodeError> {
    let mut decoder = Decoder::default();
    let mut buffer = BytesMut::new();
    let mut requests = Vec::new();
    let mut pieces = bytes.chunks(piece);
    loop {
        match decoder.next(&mut buffer)? {
            Framed::Message(request) => requests.push(request),
            Framed::Incomplete => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => return Ok((requests, None)),
            },
            Framed::Http => {
                for piece in pieces {
                    buffer.extend_from_slice(piece);
                }
                return Ok((requests, Some(buffer)));
            }
        }
    }
}

fn one(bytes: &[u8]) -> Request {
    let (mut requests, rest) = decode_all(bytes);
    assert_eq!((requests.len(), rest), (1, None));
    requests.remove(0)
}

const CHUNKED: &[u8] = b"POST /slave(1)/mesos.internal.PingSlaveMessage HTTP/1.1\r\n\
    User-Agent: libprocess/slave-observer(1)@127.0.0.1:5050\r\n\
    Libprocess-From: slave-observer(1)@127.0.0.1:5050\r\n\
    Connection: Keep-Alive\r\nHost: 127.0.0.1:5051\r\nTransfer-Encoding: chunked\r\n\r\n\
    2\r\n\x08\x01\r\n0\r\n\r\n";

const EMPTY: &[u8] = b"POST /slave-observer(1)/mesos.internal.PongSlaveMessage HTTP/1.1\r\n\
    Libprocess-From: slave(1)@127.0.0.1:5051\r\n\r\n";

/// What pymesos 0.1.7 sends: HTTP/1.0, chunked, no Libprocess-From, a host name.
const OLD: &[u8] = b"POST /master/mesos.internal.RegisterFrameworkMessage HTTP/1.0\r\n\
    User-Agent: libprocess/scheduler@localhost:41111\r\nConnection: Keep-Alive\r\n\
    Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

const LENGTH: &[u8] = b"POST /master/mesos.scheduler.Call?x=1 HTTP/1.1\r\n\
    libprocess-from:  scheduler-1@10.0.0.1:99 \r\nContent-Length: 4\r\n\r\nbody";

#[test]
fn each_form_of_message() {
    let request = one(CHUNKED);
    assert_eq!(request.from, "slave-observer(1)@127.0.0.1:5050");
    let expected = ("slave(1)".to_owned(), "mesos.internal.PingSlaveMessage".to_owned());
    assert_eq!(request.recipient(), Ok(expected));
    assert_eq!(request.body.as_ref(), b"\x08\x01");
    assert!(request.keep_alive);

    assert_eq!(one(EMPTY).body.as_ref(), b"");

    let request = one(OLD);
    assert_eq!(request.from, "scheduler@localhost:41111");
    assert_eq!(request.body.as_ref(), b"abc");
    assert!(request.keep_alive);

    let request = one(LENGTH);
    assert_eq!(request.from, "scheduler-1@10.0.0.1:99");
    assert_eq!(request.path, "/master/mesos.scheduler.Call");
    assert_eq!(request.body.as_ref(), b"body");
}

#[test]
fn the_connection_header_decides_what_follows_the_answer() {
    let close = b"POST /a/b HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\nConnection: close\r\n\r\n";
    assert!(!one(close).keep_alive);
    assert!(!one(b"POST /a/b HTTP/1.0\r\nLibprocess-From: a@1.2.3.4:5\r\n\r\n").keep_alive);
}

#[test]
fn recipients() {
    let recipient = |path: &str| {
        let request = Request {
            from: String::new(),
            path: path.into(),
            body: Bytes::new(),
            keep_alive: true,
        };
        request.recipient()
    };
    let names = |actor: &str, name: &str| Ok((actor.to_owned(), name.to_owned()));
    assert_eq!(recipient("/slave%281%29/x.Y"), names("slave(1)", "x.Y"));
    assert_eq!(recipient("/master"), names("master", ""));
    assert_eq!(recipient("/a/b/c"), names("a", "b/c"));
    for path in ["", "master/x", "/%zz/x", "/%4/x", "/%ff/x"] {
        assert_eq!(recipient(path), Err(DecodeError::Path), "{path}");
    }
}

#[test]
fn several_chunks_and_trailers_make_one_body() {
    let bytes = b"POST /a/b HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\n\
        Transfer-Encoding: gzip, chunked\r\n\r\n\
        3;extension=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
    assert_eq!(one(bytes).body.as_ref(), b"abc0123456789");
}

#[test]
fn everything_else_is_http() {
    for bytes in [
        &b"GET /state HTTP/1.1\r\n\r\n"[..],
        b"G",
        b"\x16\x03\x01",
        b"POST /api/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        b"POST /a/b HTTP/1.1\r\nUser-Agent: curl libprocess/\r\n\r\n",
        b"GET /a/b HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\n\r\n",
        b"POST nonsense\r\n\r\n",
    ] {
        let (requests, rest) = decode_all(bytes);
        assert!(requests.is_empty());
        assert_eq!(rest.unwrap(), bytes);
    }
    let endless = [b"POST /".as_slice(), &vec![b'a'; HEAD_BYTES_MAX]].concat();
    assert_eq!(decode_all(&endless).1.unwrap(), endless);
}

#[test]
fn http_after_messages_is_found_at_its_first_byte() {
    let http = b"GET /health HTTP/1.1\r\n\r\n";
    let (requests, rest) = decode_all(&[CHUNKED, EMPTY, http].concat());
    assert_eq!(requests.len(), 2);
    assert_eq!(rest.unwrap(), http.as_slice());
}

#[test]
fn wrong_framing_is_an_error() {
    let with = |header: &str, body: &str| {
        let text =
            format!("POST /a/b HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\n{header}\r\n\r\n{body}");
        decode_pieces(text.as_bytes(), 7).map(|(requests, _)| requests.len())
    };
    assert_eq!(with("Content-Length: x", ""), Err(DecodeError::ContentLength));
    assert_eq!(with("Content-Length: -1", ""), Err(DecodeError::ContentLength));
    assert_eq!(with("Content-Length: 99999999999", ""), Err(DecodeError::BodyTooLong));
    assert_eq!(with("Content-Length: 5", "abcd"), Ok(0));
    let chunked = "Transfer-Encoding: chunked";
    assert_eq!(with(chunked, "xyz\r\n"), Err(DecodeError::Chunk));
    assert_eq!(with(chunked, "3\r\nabcde"), Err(DecodeError::Chunk));
    assert_eq!(with(chunked, "fffffffffff\r\n"), Err(DecodeError::BodyTooLong));
    assert_eq!(with(chunked, &format!("1;{}", "x".repeat(9000))), Err(DecodeError::Chunk));
    assert_eq!(with(chunked, &format!("0\r\n{}", "x".repeat(9000))), Err(DecodeError::Chunk));
}

#[test]
fn any_cut_gives_the_same_messages() {
    let stream =
        [CHUNKED, EMPTY, OLD, LENGTH, b"\r\n", CHUNKED, b"GET / HTTP/1.1\r\n\r\n"].concat();
    let whole = decode_all(&stream);
    assert_eq!(whole.0.len(), 5);
    for piece in 1..stream.len() {
        assert_eq!(decode_pieces(&stream, piece).unwrap(), whole, "pieces of {piece}");
    }
}

proptest! {
    #[test]
    fn damaged_streams_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        piece in 1_usize..200,
    ) {
        let mut stream = [CHUNKED, EMPTY, OLD, LENGTH, CHUNKED].concat();
        for (index, byte) in changes {
            let position = index.index(stream.len());
            stream[position] = byte;
        }
        // However it is cut, the outcome is the same.
        let whole = decode_pieces(&stream, stream.len());
        prop_assert_eq!(decode_pieces(&stream, piece), whole);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = decode_pieces(&[&b"POST /a/b HTTP/1.1\r\n"[..], &bytes].concat(), 33);
    }
}
