//! From an agent's registration to a running task, with the messages that Mesos' agents and schedulers exchange.

use std::time::Instant;

use protocol::internal::{
    RunTaskMessage, StatusUpdate, StatusUpdateAcknowledgementMessage, StatusUpdateMessage,
};
use protocol::mesos::task_status::Source;
use protocol::mesos::{TaskState, TaskStatus};
use serde_json::{Value, json};

use super::*;

/// A v1 scheduler on its stream.
pub(super) struct Scheduler {
    pub(super) stream: Client,
    pub(super) calls: Client,
    pub(super) stream_id: String,
    pub(super) id: String,
}

impl Scheduler {
    pub(super) async fn subscribe(fixture: &Fixture) -> Result<Self, Box<dyn std::error::Error>> {
        let mut stream = fixture.client().await?;
        let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {
            "user": "nobody", "name": "thin", "roles": ["dev"],
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "RESERVATION_REFINEMENT"}],
        }}});
        stream.send(post("/api/v1/scheduler", JSON, &call.to_string()).as_bytes()).await?;
        let head = stream.head().await?;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
        assert_eq!(head.header("Content-Type"), Some("application/json"));
        let stream_id = head.header("Mesos-Stream-Id").ok_or("no stream id")?.to_owned();
        let event = stream.event().await?;
        assert_eq!(event["type"], "SUBSCRIBED", "{event}");
        assert_eq!(event["subscribed"]["heartbeat_interval_seconds"], 15.0);
        let id = event["subscribed"]["framework_id"]["value"].as_str().ok_or("no id")?.to_owned();
        Ok(Self { stream, calls: fixture.client().await?, stream_id, id })
    }

    /// Makes a call, with the framework's id added.
    pub(super) async fn call(
        &mut self,
        mut call: Value,
    ) -> Result<Answer, Box<dyn std::error::Error>> {
        call["framework_id"] = json!({"value": self.id});
        let headers = format!("{JSON}Mesos-Stream-Id: {}\r\n", self.stream_id);
        let request = post("/api/v1/scheduler", &headers, &call.to_string());
        self.calls.request(request.as_bytes()).await
    }

    pub(super) async fn offer(&mut self) -> Result<Value, Box<dyn std::error::Error>> {
        let event = self.stream.event().await?;
        assert_eq!(event["type"], "OFFERS", "{event}");
        Ok(event["offers"]["offers"][0].clone())
    }
}

#[tokio::test]
async fn a_task_runs_and_ends() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut agent = FakeAgent::register(&fixture).await?;
    let mut scheduler = Scheduler::subscribe(&fixture).await?;
    let offer = scheduler.offer().await?;
    let begun = Instant::now();
    assert_eq!(offer["agent_id"]["value"], agent.id.value.as_str());
    assert_eq!(offer["framework_id"]["value"], scheduler.id.as_str());

    let answer = scheduler
        .call(json!({"type": "ACCEPT", "accept": {
            "offer_ids": [offer["id"]],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [{
                "name": "t", "task_id": {"value": "t1"}, "agent_id": offer["agent_id"],
                "command": {"value": "true"},
                "resources": [
                    {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0},
                     "allocation_info": {"role": "dev"}},
                    {"name": "mem", "type": "SCALAR", "scalar": {"value": 64.0},
                     "allocation_info": {"role": "dev"}},
                ],
            }]}}],
        }}))
        .await?;
    assert_eq!((answer.status, answer.text().as_str()), (202, ""));

    let run: RunTaskMessage = agent.receive("mesos.internal.RunTaskMessage").await?;
    assert_eq!(run.task.task_id.value, "t1");
    assert_eq!(run.pid.as_deref(), Some("@0.0.0.0:0"));
    for (state, uuid) in [(TaskState::TaskRunning, [1; 16]), (TaskState::TaskFinished, [2; 16])] {
        update(&fixture, &agent, &scheduler.id, state, uuid);
        let event = scheduler.stream.event().await?;
        let status = &event["update"]["status"];
        assert_eq!(status["state"], state.name(protocol::Names::V1), "{event}");
        assert!(begun.elapsed().as_secs() < 5, "an update takes too long");
        let answer = scheduler
            .call(json!({"type": "ACKNOWLEDGE", "acknowledge": {
                "agent_id": status["agent_id"], "task_id": status["task_id"],
                "uuid": status["uuid"],
            }}))
            .await?;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let name = "mesos.internal.StatusUpdateAcknowledgementMessage";
        let acknowledged: StatusUpdateAcknowledgementMessage = agent.receive(name).await?;
        assert_eq!(acknowledged.uuid, uuid);
    }
    let state = fixture.get("/state").await?.json()?;
    assert_eq!(state["frameworks"][0]["completed_tasks"][0]["state"], "TASK_FINISHED");
    assert_eq!(state["slaves"][0]["used_resources"]["cpus"], 0.0);
    Ok(())
}

fn update(fixture: &Fixture, agent: &FakeAgent, framework: &str, state: TaskState, uuid: [u8; 16]) {
    let task_id = protocol::mesos::TaskId { value: "t1".to_owned(), ..Default::default() };
    let message = StatusUpdateMessage {
        update: StatusUpdate {
            framework_id: protocol::mesos::FrameworkId {
                value: framework.to_owned(),
                ..Default::default()
            },
            slave_id: Some(agent.id.clone()),
            status: TaskStatus {
                task_id,
                state,
                source: Some(Source::SourceExecutor),
                agent_id: Some(agent.id.clone()),
                uuid: Some(uuid.to_vec()),
                timestamp: Some(1.0),
                ..Default::default()
            },
            timestamp: 1.0,
            uuid: Some(uuid.to_vec()),
            latest_state: Some(state),
            ..Default::default()
        },
        pid: Some(agent.node.pid(AGENT_ACTOR).to_string()),
        ..Default::default()
    };
    agent.send(fixture, "mesos.internal.StatusUpdateMessage", &message);
}

#[tokio::test]
async fn the_state_shows_agents_and_frameworks() -> TestResult {
    let fixture = Fixture::start().await?;
    let agent = FakeAgent::register(&fixture).await?;
    let mut scheduler = Scheduler::subscribe(&fixture).await?;
    scheduler.offer().await?;
    let state = fixture.get("/state").await?.json()?;
    assert_eq!(state["slaves"][0]["id"], agent.id.value.as_str());
    assert_eq!(state["slaves"][0]["resources"]["cpus"], 4.0);
    assert_eq!(state["slaves"][0]["offered_resources"]["cpus"], 4.0);
    assert_eq!(state["activated_slaves"], 1.0);
    assert_eq!(state["frameworks"][0]["id"], scheduler.id.as_str());
    assert_eq!(state["frameworks"][0]["roles"], json!(["dev"]));
    assert_eq!(state["frameworks"][0]["offers"][0]["slave_id"], agent.id.value.as_str());
    let agents = fixture.call(r#"{"type":"GET_AGENTS"}"#).await?.json()?;
    assert_eq!(agents["get_agents"]["agents"][0]["active"], true);
    let roles = fixture.get("/roles").await?.json()?;
    let dev =
        roles["roles"].as_array().and_then(|roles| roles.iter().find(|it| it["name"] == "dev"));
    assert_eq!(dev.map(|role| &role["offered"]["cpus"]), Some(&json!(4.0)));
    Ok(())
}

#[tokio::test]
async fn a_framework_is_torn_down_by_an_operator() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut scheduler = Scheduler::subscribe(&fixture).await?;
    let body = format!("frameworkId={}", scheduler.id);
    let answer = fixture.post("/teardown", "", &body).await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    while scheduler.stream.record().await?.is_some() {}
    let state = fixture.get("/state").await?.json()?;
    assert_eq!(state["completed_frameworks"][0]["id"], scheduler.id.as_str());
    Ok(())
}
