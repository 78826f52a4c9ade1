//! How a master starts, stops, comes back, and does not lead.

use std::net::Ipv4Addr;

use serde_json::json;

use super::thin_path::Scheduler;
use super::*;
use crate::master::{Leadership, RegistryStore, StartError};

fn kept_in(folder: &std::path::Path) -> MasterOptions {
    MasterOptions {
        registry: RegistryStore::WorkDir(folder.to_owned()),
        ..MasterOptions::default()
    }
}

#[tokio::test]
async fn agents_and_frameworks_are_known_after_a_restart() -> TestResult {
    let folder = tempfile::tempdir()?;
    let fixture = Fixture::with(kept_in(folder.path())).await?;
    let agent = FakeAgent::register(&fixture).await?;
    let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {
        "user": "u", "name": "n", "failover_timeout": 600.0,
    }}});
    let mut stream = fixture.client().await?;
    stream.send(post("/api/v1/scheduler", JSON, &call.to_string()).as_bytes()).await?;
    assert_eq!(stream.head().await?.status, 200);
    let event = stream.event().await?;
    let id = event["subscribed"]["framework_id"]["value"].clone();
    fixture.master.shutdown().await;

    let fixture = Fixture::with(kept_in(folder.path())).await?;
    let state = fixture.get("/state").await?.json()?;
    assert_eq!(state["recovered_slaves"][0]["id"], agent.id.value.as_str());
    assert_eq!(state["frameworks"][0]["id"], id);
    assert_eq!(state["frameworks"][0]["recovered"], true);
    let metrics = fixture.get("/metrics/snapshot").await?.json()?;
    assert!(metrics["registrar/registry_size_bytes"].as_f64() > Some(0.0));
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_an_error_and_nothing_is_written() -> TestResult {
    let folder = tempfile::tempdir()?;
    let taken = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut options = kept_in(&folder.path().join("work"));
    options.port = taken.local_addr()?.port();
    let error = MasterServer::start(options).await.err().ok_or("it started")?;
    assert!(matches!(error, StartError::Bind(_)), "{error}");
    assert!(error.to_string().starts_with("cannot listen on 127.0.0.1:"), "{error}");
    assert!(!folder.path().join("work").exists());
    Ok(())
}

#[tokio::test]
async fn a_foreign_registry_is_an_error_and_left_alone() -> TestResult {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("registry/records.redb");
    std::fs::create_dir(folder.path().join("registry"))?;
    std::fs::write(&file, "somebody else's")?;
    let error = MasterServer::start(kept_in(folder.path())).await.err().ok_or("it started")?;
    assert!(matches!(error, StartError::Registry(_)), "{error}");
    assert!(!error.to_string().contains('\n'), "one line");
    assert_eq!(std::fs::read_to_string(file)?, "somebody else's");

    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "")?;
    let error = MasterServer::start(kept_in(&blocked)).await.err().ok_or("it started")?;
    assert!(error.to_string().contains("file"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_master_that_does_not_lead_sends_its_clients_on() -> TestResult {
    let fixture = Fixture::start().await?;
    let hostname = "elsewhere".to_owned();
    fixture.master.set_leadership(Leadership::Elsewhere { hostname, port: 5050 });
    for (path, location) in [
        ("/state?x=1", "//elsewhere:5050/state?x=1"),
        ("/master/slaves", "//elsewhere:5050/master/slaves"),
        ("/redirect", "//elsewhere:5050"),
        ("/explain?framework_id=a", "//elsewhere:5050/explain?framework_id=a"),
        ("/api/v1", "//elsewhere:5050/api/v1"),
        ("/api/v1/scheduler", "//elsewhere:5050/api/v1/scheduler"),
    ] {
        let answer = fixture.get(path).await?;
        assert_eq!((answer.status, answer.header("Location")), (307, Some(location)), "{path}");
    }
    fixture.master.set_leadership(Leadership::Unknown);
    let answer = fixture.get("/state").await?;
    assert_eq!((answer.status, answer.text().as_str()), (503, "No leader elected"));
    for path in ["/health", "/flags", "/version", "/metrics/snapshot"] {
        assert_eq!(fixture.get(path).await?.status, 200, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn stopping_ends_streams_and_frees_the_port() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut scheduler = Scheduler::subscribe(&fixture).await?;
    let address = fixture.address();
    fixture.master.shutdown().await;
    while scheduler.stream.record().await?.is_some() {}
    scheduler.calls.rest().await?;
    tokio::net::TcpListener::bind(address).await?;
    Ok(())
}

#[tokio::test]
async fn half_a_request_does_no_harm() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut half = fixture.client().await?;
    half.send(b"POST /api/v1 HTTP/1.1\r\nContent-Le").await?;
    let mut body = fixture.client().await?;
    body.send(b"POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").await?;
    assert_eq!(fixture.get("/health").await?.status, 200);
    let length = crate::http::REQUEST_BODY_BYTES_MAX + 1;
    let request = format!("POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    assert_eq!(fixture.request(&request).await?.status, 413);
    Ok(())
}
