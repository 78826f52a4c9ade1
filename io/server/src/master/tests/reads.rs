//! What can be read from a running master.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;

fn golden(name: &str) -> Result<Value, Box<dyn std::error::Error>> {
    Ok(serde_json::from_slice(&fs::read(golden_folder().join(format!("{name}.json")))?)?)
}

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/master")
}

#[tokio::test]
async fn every_path_form_leads_to_the_same() -> TestResult {
    let fixture = Fixture::start().await?;
    for path in ["/state", "/master/state", "/state.json", "/state/", "/master/state.json"] {
        let answer = fixture.get(path).await?;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{path}");
        assert_eq!(answer.json()?["version"], "1.12.0", "{path}");
    }
    let posted = fixture.post("/state", "", "").await?;
    assert_eq!(posted.status, 200, "Mesos does not mind the method");
    let prefix = fixture.post("/api/v1/operator", JSON, r#"{"type":"GET_HEALTH"}"#).await?;
    assert_eq!(prefix.status, 200);
    Ok(())
}

#[tokio::test]
async fn an_empty_cluster_answers_as_mesos_does() -> TestResult {
    let fixture = Fixture::start().await?;
    for (path, name) in [
        ("/maintenance/schedule", "GET_maintenance_schedule"),
        ("/maintenance/status", "GET_maintenance_status"),
        ("/quota", "GET_quota"),
        ("/weights", "GET_weights"),
        ("/files/debug", "GET_files_debug"),
    ] {
        assert_eq!(fixture.get(path).await?.json()?, golden(name)?, "{path}");
    }
    for call in [
        "GET_HEALTH",
        "GET_LOGGING_LEVEL",
        "GET_MAINTENANCE_SCHEDULE",
        "GET_MAINTENANCE_STATUS",
        "GET_OPERATIONS",
        "GET_QUOTA",
        "GET_WEIGHTS",
        "GET_EXECUTORS",
    ] {
        let answer = fixture.call(&json!({"type": call}).to_string()).await?;
        assert_eq!(answer.json()?, golden(&format!("v1_{call}"))?, "{call}");
    }
    for (path, call) in [("/x", "LIST_FILES"), ("/x", "READ_FILE")] {
        let field = call.to_lowercase();
        let call = json!({"type": call, field: {"path": path, "offset": 0}});
        let answer = fixture.call(&call.to_string()).await?;
        assert_eq!((answer.status, answer.text().as_str()), (404, ""));
    }
    let browse = fixture.get("/files/browse?path=/").await?;
    assert_eq!((browse.status, browse.text().as_str()), (404, ""));
    assert_eq!(fixture.get("/logging/toggle").await?.text(), "0\n");
    Ok(())
}

#[tokio::test]
async fn the_master_says_who_it_is() -> TestResult {
    let options = MasterOptions {
        cluster: Some("lab".to_owned()),
        flags: vec![("port".to_owned(), "0".to_owned())],
        ..MasterOptions::default()
    };
    let fixture = Fixture::with(options).await?;
    let answer = fixture.call(r#"{"type":"GET_MASTER"}"#).await?.json()?;
    let info = &answer["get_master"]["master_info"];
    let expected = golden("v1_GET_MASTER")?;
    let names = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(info), names(&expected["get_master"]["master_info"]));
    assert_eq!(info["ip"], 16_777_343, "127.0.0.1");
    assert_eq!(info["pid"], fixture.master.pid().to_string());
    let state = fixture.get("/state").await?.json()?;
    assert_eq!(state["cluster"], "lab");
    assert_eq!(state["flags"], json!({"port": "0"}));
    assert_eq!(fixture.get("/flags").await?.json()?, json!({"flags": {"port": "0"}}));
    let flags = fixture.call(r#"{"type":"GET_FLAGS"}"#).await?.json()?;
    assert_eq!(flags["get_flags"]["flags"], json!([{"name": "port", "value": "0"}]));
    assert_eq!(fixture.get("/version").await?.json()?["version"], "1.12.0");
    let version = fixture.call(r#"{"type":"GET_VERSION"}"#).await?.json()?;
    assert_eq!(version["get_version"]["version_info"]["version"], "1.12.0");
    let redirect = fixture.get("/redirect").await?;
    assert_eq!(redirect.status, 307);
    let own = format!("//{}", fixture.address());
    assert_eq!(redirect.header("Location"), Some(own.as_str()));
    Ok(())
}

#[tokio::test]
async fn metrics_have_the_names_of_mesos() -> TestResult {
    let fixture = Fixture::start().await?;
    let _agent = FakeAgent::register(&fixture).await?;
    let metrics = fixture.get("/metrics/snapshot").await?.json()?;
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let have = names(&metrics);
    let wanted = names(&golden("GET_metrics_snapshot")?);
    let missing: Vec<&String> = wanted
        .difference(&have)
        .filter(|name| name.starts_with("master/") || name.starts_with("system/"))
        .filter(|name| !name.starts_with("master/frameworks/"))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(metrics["master/slaves_active"], 1.0);
    assert_eq!(metrics["master/elected"], 1.0);
    assert!(metrics["registrar/state_store_ms/count"].as_f64() >= Some(1.0));
    let call = r#"{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":1000000000}}}"#;
    let list = fixture.call(call).await?.json()?;
    let first = &list["get_metrics"]["metrics"][0];
    assert!(first["name"].is_string() && first["value"].is_f64(), "{first}");
    let stats = fixture.get("/system/stats.json").await?.json()?;
    assert_eq!(names(&stats), names(&golden("GET_system_stats.json")?));
    Ok(())
}

#[tokio::test]
async fn jsonp_gzip_and_head() -> TestResult {
    let fixture = Fixture::start().await?;
    let answer = fixture.get("/state?jsonp=callback").await?;
    assert_eq!(answer.header("Content-Type"), Some("text/javascript"));
    assert!(answer.text().starts_with("callback({\"version\"") && answer.text().ends_with("})"));
    let recorded = fs::read_to_string(golden_folder().join("GET_state_jsonp.raw"))?;
    assert!(recorded.contains("\r\nContent-Type: text/javascript\r\n"));
    assert!(recorded.contains("\r\n\r\ncb({") && recorded.ends_with("})"), "as we do");
    let mut client = fixture.client().await?;
    let request = b"HEAD /metrics/snapshot HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = client.request(request).await?;
    assert_eq!(head.status, 200);
    assert!(head.header("Content-Length").is_some());
    let request = "GET /metrics/snapshot HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n";
    let packed = client.request(request.as_bytes()).await?;
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    let plain = crate::http::compression::decompress(&packed.body, 1 << 20)?;
    assert!(plain.starts_with(b"{\""));
    Ok(())
}

#[tokio::test]
async fn every_json_endpoint_makes_a_script() -> TestResult {
    let fixture = Fixture::start().await?;
    for path in [
        "/state",
        "/state-summary",
        "/slaves",
        "/frameworks",
        "/tasks",
        "/roles",
        "/flags",
        "/version",
        "/weights",
        "/quota",
        "/maintenance/schedule",
        "/maintenance/status",
        "/metrics/snapshot",
        "/system/stats.json",
        "/files/debug",
        "/__processes__",
        "/hierarchical-allocator(1)/offer_constraints_debug",
    ] {
        let answer = fixture.get(&format!("{path}?jsonp=$a.b_1")).await?;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("Content-Type"), Some("text/javascript"), "{path}");
        let text = answer.text();
        let json = text.strip_prefix("$a.b_1(").and_then(|rest| rest.strip_suffix(")"));
        serde_json::from_str::<Value>(json.ok_or_else(|| format!("{path}: {text}"))?)?;

        for name in ["", "alert(1)//", "a%3Bb", "a[0]", "%3Cscript%3E", "a%0A"] {
            let refused = fixture.get(&format!("{path}?jsonp={name}")).await?;
            assert_eq!(refused.status, 400, "{path} {name}");
            assert!(refused.text().contains("'jsonp'"), "{path}: {}", refused.text());
        }
    }
    Ok(())
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut client = fixture.client().await?;
    let mut requests = String::new();
    for _ in 0..20 {
        requests.push_str("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        requests.push_str(&post("/api/v1", JSON, r#"{"type":"GET_HEALTH"}"#));
        requests.push_str("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    client.send(requests.as_bytes()).await?;
    for _ in 0..20 {
        assert_eq!(client.answer(false).await?.text(), "");
        assert!(client.answer(false).await?.text().contains("GET_HEALTH"));
        assert_eq!(client.answer(false).await?.status, 404);
    }
    Ok(())
}

#[tokio::test]
async fn an_unchanged_state_is_rendered_once() -> TestResult {
    let fixture = Fixture::start().await?;
    let _agent = FakeAgent::register(&fixture).await?;
    let first = fixture.get("/state").await?;
    let second = fixture.get("/state").await?;
    assert_eq!(first.body, second.body);
    let metrics = fixture.get("/metrics/snapshot").await?.json()?;
    assert!(metrics["master/http_cache_hits"].as_f64() >= Some(1.0));
    Ok(())
}
