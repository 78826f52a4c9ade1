//! A whole master on an ephemeral port, spoken to as its peers do.

mod client;
mod errors;
mod large;
mod lifecycle;
mod policy;
mod reads;
mod scheduler;
mod streams;
mod thin_path;

use std::net::SocketAddr;
use std::time::Duration;

use libprocess::{Incoming, Node, NodeOptions};
use protocol::internal::{RegisterSlaveMessage, SlaveRegisteredMessage};
use protocol::mesos::{AgentId, AgentInfo};
use protocol::{Message, internal};
use resources::Resources;
use tokio::sync::mpsc;

use self::client::{Answer, Client};
use super::{MasterOptions, MasterServer, RunningMaster};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

struct Fixture {
    master: RunningMaster,
}

impl Fixture {
    async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        Self::with(MasterOptions::default()).await
    }

    async fn with(mut options: MasterOptions) -> Result<Self, Box<dyn std::error::Error>> {
        options.seed = Some(7);
        options.settings.allocation_interval = Duration::from_millis(20);
        Ok(Self { master: MasterServer::start(options).await? })
    }

    fn address(&self) -> SocketAddr {
        self.master.address().into()
    }

    async fn client(&self) -> std::io::Result<Client> {
        Client::connect(self.address()).await
    }

    /// Sends one request on a connection of its own.
    async fn request(&self, request: &str) -> Result<Answer, Box<dyn std::error::Error>> {
        self.client().await?.request(request.as_bytes()).await
    }

    async fn get(&self, path: &str) -> Result<Answer, Box<dyn std::error::Error>> {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }

    /// Sends JSON with further header lines.
    async fn post(
        &self,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Result<Answer, Box<dyn std::error::Error>> {
        self.request(&post(path, headers, body)).await
    }

    /// Calls the operator API.
    async fn call(&self, body: &str) -> Result<Answer, Box<dyn std::error::Error>> {
        self.post("/api/v1", JSON, body).await
    }
}

/// The header that most calls carry.
const JSON: &str = "Content-Type: application/json\r\n";

fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// As much of an agent as the master sees: a port that speaks libprocess.
struct FakeAgent {
    node: Node,
    incoming: mpsc::Receiver<Incoming>,
    id: AgentId,
}

const AGENT_ACTOR: &str = "slave(1)";

/// What an agent on `node` says to register.
fn registration(node: &Node) -> Result<RegisterSlaveMessage, Box<dyn std::error::Error>> {
    let total = Resources::parse("cpus:4;mem:2048;disk:1024;ports:[31000-32000]", "*")?;
    Ok(RegisterSlaveMessage {
        slave: AgentInfo {
            hostname: "127.0.0.1".to_owned(),
            port: Some(node.address().port().into()),
            resources: total.to_wire_pre_refinement()?,
            checkpoint: Some(true),
            ..Default::default()
        },
        version: Some("1.12.0".to_owned()),
        agent_capabilities: ["MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"]
            .into_iter()
            .map(|name| {
                let json = format!("{{\"type\":\"{name}\"}}");
                protocol::mesos::agent_info::Capability::from_json(
                    json.as_bytes(),
                    protocol::Names::V1,
                )
            })
            .collect::<Result<_, _>>()?,
        ..Default::default()
    })
}

impl FakeAgent {
    /// Registers, and waits until the master says so.
    async fn register(fixture: &Fixture) -> Result<Self, Box<dyn std::error::Error>> {
        let (node, incoming) = Node::bind(NodeOptions::default()).await?;
        node.register_actor(AGENT_ACTOR);
        let mut agent = Self { node, incoming, id: AgentId::default() };
        let message = registration(&agent.node)?;
        agent.send(fixture, "mesos.internal.RegisterSlaveMessage", &message);
        let registered: SlaveRegisteredMessage =
            agent.receive("mesos.internal.SlaveRegisteredMessage").await?;
        agent.id = registered.slave_id;
        Ok(agent)
    }

    fn send(&self, fixture: &Fixture, name: &str, message: &impl Message) {
        self.node.send(AGENT_ACTOR, &fixture.master.pid(), name, message.encode_to_vec());
    }

    /// Waits for the next message called `name`; pings are answered, others skipped.
    async fn receive<M: Message>(&mut self, name: &str) -> Result<M, Box<dyn std::error::Error>> {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.incoming.recv()).await?;
            let Some(Incoming::Message { from, name: received, body, .. }) = event else {
                continue;
            };
            if received == "mesos.internal.PingSlaveMessage" {
                let pong = internal::PongSlaveMessage::default().encode_to_vec();
                self.node.send(AGENT_ACTOR, &from, "mesos.internal.PongSlaveMessage", pong);
            }
            if received == name {
                return Ok(M::decode(&body)?);
            }
        }
    }
}
