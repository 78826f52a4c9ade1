//! A daemon's HTTP half against raw sockets.

mod calls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::connection::PeerMessage;
use super::stream::stream;
use super::*;

/// Answers a few paths; everything else is the request's own body.
#[derive(Default)]
struct Echo {
    messages: Mutex<Vec<PeerMessage>>,
    senders: Mutex<Vec<StreamSender>>,
    closed: Mutex<Option<mpsc::UnboundedSender<()>>>,
}

impl Handler for Echo {
    async fn handle(&self, request: Request) -> Response {
        match request.path.as_str() {
            "/empty" => Response::empty(StatusCode::OK),
            "/big" => {
                let body = Arc::new(Rendered::new(vec![b'x'; 2000]));
                Response::json(body, request.query.get("jsonp"))
            }
            "/stream" => {
                let closed = self.closed.lock().ok().and_then(|closed| closed.clone());
                let (sender, body) = stream(request.connection.clone(), move || {
                    if let Some(closed) = closed {
                        let _ = closed.send(());
                    }
                });
                if let Ok(mut senders) = self.senders.lock() {
                    senders.push(sender);
                }
                Response::stream(ContentType::Json, body)
            }
            "/api/v1/scheduler" if request.body.starts_with(b"slow") => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Response::bad_request(String::from_utf8_lossy(&request.body))
            }
            "/api/v1/scheduler" if request.body.starts_with(b"none") => {
                Response::empty(StatusCode::ACCEPTED)
            }
            "/api/v1/scheduler" if request.body.starts_with(b"close") => {
                Response::empty(StatusCode::ACCEPTED).closing()
            }
            "/post-only" => Response::method_not_allowed(&["POST"], &request.method),
            _ => {
                Response::content(ContentType::Json, Arc::new(Rendered::new(request.body.to_vec())))
            }
        }
    }

    async fn deliver(&self, message: PeerMessage) -> bool {
        let known = message.actor == "master";
        if let Ok(mut messages) = self.messages.lock() {
            messages.push(message);
        }
        known
    }
}

type TestResult = Result<(), Box<dyn std::error::Error>>;

struct Fixture {
    address: SocketAddr,
    echo: Arc<Echo>,
    shutdown: watch::Sender<bool>,
}

impl Fixture {
    async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let echo = Arc::new(Echo::default());
        let (shutdown, stopping) = watch::channel(false);
        let handler = Arc::clone(&echo);
        tokio::spawn(async move {
            while let Ok((socket, peer)) = listener.accept().await {
                tokio::spawn(serve(
                    socket,
                    Bytes::new(),
                    peer,
                    Arc::clone(&handler),
                    stopping.clone(),
                ));
            }
        });
        Ok(Self { address, echo, shutdown })
    }

    /// Sends `request` and returns all that comes until the server closes or is silent for a moment.
    async fn exchange(&self, request: &[u8]) -> std::io::Result<String> {
        let mut socket = TcpStream::connect(self.address).await?;
        socket.write_all(request).await?;
        read_available(&mut socket).await
    }
}

async fn read_available(socket: &mut TcpStream) -> std::io::Result<String> {
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match tokio::time::timeout(Duration::from_millis(150), socket.read(&mut buffer)).await {
            Ok(Ok(0)) | Err(_) => break,
            Ok(Ok(count)) => answer.extend_from_slice(&buffer[..count]),
            Ok(Err(error)) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut request = Vec::new();
    for number in 0..50 {
        let body = format!("{{\"n\":{number}}}");
        request.extend_from_slice(
            format!(
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
    }
    let answer = fixture.exchange(&request).await?;
    let numbers: Vec<&str> =
        answer.split("{\"n\":").skip(1).filter_map(|part| part.split('}').next()).collect();
    let expected: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    Ok(())
}

#[tokio::test]
async fn head_has_the_length_and_no_body() -> TestResult {
    let fixture = Fixture::start().await?;
    let answer = fixture.exchange(b"HEAD /big HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("Content-Length: 2000\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn an_empty_answer_says_so() -> TestResult {
    let fixture = Fixture::start().await?;
    let answer = fixture.exchange(b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    assert!(answer.contains("Content-Length: 0\r\n"), "{answer}");
    assert!(!answer.contains("Content-Type"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn big_answers_are_compressed_when_the_client_asks() -> TestResult {
    let fixture = Fixture::start().await?;
    let answer =
        fixture.exchange(b"GET /big HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").await?;
    assert!(answer.contains("Content-Encoding: gzip\r\n"), "{answer}");
    let plain = fixture.exchange(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    assert!(!plain.contains("Content-Encoding"), "{plain}");
    let small =
        b"POST /echo HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}";
    let answer = fixture.exchange(small).await?;
    assert!(!answer.contains("Content-Encoding"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn jsonp_wraps_the_body_in_a_call() -> TestResult {
    let fixture = Fixture::start().await?;
    let answer = fixture
        .exchange(b"GET /big?jsonp=angular.callbacks._0 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await?;
    assert!(answer.contains("Content-Type: text/javascript\r\n"), "{answer}");
    assert!(
        answer.contains("\r\n\r\nangular.callbacks._0(xxx") && answer.ends_with("xxx)"),
        "{answer}"
    );
    let answer = fixture.exchange(b"GET /big?jsonp=alert(1)// HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    Ok(())
}

#[tokio::test]
async fn compressed_requests_are_read_and_bombs_refused() -> TestResult {
    let fixture = Fixture::start().await?;
    for (plain, status) in
        [(b"{\"a\":1}".to_vec(), "200"), (vec![0; REQUEST_BODY_BYTES_MAX + 1], "413")]
    {
        let packed = compression::compress(&plain)?;
        let mut request = format!(
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        )
        .into_bytes();
        request.extend_from_slice(&packed);
        let answer = fixture.exchange(&request).await?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn oversized_bodies_get_413() -> TestResult {
    let fixture = Fixture::start().await?;
    let declared = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        REQUEST_BODY_BYTES_MAX + 1
    );
    let answer = fixture.exchange(declared.as_bytes()).await?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    let mut socket = TcpStream::connect(fixture.address).await?;
    socket
        .write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    let mut chunk = b"100000\r\n".to_vec();
    chunk.extend_from_slice(&vec![b' '; 0x10_0000]);
    chunk.extend_from_slice(b"\r\n");
    for _ in 0..=REQUEST_BODY_BYTES_MAX / 0x10_0000 {
        socket.write_all(&chunk).await?;
    }
    let answer = read_available(&mut socket).await?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    Ok(())
}

#[tokio::test]
async fn oversized_heads_get_431() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut request = b"GET /echo HTTP/1.1\r\nHost: x\r\nX: ".to_vec();
    request.extend_from_slice(&vec![b'x'; REQUEST_HEAD_BYTES_MAX + 1]);
    let answer = fixture.exchange(&request).await?;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    Ok(())
}

#[tokio::test]
async fn malformed_requests_get_400() -> TestResult {
    let fixture = Fixture::start().await?;
    for request in ["garbage\r\n\r\n", "GET /echo?a=%zz HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let answer = fixture.exchange(request.as_bytes()).await?;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn half_sent_requests_end_and_idle_connections_do_not() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut half = TcpStream::connect(fixture.address).await?;
    half.write_all(b"GET /empty HTT").await?;
    let mut half_body = TcpStream::connect(fixture.address).await?;
    half_body.write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{").await?;
    let mut idle = TcpStream::connect(fixture.address).await?;
    idle.write_all(b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n").await?;

    let mut rest = Vec::new();
    half.read_to_end(&mut rest).await?;
    assert!(rest.is_empty(), "closed without an answer");
    half_body.read_to_end(&mut rest).await?;
    assert!(String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 408 "));

    tokio::time::sleep(REQUEST_STALL_TIMEOUT * 100).await;
    read_available(&mut idle).await?;
    idle.write_all(b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    assert!(read_available(&mut idle).await?.starts_with("HTTP/1.1 200 "));
    Ok(())
}

#[tokio::test]
async fn a_libprocess_message_between_requests_is_delivered() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut request = b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    request.extend_from_slice(
        b"POST /master/mesos.internal.PingSlaveMessage HTTP/1.1\r\nUser-Agent: libprocess/slave(1)@127.0.0.1:5051\r\n\
          Libprocess-From: slave(1)@127.0.0.1:5051\r\nConnection: Keep-Alive\r\nHost: \r\n\
          Transfer-Encoding: chunked\r\n\r\n2\r\n\x08\x01\r\n0\r\n\r\n",
    );
    request.extend_from_slice(
        b"POST /nobody/x HTTP/1.1\r\nLibprocess-From: slave(1)@127.0.0.1:5051\r\nHost: x\r\n\r\n",
    );
    let answer = fixture.exchange(&request).await?;
    let statuses: Vec<&str> =
        answer.matches("HTTP/1.1 202").chain(answer.matches("HTTP/1.1 404")).collect();
    assert_eq!(statuses.len(), 2, "{answer}");
    let messages = fixture.echo.messages.lock().map_err(|_| "poisoned")?;
    assert_eq!(messages[0].from, "slave(1)@127.0.0.1:5051".parse()?);
    assert_eq!(messages[0].name, "mesos.internal.PingSlaveMessage");
    assert_eq!(messages[0].body, Bytes::from_static(b"\x08\x01"));
    Ok(())
}

#[tokio::test]
async fn a_stream_is_chunked_even_when_the_client_wants_the_connection_closed() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut socket = TcpStream::connect(fixture.address).await?;
    socket.write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let head = read_available(&mut socket).await?;
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    let sender = fixture.echo.senders.lock().map_err(|_| "poisoned")?.remove(0);
    sender.send(Bytes::from_static(b"2\n{}"))?;
    assert_eq!(read_available(&mut socket).await?, "4\r\n2\n{}\r\n");
    drop(sender);
    assert_eq!(read_available(&mut socket).await?, "0\r\n\r\n");
    Ok(())
}

#[tokio::test]
async fn the_daemon_learns_at_once_that_a_reader_left() -> TestResult {
    let fixture = Fixture::start().await?;
    let (closed, mut closings) = mpsc::unbounded_channel();
    *fixture.echo.closed.lock().map_err(|_| "poisoned")? = Some(closed);
    let mut socket = TcpStream::connect(fixture.address).await?;
    socket.write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    read_available(&mut socket).await?;
    drop(socket);
    tokio::time::timeout(Duration::from_secs(5), closings.recv()).await?;
    let sender = fixture.echo.senders.lock().map_err(|_| "poisoned")?.remove(0);
    assert_eq!(sender.send(Bytes::from_static(b"x")), Err(stream::SendError::Closed));
    Ok(())
}

/// The size of each record for a reader that does not read.
const RECORD_BYTES: usize = 1 << 20;

/// A stream whose reader does not read, given up, and how many records were taken before.
async fn given_up(fixture: &Fixture) -> Result<(TcpStream, usize), Box<dyn std::error::Error>> {
    let (closed, mut closings) = mpsc::unbounded_channel();
    *fixture.echo.closed.lock().map_err(|_| "poisoned")? = Some(closed);
    let mut socket = TcpStream::connect(fixture.address).await?;
    socket.write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    read_available(&mut socket).await?;
    let sender = fixture.echo.senders.lock().map_err(|_| "poisoned")?.remove(0);
    let record = Bytes::from(vec![b'x'; RECORD_BYTES]);
    // What does not fit into the sockets' buffers waits in the queue, up to its bound.
    for sent in 0..256 {
        let Err(error) = sender.send(record.clone()) else {
            tokio::task::yield_now().await;
            continue;
        };
        let waiting = STREAM_QUEUE_BYTES_MAX + RECORD_BYTES;
        let bytes_max = STREAM_QUEUE_BYTES_MAX;
        assert_eq!(error, stream::SendError::Overflow { waiting, bytes_max });
        sender.give_up(Some(Bytes::from_static(b"why")));
        tokio::time::timeout(Duration::from_secs(5), closings.recv()).await?;
        let answer = fixture.exchange(b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "others are served");
        return Ok((socket, sent));
    }
    Err("it never overflows".into())
}

#[tokio::test]
async fn a_reader_that_is_given_up_may_take_the_rest() -> TestResult {
    let fixture = Fixture::start().await?;
    let (mut socket, sent) = given_up(&fixture).await?;
    let answer = read_available(&mut socket).await?;
    let head = format!("{RECORD_BYTES:X}\r\n");
    let parts: Vec<&str> = answer.split(&head).collect();
    let (last, whole) = parts[1..].split_last().ok_or("nothing was written")?;
    assert!(whole.iter().all(|part| part.len() == RECORD_BYTES + 2), "a record was cut");
    let ending = last.trim_start_matches('x');
    assert_eq!(ending, "\r\n3\r\nwhy\r\n0\r\n\r\n");
    assert_eq!(last.len() - ending.len(), RECORD_BYTES);
    assert!(parts.len() - 1 < sent, "what waited was dropped");
    // The connection is as good as before.
    tokio::time::pause();
    tokio::time::sleep(DRAIN_TIMEOUT * 2).await;
    tokio::time::resume();
    socket.write_all(b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    assert!(read_available(&mut socket).await?.starts_with("HTTP/1.1 200 "));
    Ok(())
}

#[tokio::test]
async fn a_reader_that_is_given_up_and_reads_nothing_is_cut_off() -> TestResult {
    let fixture = Fixture::start().await?;
    let (mut socket, _) = given_up(&fixture).await?;
    tokio::time::pause();
    tokio::time::sleep(DRAIN_TIMEOUT * 2).await;
    tokio::time::resume();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut rest)).await??;
    assert!(!rest.is_empty() && !rest.ends_with(b"0\r\n\r\n"), "cut off: {}", rest.len());
    Ok(())
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_open_streams() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut idle = TcpStream::connect(fixture.address).await?;
    idle.write_all(b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    read_available(&mut idle).await?;
    fixture.shutdown.send(true)?;
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(2), idle.read_to_end(&mut rest)).await??;
    Ok(())
}
