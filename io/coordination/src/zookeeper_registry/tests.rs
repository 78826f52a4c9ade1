use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ::ensemble::Ensemble;
use tokio::runtime::Runtime;

use super::*;
use crate::testing::{Mode, Relay, client, parse};
use crate::zookeeper::{Acl, Client, CreateMode};
use crate::{InMemory, export, import};

const TIMEOUTS: RegistryTimeouts = RegistryTimeouts {
    session: Duration::from_secs(4),
    fetch: Duration::from_secs(60),
    store: Duration::from_secs(30),
};

fn open(url: &str, epoch: i64) -> Result<ZooKeeperRegistry, RegistryError> {
    ZooKeeperRegistry::open(&parse(url), Epoch(epoch), TIMEOUTS)
}

fn record(key: &str, value: &str) -> Record {
    (key.to_owned(), value.into())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A session beside the registry's.
fn observer(runtime: &Runtime, url: &str) -> Client {
    let _guard = runtime.enter();
    client(url)
}

#[test]
fn records_are_kept() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/clusters/mesos");
    let registry = open(&url, 5).unwrap();
    assert_eq!(registry.load().unwrap(), []);
    registry
        .commit(&[Change::set("agents/2", "two"), Change::set("agents/1", vec![0, 255])])
        .unwrap();
    registry.commit(&[Change::set("agents/1", "one"), Change::remove("missing")]).unwrap();
    registry
        .commit(&[
            Change::set("x", "1"),
            Change::remove("x"),
            Change::remove("agents/2"),
            Change::set("agents/2", ""),
        ])
        .unwrap();
    registry.commit(&[]).unwrap();
    registry
        .commit_all(&[
            vec![Change::set("a", "1")],
            vec![Change::remove("a"), Change::set("b", "2")],
        ])
        .unwrap();
    let expected = [record("agents/1", "one"), record("agents/2", ""), record("b", "2")];
    assert_eq!(registry.load().unwrap(), expected);
    drop(registry);

    let reader = ZooKeeperRegistry::open_read_only(&parse(&url), TIMEOUTS).unwrap();
    assert_eq!(reader.load().unwrap(), expected);
    let error = reader.commit(&[Change::remove("b")]).unwrap_err();
    assert!(matches!(error, RegistryError::ReadOnly { .. }), "{error}");
    assert_eq!(open(&url, 5).unwrap().load().unwrap(), expected, "the same epoch may claim again");
}

#[test]
fn a_deposed_leader_cannot_write() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let first = open(&url, 5).unwrap();
    first.commit(&[Change::set("a", "first")]).unwrap();
    let second = open(&url, 6).unwrap();
    let is_deposed = |error| matches!(error, RegistryError::Deposed { .. });
    assert!(is_deposed(first.commit(&[Change::set("a", "late")]).unwrap_err()));
    assert!(first.commit(&[Change::set("a", "later")]).is_err(), "deposed for ever");
    assert!(is_deposed(open(&url, 5).unwrap_err()), "a late claim of an old leader");
    assert_eq!(second.load().unwrap(), [record("a", "first")]);
    second.commit(&[Change::set("a", "second")]).unwrap();

    let tool = ZooKeeperRegistry::take_over(&parse(&url), TIMEOUTS).unwrap();
    assert!(is_deposed(second.commit(&[Change::set("a", "late")]).unwrap_err()));
    tool.commit(&[Change::set("b", "tool")]).unwrap();
    let next_change = tool_epoch(&ensemble);
    assert!(is_deposed(open(&url, 7).unwrap_err()), "the tool counts as a later leader");
    let third = open(&url, next_change).unwrap();
    assert_eq!(third.load().unwrap(), [record("a", "second"), record("b", "tool")]);
}

/// The epoch of a leader that is elected now.
fn tool_epoch(ensemble: &Ensemble) -> i64 {
    let runtime = runtime();
    let client = observer(&runtime, &ensemble.url("/mesos"));
    runtime.block_on(async {
        client.create("/later", b"", Acl::Open, CreateMode::Persistent).await.unwrap();
        client.exists("/later").await.unwrap().unwrap().created
    })
}

#[test]
fn what_is_no_whole_registry_is_left_alone() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let runtime = runtime();
    let client = observer(&runtime, &ensemble.url("/mesos"));
    let reason = |path: &str| match open(&ensemble.url(path), 9) {
        Err(error @ RegistryError::Foreign { .. }) => error.to_string(),
        other => panic!("{path}: {other:?}"),
    };
    let prepare = |path: &str| {
        let registry = open(&ensemble.url(path), 5).unwrap();
        registry.commit(&[Change::set("agents/1", "1"), Change::set("agents/2", "2")]).unwrap();
        drop(registry);
        format!("{path}/registry")
    };
    let set = |path: &str, data: &str| {
        runtime.block_on(client.set(path, data.as_bytes(), None)).unwrap();
    };
    let delete = |path: &str| runtime.block_on(client.delete(path)).unwrap();

    let error = ZooKeeperRegistry::open_read_only(&parse(&ensemble.url("/none")), TIMEOUTS);
    assert!(error.unwrap_err().to_string().contains("there is none"));
    runtime.block_on(client.create_path("/half/registry", Acl::Open)).unwrap();
    assert!(reason("/half").contains("'format' is missing"));

    let root = prepare("/newer");
    set(&format!("{root}/format"), "meseta-registry 2");
    assert!(reason("/newer").contains("format 2, this version reads 1"));
    set(&format!("{root}/format"), "something else");
    assert!(reason("/newer").contains("another program"));

    let root = prepare("/damaged");
    set(&format!("{root}/head"), "{}");
    assert!(reason("/damaged").contains("'head' is damaged"));

    prepare("/lost");
    let layout = layout::Layout::new(&parse(&ensemble.url("/lost")));
    let empty: Vec<String> = layout
        .buckets()
        .filter(|it| {
            !layout.record("agents/1").starts_with(it) && !layout.record("agents/2").starts_with(it)
        })
        .collect();
    delete(&layout.record("agents/1"));
    assert!(reason("/lost").contains("it has 1 records, 2 were written"));
    delete(&empty[0]);
    assert!(reason("/lost").contains("a node of it is missing"));

    prepare("/stray");
    let layout = layout::Layout::new(&parse(&ensemble.url("/stray")));
    let bucket = layout.buckets().next().unwrap();
    let stray = format!("{bucket}/not a record");
    runtime.block_on(client.create(&stray, b"", Acl::Open, CreateMode::Persistent)).unwrap();
    assert!(reason("/stray").contains("'not a record' in bucket 00"));
}

#[test]
fn a_foreign_change_under_a_leader_is_an_error() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let runtime = runtime();
    let url = ensemble.url("/mesos");
    let client = observer(&runtime, &url);
    let registry = open(&url, 5).unwrap();
    registry.commit(&[Change::set("a", "1")]).unwrap();
    let layout = layout::Layout::new(&parse(&url));
    runtime.block_on(client.delete(&layout.record("a"))).unwrap();
    let error = registry.commit(&[Change::set("a", "2")]).unwrap_err();
    assert!(matches!(error, RegistryError::Foreign { .. }), "{error}");
}

#[test]
fn a_lost_answer_is_found_out() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let runtime = runtime();
    let relay = runtime.block_on(Relay::start(ensemble.address(0).into()));
    // The answer to the claim is lost first.
    relay.set(Mode::LoseAnswerTo(b"\"claim\""));
    let url = relay.url("/mesos");
    let opening = thread::spawn(move || open(&url, 5).unwrap());
    let wait_for_loss = |count| {
        while relay.lost() < count {
            thread::sleep(Duration::from_millis(5));
        }
        relay.set(Mode::Pass);
    };
    wait_for_loss(1);
    let registry = opening.join().unwrap();
    for round in 0..5 {
        let lost = relay.lost();
        relay.set(Mode::LoseAnswerTo(b"\"batch\""));
        thread::scope(|scope| {
            let writing = scope.spawn(|| {
                registry.commit(&[
                    Change::set(format!("key/{round}"), "1"),
                    Change::set("last", round.to_string()),
                ])
            });
            wait_for_loss(lost + 1);
            writing.join().unwrap().unwrap();
        });
    }
    let mut expected: Vec<Record> =
        (0..5).map(|round| record(&format!("key/{round}"), "1")).collect();
    expected.push(record("last", "4"));
    assert_eq!(registry.load().unwrap(), expected);
    drop(registry);
    assert_eq!(open(&ensemble.url("/mesos"), 5).unwrap().load().unwrap(), expected);
}

#[test]
fn acknowledged_writes_survive_dying_servers() {
    let Some(mut ensemble) = Ensemble::start_or_skip(3) else { return };
    let url = ensemble.url("/mesos");
    let registry = open(&url, 5).unwrap();
    let is_over = AtomicBool::new(false);
    let (mut model, written) = (
        BTreeMap::new(),
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut written = 0_u32;
                // Each write depends on all before it: it removes what the one before has made.
                while !is_over.load(Ordering::Relaxed) {
                    let key = |number| format!("agents/{number}");
                    let mut changes = vec![
                        Change::set(key(written), written.to_string()),
                        Change::set("last", written.to_string()),
                    ];
                    if written % 3 == 2 {
                        changes.push(Change::remove(key(written - 1)));
                    }
                    registry.commit(&changes).unwrap();
                    written += 1;
                }
                written
            });
            for _ in 0..4 {
                thread::sleep(Duration::from_millis(300));
                let server = ensemble.leader().unwrap();
                ensemble.kill(server);
                ensemble.wait_for_quorum();
                thread::sleep(Duration::from_millis(200));
                ensemble.restart(server);
                ensemble.wait_for_quorum();
            }
            is_over.store(true, Ordering::Relaxed);
            writer.join().unwrap()
        }),
    );
    assert!(written > 20, "{written} writes are no test");
    for number in 0..written {
        model.insert(format!("agents/{number}"), number.to_string().into_bytes());
        model.insert("last".to_owned(), number.to_string().into_bytes());
        if number % 3 == 2 {
            model.remove(&format!("agents/{}", number - 1));
        }
    }
    let expected: Vec<Record> = model.into_iter().collect();
    assert_eq!(registry.load().unwrap(), expected);
    assert_eq!(open(&url, 6).unwrap().load().unwrap(), expected);
}

#[test]
fn writes_fail_in_time_without_a_majority() {
    let Some(ensemble) = Ensemble::start_or_skip(3) else { return };
    let timeouts = RegistryTimeouts { store: Duration::from_secs(3), ..TIMEOUTS };
    let url = parse(&ensemble.url("/mesos"));
    let registry = ZooKeeperRegistry::open(&url, Epoch(5), timeouts).unwrap();
    registry.commit(&[Change::set("a", "1")]).unwrap();
    for server in 0..2 {
        ensemble.pause(server);
    }
    let started = Instant::now();
    let error = registry.commit(&[Change::set("a", "2")]).unwrap_err();
    assert!(matches!(error, RegistryError::Ensemble { operation: "write", .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for server in 0..2 {
        ensemble.resume(server);
    }
    // What came of the write is not known, so nothing may be built upon it.
    registry.commit(&[Change::set("a", "3")]).unwrap_err();
    let values = open(&ensemble.url("/mesos"), 6).unwrap().load().unwrap();
    assert!(values == [record("a", "1")] || values == [record("a", "2")], "{values:?}");
}

#[test]
fn passwords_guard_the_records() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    open(&ensemble.url_as("mesos:secret", "/mesos"), 5)
        .unwrap()
        .commit(&[Change::set("a", "1")])
        .unwrap();
    for url in [ensemble.url("/mesos"), ensemble.url_as("mesos:wrong", "/mesos")] {
        let error = open(&url, 6).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("denied"), "{error}: {source}");
        assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
        let reader = ZooKeeperRegistry::open_read_only(&parse(&url), TIMEOUTS).unwrap();
        assert_eq!(reader.load().unwrap(), [record("a", "1")], "all may read");
    }
}

#[test]
fn large_batches_take_several_steps_and_large_writes_are_refused() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let url = ensemble.url("/mesos");
    let registry = open(&url, 5).unwrap();
    let large = vec![7_u8; 600_000];
    let writes: Vec<Vec<Change>> =
        (0..4).map(|number| vec![Change::set(number.to_string(), large.clone())]).collect();
    registry.commit_all(&writes).unwrap();
    assert_eq!(registry.load().unwrap().len(), 4);

    let whole = writes.concat();
    let error = registry.commit(&whole).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
    registry.commit(&[Change::set("limit", vec![1; 999_000])]).unwrap();
    assert_eq!(registry.load().unwrap().len(), 5, "a refused write changes nothing and harms none");
}

#[test]
fn a_small_change_writes_little() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let runtime = runtime();
    let relay = runtime.block_on(Relay::start(ensemble.address(0).into()));
    let registry = open(&relay.url("/mesos"), 5).unwrap();
    let agents: Vec<Change> =
        (0..1000).map(|number| Change::set(format!("agents/{number}"), vec![7; 600])).collect();
    registry.commit(&agents).unwrap();
    let before = relay.sent();
    registry.commit(&[Change::set("agents/500", vec![8; 600])]).unwrap();
    let bytes = relay.sent() - before;
    assert!(bytes < 1024, "{bytes} bytes for one record of 600");
}

#[test]
fn records_move_between_stores() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let embedded = InMemory::new();
    let records: Vec<Change> =
        (0..3000).map(|number| Change::set(format!("agents/{number}"), vec![9; 600])).collect();
    embedded.commit(&records).unwrap();
    let mut text = Vec::new();
    export(&embedded, &mut text).unwrap();

    let url = parse(&ensemble.url("/mesos"));
    let registry = ZooKeeperRegistry::take_over(&url, TIMEOUTS).unwrap();
    assert_eq!(import(&registry, &mut text.as_slice()).unwrap(), 3000);
    let mut again = Vec::new();
    let reader = ZooKeeperRegistry::open_read_only(&url, TIMEOUTS).unwrap();
    export(&reader, &mut again).unwrap();
    assert!(again == text, "what comes out is what went in");
}

/// Fills a registry with records as large as an agent's and measures.
fn measure(agents: usize) -> Duration {
    let Some(ensemble) = Ensemble::start_or_skip(3) else { return Duration::ZERO };
    let url = ensemble.url("/mesos");
    let registry = open(&url, 5).unwrap();
    let key = |number| format!("agents/9f1f0b5e-3c4e-4f64-a9b1-5f3c0e1d2a3b-S{number}");
    let writes: Vec<Vec<Change>> =
        (0..agents).map(|number| vec![Change::set(key(number), vec![7; 600])]).collect();
    let started = Instant::now();
    for batch in writes.chunks(4096) {
        registry.commit_all(batch).unwrap();
    }
    let filled = started.elapsed();
    drop(registry);

    let started = Instant::now();
    let registry = open(&url, 6).unwrap();
    let opened = started.elapsed();
    assert_eq!(registry.load().unwrap().len(), agents);
    let loaded = started.elapsed();

    let started = Instant::now();
    for number in 0..100 {
        registry.commit(&[Change::set(key(number), vec![8; 600])]).unwrap();
    }
    let single = started.elapsed() / 100;
    eprintln!(
        "{agents} records: filled in {filled:?}, claimed in {opened:?}, claimed and loaded in {loaded:?}, \
         one change in {single:?}"
    );
    loaded
}

#[test]
fn fifty_thousand_records_load_in_seconds() {
    assert!(measure(50_000) < Duration::from_secs(10));
}
