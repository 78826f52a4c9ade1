//! Persistent volumes in sandboxes, as symbolic links (the isolator `filesystem/posix` of Mesos).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use agent::effect::VolumeLink;
use protocol::mesos::ContainerId;

/// Why a container does not get its volumes.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeError {
    #[error("Failed to get ownership for '{}'", path.display())]
    Sandbox { path: PathBuf, source: io::Error },
    #[error(
        "Failed to change the ownership of the persistent volume at '{}' with uid {uid} and gid {gid}",
        path.display()
    )]
    Ownership { path: PathBuf, uid: u32, gid: u32, source: io::Error },
    #[error("Failed to get the realpath of '{}'", path.display())]
    Resolve { path: PathBuf, source: io::Error },
    #[error(
        "The existing symlink '{}' points to '{}' and the new target is '{}'",
        link.display(), found.display(), wanted.display()
    )]
    Taken { link: PathBuf, found: PathBuf, wanted: PathBuf },
    #[error(
        "Failed to symlink persistent volume from '{}' to '{}'", original.display(), link.display()
    )]
    Link { original: PathBuf, link: PathBuf, source: io::Error },
    #[error(
        "Failed to remove the symlink for the unneeded persistent volume at '{}'", link.display()
    )]
    Unlink { link: PathBuf, source: io::Error },
}

#[derive(Debug)]
struct Linked {
    sandbox: PathBuf,
    volumes: Vec<VolumeLink>,
}

/// Which container has which volumes.
#[derive(Debug, Default)]
pub(super) struct Volumes(BTreeMap<ContainerId, Linked>);

impl Volumes {
    /// Takes note of a container that has its volumes already.
    pub(super) fn recover(
        &mut self,
        container: &ContainerId,
        sandbox: &str,
        volumes: &[VolumeLink],
    ) {
        let linked = Linked { sandbox: sandbox.into(), volumes: volumes.to_vec() };
        self.0.insert(container.clone(), linked);
    }

    /// Gives a container its first volumes.
    pub(super) fn prepare(
        &mut self,
        container: &ContainerId,
        sandbox: &str,
        volumes: &[VolumeLink],
    ) -> Result<(), VolumeError> {
        self.recover(container, sandbox, &[]);
        self.update(container, volumes)
    }

    /// Gives a container these volumes instead of those it has. One that is not known has ended.
    pub(super) fn update(
        &mut self,
        container: &ContainerId,
        volumes: &[VolumeLink],
    ) -> Result<(), VolumeError> {
        let Some(linked) = self.0.get(container) else { return Ok(()) };
        let sandbox = linked.sandbox.clone();
        for old in linked.volumes.iter().filter(|old| !volumes.contains(old)) {
            if let Some(link) = link_path(&sandbox, old) {
                unlink(&link)?;
            }
        }
        for volume in volumes {
            // Links are looked at again even when they should be there: a task may remove its own.
            if let Some(link) = link_path(&sandbox, volume) {
                if !linked.volumes.contains(volume) {
                    self.take_ownership(container, &sandbox, volume)?;
                }
                create(Path::new(&volume.source), &link)?;
            }
        }
        if let Some(linked) = self.0.get_mut(container) {
            linked.volumes = volumes.to_vec();
        }
        Ok(())
    }

    /// Forgets a container; its links go with its sandbox.
    pub(super) fn forget(&mut self, container: &ContainerId) {
        self.0.remove(container);
    }

    /// Lets the container's user into the volume, unless others are using it.
    fn take_ownership(
        &self,
        container: &ContainerId,
        sandbox: &Path,
        volume: &VolumeLink,
    ) -> Result<(), VolumeError> {
        let owner = fs::metadata(sandbox)
            .map_err(|source| VolumeError::Sandbox { path: sandbox.to_owned(), source })?;
        let is_used = || {
            let others = self.0.iter().filter(|(other, _)| *other != container);
            others.flat_map(|(_, linked)| &linked.volumes).any(|it| it.source == volume.source)
        };
        let (uid, gid) = (owner.uid(), owner.gid());
        if uid == 0 || volume.shared && is_used() {
            return Ok(());
        }
        let path = PathBuf::from(&volume.source);
        let is_own = fs::metadata(&path).is_ok_and(|it| it.uid() == uid && it.gid() == gid);
        if is_own {
            return Ok(());
        }
        chown(&path, Some(uid), Some(gid)).map_err(|source| VolumeError::Ownership {
            path,
            uid,
            gid,
            source,
        })
    }
}

/// Where the link of a volume is. Links cannot be made at absolute or nested paths; Mesos leaves such
/// volumes out as well.
fn link_path(sandbox: &Path, volume: &VolumeLink) -> Option<PathBuf> {
    if volume.container_path.contains('/') {
        tracing::warn!(
            volume = volume.source,
            container_path = volume.container_path,
            "a persistent volume is not linked: its container path contains a slash"
        );
        return None;
    }
    if volume.read_only {
        tracing::warn!(volume = volume.source, "read-write access is given to a read-only volume");
    }
    Some(sandbox.join(&volume.container_path))
}

fn create(original: &Path, link: &Path) -> Result<(), VolumeError> {
    if !link.exists() {
        // What is left is a link to what is gone.
        unlink(link)?;
        return symlink(original, link).map_err(|source| VolumeError::Link {
            original: original.to_owned(),
            link: link.to_owned(),
            source,
        });
    }
    let resolve = |path: &Path| {
        fs::canonicalize(path)
            .map_err(|source| VolumeError::Resolve { path: path.to_owned(), source })
    };
    let (found, wanted) = (resolve(link)?, resolve(original)?);
    if found == wanted {
        return Ok(());
    }
    Err(VolumeError::Taken { link: link.to_owned(), found, wanted })
}

/// Removes a link; what is no link is the task's own.
fn unlink(link: &Path) -> Result<(), VolumeError> {
    if !link.is_symlink() {
        return Ok(());
    }
    fs::remove_file(link).map_err(|source| VolumeError::Unlink { link: link.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: &str) -> ContainerId {
        ContainerId { value: value.to_owned(), ..Default::default() }
    }

    fn volume(source: &Path, path: &str) -> VolumeLink {
        VolumeLink {
            source: source.display().to_string(),
            container_path: path.to_owned(),
            read_only: false,
            shared: false,
        }
    }

    #[test]
    fn links_follow_what_a_container_has() {
        let folder = tempfile::tempdir().unwrap();
        let (sandbox, one, two) =
            (folder.path().join("sandbox"), folder.path().join("one"), folder.path().join("two"));
        for path in [&sandbox, &one, &two] {
            fs::create_dir(path).unwrap();
        }
        let mut volumes = Volumes::default();
        let text = sandbox.display().to_string();
        volumes.prepare(&id("c"), &text, &[volume(&one, "data")]).unwrap();
        fs::write(sandbox.join("data/file"), "content").unwrap();
        assert_eq!(fs::read_to_string(one.join("file")).unwrap(), "content");
        // Another takes its place, a third one has a path that cannot be linked.
        let third = volume(&one, "nested/path");
        volumes.update(&id("c"), &[volume(&two, "data"), third]).unwrap();
        assert_eq!(fs::read_link(sandbox.join("data")).unwrap(), two);
        // After a restart nothing is known, and the links are there already.
        let mut volumes = Volumes::default();
        volumes.recover(&id("c"), &text, &[]);
        volumes.update(&id("c"), &[volume(&two, "data")]).unwrap();
        volumes.update(&id("c"), &[]).unwrap();
        assert!(!sandbox.join("data").is_symlink());
        assert!(one.join("file").exists(), "a volume is not touched with its link");
    }

    #[test]
    fn what_a_task_has_at_the_path_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (sandbox, one) = (folder.path().join("sandbox"), folder.path().join("one"));
        fs::create_dir_all(sandbox.join("data")).unwrap();
        fs::create_dir(&one).unwrap();
        let mut volumes = Volumes::default();
        let text = sandbox.display().to_string();
        for path in ["data", "..", "."] {
            let error = volumes.prepare(&id("c"), &text, &[volume(&one, path)]).unwrap_err();
            assert!(matches!(error, VolumeError::Taken { .. }), "{path}: {error}");
        }
    }
}
