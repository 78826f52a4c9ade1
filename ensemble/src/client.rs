//! A client that looks into an ensemble, and changes what it finds there, as a person with `zkCli` would.
//!
//! It shares nothing with the client under test, speaks to one server, and waits for each answer.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked for as the session's length, in milliseconds. The client sends no pings, so it is to be
/// used and dropped.
const SESSION_TIMEOUT: i32 = 30_000;

/// The largest answer that is read: what a server sends at most.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Operations, as `ZooDefs.OpCode` numbers them.
const CREATE: i32 = 1;
const DELETE: i32 = 2;
const GET: i32 = 4;
const SET: i32 = 5;
const CHILDREN: i32 = 8;
const AUTHENTICATE: i32 = 100;
const CLOSE: i32 = -11;

/// The number of a request that proves who the client is.
const AUTHENTICATE_ID: i32 = -4;

/// What everybody, or the creator alone, may do: everything.
const ALL_RIGHTS: i32 = 31;

/// The answer that there is no such node.
const NO_NODE: i32 = -101;

/// Who may read and change a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    World,
    /// Whoever has the credentials that this client gave.
    Creator,
}

/// A session at one server. Dropping it ends the session.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    last_id: i32,
}

impl Client {
    /// Begins a session.
    ///
    /// # Errors
    /// The server does not answer, or is not part of a quorum.
    pub fn connect(address: SocketAddrV4) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::V4(address), ANSWER_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, last_id: 0 };
        let mut request = Request::default();
        request.int(0).long(0).int(SESSION_TIMEOUT).long(0).buffer(&[0; 16]);
        client.send(&request)?;
        client.receive()?;
        Ok(client)
    }

    /// Says who the client is, as `user:password`.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn authenticate(&mut self, credentials: &str) -> io::Result<()> {
        let mut request = Request::default();
        request.int(AUTHENTICATE_ID).int(AUTHENTICATE);
        request.int(0).buffer(b"digest").buffer(credentials.as_bytes());
        self.send(&request)?;
        self.answer("authenticate", "").map(drop)
    }

    /// Makes a node.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub fn create(&mut self, path: &str, data: &[u8], access: Access) -> io::Result<()> {
        let (scheme, id) = match access {
            Access::World => ("world", "anyone"),
            Access::Creator => ("auth", ""),
        };
        let mut request = self.request(CREATE);
        request.buffer(path.as_bytes()).buffer(data);
        request.int(1).int(ALL_RIGHTS).buffer(scheme.as_bytes()).buffer(id.as_bytes());
        request.int(0);
        self.send(&request)?;
        self.answer("create", path).map(drop)
    }

    /// Replaces the data of a node.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub fn set(&mut self, path: &str, data: &[u8]) -> io::Result<()> {
        let mut request = self.request(SET);
        request.buffer(path.as_bytes()).buffer(data).int(-1);
        self.send(&request)?;
        self.answer("set", path).map(drop)
    }

    /// Removes a node that has no children.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub fn delete(&mut self, path: &str) -> io::Result<()> {
        let mut request = self.request(DELETE);
        request.buffer(path.as_bytes()).int(-1);
        self.send(&request)?;
        self.answer("delete", path).map(drop)
    }

    /// The data of a node.
    ///
    /// # Errors
    /// There is no such node ([`io::ErrorKind::NotFound`]), the server refuses, or does not answer.
    pub fn get(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let mut request = self.request(GET);
        request.buffer(path.as_bytes()).boolean(false);
        self.send(&request)?;
        let mut answer = self.answer("get", path)?;
        answer.take_buffer()
    }

    /// The names of a node's children, in order.
    ///
    /// # Errors
    /// There is no such node ([`io::ErrorKind::NotFound`]), the server refuses, or does not answer.
    pub fn children(&mut self, path: &str) -> io::Result<Vec<String>> {
        let mut request = self.request(CHILDREN);
        request.buffer(path.as_bytes()).boolean(false);
        self.send(&request)?;
        let mut answer = self.answer("list", path)?;
        let count = answer.take_int()?;
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(String::from_utf8_lossy(&answer.take_buffer()?).into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn request(&mut self, operation: i32) -> Request {
        self.last_id += 1;
        let mut request = Request::default();
        request.int(self.last_id).int(operation);
        request
    }

    fn send(&mut self, request: &Request) -> io::Result<()> {
        let length = i32::try_from(request.0.len()).map_err(io::Error::other)?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&request.0);
        self.stream.write_all(&bytes)
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(Answer { bytes, position: 0 })
    }

    fn answer(&mut self, operation: &str, path: &str) -> io::Result<Answer> {
        let mut answer = self.receive()?;
        answer.take::<4>()?;
        answer.take::<8>()?;
        match answer.take_int()? {
            0 => Ok(answer),
            NO_NODE => Err(io::Error::new(io::ErrorKind::NotFound, format!("no node {path}"))),
            code => Err(io::Error::other(format!("cannot {operation} {path}: code {code}"))),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let request = self.request(CLOSE);
        // A session that is not ended here ends by itself.
        let _ = self.send(&request);
    }
}

/// A request in ZooKeeper's encoding: big-endian numbers, byte strings after their lengths.
#[derive(Default)]
struct Request(Vec<u8>);

impl Request {
    fn int(&mut self, value: i32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn long(&mut self, value: i64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn boolean(&mut self, value: bool) -> &mut Self {
        self.0.push(u8::from(value));
        self
    }

    fn buffer(&mut self, value: &[u8]) -> &mut Self {
        self.int(i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.0.extend_from_slice(value);
        self
    }
}

struct Answer {
    bytes: Vec<u8>,
    position: usize,
}

impl Answer {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let rest = &self.bytes[self.position..];
        let (first, _) = rest.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.position += N;
        Ok(*first)
    }

    fn take_int(&mut self) -> io::Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    /// Empty when it is absent.
    fn take_buffer(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.take_int()?).unwrap_or(0);
        let end = self.position.saturating_add(length);
        let found = self.bytes.get(self.position..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.position = end;
        Ok(found.to_vec())
    }
}
