//! Operators' streams, and readers that do not read.

use bytes::Bytes;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use super::thin_path::Scheduler;
use super::*;

async fn subscribe(fixture: &Fixture) -> Result<Client, Box<dyn std::error::Error>> {
    let mut client = fixture.client().await?;
    client.send(post("/api/v1", JSON, r#"{"type":"SUBSCRIBE"}"#).as_bytes()).await?;
    let head = client.head().await?;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(head.header("Mesos-Stream-Id"), None);
    Ok(client)
}

#[tokio::test]
async fn operators_see_what_happens() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut operator = subscribe(&fixture).await?;
    let first: serde_json::Value =
        serde_json::from_slice(&operator.record().await?.ok_or("no event")?)?;
    assert_eq!(first["type"], "SUBSCRIBED");
    assert_eq!(first["subscribed"]["heartbeat_interval_seconds"], 15.0);
    assert_eq!(
        first["subscribed"]["get_state"],
        json!({
            "get_tasks": {"tasks": [], "unreachable_tasks": [], "completed_tasks": []},
            "get_executors": {"executors": []},
            "get_frameworks": {"frameworks": [], "completed_frameworks": []},
            "get_agents": {"agents": [], "recovered_agents": []},
        })
    );
    let agent = FakeAgent::register(&fixture).await?;
    let event = operator.event().await?;
    assert_eq!(event["type"], "AGENT_ADDED");
    assert_eq!(event["agent_added"]["agent"]["agent_info"]["id"]["value"], agent.id.value.as_str());
    let scheduler = Scheduler::subscribe(&fixture).await?;
    let event = operator.event().await?;
    assert_eq!(event["type"], "FRAMEWORK_ADDED");
    let info = &event["framework_added"]["framework"]["framework_info"];
    assert_eq!(info["id"]["value"], scheduler.id.as_str());
    Ok(())
}

#[tokio::test]
async fn a_scheduler_that_does_not_read_is_dropped() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut agent = FakeAgent::register(&fixture).await?;
    // A small window, so that not the kernel but the master keeps what is not read.
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stuck = socket.connect(fixture.address()).await?;
    let call = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"stuck","failover_timeout":600}}}"#;
    stuck.write_all(post("/api/v1/scheduler", JSON, call).as_bytes()).await?;
    let id = connected_framework(&fixture).await?;

    let message = internal::ExecutorToFrameworkMessage {
        slave_id: agent.id.clone(),
        framework_id: protocol::mesos::FrameworkId { value: id, ..Default::default() },
        executor_id: protocol::mesos::ExecutorId { value: "e".to_owned(), ..Default::default() },
        data: vec![b'x'; 1 << 20],
        ..Default::default()
    };
    let encoded = Bytes::from(message.encode_to_vec());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        assert!(tokio::time::Instant::now() < deadline, "never dropped");
        let name = "mesos.internal.ExecutorToFrameworkMessage";
        agent.node.send(AGENT_ACTOR, &fixture.master.pid(), name, &encoded);
        agent.node.flush(PATIENCE).await;
        while agent.incoming.try_recv().is_ok() {}
        assert_eq!(fixture.get("/health").await?.status, 200, "others are served");
        let state = fixture.get("/state").await?.json()?;
        if state["frameworks"][0]["connected"] == false {
            break;
        }
    }
    drop(stuck);
    Ok(())
}

async fn connected_framework(fixture: &Fixture) -> Result<String, Box<dyn std::error::Error>> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let state = fixture.get("/state").await?.json()?;
        if let Some(id) = state["frameworks"][0]["id"].as_str() {
            return Ok(id.to_owned());
        }
        assert!(tokio::time::Instant::now() < deadline, "no framework");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
