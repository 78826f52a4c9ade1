//! The harness itself: what it says about the servers is so.

use ensemble::{Access, Ensemble};

#[test]
fn servers_are_killed_paused_and_come_back() {
    let Some(mut ensemble) = Ensemble::start_or_skip(3) else { return };
    let first = ensemble.leader().unwrap();
    ensemble.kill(first);
    assert_eq!(ensemble.mode(first), None);
    ensemble.wait_for_quorum();
    let second = ensemble.leader().unwrap();
    assert_ne!(second, first);

    ensemble.pause(second);
    assert_eq!(ensemble.mode(second), None, "a paused server answers nothing");
    ensemble.resume(second);
    ensemble.restart(first);
    ensemble.wait_for_quorum();

    let pids: Vec<u32> = (0..3).map(|server| ensemble.pid(server)).collect();
    drop(ensemble);
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} still runs");
    }
}

#[test]
fn nodes_are_made_read_and_changed_by_hand() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let mut client = ensemble.client().unwrap();
    client.create("/open", b"one", Access::World).unwrap();
    client.set("/open", b"two").unwrap();
    assert_eq!(client.get("/open").unwrap(), b"two");
    client.authenticate("me:secret").unwrap();
    client.create("/mine", b"", Access::Creator).unwrap();
    assert_eq!(client.children("/").unwrap(), ["mine", "open", "zookeeper"]);

    let mut stranger = ensemble.client().unwrap();
    assert!(stranger.get("/mine").unwrap_err().to_string().contains("cannot get /mine"));
    stranger.delete("/open").unwrap();
    assert_eq!(client.get("/open").unwrap_err().kind(), std::io::ErrorKind::NotFound);
}
