//! Commands, environments and containers.

use protocol::mesos::container_info::Type as ContainerType;
use protocol::mesos::environment::variable::Type as VariableType;
use protocol::mesos::secret::Type as SecretType;
use protocol::mesos::volume::source::Type as SourceType;
use protocol::mesos::{CommandInfo, ContainerInfo, Environment, Secret, Volume};

/// A `CommandInfo`: its environment is complete.
pub(crate) fn command(command: &CommandInfo) -> Result<(), String> {
    command.environment.as_ref().map_or(Ok(()), environment)
}

fn environment(environment: &Environment) -> Result<(), String> {
    for variable in &environment.variables {
        let name = &variable.name;
        match variable.r#type.unwrap_or(VariableType::Value) {
            VariableType::Secret => {
                let Some(secret) = &variable.secret else {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must have a secret set"
                    ));
                };
                if variable.value.is_some() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must not have a value set"
                    ));
                }
                validate_secret(secret).map_err(|error| {
                    format!("Environment variable '{name}' specifies an invalid secret: {error}")
                })?;
                if secret.value.as_ref().is_some_and(|value| value.data.contains(&0)) {
                    return Err(format!(
                        "Environment variable '{name}' specifies a secret containing null bytes, \
                         which is not allowed in the environment"
                    ));
                }
            }
            VariableType::Value => {
                if variable.value.is_none() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'VALUE' must have a value set"
                    ));
                }
                if variable.secret.is_some() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'VALUE' must not have a secret set"
                    ));
                }
            }
            VariableType::Unknown => {
                return Err("Environment variable of type 'UNKNOWN' is not allowed".to_owned());
            }
        }
    }
    Ok(())
}

fn validate_secret(secret: &Secret) -> Result<(), String> {
    match secret.r#type.unwrap_or(SecretType::Unknown) {
        SecretType::Reference => {
            let Some(reference) = &secret.reference else {
                return Err(
                    "Secret of type REFERENCE must have the 'reference' field set".to_owned()
                );
            };
            if secret.value.is_some() {
                return Err(format!(
                    "Secret '{}' of type REFERENCE must not have the 'value' field set",
                    reference.name
                ));
            }
        }
        SecretType::Value => {
            if secret.value.is_none() {
                return Err("Secret of type VALUE must have the 'value' field set".to_owned());
            }
            if secret.reference.is_some() {
                return Err(
                    "Secret of type VALUE must not have the 'reference' field set".to_owned()
                );
            }
        }
        SecretType::Unknown => {}
    }
    Ok(())
}

/// A `ContainerInfo`: its volumes are complete.
pub(crate) fn container(container: &ContainerInfo) -> Result<(), String> {
    for it in &container.volumes {
        volume(it).map_err(|error| format!("Invalid volume: {error}"))?;
    }
    if container.r#type == ContainerType::Docker {
        let Some(docker) = &container.docker else {
            return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".to_owned());
        };
        if docker.parameters.iter().any(|parameter| parameter.key == "name") {
            return Err("Parameter in DockerInfo must not be 'name'".to_owned());
        }
    }
    Ok(())
}

fn volume(volume: &Volume) -> Result<(), String> {
    let ways = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return Err("Only one of them should be set: 'host_path', 'image' and 'source'".to_owned());
    }
    let Some(source) = &volume.source else {
        return Ok(());
    };
    let (present, field, kind) = match source.r#type.unwrap_or(SourceType::Unknown) {
        SourceType::DockerVolume => {
            (source.docker_volume.is_some(), "docker_volume", "DOCKER_VOLUME")
        }
        SourceType::HostPath => (source.host_path.is_some(), "host_path", "HOST_PATH"),
        SourceType::SandboxPath => (source.sandbox_path.is_some(), "sandbox_path", "SANDBOX_PATH"),
        SourceType::Secret => (source.secret.is_some(), "secret", "SECRET"),
        SourceType::CsiVolume => (source.csi_volume.is_some(), "csi_volume", "CSI"),
        SourceType::Unknown => return Err("'source.type' is unknown".to_owned()),
    };
    if !present {
        return Err(format!("'source.{field}' is not set for {kind} volume"));
    }
    Ok(())
}
