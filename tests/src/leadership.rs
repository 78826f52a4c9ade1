//! A place in a real ensemble for a master, taken by the test itself.

use std::time::Duration;

use coordination::Contender;
use serde_json::json;
use tokio::runtime::Runtime;

const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// The leader's node, for as long as this lives.
#[derive(Debug)]
pub struct Leadership {
    contender: Option<Contender>,
    runtime: Runtime,
}

impl Leadership {
    /// Takes the lead at `url` for the master at `address` (`ip:port`), with a node as masters write it.
    ///
    /// # Panics
    /// When that does not succeed.
    #[must_use]
    pub fn take(url: &str, address: &str) -> Self {
        Self::take_with(url, master_info(address).to_string().into_bytes())
    }

    /// Takes the lead at `url` with a node that holds anything.
    ///
    /// # Panics
    /// When that does not succeed.
    #[must_use]
    pub fn take_with(url: &str, data: Vec<u8>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let url = url.parse().expect("the URL of an ensemble");
        let contender = runtime.block_on(async {
            let contender = Contender::start(&url, SESSION_TIMEOUT, data);
            contender.elected().await.expect("an election that is won");
            contender
        });
        Self { contender: Some(contender), runtime }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        if let Some(contender) = self.contender.take() {
            self.runtime.block_on(contender.withdraw());
        }
    }
}

/// What a master of Apache Mesos 1.11 writes of itself.
fn master_info(address: &str) -> serde_json::Value {
    let socket: std::net::SocketAddrV4 = address.parse().expect("ip:port");
    json!({
        "address": {"hostname": "localhost", "ip": socket.ip().to_string(), "port": socket.port()},
        "capabilities": [{"type": "AGENT_UPDATE"}, {"type": "AGENT_DRAINING"}, {"type": "QUOTA_V2"}],
        "hostname": "localhost",
        "id": "7e26a1d0-4a8b-4f5c-9a57-1f4dc5f0f8f1",
        "ip": u32::from_le_bytes(socket.ip().octets()),
        "pid": format!("master@{socket}"),
        "port": socket.port(),
        "version": "1.11.0",
    })
}
