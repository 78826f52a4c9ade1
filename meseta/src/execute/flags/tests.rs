use std::collections::BTreeMap;

use protocol::mesos::container_info;
use server::flags::FlagTable;

use super::*;

fn options(flags: &[&str]) -> Result<ExecuteOptions> {
    let mut all = vec!["--master=127.0.0.1:5050".to_owned()];
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let values = FlagTable::EXECUTE.parse(&all, &BTreeMap::new())?;
    ExecuteOptions::from_flags(&values)
}

fn task(flags: &[&str]) -> TaskInfo {
    options(flags).unwrap().work.tasks()[0].clone()
}

fn refusal(flags: &[&str]) -> String {
    format!("{:#}", options(flags).unwrap_err())
}

#[test]
fn a_shell_command_with_defaults() {
    let options = options(&["--name=hello", "--command=echo hello"]).unwrap();
    assert_eq!(options.master, "127.0.0.1:5050");
    assert_eq!(options.framework.name, "mesos-execute instance");
    assert_eq!(options.framework.role.as_deref(), Some("*"));
    assert_eq!(options.content_type, ContentType::Protobuf);
    let task = &options.work.tasks()[0];
    assert_eq!((task.name.as_str(), task.task_id.value.as_str()), ("hello", "hello"));
    let command = task.command.as_ref().unwrap();
    assert_eq!((command.shell, command.value.as_deref()), (Some(true), Some("echo hello")));
    assert!(command.arguments.is_empty());
    let resources = Resources::from_wire(&task.resources).unwrap();
    assert_eq!(resources, Resources::parse("cpus:1;mem:128", "*").unwrap());
    assert_eq!(task.container, None);
}

#[test]
fn words_environment_and_container() {
    let task = task(&[
        "--name=x",
        "--no-shell",
        "--command=/bin/test -n word",
        r#"--env={"COLOUR":"green"}"#,
        "--docker_image=busybox",
        r#"--volumes=[{"container_path":"/data","mode":"RO"}]"#,
    ]);
    let command = task.command.unwrap();
    assert_eq!((command.shell, command.value.as_deref()), (Some(false), Some("/bin/test")));
    assert_eq!(command.arguments, ["/bin/test", "-n", "word"]);
    let variables = command.environment.unwrap().variables;
    assert_eq!(
        (variables[0].name.as_str(), variables[0].value.as_deref()),
        ("COLOUR", Some("green"))
    );
    let container = task.container.unwrap();
    assert_eq!(container.r#type, container_info::Type::Mesos);
    assert_eq!(container.volumes[0].container_path, "/data");
}

#[test]
fn whole_tasks_need_no_agent() {
    let json = r#"{"name":"n","task_id":{"value":"i"},"command":{"value":"true"}}"#;
    assert_eq!(task(&[&format!("--task={json}")]).task_id.value, "i");
    let group =
        options(&[&format!(r#"--task_group={{"tasks":[{json}]}}"#), "--networks=a,b"]).unwrap();
    assert!(matches!(&group.work, Work::Group(group) if group.tasks.len() == 1));
    assert_eq!(group.group_container.unwrap().network_infos.len(), 2);
}

#[test]
fn the_framework() {
    let flags = [
        "--name=x",
        "--command=true",
        "--role=web",
        "--principal=p",
        "--secret=s",
        "--checkpoint",
        "--no-partition_aware",
        "--framework_capabilities=GPU_RESOURCES",
        "--content_type=json",
        "--kill_after=3secs",
    ];
    let options = options(&flags).unwrap();
    assert_eq!(options.framework.role.as_deref(), Some("web"));
    assert_eq!(options.framework.principal.as_deref(), Some("p"));
    assert_eq!(options.framework.checkpoint, Some(true));
    assert_eq!(options.credential.unwrap().secret, "s");
    assert_eq!(options.content_type, ContentType::Json);
    assert_eq!(options.kill_after, Some(std::time::Duration::from_secs(3)));
    let kinds: Vec<_> = options.framework.capabilities.iter().filter_map(|it| it.r#type).collect();
    assert!(kinds.contains(&capability::Type::GpuResources));
    assert!(kinds.contains(&capability::Type::TaskKillingState));
    assert!(!kinds.contains(&capability::Type::PartitionAware));
}

#[test]
fn refusals_name_the_flag() {
    let json = r#"--task={"name":"n","task_id":{"value":"i"}}"#;
    for (flags, expected) in [
        (&["--command=true"][..], "--name is required"),
        (&["--name=x"], "--command is required"),
        (&["--name=x", "--command=true", "--resources=cpus:many"], "many"),
        (&["--name=x", "--command=true", "--framework_capabilities=FLYING"], "FLYING"),
        (&["--name=x", "--command=true", "--framework_capabilities=MULTI_ROLE"], "unsupported"),
        (&["--name=x", "--command=true", "--env=[]"], "--env"),
        (&[json, "--name=x"], "--name can only"),
        (&[json, "--networks=a"], "--networks"),
        (&[json, r#"--task_group={"tasks":[]}"#], "not both"),
        (&[r#"--task_group={"tasks":[]}"#], "holds no task"),
        (&[r#"--task={"name":1}"#], "--task is no TaskInfo"),
        (&["--name=x", "--command=true", "--volumes={}"], "--volumes"),
        (&["--name=x", "--command=true", "--containerizer=docker"], "requires docker image"),
    ] {
        let text = refusal(flags);
        assert!(text.contains(expected), "{flags:?}: {text}");
    }
}

#[test]
fn masters_are_checked_early() {
    let options = |master: &str| {
        let flags = [master, "--name=x", "--command=true"].map(str::to_owned);
        ExecuteOptions::from_flags(&FlagTable::EXECUTE.parse(&flags, &BTreeMap::new()).unwrap())
    };
    for master in ["--master=zk://u:p@a:2181,b:2181/mesos", "--master=host:5050"] {
        assert!(options(master).is_ok(), "{master}");
    }
    let error = format!("{:#}", options("--master=zk://u:secret@a/mesos").unwrap_err());
    assert!(error.contains("--master") && error.contains("host:port"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}
