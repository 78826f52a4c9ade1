use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};

use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

struct Fixture {
    directory: TempDir,
    launcher: Launcher,
    exits: Receiver<Exit<ContainerId>>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (launcher, exits) = launcher();
        Self { directory, launcher, exits }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self, id: &str, line: &str) -> ContainerConfig {
        ContainerConfig {
            id: ContainerId::new(id),
            program: Program::Shell(line.into()),
            environment: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("MARK".into(), self.path(id).into_os_string()),
            ],
            directory: self.directory.path().to_owned(),
            user: None,
            stdout: Output::File(self.path("stdout")),
            stderr: Output::File(self.path("stderr")),
        }
    }

    fn launch(&self, id: &str, line: &str) -> Started {
        self.launcher.launch(&self.config(id, line)).unwrap()
    }

    fn exit(&self) -> Exit<ContainerId> {
        self.exits.recv_timeout(PATIENCE).unwrap()
    }

    fn run(&self, config: &ContainerConfig) -> String {
        self.launcher.launch(config).unwrap();
        let exit = self.exit();
        assert!(exit.status.unwrap().success(), "{exit:?} {:?}", self.read("stderr"));
        self.launcher.destroy(&config.id).unwrap();
        self.read("stdout")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn launcher() -> (Launcher, Receiver<Exit<ContainerId>>) {
    let (sender, exits) = mpsc::channel();
    let launcher = Launcher::new("MARK", move |exit| {
        // A test that has seen enough no longer listens.
        let _ = sender.send(exit);
    });
    (launcher.unwrap(), exits)
}

fn wait_for_file(path: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text;
        }
        assert!(Instant::now() < deadline, "{} was not written", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(pid: i32) -> bool {
    ProcessStat::read(pid).is_some_and(|stat| !stat.is_dead())
}

#[test]
fn reports_the_exit_status_and_appends_output_to_the_sandbox() {
    let fixture = Fixture::new();
    fs::write(fixture.path("stdout"), "before\n").unwrap();
    fixture.launch("a", "pwd; echo problem >&2; exit 3");
    let exit = fixture.exit();
    assert_eq!(exit.key, ContainerId::new("a"));
    assert_eq!(exit.status.unwrap().code(), Some(3));
    assert_eq!(fixture.read("stdout"), format!("before\n{}\n", fixture.directory.path().display()));
    assert_eq!(fixture.read("stderr"), "problem\n");
    assert_eq!(fs::metadata(fixture.path("stderr")).unwrap().mode() & 0o7777, 0o644);

    fixture.launch("b", "kill -SEGV $$");
    assert_eq!(fixture.exit().status.unwrap().signal(), Some(libc::SIGSEGV));
    assert_eq!(fixture.launcher.containers().len(), 2);
    fixture.launcher.destroy(&ContainerId::new("a")).unwrap();
    assert_eq!(fixture.launcher.containers(), [ContainerId::new("b")]);
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    let fixture = Fixture::new();
    let mut config = fixture.config("a", "");
    config.program =
        Program::Exec { path: "env".into(), arguments: vec!["env".into(), "-0".into()] };
    config.environment.push(("NAME".into(), "with space\nand line".into()));
    let mut variables: Vec<String> =
        fixture.run(&config).split_terminator('\0').map(str::to_owned).collect();
    variables.sort_unstable();
    let marker = format!("MARK={}", fixture.path("a").display());
    assert_eq!(variables, [&marker, "NAME=with space\nand line", "PATH=/usr/bin:/bin"]);
}

#[test]
fn the_first_argument_is_the_name_of_the_program() {
    let fixture = Fixture::new();
    let mut config = fixture.config("a", "");
    config.program = Program::Exec {
        path: "/bin/sh".into(),
        arguments: ["renamed", "-c", "cat /proc/$$/cmdline | tr '\\0' ' '; echo $0"]
            .map(OsString::from)
            .to_vec(),
    };
    assert!(fixture.run(&config).starts_with("renamed -c "));
}

#[test]
fn a_container_starts_clean() {
    let fixture = Fixture::new();
    // A descriptor without close-on-exec, as a careless library leaves it.
    let file = fs::File::create(fixture.path("leak")).unwrap();
    let leaked = nix::unistd::dup(&file).unwrap();
    let config = fixture.config(
        "a",
        "ls -x /proc/$$/fd > fds; cat fds; umask; grep -E '^Sig(Blk|Ign)' /proc/self/status; \
         ps -o pid=,pgid=,sid= -p $$; readlink /proc/$$/fd/0",
    );
    let output = fixture.run(&config);
    drop(leaked);
    let lines: Vec<&str> = output.lines().collect();
    // What the shell itself opens lies at 10 and above.
    let mut descriptors: Vec<u32> =
        lines[0].split_whitespace().map(|text| text.parse().unwrap()).collect();
    descriptors.retain(|descriptor| *descriptor < 10);
    assert_eq!(descriptors, [0, 1, 2]);
    assert_eq!(lines[1], "0022");
    assert_eq!(lines[2], "SigBlk:\t0000000000000000");
    assert_eq!(lines[3], "SigIgn:\t0000000000000000");
    let ids: Vec<&str> = lines[4].split_whitespace().collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "own session and group: {ids:?}");
    assert_eq!(lines[5], "/dev/null");
}

#[test]
fn destroying_kills_daemons_that_left_the_session() {
    let fixture = Fixture::new();
    // One child in the session, one in another session, one by double fork whose parents are gone.
    let line = "sleep 100 & echo $! >> pids; \
                setsid sh -c 'echo $$ >> pids; exec sleep 100' & \
                (setsid sh -c 'sleep 100 & echo $! >> pids; exit' &); \
                trap '' TERM; sleep 0.3; echo done > ready; wait";
    let started = fixture.launch("a", line);
    wait_for_file(&fixture.path("ready"));
    let mut pids: Vec<i32> =
        fixture.read("pids").lines().map(|line| line.parse().unwrap()).collect();
    pids.push(started.pid);
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    fixture.launcher.destroy(&ContainerId::new("a")).unwrap();
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert_eq!(fixture.exit().status.unwrap().signal(), Some(libc::SIGKILL));
    assert!(matches!(
        fixture.launcher.destroy(&ContainerId::new("a")),
        Err(DestroyError::Unknown { .. })
    ));
}

#[test]
fn destroying_after_the_exit_kills_what_is_left() {
    let fixture = Fixture::new();
    fixture.launch("a", "setsid sh -c 'echo $$ > pid; exec sleep 100' & sleep 0.2");
    assert!(fixture.exit().status.unwrap().success());
    let pid: i32 = fixture.read("pid").trim().parse().unwrap();
    assert!(is_alive(pid));
    fixture.launcher.destroy(&ContainerId::new("a")).unwrap();
    assert!(!is_alive(pid));
}

#[test]
fn destroying_one_container_leaves_the_others() {
    let fixture = Fixture::new();
    let first = fixture.launch("a", "sleep 100");
    let second = fixture.launch("b", "sleep 100");
    fixture.launcher.destroy(&ContainerId::new("a")).unwrap();
    assert!(!is_alive(first.pid) && is_alive(second.pid));
    fixture.launcher.destroy(&ContainerId::new("b")).unwrap();
    assert!(!is_alive(second.pid));
}

#[test]
fn refuses_what_cannot_run() {
    let fixture = Fixture::new();
    let mut config = fixture.config("a", "");
    config.program = Program::Exec { path: "/no/such/program".into(), arguments: Vec::new() };
    let error = fixture.launcher.launch(&config).unwrap_err();
    assert!(
        matches!(&error, LaunchError::Spawn { source: SpawnError::Execute { source, .. }, .. }
            if source.kind() == std::io::ErrorKind::NotFound),
        "{error:?}"
    );
    config.program = Program::Shell("true".into());
    config.user = Some("no-such-user".into());
    let error = fixture.launcher.launch(&config).unwrap_err();
    assert!(matches!(error, LaunchError::Spawn { source: SpawnError::UnknownUser { .. }, .. }));
    config.user = None;
    config.environment.clear();
    let error = fixture.launcher.launch(&config).unwrap_err();
    assert!(matches!(error, LaunchError::NoMarker { .. }));
    assert!(fixture.launcher.containers().is_empty());

    fixture.launch("b", "sleep 100");
    let error = fixture.launcher.launch(&fixture.config("b", "true")).unwrap_err();
    assert!(matches!(error, LaunchError::Duplicate { .. }));
    fixture.launcher.destroy(&ContainerId::new("b")).unwrap();
}

#[test]
fn output_never_follows_a_planted_link() {
    let fixture = Fixture::new();
    fs::write(fixture.path("precious"), "x").unwrap();
    std::os::unix::fs::symlink("precious", fixture.path("stdout")).unwrap();
    let open_failed = |error: &LaunchError| {
        matches!(error, LaunchError::Spawn { source: SpawnError::OpenOutput { .. }, .. })
    };
    let error = fixture.launcher.launch(&fixture.config("a", "echo bad")).unwrap_err();
    assert!(open_failed(&error), "{error:?}");
    fs::remove_file(fixture.path("stdout")).unwrap();
    fs::hard_link(fixture.path("precious"), fixture.path("stdout")).unwrap();
    let error = fixture.launcher.launch(&fixture.config("a", "echo bad")).unwrap_err();
    assert!(open_failed(&error), "{error:?}");
    assert_eq!(fixture.read("precious"), "x");
}

#[test]
fn another_user_is_root_s_choice() {
    let fixture = Fixture::new();
    let line = "id -u; id -g; id -G; grep -E '^(Uid|Gid)' /proc/$$/status";
    let mut config = fixture.config("a", line);
    config.user = Some("nobody".to_owned());
    if !crate::system::is_root() {
        let error = fixture.launcher.launch(&config).unwrap_err();
        assert!(matches!(error, LaunchError::Spawn { source: SpawnError::NotRoot { .. }, .. }));
        return;
    }
    let nobody = UserIdentity::look_up("nobody").unwrap();
    let (uid, gid) = (nobody.uid, nobody.gid);
    let expected = format!(
        "{uid}\n{gid}\n{gid}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\n"
    );
    assert_eq!(fixture.run(&config), expected);
    let metadata = fs::metadata(fixture.path("stdout")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (uid, gid, 0o644));
}

#[test]
fn usage_counts_the_whole_tree() {
    let fixture = Fixture::new();
    fixture.launch("busy", "sh -c 'while :; do :; done' & sleep 100");
    fixture.launch("idle", "sleep 100");
    fixture.launch("ended", "true");
    assert_eq!(fixture.exit().key, ContainerId::new("ended"));
    let deadline = Instant::now() + PATIENCE;
    let usage = loop {
        let usage = fixture.launcher.usage().unwrap();
        if usage[&ContainerId::new("busy")].cpus_user_time_secs > 0.1 {
            break usage;
        }
        assert!(Instant::now() < deadline, "{usage:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let busy = usage[&ContainerId::new("busy")];
    assert!((2..=3).contains(&busy.processes) && busy.threads == busy.processes, "{busy:?}");
    assert!(busy.mem_rss_bytes > 500_000, "{busy:?}");
    let idle = usage[&ContainerId::new("idle")];
    assert!(idle.processes >= 1 && idle.cpus_user_time_secs < 0.1, "{idle:?}");
    assert_eq!(usage[&ContainerId::new("ended")], Usage::default());
    for id in fixture.launcher.containers() {
        fixture.launcher.destroy(&id).unwrap();
    }
}

/// Starts a process that is no child of ours, marked as container `a`.
fn orphan(fixture: &Fixture) -> i32 {
    let helper = fixture.launch("a", "setsid sleep 100 & echo $! > orphan");
    assert!(fixture.exit().status.unwrap().success());
    let orphan = wait_for_file(&fixture.path("orphan")).trim().parse().unwrap();
    assert_ne!(ProcessStat::read(orphan).unwrap().parent, helper.pid);
    orphan
}

#[test]
fn a_later_launcher_takes_running_containers_over() {
    let fixture = Fixture::new();
    let pid = orphan(&fixture);
    let (second, exits) = launcher();
    let config = RecoverConfig {
        id: ContainerId::new("a"),
        pid,
        start_time: None,
        marker: fixture.path("a").into_os_string(),
    };
    assert_eq!(second.recover(&config).unwrap(), Recovered::Running);
    assert_eq!(second.usage().unwrap()[&config.id].processes, 1);
    assert!(matches!(second.recover(&config), Err(LaunchError::Duplicate { .. })));
    assert!(exits.try_recv().is_err());
    second.destroy(&config.id).unwrap();
    let exit = exits.recv_timeout(PATIENCE).unwrap();
    assert_eq!(exit, Exit { key: config.id, status: None });
    assert!(!is_alive(pid));
}

#[test]
fn a_pid_that_is_another_s_by_now_counts_as_exited() {
    let fixture = Fixture::new();
    let pid = orphan(&fixture);
    let config = |id: &str, start_time, marker: &str| RecoverConfig {
        id: ContainerId::new(id),
        pid,
        start_time,
        marker: fixture.path(marker).into_os_string(),
    };
    let start_time = ProcessStat::read(pid).unwrap().start_time;
    let (second, exits) = launcher();
    for wrong in [config("x", None, "other"), config("y", Some(start_time + 1), "other")] {
        assert_eq!(second.recover(&wrong).unwrap(), Recovered::Exited);
        let exit = exits.recv_timeout(PATIENCE).unwrap();
        assert_eq!(exit, Exit { key: wrong.id.clone(), status: None });
        second.destroy(&wrong.id).unwrap();
    }
    assert!(is_alive(pid));
    // Its first process is gone, but what it left behind is still found.
    let mut gone = config("a", None, "a");
    gone.pid = i32::try_from(std::process::id()).unwrap();
    assert_eq!(second.recover(&gone).unwrap(), Recovered::Exited);
    second.destroy(&gone.id).unwrap();
    assert!(!is_alive(pid));
}
