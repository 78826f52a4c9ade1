use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

fn file(work_dir: &Path) -> PathBuf {
    work_dir.join(FOLDER).join(FILE)
}

fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn records_survive_reopening() {
    let work_dir = tempfile::tempdir().unwrap();
    let registry = EmbeddedFile::open(work_dir.path()).unwrap();
    assert_eq!(registry.load().unwrap(), []);
    registry
        .commit(&[Change::set("agents/2", "two"), Change::set("agents/1", vec![0, 255])])
        .unwrap();
    registry.commit(&[Change::remove("agents/2"), Change::remove("missing")]).unwrap();
    registry.commit(&[]).unwrap();
    let expected = [("agents/1".to_owned(), vec![0, 255])];
    assert_eq!(registry.load().unwrap(), expected);
    drop(registry);
    assert_eq!(reopen(work_dir.path()).unwrap().load().unwrap(), expected);
}

/// Opens a file that was closed. Another test that starts a process at this moment holds all open files
/// of this one until its program begins, locks included.
fn reopen(work_dir: &Path) -> Result<EmbeddedFile, RegistryError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match EmbeddedFile::open(work_dir) {
            Err(RegistryError::InUse { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

#[test]
fn a_second_opening_is_refused() {
    let work_dir = tempfile::tempdir().unwrap();
    let first = EmbeddedFile::open(work_dir.path()).unwrap();
    let error = EmbeddedFile::open(work_dir.path()).unwrap_err();
    assert!(matches!(error, RegistryError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(first.path().to_str().unwrap()), "{error}");
    first.commit(&[Change::set("a", "1")]).unwrap();
}

#[test]
fn foreign_files_are_left_alone() {
    for content in [&b""[..], b"x", b"not a registry", &[0; 10_000]] {
        let work_dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(work_dir.path().join(FOLDER)).unwrap();
        std::fs::write(file(work_dir.path()), content).unwrap();
        let error = EmbeddedFile::open(work_dir.path()).unwrap_err();
        assert!(matches!(error, RegistryError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains(file(work_dir.path()).to_str().unwrap()), "{error}");
        assert_eq!(std::fs::read(file(work_dir.path())).unwrap(), content);
    }
}

#[test]
fn a_redb_file_of_another_program_is_left_alone() {
    let work_dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(work_dir.path().join(FOLDER)).unwrap();
    drop(Database::create(file(work_dir.path())).unwrap());
    let error = EmbeddedFile::open(work_dir.path()).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn damage_is_found_and_nothing_is_written() {
    let work_dir = tempfile::tempdir().unwrap();
    let registry = EmbeddedFile::open(work_dir.path()).unwrap();
    for number in 0..200 {
        registry.commit(&[Change::set(format!("agents/{number}"), vec![7; 500])]).unwrap();
    }
    drop(registry);
    let sound = std::fs::read(file(work_dir.path())).unwrap();
    let truncated = sound[..sound.len() / 2].to_vec();
    let mut flipped = sound.clone();
    // Values are runs of sevens, so this hits a page in use.
    let value = sound.windows(64).rposition(|window| window == [7; 64]).unwrap();
    flipped[value] = 8;
    let zeroed_header = {
        let mut bytes = sound;
        bytes[9..320].fill(0);
        bytes
    };
    let mut refused = 0;
    for damaged in [truncated, flipped, zeroed_header] {
        std::fs::write(file(work_dir.path()), &damaged).unwrap();
        match reopen(work_dir.path()) {
            Err(error) => {
                assert!(matches!(error, RegistryError::Unreadable { .. }), "{}", message(&error));
                assert_eq!(std::fs::read(file(work_dir.path())).unwrap(), damaged);
                refused += 1;
            }
            // The flipped byte may lie in a page that is no longer in use.
            Ok(registry) => assert_eq!(registry.load().unwrap().len(), 200),
        }
    }
    assert!(refused >= 2);
}

#[test]
fn an_unusable_folder_is_named() {
    let work_dir = tempfile::tempdir().unwrap();
    let not_a_folder = work_dir.path().join("file");
    std::fs::write(&not_a_folder, "").unwrap();
    let error = EmbeddedFile::open(&not_a_folder).unwrap_err();
    assert!(message(&error).contains(not_a_folder.to_str().unwrap()), "{}", message(&error));
    assert!(message(&error).contains("Not a directory"), "{}", message(&error));
}

#[test]
fn a_small_change_writes_little() {
    let work_dir = tempfile::tempdir().unwrap();
    let registry = EmbeddedFile::open(work_dir.path()).unwrap();
    let all: Vec<Change> =
        (0..5000).map(|number| Change::set(format!("agents/{number:06}"), vec![1; 600])).collect();
    registry.commit(&all).unwrap();
    let before = bytes_written();
    let commits = 50;
    for number in 0..commits {
        registry
            .commit(&[Change::set(format!("agents/{:06}", number * 97), vec![2; 600])])
            .unwrap();
    }
    let per_commit = (bytes_written() - before) / commits;
    println!("{per_commit} bytes per commit of 600 bytes among 5000 records");
    assert!(per_commit < 64 << 10, "{per_commit} bytes per commit");
}

/// What this thread has passed to `write` and its relatives.
fn bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}

const CHILD_WORK_DIR: &str = "COORDINATION_TEST_WORK_DIR";
const PAIR: usize = 3;

/// Not a test of its own: the process that `acknowledged_commits_survive_kill_9` kills. Each commit
/// writes the same number under several keys, then says so.
#[test]
fn writer_process() {
    let Ok(work_dir) = std::env::var(CHILD_WORK_DIR) else { return };
    let registry = EmbeddedFile::open(Path::new(&work_dir)).unwrap();
    let records: BTreeMap<String, Vec<u8>> = registry.load().unwrap().into_iter().collect();
    let mut number = records.get("key0").map_or(0, |value| read_number(value));
    let mut output = io::stdout();
    loop {
        number += 1;
        let value = format!("{number}:{}", "x".repeat(usize::try_from(number % 3000).unwrap()));
        let changes: Vec<Change> =
            (0..PAIR).map(|key| Change::set(format!("key{key}"), value.clone())).collect();
        registry.commit(&changes).unwrap();
        if writeln!(output, "committed {number}").and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

fn read_number(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).unwrap();
    text.split(':').next().unwrap().parse().unwrap()
}

fn start_writer(work_dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded_file::tests::writer_process", "--nocapture"])
        .env(CHILD_WORK_DIR, work_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn acknowledged_commits_survive_kill_9() {
    let work_dir = tempfile::tempdir().unwrap();
    let mut total = 0;
    for round in 0..200_u32 {
        let mut child = start_writer(work_dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A different moment each round: some kills hit the opening, most a commit.
        let wanted = round % 7;
        let mut acknowledged = total;
        let mut seen = 0;
        while seen < wanted {
            let line = lines.next().unwrap().unwrap();
            // The test harness prints its own text before the first line, without a newline.
            if let Some((_, number)) = line.split_once("committed ") {
                acknowledged = number.parse().unwrap();
                seen += 1;
            }
        }
        std::thread::sleep(Duration::from_micros(u64::from(round * 37 % 2000)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some((_, number)) = line.split_once("committed ") {
                acknowledged = number.parse().unwrap_or(acknowledged);
            }
        }
        if round % 7 == 0 && !file(work_dir.path()).exists() {
            continue;
        }
        let registry = reopen(work_dir.path()).unwrap();
        let records = registry.load().unwrap();
        let numbers: Vec<u64> = records.iter().map(|(_, value)| read_number(value)).collect();
        assert!(numbers.is_empty() || numbers.len() == PAIR, "{numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[0] == pair[1]), "half a commit: {numbers:?}");
        let found = numbers.first().copied().unwrap_or(0);
        assert!(found >= acknowledged, "acknowledged {acknowledged}, found {found}");
        total = found;
    }
    assert!(total > 200, "{total} commits");
}
