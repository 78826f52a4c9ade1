//! What the tests of this crate share: a client to look behind the scenes, and a relay that loses what
//! a network can lose.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::ZooKeeperUrl;
use crate::zookeeper::{Client, Options};

/// Longer than anything in a test takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A session of its own at the ensemble of `url`.
pub(crate) fn client(url: &str) -> Client {
    Client::connect(Options::new(&parse(url), Duration::from_secs(10)))
}

pub(crate) fn parse(url: &str) -> ZooKeeperUrl {
    url.parse().unwrap()
}

/// Runs an asynchronous test with a limit on its time.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test takes too long")
    })
}

/// What a relay does with connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes everything on.
    Pass,
    /// Holds connections and passes nothing on.
    Hold,
    /// As soon as a request holds these bytes, passes it on and ends the connection instead of passing
    /// on what the server answers.
    LoseAnswerTo(&'static [u8]),
}

/// Sits between a client and a server.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    lost: watch::Receiver<u32>,
    sent: Arc<AtomicU64>,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, receiver) = watch::channel(Mode::Pass);
        let (lost_sender, lost) = watch::channel(0);
        let lost_sender = Arc::new(lost_sender);
        let sent: Arc<AtomicU64> = Arc::default();
        let counter = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mode, lost) = (receiver.clone(), Arc::clone(&lost_sender));
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        relay(client, server, mode, &lost, &counter).await;
                    }
                });
            }
        });
        Self { address, mode, lost, sent }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// `zk://` of this relay alone.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("zk://{}{path}", self.address)
    }

    /// How many bytes clients have sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many answers were lost.
    pub(crate) fn lost(&self) -> u32 {
        *self.lost.borrow()
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    mut mode: watch::Receiver<Mode>,
    lost: &watch::Sender<u32>,
    sent: &AtomicU64,
) {
    let (mut from_client, mut from_server) = ([0; 65536], [0; 65536]);
    let mut is_losing = false;
    loop {
        if mode.wait_for(|mode| *mode != Mode::Hold).await.is_err() {
            return;
        }
        tokio::select! {
            read = client.read(&mut from_client) => {
                let bytes = &from_client[..read.unwrap_or(0)];
                if bytes.is_empty() {
                    return;
                }
                sent.fetch_add(u64::try_from(bytes.len()).unwrap(), Ordering::Relaxed);
                mode.wait_for(|mode| *mode != Mode::Hold).await.ok();
                if let Mode::LoseAnswerTo(marker) = &*mode.borrow() {
                    is_losing |= bytes.windows(marker.len()).any(|window| window == *marker);
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let bytes = &from_server[..read.unwrap_or(0)];
                if is_losing {
                    lost.send_modify(|lost| *lost += 1);
                    return;
                }
                mode.wait_for(|mode| *mode != Mode::Hold).await.ok();
                if bytes.is_empty() || client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
