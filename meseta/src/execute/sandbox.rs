//! Follows a task's `stdout` and `stderr` through the agent's operator API.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use protocol::Message as _;
use protocol::agent::{Call, Response, call};
use sdk::HttpClient;
use serde_json::Value;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::terminal::print_error;

/// How often a file that did not grow is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How much is asked for at once; agents may give less.
const READ_BYTES: u64 = 64 << 10;

/// How long reading what is left may take once the task has ended.
const FINISH_LIMIT: Duration = Duration::from_secs(30);

const PROTOBUF: &str = "application/x-protobuf";

/// Where the files of an executor are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sandbox {
    /// `host:port` of the agent.
    pub(super) agent: String,
    pub(super) framework_id: String,
    pub(super) executor_id: String,
}

impl Sandbox {
    /// The path under which agents show the latest run of an executor.
    fn virtual_path(&self) -> String {
        format!("/frameworks/{}/executors/{}/runs/latest", self.framework_id, self.executor_id)
    }
}

/// Copies the files until they have ended.
pub(super) struct Follower {
    has_ended: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Follower {
    pub(super) fn start(sandbox: Sandbox) -> Self {
        let (has_ended, ended) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(follow(sandbox.clone(), "stdout", tokio::io::stdout(), ended.clone())),
            tokio::spawn(follow(sandbox, "stderr", tokio::io::stderr(), ended)),
        ];
        Self { has_ended, tasks }
    }

    /// The task has ended: copies what is left.
    pub(super) async fn finish(self) {
        self.has_ended.send_replace(true);
        for mut task in self.tasks {
            if timeout(FINISH_LIMIT, &mut task).await.is_err() {
                task.abort();
                print_error("meseta: the agent is too slow, some output of the task is missing");
            }
        }
    }
}

async fn follow(
    sandbox: Sandbox,
    name: &'static str,
    mut output: impl AsyncWrite + Unpin,
    ended: watch::Receiver<bool>,
) {
    if let Err(error) = copy(&sandbox, name, &mut output, ended).await {
        print_error(&format!("meseta: cannot read the task's {name}: {error:#}"));
    }
}

pub(super) async fn copy(
    sandbox: &Sandbox,
    name: &str,
    output: &mut (impl AsyncWrite + Unpin),
    mut ended: watch::Receiver<bool>,
) -> Result<()> {
    let mut client = HttpClient::new(sandbox.agent.clone());
    let folder = folder(&mut client, sandbox).await?;
    let path = format!("{folder}/{name}");
    let mut offset = 0;
    loop {
        // Asked before the read: what the task wrote before its end is then read.
        let is_last = *ended.borrow();
        let data = read(&mut client, &path, offset).await?;
        if !data.is_empty() {
            offset += u64::try_from(data.len())?;
            // A reader that went away, as `head` does, is no error, and nothing more to do.
            let written = async {
                output.write_all(&data).await?;
                output.flush().await
            };
            if written.await.is_err() {
                return Ok(());
            }
        } else if is_last {
            return Ok(());
        } else {
            // Its end wakes us at once.
            let _ = timeout(POLL, ended.wait_for(|ended| *ended)).await;
        }
    }
}

/// The folder's path on the agent. Agents that do not show the virtual one tell the real one in
/// their state.
async fn folder(client: &mut HttpClient, sandbox: &Sandbox) -> Result<String> {
    let path = sandbox.virtual_path();
    let probe = client.get(&format!("/files/browse?path={}", percent_encode(&path))).await?;
    if probe.status.is_success() {
        return Ok(path);
    }
    let state = client.get("/state").await?;
    ensure!(state.status.is_success(), "{} answered {}", sandbox.agent, state.status);
    let state: Value =
        serde_json::from_slice(&state.body).context("the agent's state is no JSON")?;
    directory(&state, sandbox).context("the agent does not know the executor")
}

fn directory(state: &Value, sandbox: &Sandbox) -> Option<String> {
    let items = |value: &Value, names: [&str; 2]| -> Vec<Value> {
        let lists = names.iter().filter_map(|name| value[*name].as_array());
        lists.flatten().cloned().collect()
    };
    let frameworks = items(state, ["frameworks", "completed_frameworks"]);
    let framework = frameworks.iter().find(|it| it["id"] == sandbox.framework_id.as_str())?;
    let executors = items(framework, ["executors", "completed_executors"]);
    let executor = executors.iter().find(|it| it["id"] == sandbox.executor_id.as_str())?;
    executor["directory"].as_str().map(str::to_owned)
}

/// The operator API gives the bytes as they are, which the JSON of `/files/read` cannot.
async fn read(client: &mut HttpClient, path: &str, offset: u64) -> Result<Vec<u8>> {
    let call = Call {
        r#type: Some(call::Type::ReadFile),
        read_file: Some(call::ReadFile {
            path: path.to_owned(),
            offset,
            length: Some(READ_BYTES),
            ..Default::default()
        }),
        ..Default::default()
    };
    let response = client.post("/api/v1", PROTOBUF, call.encode_to_vec()).await?;
    if !response.status.is_success() {
        bail!(
            "the agent answered {}: {}",
            response.status,
            String::from_utf8_lossy(&response.body)
        );
    }
    let response = Response::decode(&response.body).context("not an answer of an agent")?;
    Ok(response.read_file.map(|file| file.data).unwrap_or_default())
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_folder_is_found_in_the_state() {
        let sandbox = Sandbox {
            agent: "a:1".to_owned(),
            framework_id: "F".to_owned(),
            executor_id: "E".to_owned(),
        };
        let executor = serde_json::json!([{ "id": "E", "directory": "/var/agent/E" }]);
        for (frameworks, executors) in
            [("frameworks", "executors"), ("completed_frameworks", "completed_executors")]
        {
            let state = serde_json::json!({ frameworks: [{ "id": "F", executors: executor }] });
            assert_eq!(directory(&state, &sandbox).as_deref(), Some("/var/agent/E"));
        }
        assert_eq!(directory(&serde_json::json!({ "frameworks": [] }), &sandbox), None);
    }

    #[test]
    fn paths_in_queries() {
        assert_eq!(percent_encode("/a b/c&d=é"), "/a%20b/c%26d%3D%C3%A9");
    }
}
