//! An agent returns with other resources or attributes, and its tasks go on.

use std::time::Duration;

use master::Effect;
use protocol::internal::ReregisterSlaveMessage;
use protocol::mesos::{Attribute, FrameworkInfo, Offer, TaskState, value};
use protocol::messages::MasterToAgent;

use crate::cluster::{
    Agent, Cluster, Scheduler, amount, launch, names, offers, partition_aware, reregistration,
    rescinded, scalar, statuses, task, to_agent,
};

const CYCLE: Duration = Duration::from_secs(10);

fn jobs() -> FrameworkInfo {
    FrameworkInfo { checkpoint: Some(true), ..partition_aware("jobs") }
}

/// What an agent says that has these CPUs now, and runs the tasks that the master knows.
fn with_cpus(cluster: &mut Cluster, agent: &Agent, cpus: f64) -> ReregisterSlaveMessage {
    let view = cluster.master.snapshot();
    let framework = view.frameworks.values().next().unwrap();
    let mut message = ReregisterSlaveMessage {
        tasks: framework.tasks.iter().map(|task| task.to_task()).collect(),
        frameworks: vec![(*framework.info).clone()],
        ..reregistration(agent)
    };
    message.slave.resources[0] = scalar("cpus", cpus);
    message
}

/// The first offer that these effects, or the next allocation, bring.
fn next_offer(cluster: &mut Cluster, scheduler: &Scheduler, mut effects: Vec<Effect>) -> Offer {
    effects.extend(cluster.advance(CYCLE));
    offers(&effects, scheduler.connection).remove(0)
}

fn rack(name: &str) -> Attribute {
    Attribute {
        name: "rack".to_owned(),
        r#type: value::Type::Text,
        text: Some(value::Text { value: name.to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn an_offer_of_what_is_gone_is_rescinded_and_the_task_goes_on() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(jobs());
    cluster.running_task(&agent, &scheduler, &offer, "t");
    let rest = offers(&cluster.advance(CYCLE), scheduler.connection).remove(0);
    assert_eq!(amount(&rest.resources, "cpus"), 3.0);

    let message = with_cpus(&mut cluster, &agent, 2.0);
    let effects = cluster.agent_message(&agent.pid, message);
    assert_eq!(rescinded(&effects, scheduler.connection), [rest.id]);
    assert!(statuses(&effects, scheduler.connection).is_empty(), "nothing became of the task");
    let view = cluster.master.snapshot();
    assert_eq!(view.agents[&agent.id].total_resources.cpus().to_f64(), 2.0);
    assert_eq!(view.agents[&agent.id].used_resources.cpus().to_f64(), 1.0);
    let offer = next_offer(&mut cluster, &scheduler, effects);
    assert_eq!(amount(&offer.resources, "cpus"), 1.0);
    // The same when the master starts anew: the registry knows it so.
    cluster.restart();
    let info = ReregisterSlaveMessage {
        slave: protocol::mesos::AgentInfo {
            resources: view.agents[&agent.id].info.to_info().resources,
            ..agent.info.clone()
        },
        ..reregistration(&agent)
    };
    let effects = cluster.agent_message(&agent.pid, info);
    assert!(!effects.iter().any(|it| matches!(it, Effect::Persist { .. })), "{effects:?}");
}

#[test]
fn an_offer_that_shows_old_attributes_is_replaced() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(jobs());
    let mut message = with_cpus(&mut cluster, &agent, 4.0);
    message.slave.attributes = vec![rack("b")];
    let effects = cluster.agent_message(&agent.pid, message);
    assert_eq!(rescinded(&effects, scheduler.connection), [offer.id]);
    assert_eq!(next_offer(&mut cluster, &scheduler, effects).attributes, [rack("b")]);
}

#[test]
fn a_task_that_never_arrived_at_a_smaller_agent_gives_back_what_it_held() {
    let (mut cluster, agent, scheduler, offer) = Cluster::with_offer(jobs());
    let mut message = with_cpus(&mut cluster, &agent, 2.0);
    // Launched on what the agent does not have any more, while it was being restarted.
    let large = task("large", &agent.id, 3.0, 64.0);
    cluster.accept(&scheduler, vec![offer.id], vec![launch(vec![large])]);
    message.tasks.clear();
    let effects = cluster.agent_message(&agent.pid, message);
    assert!(names(&effects, &agent.pid).contains(&"SlaveReregisteredMessage"));
    let asked = to_agent(&effects, &agent.pid).into_iter().any(|message| {
        matches!(message, MasterToAgent::SlaveReregistered(it) if it.reconciliations.len() == 1)
    });
    assert!(asked, "the agent is asked what became of it: {effects:?}");
    // Memory is there still, while of the CPUs more is held than there are.
    let meanwhile = next_offer(&mut cluster, &scheduler, effects);
    assert_eq!(amount(&meanwhile.resources, "cpus"), 0.0);
    let effects = cluster.update(&agent, &scheduler, "large", TaskState::TaskDropped, 1);
    let offer = next_offer(&mut cluster, &scheduler, effects);
    assert_eq!(amount(&offer.resources, "cpus"), 2.0);
}
