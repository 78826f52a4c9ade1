//! Operators' streams, and readers that do not read.

use bytes::Bytes;
use serde_json::{Value, json};

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
    let first: Value = serde_json::from_slice(&operator.record().await?.ok_or("no event")?)?;
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

/// An event of an operator's stream, as JSON whatever it came in.
fn read_event(record: &[u8], content_type: &str) -> Result<Value, Box<dyn std::error::Error>> {
    Ok(if content_type == "application/json" {
        serde_json::from_slice(record)?
    } else {
        let event = protocol::master::Event::decode(record)?;
        serde_json::from_str(&event.to_json(protocol::Names::V1))?
    })
}

/// The value of the label that [`update`] set, if an event is about that.
fn number(event: &Value) -> Option<u64> {
    let info = &event["framework_updated"]["framework"]["framework_info"];
    info["labels"]["labels"][0]["value"].as_str()?.parse().ok()
}

/// Changes a framework so that the event about it is a megabyte.
async fn update(scheduler: &mut Scheduler, number: u64) -> TestResult {
    let call = json!({"type": "UPDATE_FRAMEWORK", "update_framework": {"framework_info": {
        "id": {"value": scheduler.id}, "user": "nobody", "name": "thin", "roles": ["dev"],
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}],
        "labels": {"labels": [
            {"key": "number", "value": number.to_string()},
            {"key": "ballast", "value": "x".repeat(1 << 20)},
        ]},
    }}});
    let answer = scheduler.call(call).await?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Ok(())
}

/// A subscriber that does not read until it is dropped then finds unbroken events and why they end, while one that
/// reads misses nothing.
async fn a_slow_subscriber_is_told(content_type: &str) -> TestResult {
    let fixture = Fixture::start().await?;
    let mut scheduler = Scheduler::subscribe(&fixture).await?;
    let mut fast = subscribe(&fixture).await?;
    let mut slow = Client::connect_narrow(fixture.address()).await?;
    let headers = format!("{JSON}Accept: {content_type}\r\n");
    slow.send(post("/api/v1", &headers, r#"{"type":"SUBSCRIBE"}"#).as_bytes()).await?;
    assert_eq!(slow.head().await?.header("Content-Type"), Some(content_type));
    assert_eq!(fast.event().await?["type"], "SUBSCRIBED");

    let mut updates = 0;
    loop {
        updates += 1;
        assert!(updates < 100, "never dropped");
        update(&mut scheduler, updates).await?;
        assert_eq!(number(&fast.event().await?), Some(updates));
        let metrics = fixture.get("/metrics/snapshot").await?.json()?;
        if metrics["master/event_streams_dropped"] == 1.0 {
            assert_eq!(metrics["master/operator_event_stream_subscribers"], 1.0);
            break;
        }
    }
    let mut events = Vec::new();
    while let Some(record) = slow.record().await? {
        events.push(read_event(&record, content_type)?);
    }
    let last = events.pop().ok_or("no events")?;
    assert_eq!(last["type"], "UNKNOWN");
    let message = last["error"]["message"].as_str().ok_or("no message")?;
    assert!(message.contains("more than the bound of 16777216"), "{message}");
    assert!(message.ends_with("subscribe again"), "{message}");
    assert_eq!(events.remove(0)["type"], "SUBSCRIBED");
    events.retain(|event| event["type"] != "HEARTBEAT");
    let seen: Vec<u64> = events.iter().filter_map(number).collect();
    assert!(seen.iter().copied().eq(1..=seen.len() as u64), "{seen:?}");
    assert_eq!(seen.len(), events.len());
    assert!((seen.len() as u64) < updates, "what waited was dropped");

    update(&mut scheduler, updates + 1).await?;
    assert_eq!(number(&fast.event().await?), Some(updates + 1));
    // The connection is still good.
    slow.send(post("/api/v1", JSON, r#"{"type":"GET_HEALTH"}"#).as_bytes()).await?;
    assert_eq!(slow.answer(false).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_slow_subscriber_is_told_in_json() -> TestResult {
    a_slow_subscriber_is_told("application/json").await
}

#[tokio::test]
async fn a_slow_subscriber_is_told_in_protobuf() -> TestResult {
    a_slow_subscriber_is_told("application/x-protobuf").await
}

#[tokio::test]
async fn a_scheduler_that_does_not_read_is_dropped_and_may_come_back() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut agent = FakeAgent::register(&fixture).await?;
    let mut stuck = Client::connect_narrow(fixture.address()).await?;
    let call = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"stuck","failover_timeout":600}}}"#;
    stuck.send(post("/api/v1/scheduler", JSON, call).as_bytes()).await?;
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
    stuck.head().await?;
    while let Some(record) = stuck.record().await? {
        let event: Value = serde_json::from_slice(&record)?;
        assert_ne!(event["type"], "ERROR", "that would be the end of the framework");
    }
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
