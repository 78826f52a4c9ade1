//! The harness itself: what it says about the servers is so.

use ensemble::Ensemble;

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
