//! Weights, quota, roles and maintenance over HTTP, against what Apache Mesos answered.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn golden(name: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/ops");
    Ok(serde_json::from_slice(&fs::read(folder.join(format!("{name}.json")))?)?)
}

/// A recorded answer without the roles that Mesos still showed after their quota was removed.
fn without_removed(mut value: Value, path: &str) -> Value {
    for list in ["infos", "configs"] {
        let list = value.pointer_mut(&format!("{path}/{list}")).and_then(Value::as_array_mut);
        if let Some(list) = list {
            list.retain(|it| it["role"] != "*");
            list.sort_by_key(|it| it["role"].to_string());
        }
    }
    value
}

fn put(path: &str, body: &str) -> String {
    let length = body.len();
    format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn weights_quota_and_roles_are_shown_as_mesos_shows_them() -> TestResult {
    let fixture = Fixture::start().await?;
    let _agent = FakeAgent::register(&fixture).await?;
    let answer = fixture.request(&put("/weights", r#"[{"role":"dev","weight":2.0}]"#)).await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(fixture.get("/weights").await?.json()?, golden("02_get_weights")?);
    let update = json!({"type": "UPDATE_WEIGHTS",
        "update_weights": {"weight_infos": [{"role": "dev", "weight": 4.0}]}});
    let answer = fixture.call(&update.to_string()).await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    let weights = fixture.call(r#"{"type":"GET_WEIGHTS"}"#).await?;
    assert_eq!(weights.json()?, golden("04_v1_get_weights")?);

    let config = json!({"role": "dev", "guarantees": {"cpus": {"value": 0.5}},
        "limits": {"cpus": {"value": 1.0}, "mem": {"value": 512.0}}});
    let update = json!({"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": [config]}});
    let answer = fixture.call(&update.to_string()).await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    let quota = fixture.call(r#"{"type":"GET_QUOTA"}"#).await?.json()?;
    let expected = without_removed(golden("06_v1_get_quota")?, "/get_quota/status");
    assert_eq!(quota, expected);
    assert_eq!(fixture.get("/quota").await?.json()?, without_removed(golden("07_get_quota")?, ""));
    let roles = fixture.get("/roles").await?.json()?;
    assert_eq!(roles["roles"][0], golden("08_get_roles")?["roles"][1]);
    let roles = fixture.call(r#"{"type":"GET_ROLES"}"#).await?.json()?;
    let expected = golden("09_v1_get_roles")?;
    assert_eq!(roles["get_roles"]["roles"][0], expected["get_roles"]["roles"][1]);
    Ok(())
}

#[tokio::test]
async fn the_old_endpoints_set_and_remove_quota() -> TestResult {
    let fixture = Fixture::start().await?;
    let _agent = FakeAgent::register(&fixture).await?;
    let set = json!({"role": "prod", "guarantee": [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}]});
    let answer = fixture.post("/quota", "", &set.to_string()).await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    let expected = golden("11_get_quota")?;
    let shown = fixture.get("/master/quota").await?.json()?;
    assert_eq!(shown["infos"], json!([expected["infos"][0]]));
    assert_eq!(shown["configs"], json!([expected["configs"][0]]));
    let again = fixture.post("/quota", "", &set.to_string()).await?;
    assert_eq!(again.status, 400);
    assert!(again.text().ends_with("for role 'prod' which already has quota"), "{}", again.text());
    let force = json!({"role": "dev", "guarantee": [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 100}}]});
    assert_eq!(fixture.post("/quota", "", &force.to_string()).await?.status, 409);

    let delete = |path: &str| format!("DELETE {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(fixture.request(&delete("/quota/prod")).await?.status, 200);
    assert_eq!(fixture.get("/quota").await?.json()?, json!({}));
    let missing = fixture.request(&delete("/quota")).await?;
    let expected = "Failed to parse remove quota request for path '/master/quota': expected 3 \
                    tokens, found 2 tokens";
    assert_eq!((missing.status, missing.text().as_str()), (400, expected));
    Ok(())
}

#[tokio::test]
async fn malformed_weights_and_quota_are_refused_by_name() -> TestResult {
    let fixture = Fixture::start().await?;
    for (body, expected) in [
        ("{}", "Failed to parse update weights request JSON '{}': "),
        ("[1]", "Failed to convert weights JSON array to protobuf '[1]': "),
        (
            r#"[{"role":"a b","weight":1}]"#,
            "Failed to validate update weights request JSON: Invalid role 'a b': ",
        ),
    ] {
        let answer = fixture.request(&put("/weights", body)).await?;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().starts_with(expected), "{}", answer.text());
    }
    for (body, expected) in [
        ("[]", "Failed to parse set quota request JSON '[]': "),
        (r#"{"role":1}"#, r#"Failed to validate set quota request JSON '{"role":1}': "#),
        ("{}", "Failed to validate set quota request: QuotaInfo must specify a role"),
        (
            r#"{"role":"a","guarantee":[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}]}"#,
            "Failed to validate set quota request: QuotaInfo must not include non-scalar resources",
        ),
    ] {
        let answer = fixture.post("/quota", "", body).await?;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().starts_with(expected), "{}", answer.text());
    }
    let answer = fixture.request("PATCH /quota HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    assert_eq!(answer.status, 405);
    Ok(())
}

#[tokio::test]
async fn the_whitelist_is_in_force_from_the_start_and_explained() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("hosts");
    fs::write(&path, "elsewhere\n\n")?;
    let options = MasterOptions { whitelist: Some(path), ..MasterOptions::default() };
    let fixture = Fixture::with(options).await?;
    let _agent = FakeAgent::register(&fixture).await?;
    let mut client = fixture.client().await?;
    let subscribe = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info":
        {"user": "nobody", "name": "jobs"}}});
    client.send(post("/api/v1/scheduler", JSON, &subscribe.to_string()).as_bytes()).await?;
    let wanted = |answer: &Answer| answer.status == 200;
    let mut answer = fixture.get("/explain?framework_id=jobs").await?;
    while !wanted(&answer) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = fixture.get("/explain?framework_id=jobs").await?;
    }
    let explained = answer.json()?;
    let role = &explained["roles"][0];
    assert_eq!((&explained["name"], &role["role"]), (&json!("jobs"), &json!("*")));
    assert_eq!(role["possible"]["count"], 0, "{explained}");
    assert_eq!(role["causes"][0]["reason"], "NOT_WHITELISTED", "{explained}");
    assert_eq!(role["causes"][0]["examples"][0]["hostname"], "127.0.0.1");
    let id = explained["framework_id"].as_str().ok_or("no id")?.to_owned();
    let debug = fixture.get("/hierarchical-allocator(1)/offer_constraints_debug").await?.json()?;
    let expected = json!({"suppressed_roles": [], "excluded_by_attribute_constraints": {"*": []}});
    assert_eq!(debug["frameworks"][&id], expected);

    let missing = fixture.get("/explain").await?;
    assert_eq!(
        (missing.status, missing.text().as_str()),
        (400, "Missing 'framework_id' query parameter")
    );
    let unknown = fixture.get("/explain?framework_id=x").await?;
    let expected = "No framework with the ID or name 'x' is registered";
    assert_eq!((unknown.status, unknown.text().as_str()), (404, expected));
    assert_eq!(fixture.get("/explain?framework_id=jobs&role=a%20b").await?.status, 400);
    Ok(())
}

#[tokio::test]
async fn maintenance_is_shown_as_mesos_shows_it() -> TestResult {
    let fixture = Fixture::start().await?;
    let schedule = golden("22_get_maintenance_schedule")?;
    let answer = fixture.post("/maintenance/schedule", "", &schedule.to_string()).await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(fixture.get("/maintenance/schedule").await?.json()?, schedule);
    let status = fixture.get("/maintenance/status").await?.json()?;
    assert_eq!(status, golden("23_get_maintenance_status")?);
    let schedule = fixture.call(r#"{"type":"GET_MAINTENANCE_SCHEDULE"}"#).await?.json()?;
    assert_eq!(schedule, golden("24_v1_get_maintenance_schedule")?);
    let status = fixture.call(r#"{"type":"GET_MAINTENANCE_STATUS"}"#).await?.json()?;
    assert_eq!(status, golden("25_v1_get_maintenance_status")?);
    let answer = fixture.post("/maintenance/schedule", "", "{}").await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(fixture.get("/maintenance/status").await?.json()?, json!({}));
    Ok(())
}
