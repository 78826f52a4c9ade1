//! Wrong requests, compared with what Apache Mesos answered to the same ones.

use std::fs;
use std::path::Path;

use super::*;

struct Recorded {
    status: u16,
    allow: Option<String>,
    body: String,
}

fn recorded(name: &str) -> Result<Recorded, Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/errors");
    let text = String::from_utf8_lossy(&fs::read(folder.join(format!("{name}.raw")))?).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no body")?;
    let status = head.split(' ').nth(1).unwrap_or_default().parse()?;
    let allow = head.lines().find_map(|line| line.strip_prefix("Allow: ")).map(str::to_owned);
    Ok(Recorded { status, allow, body: body.to_owned() })
}

/// A request and the name of the recorded answer to it.
struct Case {
    name: &'static str,
    request: String,
}

fn case(name: &'static str, request: String) -> Case {
    Case { name, request }
}

fn bare(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
}

async fn check(fixture: &Fixture, cases: Vec<Case>) -> TestResult {
    for Case { name, request } in cases {
        let answer = fixture.request(&request).await?;
        let expected = recorded(name)?;
        assert_eq!(answer.status, expected.status, "{name}: {}", answer.text());
        assert_eq!(answer.text().trim_end(), expected.body.trim_end(), "{name}");
        assert_eq!(answer.header("Allow"), expected.allow.as_deref(), "{name}");
        let kind = (!answer.body.is_empty()).then_some("text/plain; charset=utf-8");
        assert_eq!(answer.header("Content-Type"), kind, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn the_operator_api_refuses_as_mesos_does() -> TestResult {
    let fixture = Fixture::start().await?;
    let json = |body: &str| post("/api/v1", JSON, body);
    check(
        &fixture,
        vec![
            case("master_404", bare("GET", "/nosuchendpoint")),
            case("master_GET_api_v1", bare("GET", "/api/v1")),
            case("master_PUT_api_v1", bare("PUT", "/api/v1")),
            case("master_no_content_type", post("/api/v1", "", "{}")),
            case(
                "master_bad_content_type",
                post("/api/v1", "Content-Type: text/plain\r\n", "{}"),
            ),
            case(
                "master_form_content_type",
                post("/api/v1", "Content-Type: application/x-www-form-urlencoded\r\n", "a=b"),
            ),
            case("master_malformed_json", json("{")),
            case("master_empty_body", json("")),
            case("master_not_json", json("hello")),
            case("master_array", json("[]")),
            case("master_empty_object", json("{}")),
            case("master_unknown_type", json(r#"{"type":"NO_SUCH_CALL"}"#)),
            case("master_type_UNKNOWN", json(r#"{"type":"UNKNOWN"}"#)),
            case("master_type_wrong_kind", json(r#"{"type":5}"#)),
            case("master_missing_sub", json(r#"{"type":"SET_LOGGING_LEVEL"}"#)),
            case("master_missing_sub_metrics", json(r#"{"type":"GET_METRICS"}"#)),
            case(
                "master_bad_accept",
                post(
                    "/api/v1",
                    "Content-Type: application/json\r\nAccept: text/html\r\n",
                    r#"{"type":"GET_HEALTH"}"#,
                ),
            ),
            case(
                "v1_teardown_bad",
                json(r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"nope"}}}"#),
            ),
            case(
                "v1_mark_agent_gone_bad",
                json(r#"{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":"nope"}}}"#),
            ),
            case(
                "v1_reserve_bad",
                json(
                    r#"{"type":"RESERVE_RESOURCES","reserve_resources":{"agent_id":{"value":"nope"},"resources":[]}}"#,
                ),
            ),
        ],
    )
    .await
}

#[tokio::test]
async fn the_scheduler_api_refuses_as_mesos_does() -> TestResult {
    let fixture = Fixture::start().await?;
    let path = "/api/v1/scheduler";
    let json = |body: &str| post(path, JSON, body);
    check(
        &fixture,
        vec![
            case("sched_GET", bare("GET", path)),
            case("sched_no_content_type", post(path, "", "{}")),
            case("sched_bad_content_type", post(path, "Content-Type: text/plain\r\n", "{}")),
            case("sched_malformed", json("{")),
            case("sched_empty_object", json("{}")),
            case("sched_unknown_type", json(r#"{"type":"NO_SUCH_CALL"}"#)),
            case("sched_subscribe_no_info", json(r#"{"type":"SUBSCRIBE"}"#)),
            case(
                "sched_subscribe_bad_user",
                json(r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"name":"x"}}}"#),
            ),
            case("sched_revive_no_fid", json(r#"{"type":"REVIVE"}"#)),
            case(
                "sched_revive_unknown_fid",
                json(r#"{"type":"REVIVE","framework_id":{"value":"nope"}}"#),
            ),
            case(
                "sched_accept_no_field",
                json(r#"{"type":"ACCEPT","framework_id":{"value":"nope"}}"#),
            ),
            case(
                "sched_kill_no_field",
                json(r#"{"type":"KILL","framework_id":{"value":"nope"}}"#),
            ),
            case(
                "sched_teardown_no_stream_id",
                json(r#"{"type":"TEARDOWN","framework_id":{"value":"nope"}}"#),
            ),
            case(
                "sched_bad_accept",
                post(
                    path,
                    "Content-Type: application/json\r\nAccept: text/html\r\n",
                    r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"x"}}}"#,
                ),
            ),
        ],
    )
    .await
}

#[tokio::test]
async fn legacy_endpoints_refuse_as_mesos_does() -> TestResult {
    let fixture = Fixture::start().await?;
    let form = |path: &str, body: &str| post(path, "", body);
    check(
        &fixture,
        vec![
            case("master_teardown_get", bare("GET", "/teardown")),
            case("master_teardown_noarg", form("/teardown", "")),
            case("master_teardown_bad", form("/teardown", "frameworkId=nope")),
            case("master_reserve_get", bare("GET", "/reserve")),
            case("master_reserve_noarg", form("/reserve", "")),
            case("master_create_volumes_noarg", form("/create-volumes", "")),
            case("master_quota_bad", form("/quota", "x")),
            case("master_quota_delete", bare("DELETE", "/master/quota/nope")),
            case(
                "master_weights_bad",
                "PUT /weights HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".to_owned(),
            ),
            case("master_maintenance_bad", form("/maintenance/schedule", "x")),
            case("master_machine_down_empty", form("/machine/down", "[]")),
            case("master_machine_up_empty", form("/machine/up", "[]")),
            case("master_files_browse_nopath", bare("GET", "/files/browse")),
            case("master_files_read_nopath", bare("GET", "/files/read")),
            case("master_files_download_missing", bare("GET", "/files/download?path=/x")),
            case("master_logging_toggle_bad", form("/logging/toggle?level=1", "")),
        ],
    )
    .await
}

#[tokio::test]
async fn maintenance_of_what_is_not_there_is_refused_in_the_words_of_mesos() -> TestResult {
    let fixture = Fixture::start().await?;
    let drain = r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a"}}}"#;
    let answer = fixture.call(drain).await?;
    assert_eq!((answer.status, answer.text().as_str()), (400, "Unknown agent"));
    let machine = r#"[{"hostname":"a","ip":"10.0.0.1"}]"#;
    let unknown =
        r#"Machine '{"hostname":"a","ip":"10.0.0.1"}' is not part of a maintenance schedule"#;
    for (path, body, text) in [
        ("/maintenance/schedule", "[]", "Unexpected JSON type parsed"),
        ("/machine/down", "{}", "Unexpected JSON type parsed"),
        ("/machine/down", "[{}]", "Both 'hostname' and 'ip' for a machine are empty"),
        ("/machine/down", machine, unknown),
        ("/machine/up", machine, unknown),
    ] {
        let answer = fixture.post(path, "", body).await?;
        assert_eq!((answer.status, answer.text().as_str()), (400, text), "{path} {body}");
    }
    Ok(())
}

#[tokio::test]
async fn malformed_protobuf_is_refused() -> TestResult {
    let fixture = Fixture::start().await?;
    let protobuf = "Content-Type: application/x-protobuf\r\n";
    for path in ["/api/v1", "/api/v1/scheduler"] {
        let answer = fixture.post(path, protobuf, "\u{7f}\u{7f}\u{7f}").await?;
        assert_eq!(answer.status, 400);
        let text = answer.text();
        assert!(text.starts_with("Failed to parse body into Call protobuf"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_charset_does_no_harm() -> TestResult {
    let fixture = Fixture::start().await?;
    let headers = "Content-Type: application/json; charset=utf-8\r\n";
    let answer = fixture.post("/api/v1", headers, r#"{"type":"GET_HEALTH"}"#).await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), r#"{"type":"GET_HEALTH","get_health":{"healthy":true}}"#);
    Ok(())
}
