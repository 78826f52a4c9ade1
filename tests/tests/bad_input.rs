//! Bytes and flags that make no sense: clear answers, and daemons that stay up.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, binary, get, post_json, run};

const LIMIT: Duration = Duration::from_secs(60);

fn one_line_failure(arguments: &[&str], expected: &[&str]) {
    let output = run(&binary(), arguments, &[], LIMIT);
    assert_eq!(output.code, 1, "{arguments:?}: {output:?}");
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{arguments:?}: {output:?}");
    for text in expected {
        assert!(output.stderr.contains(text), "{arguments:?}: no '{text}' in {output:?}");
    }
}

#[test]
fn flags_that_are_wrong_are_named_with_value_and_what_is_accepted() {
    one_line_failure(&["master", "--work_dir=/w", "--port=http"], &["--port=http", "65535"]);
    one_line_failure(&["master", "--work_dir=/w", "--nonsense=1"], &["--nonsense"]);
    one_line_failure(&["master"], &["--work_dir"]);
    one_line_failure(&["agent", "--work_dir=/w"], &["--master"]);
    one_line_failure(
        &["agent", "--master=127.0.0.1:1", "--work_dir=/w", "--ip=127.0.0.1", "--resources=cpus:x"],
        &["--resources=cpus:x"],
    );
    one_line_failure(
        &[
            "agent",
            "--master=127.0.0.1:1",
            "--work_dir=/w",
            "--ip=127.0.0.1",
            "--isolation=cgroups/all",
        ],
        &["cgroups/all"],
    );
    one_line_failure(&["agent", "--master=nonsense", "--work_dir=/w"], &["--master=nonsense"]);
    one_line_failure(&["nonsense"], &["nonsense", "meseta help"]);
}

#[test]
fn the_environment_and_files_give_values_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("port");
    std::fs::write(&path, "nonsense\n").expect("a file");
    let value = format!("file://{}", path.display());
    let environment = [("MESOS_PORT", value.as_str()), ("MESOS_WORK_DIR", "/w")];
    let output = run(&binary(), &["master"], &environment, LIMIT);
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("MESOS_PORT=nonsense"), "{output:?}");
}

#[test]
fn the_binary_is_the_program_it_is_called() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, title) in [
        ("mesos-master", "Runs a master"),
        ("mesos-agent", "Runs an agent"),
        ("mesos-slave", "Runs an agent"),
        ("mesos-execute", "Runs one command"),
        ("mesos-local", "Runs a whole cluster"),
    ] {
        let link = folder.path().join(name);
        symlink(binary(), &link).expect("a link");
        let output = run(&link, &["--help"], &[], LIMIT);
        assert_eq!(output.code, 0, "{output:?}");
        assert!(output.stdout.starts_with(title), "{name}: {}", output.stdout);
    }
}

#[test]
fn a_port_in_use_changes_nothing_on_disk() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let work_dir = format!("--work_dir={}", folder.path().join("new").display());
    let port_flag = format!("--port={port}");
    one_line_failure(&["master", "--ip=127.0.0.1", &port_flag, &work_dir], &[&port]);
    let master = "--master=127.0.0.1:1";
    one_line_failure(&["agent", master, "--ip=127.0.0.1", &port_flag, &work_dir], &[&port]);
    assert!(!folder.path().join("new").exists(), "the work directory was created");
}

#[test]
fn a_work_directory_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let path = file.join("below").display().to_string();
    let work_dir = format!("--work_dir={path}");
    one_line_failure(&["master", "--ip=127.0.0.1", "--port=0", &work_dir], &[&path]);
    let master = "--master=127.0.0.1:1";
    one_line_failure(&["agent", master, "--ip=127.0.0.1", "--port=0", &work_dir], &[&path]);
}

#[test]
fn a_damaged_checkpoint_is_named_and_left_alone() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    cluster.kill_agent(0);
    let slaves = cluster.agents[0].work_dir.join("meta/slaves");
    let info = find(&slaves, "slave.info");
    let before = std::fs::read(&info).expect("a checkpoint");
    std::fs::write(&info, &before[..before.len() / 2]).expect("a file");
    cluster.start_agent(0);
    assert_eq!(cluster.agents[0].process.wait(LIMIT), 1);
    let logs = cluster.agents[0].process.logs();
    assert!(logs.contains("slave.info"), "{logs}");
    assert_eq!(std::fs::read(&info).expect("a checkpoint"), &before[..before.len() / 2]);
}

fn find(folder: &Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            if entry.file_name() == name {
                return entry.path();
            }
            if entry.file_type().expect("a type").is_dir() {
                folders.push(entry.path());
            }
        }
    }
    panic!("no {name} below {}", folder.display());
}

/// Sends bytes and gives what comes back until the peer closes or is silent for a moment.
fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket option");
    // The peer may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn garbage_on_either_port_harms_nobody() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let addresses = [cluster.address.clone(), cluster.agents[0].address.clone()];
    let head = "POST /master/mesos.internal.RegisterSlaveMessage HTTP/1.1\r\nUser-Agent: libprocess/x@127.0.0.1:1\r\n";
    let samples: Vec<Vec<u8>> = vec![
        b"\0\x01\x02\xff\xfe".repeat(100),
        b"GET".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"POST /api/v1/scheduler HTTP/1.1\r\nContent-Length: 999999\r\n\r\n{".to_vec(),
        [head.as_bytes(), b"Content-Length: 5\r\n\r\n\xff\xff\xff\xff"].concat(),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n").into_bytes(),
        [head.as_bytes(), b"Content-Length: 4\r\n\r\n\xff\xff\xff\xff"].concat(),
        "GET /".repeat(100_000).into_bytes(),
    ];
    for address in &addresses {
        for sample in &samples {
            exchange(address, sample);
        }
        let (status, _) = get(&format!("http://{address}/health"));
        assert_eq!(status, 200, "{address}");
    }
    assert!(cluster.master.is_running() && cluster.agents[0].process.is_running());
    assert_eq!(cluster.state()["activated_slaves"].as_f64(), Some(1.0));
}

#[test]
fn calls_that_make_no_sense_get_the_statuses_of_mesos() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let url = cluster.url("/api/v1/scheduler");
    let refused = |body: &Value| post_json(&url, body);
    assert_eq!(refused(&json!("nonsense")).0, 400);
    assert_eq!(refused(&json!({"type": "NONSENSE"})).0, 400);
    let subscribe = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {"name": "x"}}});
    let (status, text) = refused(&subscribe);
    assert_eq!(status, 400);
    assert!(text.contains("user"), "the missing field is named: {text}");
    let unknown = json!({"type": "TEARDOWN", "framework_id": {"value": "nobody"}});
    assert_eq!(refused(&unknown).0, 400);
    let with_charset = exchange(
        &cluster.address,
        b"POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json; charset=utf-8\r\n\
          Content-Length: 21\r\n\r\n{\"type\":\"GET_HEALTH\"}",
    );
    assert!(with_charset.starts_with("HTTP/1.1 200"), "{with_charset}");
    let wrong_type = exchange(
        &cluster.address,
        b"POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    );
    assert!(wrong_type.starts_with("HTTP/1.1 415"), "{wrong_type}");
    let oversized = exchange(
        &cluster.address,
        b"POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
          Content-Length: 99999999999\r\n\r\n",
    );
    assert!(oversized.starts_with("HTTP/1.1 413"), "{oversized}");
}

#[test]
fn tasks_that_make_no_sense_get_task_error() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let mut scheduler = Scheduler::subscribe(&cluster.address);
    let offer = scheduler.next_offer(LIMIT);
    let mut huge = scheduler.task("huge", &offer, "true");
    huge["resources"][0]["scalar"]["value"] = json!(10_000);
    let twin = scheduler.task("twin", &offer, "sleep 100");
    let mut negative = scheduler.task("negative", &offer, "true");
    negative["resources"][0]["scalar"]["value"] = json!(-1);
    let mut idle = scheduler.task("idle", &offer, "true");
    idle.as_object_mut().expect("an object").remove("command");
    let mut foreign = scheduler.task("foreign", &offer, "true");
    foreign["agent_id"] = json!({"value": "no-such-agent"});
    let tasks = [huge, twin.clone(), twin, idle, foreign];
    scheduler.launch(&offer, &tasks, 0.0);
    for task in ["huge", "idle", "foreign"] {
        scheduler.wait_for_state(task, "TASK_ERROR", LIMIT);
    }
    scheduler.wait_for_state("twin", "TASK_RUNNING", LIMIT);
    scheduler.wait_for_state("twin", "TASK_ERROR", LIMIT);
    // A resource that is none makes its whole operation invalid, as in Mesos.
    let offer = scheduler.next_offer(LIMIT);
    negative["agent_id"] = offer["agent_id"].clone();
    scheduler.launch(&offer, &[negative], 0.0);
    scheduler.wait_for_state("negative", "TASK_ERROR", LIMIT);
}

#[test]
fn an_offer_is_used_once() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let mut scheduler = Scheduler::subscribe(&cluster.address);
    let offer = scheduler.next_offer(LIMIT);
    let first = scheduler.task("first", &offer, "sleep 100");
    let second = scheduler.task("second", &offer, "sleep 100");
    scheduler.launch(&offer, &[first], 0.0);
    scheduler.launch(&offer, &[second], 0.0);
    scheduler.wait_for_state("second", "TASK_LOST", LIMIT);
    scheduler.wait_for_state("first", "TASK_RUNNING", LIMIT);
}

#[test]
fn a_framework_that_stops_reading_is_dropped_alone() {
    let cluster = Cluster::start(&ClusterOptions::default());
    // Subscribes and never reads again; closing happens when the test ends.
    let info = json!({"user": "root", "name": "deaf", "roles": [], "failover_timeout": 0});
    let body = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}).to_string();
    let request = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut deaf = TcpStream::connect(&cluster.address).expect("a connection");
    deaf.write_all(request.as_bytes()).expect("a request");
    let mut scheduler = Scheduler::subscribe(&cluster.address);
    std::thread::sleep(Duration::from_millis(500));
    drop(deaf);
    let offer = scheduler.next_offer(LIMIT);
    let task = scheduler.task("task", &offer, "true");
    scheduler.launch(&offer, &[task], 0.0);
    scheduler.wait_for_state("task", "TASK_FINISHED", LIMIT);
}
