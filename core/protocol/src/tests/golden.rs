//! Answers and traffic recorded from Apache Mesos; see `tests/golden/README.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{entry, repository};
use crate::{Message as _, Names, agent, master, recordio, scheduler};

/// The files below a folder, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// For some operator answers Mesos has its own writers, which show empty lists (`"tasks":[]`); its
/// general rule, and ours, is to leave them out.
fn without_empty_arrays(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| *value != Value::Array(Vec::new()));
            Value::Object(kept.map(|(name, value)| (name, without_empty_arrays(value))).collect())
        }
        Value::Array(values) => {
            Value::Array(values.into_iter().map(without_empty_arrays).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

#[test]
fn operator_answers_are_written_as_mesos_writes_them() {
    let mut count = 0;
    for path in files(&repository("tests/golden"), "json") {
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.contains("v1_") {
            continue;
        }
        let text = fs::read(&path).unwrap();
        let expected = without_empty_arrays(serde_json::from_slice(&text).unwrap());
        let ours = if path.parent().unwrap().ends_with("agent") {
            agent::Response::from_json(&text, Names::V1).unwrap().to_json(Names::V1)
        } else {
            master::Response::from_json(&text, Names::V1).unwrap().to_json(Names::V1)
        };
        let ours: Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(ours, expected, "{}", path.display());
        count += 1;
    }
    assert!(count > 30, "only {count} answers found");
}

#[test]
fn member_order_is_that_of_mesos() {
    let folder = repository("tests/golden/master");
    for name in ["v1_GET_AGENTS.json", "v1_GET_FRAMEWORKS.json", "v1_GET_TASKS.json"] {
        let text = fs::read(folder.join(name)).unwrap();
        let expected = without_empty_arrays(serde_json::from_slice(&text).unwrap());
        let ours = master::Response::from_json(&text, Names::V1).unwrap().to_json(Names::V1);
        // `serde_json` keeps the order of members here.
        assert_eq!(ours, expected.to_string(), "{name}");
    }
}

#[test]
fn event_streams_are_read_and_written_back() {
    for path in files(&repository("tests/golden/streams"), "raw") {
        let raw = fs::read(&path).unwrap();
        // The recording tool has undone the chunks.
        let (_, body) = split_head(&raw).unwrap();
        let records = recordio::Decoder::default().decode(body).unwrap();
        assert!(!records.is_empty(), "{}", path.display());
        for record in records {
            let expected = without_empty_arrays(serde_json::from_slice(&record).unwrap());
            let of_scheduler = path.to_str().unwrap().contains("sched");
            let ours = if of_scheduler {
                scheduler::Event::from_json(&record, Names::V1).unwrap().to_json(Names::V1)
            } else {
                master::Event::from_json(&record, Names::V1).unwrap().to_json(Names::V1)
            };
            let ours: Value = serde_json::from_str(&ours).unwrap();
            assert_eq!(ours, expected, "{}", path.display());
        }
    }
}

#[test]
fn recorded_libprocess_messages_are_written_back_byte_for_byte() {
    let mut seen = BTreeSet::new();
    for path in files(&repository("tests/golden/wire"), "bin") {
        for (name, body) in messages(&fs::read(&path).unwrap()) {
            let entry = entry(&name).unwrap_or_else(|| panic!("unknown message {name}"));
            let ours = (entry.reencode)(&body)
                .unwrap_or_else(|error| panic!("{} in {}: {error}", name, path.display()));
            assert_eq!(ours, body, "{} in {}", name, path.display());
            seen.insert(name);
        }
    }
    for name in ["RegisterSlaveMessage", "ReregisterSlaveMessage", "RunTaskMessage"] {
        assert!(seen.contains(&format!("mesos.internal.{name}")), "{seen:?}");
    }
    assert!(seen.contains("mesos.scheduler.Call") && seen.len() > 30, "{seen:?}");
}

/// The libprocess messages in one direction of a connection: names and bodies.
fn messages(mut stream: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((head, rest)) = split_head(stream) {
        let headers = head.to_ascii_lowercase();
        let length = headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse::<usize>().unwrap());
        let (body, rest) = if headers.contains("transfer-encoding: chunked") {
            dechunk(rest)
        } else {
            let (body, rest) = rest.split_at(length.min(rest.len()));
            (body.to_vec(), rest)
        };
        stream = rest;
        let path = head.split(' ').nth(1).unwrap();
        let name = path.rsplit('/').next().unwrap();
        if head.starts_with("POST") && name.starts_with("mesos.") {
            found.push((name.to_owned(), body));
        }
    }
    found
}

fn split_head(stream: &[u8]) -> Option<(String, &[u8])> {
    let end = stream.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&stream[..end]).into_owned(), &stream[end + 4..]))
}

/// The data of a chunked body, which a recording may cut off, and what follows it.
fn dechunk(mut stream: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    while let Some(end) = stream.windows(2).position(|window| window == b"\r\n") {
        let digits = String::from_utf8_lossy(&stream[..end]).into_owned();
        let length = usize::from_str_radix(digits.trim(), 16).unwrap();
        stream = &stream[end + 2..];
        let data = &stream[..length.min(stream.len())];
        body.extend_from_slice(data);
        stream = &stream[(length + 2).min(stream.len())..];
        if length == 0 {
            break;
        }
    }
    (body, stream)
}
