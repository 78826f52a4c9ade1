//! Agents, frameworks and people say who they are.

use std::path::Path;
use std::time::Duration;

use tests::{
    Cluster, ClusterOptions, Output, Process, binary, free_port, get, get_json, post_json, run,
    wait_until,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Secrets in files, as operators keep them.
struct Secrets {
    folder: tempfile::TempDir,
}

impl Secrets {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a file of secrets");
        };
        write(
            "credentials",
            r#"{"credentials": [{"principal": "agents", "secret": "agent-secret"},
                                {"principal": "jobs", "secret": "jobs-secret"}]}"#,
        );
        write("agent", r#"{"principal": "agents", "secret": "agent-secret"}"#);
        write("wrong", "agents other-secret\n");
        Self { folder }
    }

    fn flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.folder.path().join(name).display())
    }

    fn cluster(&self) -> Cluster {
        Cluster::start(&ClusterOptions {
            master_flags: vec![
                self.flag("credentials", "credentials"),
                "--authenticate_agents".to_owned(),
                "--authenticate_frameworks".to_owned(),
                "--authenticate_http_frameworks".to_owned(),
                "--http_framework_authenticators=basic".to_owned(),
                "--authenticate_http_readwrite".to_owned(),
            ],
            agent_flags: vec![
                self.flag("credential", "agent"),
                self.flag("http_credentials", "credentials"),
                "--authenticate_http_readonly".to_owned(),
            ],
            ..ClusterOptions::default()
        })
    }
}

fn execute(cluster: &Cluster, flags: &[&str]) -> Output {
    let master = format!("--master={}", cluster.address);
    let mut arguments = vec!["execute", master.as_str(), "--name=t", "--command=true"];
    arguments.extend(flags);
    run(&binary(), &arguments, &[], LIMIT)
}

#[test]
fn agents_with_the_right_secret_join_and_join_again_after_the_master_restarts() {
    let secrets = Secrets::new();
    let mut cluster = secrets.cluster();
    let framework = ["--principal=jobs", "--secret=jobs-secret"];
    let output = execute(&cluster, &framework);
    assert_eq!(output.code, 0, "{output:?}{}", cluster.logs());
    cluster.restart_master();
    cluster.wait_for_agents();
    let output = execute(&cluster, &framework);
    assert_eq!(output.code, 0, "{output:?}{}", cluster.logs());
    let principals: Vec<_> = cluster.state()["completed_frameworks"]
        .as_array()
        .expect("completed frameworks")
        .iter()
        .map(|framework| framework["principal"].clone())
        .collect();
    assert!(principals.iter().all(|principal| principal == "jobs"), "{principals:?}");
}

#[test]
fn an_agent_with_a_wrong_secret_says_so_and_stays_outside() {
    let secrets = Secrets::new();
    let cluster = secrets.cluster();
    let stranger = |flags: &[String], folder: &Path, name: &str| {
        let mut arguments = vec![
            "agent".to_owned(),
            format!("--master={}", cluster.address),
            "--ip=127.0.0.1".to_owned(),
            format!("--port={}", free_port()),
            format!("--work_dir={}", folder.join(name).display()),
            format!("--runtime_dir={}", folder.join("run").display()),
            "--registration_backoff_factor=10ms".to_owned(),
        ];
        arguments.extend_from_slice(flags);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::start(&binary(), &arguments, &[], folder, name)
    };
    let folder = secrets.folder.path();
    let wrong = stranger(&[secrets.flag("credential", "wrong")], folder, "wrong-secret");
    let nobody = stranger(&[], folder, "no-secret");
    wait_until("the agent to be told", LIMIT, || {
        wrong.logs().contains("does not accept the secret of 'agents'").then_some(())
    });
    let metric =
        || get_json(&cluster.url("/metrics/snapshot"))["master/messages_register_slave"].as_f64();
    wait_until("the other agent to ask", LIMIT, || (metric()? >= 1.0).then_some(()));
    let agents = cluster.state()["slaves"].as_array().expect("agents").len();
    assert_eq!(agents, 1, "{}{}", wrong.logs(), nobody.logs());
    assert!(!wrong.logs().contains("other-secret"), "a secret is in the log");
}

#[test]
fn frameworks_and_operators_without_the_right_secret_get_401() {
    let secrets = Secrets::new();
    let cluster = secrets.cluster();
    for flags in [&[][..], &["--principal=jobs", "--secret=wrong"]] {
        let output = execute(&cluster, flags);
        assert_ne!(output.code, 0, "{output:?}");
        assert!(output.stderr.contains("401"), "{output:?}");
    }
    let (status, _) =
        post_json(&cluster.url("/api/v1"), &serde_json::json!({"type": "GET_HEALTH"}));
    assert_eq!(status, 401);
    // What nobody locked stays open.
    assert_eq!(get(&cluster.url("/state")).0, 200);
    assert_eq!(get(&cluster.url("/health")).0, 200);
    let agent = &cluster.agents[0].address;
    assert_eq!(get(&format!("http://{agent}/state")).0, 401);
    assert_eq!(get(&format!("http://{agent}/health")).0, 200);
}

#[test]
fn secrets_are_not_shown() {
    let secrets = Secrets::new();
    let cluster = secrets.cluster();
    let flags = get_json(&cluster.url("/flags")).to_string();
    assert!(flags.contains("credentials"), "{flags}");
    for text in [flags, cluster.state().to_string(), cluster.logs()] {
        assert!(!text.contains("-secret\""), "{text}");
    }
}

#[test]
fn authentication_without_credentials_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let work_dir = format!("--work_dir={}", folder.path().join("m").display());
    let output =
        run(&binary(), &["master", &work_dir, "--port=0", "--authenticate_agents"], &[], LIMIT);
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("--authenticate_agents needs --credentials"), "{output:?}");
}
