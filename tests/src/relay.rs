//! Relays between clients and a server, which can be slow.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How much is passed on at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Passes on what clients and a server send to each other. Ends with its owner; its connections end with
/// either side.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddrV4,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddrV4,
    delay_millis: AtomicU64,
    is_over: AtomicBool,
}

impl Relay {
    /// Listens at a free port of `ip` for clients of `server`.
    ///
    /// # Panics
    /// When there is no such address here.
    #[must_use]
    pub fn start(ip: Ipv4Addr, server: SocketAddrV4) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let shared = Arc::new(Shared {
            server,
            delay_millis: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let clone = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &clone));
        Self { address: SocketAddrV4::new(ip, port), shared }
    }

    /// Where clients find it.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Holds back whatever arrives from now on for so long, in each direction.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_millis.store(millis, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A client whose server is away sees its connection end.
            let Ok(server) = TcpStream::connect(shared.server) else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone())
            else {
                return;
            };
            let clone = Arc::clone(&shared);
            thread::spawn(move || pass(from_client, server, &clone));
            pass(from_server, client, &shared);
        });
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        let delay = Duration::from_millis(shared.delay_millis.load(Ordering::Relaxed));
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        if to.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
