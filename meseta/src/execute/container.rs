//! The container that flags ask for.

use anyhow::{Result, bail, ensure};
use protocol::mesos::container_info::{DockerInfo, MesosInfo, Type, docker_info};
use protocol::mesos::{
    CapabilityInfo, ContainerInfo, Image, LinuxInfo, NetworkInfo, RLimitInfo, TtyInfo, Volume,
    image,
};

/// The flags that say how a task is contained.
#[derive(Clone, Debug, Default)]
pub(super) struct ContainerOptions {
    pub(super) containerizer: String,
    pub(super) docker_image: Option<String>,
    pub(super) networks: Vec<String>,
    pub(super) volumes: Vec<Volume>,
    pub(super) effective_capabilities: Option<CapabilityInfo>,
    pub(super) bounding_capabilities: Option<CapabilityInfo>,
    pub(super) rlimits: Option<RLimitInfo>,
    pub(super) tty: bool,
}

/// The container of a command task; `None` when nothing special is wanted.
pub(super) fn of_task(options: &ContainerOptions) -> Result<Option<ContainerInfo>> {
    match options.containerizer.as_str() {
        "" => Ok(None),
        "mesos" => Ok(of_mesos(options)),
        "docker" => of_docker(options).map(Some),
        other => bail!("Unsupported containerizer: {other}"),
    }
}

/// The container of the executor of a task group.
pub(super) fn of_group(networks: &[String]) -> Option<ContainerInfo> {
    (!networks.is_empty()).then(|| ContainerInfo {
        r#type: Type::Mesos,
        network_infos: network_infos(networks),
        ..Default::default()
    })
}

fn of_mesos(options: &ContainerOptions) -> Option<ContainerInfo> {
    let has_linux_info =
        options.effective_capabilities.is_some() || options.bounding_capabilities.is_some();
    let is_plain = !options.tty
        && !has_linux_info
        && options.docker_image.is_none()
        && options.rlimits.is_none()
        && options.networks.is_empty()
        && options.volumes.is_empty();
    if is_plain {
        return None;
    }
    Some(ContainerInfo {
        r#type: Type::Mesos,
        volumes: options.volumes.clone(),
        mesos: options.docker_image.as_deref().map(docker_image),
        network_infos: network_infos(&options.networks),
        linux_info: has_linux_info.then(|| LinuxInfo {
            effective_capabilities: options.effective_capabilities.clone(),
            bounding_capabilities: options.bounding_capabilities.clone(),
            ..Default::default()
        }),
        rlimit_info: options.rlimits.clone(),
        tty_info: options.tty.then(TtyInfo::default),
        ..Default::default()
    })
}

fn docker_image(name: &str) -> MesosInfo {
    let docker = image::Docker { name: name.to_owned(), ..Default::default() };
    let image = Image { r#type: image::Type::Docker, docker: Some(docker), ..Default::default() };
    MesosInfo { image: Some(Box::new(image)), ..Default::default() }
}

fn of_docker(options: &ContainerOptions) -> Result<ContainerInfo> {
    let Some(image) = &options.docker_image else {
        bail!("'Docker' containerizer requires docker image name");
    };
    ensure!(
        options.networks.len() <= 1,
        "'Docker' containerizer can only support a single network"
    );
    ensure!(!options.tty, "'Docker' containerizer does not allow attaching a TTY");
    let network = (!options.networks.is_empty()).then_some(docker_info::Network::User);
    Ok(ContainerInfo {
        r#type: Type::Docker,
        volumes: options.volumes.clone(),
        docker: Some(DockerInfo { image: image.clone(), network, ..Default::default() }),
        network_infos: network_infos(&options.networks),
        ..Default::default()
    })
}

fn network_infos(networks: &[String]) -> Vec<NetworkInfo> {
    let network = |name: &String| NetworkInfo { name: Some(name.clone()), ..Default::default() };
    networks.iter().map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesos() -> ContainerOptions {
        ContainerOptions { containerizer: "mesos".to_owned(), ..Default::default() }
    }

    #[test]
    fn nothing_special_needs_no_container() {
        assert_eq!(of_task(&mesos()).unwrap(), None);
    }

    #[test]
    fn images_of_both_containerizers() {
        let mut options = ContainerOptions {
            docker_image: Some("busybox:1".to_owned()),
            networks: vec!["net1".to_owned()],
            ..mesos()
        };
        let container = of_task(&options).unwrap().unwrap();
        assert_eq!(container.r#type, Type::Mesos);
        let image = container.mesos.unwrap().image.unwrap();
        assert_eq!(image.docker.unwrap().name, "busybox:1");
        assert_eq!(container.network_infos[0].name.as_deref(), Some("net1"));

        options.containerizer = "docker".to_owned();
        let container = of_task(&options).unwrap().unwrap();
        assert_eq!(container.r#type, Type::Docker);
        let docker = container.docker.unwrap();
        assert_eq!(
            (docker.image.as_str(), docker.network),
            ("busybox:1", Some(docker_info::Network::User))
        );

        options.networks.push("net2".to_owned());
        assert!(of_task(&options).unwrap_err().to_string().contains("single network"));
        options.networks.clear();
        options.tty = true;
        assert!(of_task(&options).unwrap_err().to_string().contains("TTY"));
        options.docker_image = None;
        assert!(of_task(&options).unwrap_err().to_string().contains("requires docker image"));
    }

    #[test]
    fn limits_and_terminals() {
        let options = ContainerOptions {
            rlimits: Some(RLimitInfo::default()),
            bounding_capabilities: Some(CapabilityInfo::default()),
            tty: true,
            ..mesos()
        };
        let container = of_task(&options).unwrap().unwrap();
        assert!(container.rlimit_info.is_some() && container.tty_info.is_some());
        let linux_info = container.linux_info.unwrap();
        assert!(linux_info.bounding_capabilities.is_some());
        assert_eq!(linux_info.effective_capabilities, None);
    }
}
