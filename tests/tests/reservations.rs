//! Reservations and persistent volumes with real processes, across kills of each of them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::scheduler::Scheduler;
use tests::{Cluster, ClusterOptions, get_json, post_form, post_json, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

fn reservation(role: &str) -> Value {
    json!([{"type": "DYNAMIC", "role": role}])
}

fn disk(size: f64) -> Value {
    json!({
        "name": "disk", "type": "SCALAR", "scalar": {"value": size},
        "reservations": reservation("dev"),
    })
}

fn volume(id: &str, size: f64) -> Value {
    let mut volume = disk(size);
    volume["disk"] = json!({
        "persistence": {"id": id},
        "volume": {"container_path": "data", "mode": "RW"},
    });
    volume
}

fn shared(id: &str, size: f64) -> Value {
    let mut volume = volume(id, size);
    volume["shared"] = json!({});
    volume
}

fn in_role(capabilities: &[&str]) -> Value {
    let capabilities: Vec<Value> = ["RESERVATION_REFINEMENT"]
        .iter()
        .chain(capabilities)
        .map(|name| json!({"type": name}))
        .collect();
    json!({"role": "dev", "checkpoint": true, "capabilities": capabilities})
}

fn has_volume(offer: &Value) -> bool {
    resources(offer).iter().any(|resource| resource["disk"]["persistence"].is_object())
}

fn resources(offer: &Value) -> Vec<Value> {
    offer["resources"].as_array().cloned().unwrap_or_default()
}

/// A task that has a volume beside a little cpu and memory.
fn task_with(
    scheduler: &Scheduler,
    id: &str,
    offer: &Value,
    command: &str,
    volume: &Value,
) -> Value {
    let mut task = scheduler.task(id, offer, command);
    if let Some(resources) = task["resources"].as_array_mut() {
        resources.push(volume.clone());
    }
    task
}

fn agent_id(cluster: &Cluster) -> String {
    let id = &get_json(&cluster.url("/slaves"))["slaves"][0]["id"];
    id.as_str().expect("a registered agent").to_owned()
}

fn form(cluster: &Cluster, path: &str, field: &str, list: &[Value]) -> (u16, String) {
    let list = Value::from(list.to_vec()).to_string();
    post_form(&cluster.url(path), &[("slaveId", &agent_id(cluster)), (field, &list)])
}

fn accepted((status, text): (u16, String)) {
    assert_eq!((status, text.as_str()), (202, ""));
}

fn call(cluster: &Cluster, call: &Value) -> (u16, String) {
    post_json(&cluster.url("/api/v1"), call)
}

/// The amount of disk reserved for the role, as `/slaves` shows it.
fn reserved_disk(cluster: &Cluster) -> Option<f64> {
    get_json(&cluster.url("/slaves"))["slaves"][0]["reserved_resources"]["dev"]["disk"].as_f64()
}

#[test]
fn a_file_in_a_volume_outlives_task_agent_and_master() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    accepted(form(&cluster, "/reserve", "resources", &[disk(100.0)]));
    accepted(form(&cluster, "/create-volumes", "volumes", &[volume("v", 100.0)]));
    let directory = cluster.agents[0].work_dir.join("volumes/roles/dev/v");
    wait_until("the volume's directory", LIMIT, || directory.is_dir().then_some(()));
    {
        let mut stranger = Scheduler::subscribe(&cluster.address);
        let offer = stranger.next_offer(LIMIT);
        assert!(!has_volume(&offer), "{offer}");
        stranger.call(json!({"type": "TEARDOWN"}));
        let mut scheduler = Scheduler::subscribe_with(&cluster.address, in_role(&[]));
        let offer = scheduler.next_offer_with(LIMIT, has_volume);
        let write = "echo kept > data/file";
        let task = task_with(&scheduler, "write", &offer, write, &volume("v", 100.0));
        scheduler.launch(&offer, &[task], 0.0);
        scheduler.wait_for_state("write", "TASK_FINISHED", LIMIT);
        scheduler.call(json!({"type": "TEARDOWN"}));
    }
    assert_eq!(fs::read_to_string(directory.join("file")).expect("the file"), "kept\n");
    cluster.restart_agent(0);
    cluster.restart_master();
    cluster.wait_for_agents();
    assert_eq!(reserved_disk(&cluster), Some(100.0));
    let mut scheduler = Scheduler::subscribe_with(&cluster.address, in_role(&[]));
    let offer = scheduler.next_offer_with(LIMIT, has_volume);
    let task = task_with(&scheduler, "read", &offer, "grep kept data/file", &volume("v", 100.0));
    scheduler.launch(&offer, &[task], 0.0);
    scheduler.wait_for_state("read", "TASK_FINISHED", LIMIT);
    scheduler.call(json!({"type": "TEARDOWN"}));

    // A reservation with a volume on it stays; once that is destroyed nothing is left of either.
    let (status, text) = form(&cluster, "/unreserve", "resources", &[volume("v", 100.0)]);
    assert_eq!(status, 400);
    assert!(text.contains("Please destroy the persistent volume first"), "{text}");
    accepted(form(&cluster, "/destroy-volumes", "volumes", &[volume("v", 100.0)]));
    accepted(form(&cluster, "/unreserve", "resources", &[disk(100.0)]));
    wait_until("the volume's directory to go", LIMIT, || (!directory.exists()).then_some(()));
    assert_eq!(reserved_disk(&cluster), None);
}

#[test]
fn a_shared_volume_is_used_by_two_tasks_and_destroyed_by_none() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let info = in_role(&["SHARED_RESOURCES"]);
    let mut scheduler = Scheduler::subscribe_with(&cluster.address, info);
    let offer = scheduler.next_offer(LIMIT);
    let write = "echo for-you > data/file; while [ ! -e data/seen ]; do sleep 0.1; done";
    let read = "while ! grep for-you data/file; do sleep 0.1; done; touch data/seen";
    let tasks = [
        task_with(&scheduler, "write", &offer, write, &shared("s", 64.0)),
        task_with(&scheduler, "read", &offer, read, &shared("s", 64.0)),
        task_with(&scheduler, "stay", &offer, "sleep 1000", &shared("s", 64.0)),
    ];
    let operations = [
        json!({"type": "RESERVE", "reserve": {"resources": [disk(64.0)]}}),
        json!({"type": "CREATE", "create": {"volumes": [shared("s", 64.0)]}}),
        json!({"type": "LAUNCH", "launch": {"task_infos": tasks}}),
    ];
    scheduler.accept(&offer, &operations, 0.0);
    scheduler.wait_for_state("write", "TASK_FINISHED", LIMIT);
    scheduler.wait_for_state("read", "TASK_FINISHED", LIMIT);
    // The volume is offered while it is in use, and stays.
    let offer = scheduler.next_offer_with(LIMIT, has_volume);
    let destroy = json!({
        "type": "DESTROY",
        "id": {"value": "destroy"},
        "destroy": {"volumes": [shared("s", 64.0)]},
    });
    scheduler.accept(&offer, &[destroy], 0.0);
    let status = scheduler.next_operation_status(LIMIT);
    assert_eq!(status["state"], "OPERATION_ERROR", "{status}");
    assert!(status["message"].as_str().unwrap_or_default().contains("in use"), "{status}");
    let (code, text) = form(&cluster, "/destroy-volumes", "volumes", &[shared("s", 64.0)]);
    let expected = "Invalid DESTROY operation: Persistent volumes in use".to_owned();
    assert_eq!((code, text), (400, expected));
}

#[test]
fn operators_grow_and_shrink_a_volume_with_its_files() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let agent = json!({"value": agent_id(&cluster)});
    accepted(form(&cluster, "/reserve", "resources", &[disk(300.0)]));
    accepted(form(&cluster, "/create-volumes", "volumes", &[volume("v", 100.0)]));
    let directory = cluster.agents[0].work_dir.join("volumes/roles/dev/v");
    wait_until("the volume's directory", LIMIT, || directory.is_dir().then_some(()));
    fs::write(directory.join("file"), "kept").expect("a file in the volume");
    let grow = json!({
        "type": "GROW_VOLUME",
        "grow_volume": {
            "agent_id": agent, "volume": volume("v", 100.0), "addition": disk(150.0),
        },
    });
    accepted(call(&cluster, &grow));
    let size = |wanted: f64| {
        let mut scheduler = Scheduler::subscribe_with(&cluster.address, in_role(&[]));
        let offer = scheduler.next_offer_with(LIMIT, has_volume);
        let found = resources(&offer).into_iter().find(|it| it["disk"].is_object());
        assert_eq!(found.expect("a volume")["scalar"]["value"].as_f64(), Some(wanted));
        scheduler.call(json!({"type": "TEARDOWN"}));
    };
    size(250.0);
    let (status, text) = call(&cluster, &grow);
    assert_eq!(status, 409, "{text}");
    let shrink = |volume: Value, subtract: f64| {
        json!({
            "type": "SHRINK_VOLUME",
            "shrink_volume": {
                "agent_id": agent, "volume": volume, "subtract": {"value": subtract},
            },
        })
    };
    let (status, text) = call(&cluster, &shrink(volume("v", 250.0), 250.0));
    assert_eq!(status, 400);
    assert!(text.contains("'ShrinkVolume.subtract' must be smaller than the size"), "{text}");
    accepted(call(&cluster, &shrink(volume("v", 250.0), 200.0)));
    size(50.0);
    assert_eq!(reserved_disk(&cluster), Some(300.0));
    assert_eq!(fs::read_to_string(directory.join("file")).expect("the file"), "kept");
}

fn operations_at(address: &str) -> usize {
    let (status, body) =
        post_json(&format!("http://{address}/api/v1"), &json!({"type": "GET_OPERATIONS"}));
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    answer["get_operations"]["operations"].as_array().map_or(0, Vec::len)
}

#[test]
fn feedback_is_repeated_by_a_killed_agent_until_it_is_acknowledged() {
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let mut scheduler = Scheduler::subscribe_with(&cluster.address, in_role(&[]));
    let offer = scheduler.next_offer(LIMIT);
    let reserve = json!({
        "type": "RESERVE",
        "id": {"value": "reserve"},
        "reserve": {"resources": [disk(10.0)]},
    });
    scheduler.accept(&offer, &[reserve], 0.0);
    let first = scheduler.next_operation_status(LIMIT);
    assert_eq!(first["state"], "OPERATION_FINISHED", "{first}");
    assert_eq!(first["operation_id"]["value"], "reserve");
    cluster.restart_agent(0);
    let second = scheduler.next_operation_status(LIMIT);
    assert_eq!(second["uuid"], first["uuid"], "the same status again");
    assert_eq!(operations_at(&cluster.address), 1);
    assert_eq!(operations_at(&cluster.agents[0].address), 1);
    scheduler.call(json!({
        "type": "RECONCILE_OPERATIONS",
        "reconcile_operations": {
            "operations": [{"operation_id": {"value": "reserve"}, "agent_id": first["agent_id"]}],
        },
    }));
    let answer = loop {
        // The agent may repeat itself once more in between.
        let status = scheduler.next_operation_status(LIMIT);
        if status["uuid"].is_null() {
            break status;
        }
    };
    assert_eq!(answer["state"], "OPERATION_FINISHED", "{answer}");
    scheduler.acknowledge_operation(&first);
    wait_until("the operation to be forgotten", LIMIT, || {
        let left = operations_at(&cluster.address) + operations_at(&cluster.agents[0].address);
        (left == 0).then_some(())
    });
    // Until that is on disk as well, a killed agent would rightly tell it once more.
    let path = cluster.agents[0].work_dir.join("meta/resources/resources_and_operations.state");
    wait_until("the disk to forget the operation", LIMIT, || {
        let content = fs::read(&path).ok()?;
        (!content.windows(7).any(|bytes| bytes == b"reserve")).then_some(())
    });
    cluster.restart_agent(0);
    cluster.wait_for_agents();
    assert_eq!(reserved_disk(&cluster), Some(10.0));
    assert_eq!(operations_at(&cluster.agents[0].address), 0);
}

/// An agent with a disk of its own directory, and one that is a mount point (or passes for one).
fn with_disks(folder: &Path) -> ClusterOptions {
    let root = |name: &str| {
        let path = folder.join(name);
        fs::create_dir_all(&path).expect("a directory");
        path.display().to_string()
    };
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let mut path = scalar("disk", 200.0);
    path["disk"] = json!({"source": {"type": "PATH", "path": {"root": root("path")}}});
    let mut mount = scalar("disk", 300.0);
    mount["disk"] = json!({"source": {"type": "MOUNT", "mount": {"root": root("mount")}}});
    let resources = json!([scalar("cpus", 2.0), scalar("mem", 1024.0), path, mount]);
    ClusterOptions { resources: resources.to_string(), ..ClusterOptions::default() }
}

#[test]
fn volumes_on_disks_of_their_own_are_kept_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(&with_disks(folder.path()));
    let on = |mut resource: Value, kind: &str, root: &str| {
        let root = folder.path().join(root).display().to_string();
        let field = kind.to_lowercase();
        resource["disk"]["source"] = json!({"type": kind, field: {"root": root}});
        resource
    };
    // A PATH disk is shared out, a MOUNT disk goes as a whole.
    accepted(form(&cluster, "/reserve", "resources", &[on(disk(150.0), "PATH", "path")]));
    let (status, text) =
        form(&cluster, "/reserve", "resources", &[on(disk(150.0), "MOUNT", "mount")]);
    assert_eq!(status, 409, "{text}");
    accepted(form(&cluster, "/reserve", "resources", &[on(disk(300.0), "MOUNT", "mount")]));
    let volumes =
        [on(volume("p", 150.0), "PATH", "path"), on(volume("m", 300.0), "MOUNT", "mount")];
    accepted(form(&cluster, "/create-volumes", "volumes", &volumes));
    let mut scheduler = Scheduler::subscribe_with(&cluster.address, in_role(&[]));
    for (id, volume, file) in
        [("p", &volumes[0], "path/volumes/roles/dev/p/file"), ("m", &volumes[1], "mount/file")]
    {
        let offer = scheduler.next_offer_with(LIMIT, has_volume);
        let task = task_with(&scheduler, id, &offer, "echo kept > data/file", volume);
        scheduler.launch(&offer, &[task], 0.0);
        scheduler.wait_for_state(id, "TASK_FINISHED", LIMIT);
        let content = fs::read_to_string(folder.path().join(file)).expect("the file");
        assert_eq!(content, "kept\n", "{file}");
    }
    scheduler.call(json!({"type": "TEARDOWN"}));
    accepted(form(&cluster, "/destroy-volumes", "volumes", &volumes));
    wait_until("the volumes to be emptied", LIMIT, || {
        let left = folder.path().join("path/volumes/roles/dev/p").exists()
            || folder.path().join("mount/file").exists();
        (!left).then_some(())
    });
    assert!(folder.path().join("mount").is_dir(), "a mount point stays");
}

#[test]
fn wrong_requests_are_refused_in_the_words_of_mesos() {
    let cluster = Cluster::start(&ClusterOptions::default());
    let id = agent_id(&cluster);
    let url = |path: &str| cluster.url(path);
    for path in ["/reserve", "/unreserve", "/create-volumes", "/destroy-volumes"] {
        let (status, text) = post_form(&url(path), &[]);
        let expected = "Missing 'slaveId' query parameter in the request body";
        assert_eq!((status, text.as_str()), (400, expected), "{path}");
        let field = if path.ends_with("volumes") { "volumes" } else { "resources" };
        let (status, text) = post_form(&url(path), &[("slaveId", &id)]);
        let expected = format!("Missing '{field}' query parameter in the request body");
        assert_eq!((status, text), (400, expected), "{path}");
        let (status, text) = post_form(&url(path), &[("slaveId", &id), (field, "not json")]);
        assert_eq!(status, 400, "{path}");
        assert!(text.contains(&format!("'{field}' query parameter")), "{path}: {text}");
        let (status, text) = post_form(&url(path), &[("slaveId", "nobody"), (field, "[]")]);
        let expected = "No agent found with specified ID";
        assert_eq!((status, text.as_str()), (400, expected), "{path}");
    }
    let plain = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}});
    let (status, text) = form(&cluster, "/reserve", "resources", &[plain]);
    assert_eq!(status, 400);
    let prefix = format!("Invalid RESERVE operation on agent {id} at ");
    assert!(text.starts_with(&prefix), "{text}");
    assert!(text.ends_with("Resource cpus:1 is not dynamically reserved"), "{text}");
    let (status, text) = form(&cluster, "/unreserve", "resources", &[disk(5.0)]);
    assert_eq!(status, 409, "{text}");
    let (status, text) = form(&cluster, "/create-volumes", "volumes", &[volume("../up", 1.0)]);
    assert_eq!(status, 400);
    assert!(text.contains("Invalid persistence ID for persistent volume"), "{text}");
    let (status, text) = form(&cluster, "/destroy-volumes", "volumes", &[volume("v", 1.0)]);
    let expected = "Invalid DESTROY operation: Persistent volumes not found".to_owned();
    assert_eq!((status, text), (400, expected));
    // The old form of a reservation is as good; a refinement of it names what it replaces.
    let old = json!({
        "name": "cpus", "type": "SCALAR", "scalar": {"value": 1}, "role": "dev",
        "reservation": {},
    });
    accepted(form(&cluster, "/reserve", "resources", std::slice::from_ref(&old)));
    let mut refined = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}});
    refined["reservations"] =
        json!([{"type": "DYNAMIC", "role": "dev"}, {"type": "DYNAMIC", "role": "dev/web"}]);
    let fields = [
        ("slaveId", id.as_str()),
        ("source", &Value::from(vec![old]).to_string()),
        ("resources", &Value::from(vec![refined]).to_string()),
    ];
    accepted(post_form(&url("/reserve"), &fields));
    let slave = &get_json(&url("/slaves"))["slaves"][0];
    assert_eq!(slave["reserved_resources"]["dev/web"]["cpus"].as_f64(), Some(1.0), "{slave}");
    assert!(slave["reserved_resources"]["dev"].is_null(), "{slave}");
}
