//! Subscriptions: stream ids, encodings, failover, and the end of a stream.

use protocol::scheduler::{Call, Event, call};
use serde_json::json;

use super::thin_path::Scheduler;
use super::*;

#[tokio::test]
async fn calls_must_carry_the_id_of_their_stream() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut scheduler = Scheduler::subscribe(&fixture).await?;
    let call = json!({"type": "REVIVE", "framework_id": {"value": scheduler.id}}).to_string();
    let missing = fixture.post("/api/v1/scheduler", JSON, &call).await?;
    assert_eq!(missing.status, 400);
    assert_eq!(
        missing.text(),
        "All non-subscribe calls should include the 'Mesos-Stream-Id' header"
    );
    let foreign = format!("{JSON}Mesos-Stream-Id: 5a3f1f5e-0000-4000-8000-000000000000\r\n");
    let foreign = fixture.post("/api/v1/scheduler", &foreign, &call).await?;
    assert_eq!(foreign.status, 400);
    assert!(foreign.text().contains("didn't match the stream ID currently associated"));
    assert_eq!(scheduler.call(json!({"type": "REVIVE"})).await?.status, 202);
    Ok(())
}

#[tokio::test]
async fn a_subscription_must_not_carry_a_stream_id() -> TestResult {
    let fixture = Fixture::start().await?;
    let headers = format!("{JSON}Mesos-Stream-Id: x\r\n");
    let call = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
    let answer = fixture.post("/api/v1/scheduler", &headers, call).await?;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), "Subscribe calls should not include the 'Mesos-Stream-Id' header");
    Ok(())
}

#[tokio::test]
async fn a_refused_subscription_is_an_error_event_and_the_end() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut client = fixture.client().await?;
    let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {
        "user": "u", "name": "n", "roles": ["a//b"], "capabilities": [{"type": "MULTI_ROLE"}],
    }}});
    client.send(post("/api/v1/scheduler", JSON, &call.to_string()).as_bytes()).await?;
    let head = client.head().await?;
    assert_eq!(head.status, 200);
    assert!(head.header("Mesos-Stream-Id").is_some());
    let event = client.event().await?;
    assert_eq!(event["type"], "ERROR");
    let message = event["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("'a//b'"), "{message}");
    assert_eq!(client.record().await?, None);
    Ok(())
}

#[tokio::test]
async fn protobuf_in_and_out() -> TestResult {
    let fixture = Fixture::start().await?;
    let call = Call {
        r#type: Some(call::Type::Subscribe),
        subscribe: Some(Box::new(call::Subscribe {
            framework_info: protocol::mesos::FrameworkInfo {
                user: "u".to_owned(),
                name: "n".to_owned(),
                ..Default::default()
            },
            ..Default::default()
        })),
        ..Default::default()
    };
    let body = call.encode_to_vec();
    let mut request = format!(
        "POST /master/api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n\
         Accept: application/x-protobuf\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    let mut client = fixture.client().await?;
    client.send(&request).await?;
    let head = client.head().await?;
    assert_eq!(head.header("Content-Type"), Some("application/x-protobuf"));
    assert_eq!(head.header("Transfer-Encoding"), Some("chunked"), "even with Connection: close");
    let record = client.record().await?.ok_or("no event")?;
    let event = Event::decode(&record)?;
    assert!(event.subscribed.is_some(), "{event:?}");
    Ok(())
}

#[tokio::test]
async fn the_newest_subscription_wins() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut first = Scheduler::subscribe(&fixture).await?;
    let call = json!({"type": "SUBSCRIBE", "framework_id": {"value": first.id}, "subscribe": {
        "framework_info": {"user": "nobody", "name": "thin", "roles": ["dev"],
            "id": {"value": first.id},
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}]},
    }});
    let mut second = fixture.client().await?;
    second.send(post("/api/v1/scheduler", JSON, &call.to_string()).as_bytes()).await?;
    assert_eq!(second.head().await?.status, 200);
    assert_eq!(second.event().await?["subscribed"]["framework_id"]["value"], first.id.as_str());
    let event = first.stream.event().await?;
    assert_eq!(event["error"]["message"], "Framework failed over");
    assert_eq!(first.stream.record().await?, None);
    let late = first.call(json!({"type": "REVIVE"})).await?;
    assert_eq!(late.status, 400, "the old stream's id is void");
    Ok(())
}

#[tokio::test]
async fn a_framework_that_hangs_up_is_removed() -> TestResult {
    let fixture = Fixture::start().await?;
    let scheduler = Scheduler::subscribe(&fixture).await?;
    let id = scheduler.id.clone();
    drop(scheduler);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let state = fixture.get("/state").await?.json()?;
        if state["completed_frameworks"][0]["id"] == id.as_str() {
            return Ok(());
        }
        assert!(tokio::time::Instant::now() < deadline, "still there: {}", state["frameworks"]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
