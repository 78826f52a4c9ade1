//! `meseta registry`: a master's registry moves from a file to ZooKeeper and back.

use std::path::Path;
use std::time::Duration;

use ensemble::Ensemble;
use tests::{Cluster, ClusterOptions, Leadership, Output, binary, run, wait_until};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `meseta registry` with its standard input and output in files, as a shell does it.
fn registry(words: &str, input: &Path, output: &Path) -> Output {
    let script = format!("exec \"$0\" registry {words} < \"$1\" > \"$2\"");
    let paths = [binary(), input.to_owned(), output.to_owned()].map(|it| it.display().to_string());
    let mut arguments = vec!["-c", script.as_str()];
    arguments.extend(paths.iter().map(String::as_str));
    run(Path::new("/bin/sh"), &arguments, &[], LIMIT)
}

fn assert_fails_with(output: &Output, expected: &str) {
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains(expected), "{output:?}");
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{output:?}");
}

fn assert_succeeds(output: &Output) {
    assert_eq!(output.code, 0, "{output:?}");
}

#[test]
fn agents_are_known_after_a_move_to_zookeeper_and_back() {
    let Some(ensemble) = Ensemble::start_or_skip(1) else { return };
    let mut cluster = Cluster::start(&ClusterOptions::default());
    let folder = cluster.folder().to_owned();
    let (exported, again, nothing) =
        (folder.join("exported"), folder.join("again"), Path::new("/dev/null"));
    let work_dir = format!("--work_dir={}", folder.join("master").display());
    let output = registry(&format!("export {work_dir}"), nothing, &exported);
    assert_fails_with(&output, "is in use by another process");
    cluster.master.kill_hard();
    let output = registry(&format!("export {work_dir}"), nothing, &exported);
    assert_succeeds(&output);
    assert!(output.stderr.contains("exported"), "{output:?}");

    let zk = format!("--zk={}", ensemble.url("/mesos"));
    let leadership = Leadership::take(&ensemble.url("/mesos"), "127.0.0.1:5050");
    let output = registry(&format!("import {zk}"), &exported, nothing);
    assert_fails_with(&output, "master@127.0.0.1:5050 leads at zk://");
    drop(leadership);
    let cut = folder.join("cut");
    let whole = std::fs::read(&exported).expect("an exported registry");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("a file");
    assert_fails_with(&registry(&format!("import {zk}"), &cut, nothing), "line ");
    assert_succeeds(&registry(&format!("import {zk}"), &exported, nothing));
    assert_fails_with(&registry(&format!("import {zk}"), &exported, nothing), "already");
    let output = registry(&format!("import {zk} --force"), &exported, nothing);
    assert_fails_with(&output, "already");
    assert_succeeds(&registry(&format!("export {zk}"), nothing, &again));
    assert_eq!(std::fs::read(&again).expect("an exported registry"), whole);

    // A master with that registry waits for the agent that it has never seen.
    let moved = folder.join("moved");
    let work_dir = format!("--work_dir={}", moved.display());
    assert_fails_with(&registry(&format!("export {work_dir}"), nothing, nothing), "no registry in");
    assert!(!moved.exists(), "a mistyped folder is not made");
    assert_succeeds(&registry(&format!("import {work_dir}"), &again, nothing));
    std::fs::remove_dir_all(folder.join("master")).expect("a folder to remove");
    std::fs::rename(&moved, folder.join("master")).expect("a folder to rename");
    cluster.agents[0].process.kill_hard();
    cluster.restart_master();
    wait_until("the agent to be recovered", LIMIT, || {
        let state = cluster.state();
        (state["recovered_slaves"].as_array()?.len() == 1).then_some(())
    });
}

#[test]
fn mistakes_are_told_in_one_line() {
    let nothing = Path::new("/dev/null");
    for (words, expected) in [
        ("export", "--zk or --work_dir"),
        ("export --zk=zk://a:1/m --work_dir=/nowhere", "not both"),
        ("--work_dir=/nowhere", "export or import"),
        ("export --zk=host:5050", "begins with 'zk://'"),
        ("export --zk=zk://127.0.0.1:1/m --timeout=200ms", "zk://127.0.0.1:1/m"),
        ("import --zk=zk://127.0.0.1:1/m --timeout=200ms", "did not answer within 200ms"),
    ] {
        assert_fails_with(&registry(words, nothing, nothing), expected);
    }
}
