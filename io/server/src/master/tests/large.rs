//! Answers that are sent while they are rendered.

use protocol::master::Response;
use serde_json::{Value, json};

use super::*;
use crate::http::compression::decompress;

/// Enough for the state not to be rendered as a whole.
const AGENTS: u32 = 4100;

/// More than any answer here has.
const BODY_BYTES_MAX: usize = 1 << 26;

/// A master with many agents, all on one port, which takes their messages and does not look at them.
async fn cluster() -> Result<(Fixture, Node), Box<dyn std::error::Error>> {
    let fixture = Fixture::start().await?;
    let (node, mut incoming) = Node::bind(NodeOptions::default()).await?;
    tokio::spawn(async move { while incoming.recv().await.is_some() {} });
    let message = registration(&node)?.encode_to_vec();
    for number in 0..AGENTS {
        let actor = format!("slave({number})");
        node.register_actor(&actor);
        let name = "mesos.internal.RegisterSlaveMessage";
        node.send(&actor, &fixture.master.pid(), name, message.clone());
    }
    let deadline = tokio::time::Instant::now() + 3 * PATIENCE;
    loop {
        let metrics = fixture.get("/metrics/snapshot").await?.json()?;
        if metrics["master/slaves_active"] == json!(f64::from(AGENTS)) {
            return Ok((fixture, node));
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", metrics["master/slaves_active"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a request whose answer is large, and unpacks that.
async fn large(
    fixture: &Fixture,
    request: String,
    gzip: bool,
) -> Result<Answer, Box<dyn std::error::Error>> {
    let accept = if gzip { "Host: x\r\nAccept-Encoding: gzip\r\n" } else { "Host: x\r\n" };
    let request = request.replacen("Host: x\r\n", accept, 1);
    let mut client = fixture.client().await?;
    client.send(request.as_bytes()).await?;
    let mut answer = client.head().await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Transfer-Encoding"), Some("chunked"), "sent while it is rendered");
    assert_eq!(answer.header("Content-Encoding"), gzip.then_some("gzip"));
    answer.body = client.chunks().await?;
    if gzip {
        let plain = decompress(&answer.body, BODY_BYTES_MAX)?;
        assert!(answer.body.len() < plain.len() / 5, "{} of {}", answer.body.len(), plain.len());
        answer.body = plain;
    }
    Ok(answer)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[tokio::test]
async fn large_answers_are_compressed_and_called_like_small_ones() -> TestResult {
    let (fixture, _node) = cluster().await?;
    let state = large(&fixture, get("/state"), false).await?;
    assert_eq!(state.header("Content-Type"), Some("application/json"));
    let count = |value: &Value| value.as_array().map(|list| list.len() as u64);
    assert_eq!(count(&state.json()?["slaves"]), Some(AGENTS.into()));
    let packed = large(&fixture, get("/state"), true).await?;
    assert_eq!(packed.header("Content-Type"), Some("application/json"));
    assert!(packed.body == state.body, "/state differs when it is compressed");

    for gzip in [false, true] {
        let script = large(&fixture, get("/state?jsonp=angular.callbacks._0"), gzip).await?;
        assert_eq!(script.header("Content-Type"), Some("text/javascript"));
        let expected = [b"angular.callbacks._0(", state.body.as_slice(), b")"].concat();
        assert!(script.body == expected, "the script holds something else than /state");

        let call = r#"{"type":"GET_STATE"}"#;
        let json = large(&fixture, post("/api/v1", JSON, call), gzip).await?.json()?;
        assert_eq!(count(&json["get_state"]["get_agents"]["agents"]), Some(AGENTS.into()));
        let headers = format!("{JSON}Accept: application/x-protobuf\r\n");
        let protobuf = large(&fixture, post("/api/v1", &headers, call), gzip).await?;
        assert_eq!(protobuf.header("Content-Type"), Some("application/x-protobuf"));
        let agents = Response::decode(&protobuf.body)?.get_state.and_then(|it| it.get_agents);
        assert_eq!(agents.map(|it| it.agents.len() as u64), Some(AGENTS.into()));
    }
    let refused = fixture.get("/state?jsonp=alert(1)//").await?;
    assert_eq!(refused.status, 400);
    Ok(())
}

#[tokio::test]
async fn readers_of_each_coding_come_together() -> TestResult {
    let (fixture, _node) = cluster().await?;
    let hits = async || -> Result<f64, Box<dyn std::error::Error>> {
        let metrics = fixture.get("/metrics/snapshot").await?.json()?;
        metrics["master/http_cache_hits"].as_f64().ok_or("no hits".into())
    };
    // The first finds out that the state is large.
    let state = large(&fixture, get("/state"), false).await?;
    let before = hits().await?;
    let read = |gzip| large(&fixture, get("/state"), gzip);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // Of five readers two are the first of their kind. On a busy machine the others may come too late to share.
    while hits().await? < before + 3.0 {
        assert!(tokio::time::Instant::now() < deadline, "no reader shares a rendering");
        let answers = tokio::join!(read(true), read(false), read(true), read(false), read(true));
        for answer in [answers.0, answers.1, answers.2, answers.3, answers.4] {
            assert!(answer?.body == state.body);
        }
    }
    Ok(())
}
