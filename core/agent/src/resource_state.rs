//! What the agent has: the resources it was started with, the reservations and volumes made since,
//! and the version by which the master and the agent agree on them.

use protocol::mesos::{self, resource};
use protocol::uuid::{Uuid, UuidSource};
use resources::{Resource, Resources};

use crate::checkpoint::Change;
use crate::effect::VolumeLink;
use crate::executor::Executor;

/// Totals and checkpointed part.
#[derive(Debug)]
pub(crate) struct ResourceState {
    started_with: Resources,
    total: Resources,
    checkpointed: Resources,
    version: Option<Uuid>,
}

impl ResourceState {
    /// The resources an agent is started with; the shell has validated them.
    pub(crate) fn new(started_with: &[mesos::Resource]) -> Self {
        let started_with = read_valid(started_with);
        Self {
            total: started_with.clone(),
            started_with,
            checkpointed: Resources::new(),
            version: None,
        }
    }

    pub(crate) const fn total(&self) -> &Resources {
        &self.total
    }

    /// Whether the total is what the agent was started with, with reservations and volumes applied:
    /// no operation makes or loses anything.
    pub(crate) fn is_consistent(&self) -> bool {
        let total = self.started_with.apply_checkpointed(&self.checkpointed);
        total.is_ok_and(|total| total == self.total)
            && self.total.scalar_quantities() == self.started_with.scalar_quantities()
    }

    pub(crate) const fn checkpointed(&self) -> &Resources {
        &self.checkpointed
    }

    /// A new version for each start: decisions made for an earlier run are refused.
    pub(crate) fn renew_version(&mut self, uuids: &mut UuidSource) {
        self.version = Some(uuids.next_uuid());
    }

    pub(crate) fn version(&self) -> &[u8] {
        self.version.as_ref().map_or(&[], |version| version.as_bytes().as_slice())
    }

    pub(crate) fn version_message(&self) -> mesos::Uuid {
        mesos::Uuid { value: self.version().to_vec(), ..Default::default() }
    }

    pub(crate) fn checkpointed_for_wire(&self) -> Vec<mesos::Resource> {
        downgraded(&self.checkpointed.to_wire())
    }

    /// Whether all reservations and volumes among these resources are known here.
    pub(crate) fn knows_checkpointed(&self, wire: &[mesos::Resource]) -> bool {
        let Ok(resources) = Resources::from_wire(wire) else { return false };
        resources
            .unallocated()
            .iter()
            .filter(|resource| resource.needs_checkpointing())
            .all(|resource| self.checkpointed.contains_one(resource))
    }

    /// Replaces the reservations and volumes; both the old and the new ones fit the agent.
    ///
    /// # Errors
    /// The agent does not have what is reserved, in words.
    pub(crate) fn set_checkpointed(&mut self, checkpointed: Resources) -> Result<(), String> {
        self.total = self
            .started_with
            .apply_checkpointed(&checkpointed)
            .map_err(|error| error.to_string())?;
        self.checkpointed = checkpointed;
        Ok(())
    }

    /// The total after an operation, and its part to be checkpointed.
    ///
    /// # Errors
    /// The operation does not fit, in words.
    pub(crate) fn after(&self, operation: &mesos::offer::Operation) -> Result<Resources, String> {
        // The total belongs to nobody, while the operation speaks of resources of a role.
        let mut total = self.total.clone();
        for conversion in resources::conversions(operation).map_err(|error| error.to_string())? {
            total.apply(&conversion.unallocated()).map_err(|error| error.to_string())?;
        }
        let checkpointed = total.filter(Resource::needs_checkpointing);
        match checkpointed.iter().find(|it| !can_be_kept(it)) {
            Some(volume) => Err(format!("persistent volume {volume} cannot be kept here")),
            None => Ok(checkpointed),
        }
    }

    /// The persistent volumes among the resources of a container. Of a volume that is shared by tasks
    /// in one container the first that names it says where it is.
    pub(crate) fn volume_links(
        &self,
        work_dir: &str,
        resources: &[mesos::Resource],
    ) -> Vec<VolumeLink> {
        let mut links: Vec<VolumeLink> = Vec::new();
        for wire in resources {
            let Ok(volume) = Resource::from_wire(wire) else { continue };
            let Some((source, _)) = volume_path(work_dir, &volume) else { continue };
            let Some(mount) = volume.disk().and_then(|disk| disk.volume.as_ref()) else { continue };
            let link = VolumeLink {
                source,
                container_path: mount.container_path.clone(),
                read_only: mount.mode == mesos::volume::Mode::Ro,
                shared: volume.is_shared(),
            };
            if !links.contains(&link) {
                links.push(link);
            }
        }
        links
    }

    /// What has to change on disk for volumes when the checkpointed part changes.
    pub(crate) fn volume_changes(&self, work_dir: &str, next: &Resources) -> Vec<Change> {
        let old = volumes(work_dir, &self.checkpointed);
        let new = volumes(work_dir, next);
        let mut changes = Vec::new();
        for (path, _) in new.iter().filter(|volume| !old.contains(volume)) {
            changes.push(Change::CreateVolume { path: path.clone() });
        }
        for (path, keep_root) in old.iter().filter(|volume| !new.contains(volume)) {
            changes.push(Change::RemoveVolume { path: path.clone(), keep_root: *keep_root });
        }
        changes
    }
}

/// The path of each persistent volume, and whether it is a mount point (which stays when the volume
/// goes).
fn volumes(work_dir: &str, resources: &Resources) -> Vec<(String, bool)> {
    resources.iter().filter_map(|volume| volume_path(work_dir, volume)).collect()
}

/// Whether the agent can keep the resource: a volume needs an id that can be the name of a directory,
/// and a disk of a kind that has directories.
pub(crate) fn can_be_kept(resource: &Resource) -> bool {
    !resource.is_persistent_volume() || volume_path("", resource).is_some()
}

/// Ids become names of directories that are removed with all that is in them, so nothing may lead
/// elsewhere.
fn is_safe_name(id: &str) -> bool {
    let is_harmless = |byte: u8| byte != b'/' && byte != b'\\' && !byte.is_ascii_control();
    !id.is_empty() && id != "." && id != ".." && id.bytes().all(is_harmless)
}

/// Where a persistent volume lives (`getPersistentVolumePath` in Mesos' `src/slave/paths.cpp`);
/// `None` for what is no volume, or one of a kind the agent does not keep.
fn volume_path(work_dir: &str, volume: &Resource) -> Option<(String, bool)> {
    use resource::disk_info::source::Type;
    let id = volume.persistence_id().filter(|id| is_safe_name(id))?;
    let below = |root: &str| {
        let role = volume.reservation_role().unwrap_or("*").replace('/', " ");
        format!("{root}/volumes/roles/{role}/{id}")
    };
    let absolute = |root: &str| match root.starts_with('/') {
        true => root.to_owned(),
        false => format!("{work_dir}/{root}"),
    };
    let Some(source) = volume.disk_source() else { return Some((below(work_dir), false)) };
    match source.r#type {
        Type::Path => {
            let root = source.path.as_ref().and_then(|path| path.root.as_deref())?;
            Some((below(&absolute(root)), false))
        }
        Type::Mount => {
            let root = source.mount.as_ref().and_then(|mount| mount.root.as_deref())?;
            Some((absolute(root), true))
        }
        Type::Block | Type::Raw | Type::Unknown => None,
    }
}

/// Reads a list one by one, leaving out what is invalid.
pub(crate) fn read_valid(wire: &[mesos::Resource]) -> Resources {
    wire.iter().filter_map(|resource| Resource::from_wire(resource).ok()).collect()
}

/// Rewrites resources in the form with reservation stacks, whichever form they came in.
///
/// # Errors
/// The first invalid resource, in words.
pub(crate) fn upgraded(wire: &[mesos::Resource]) -> Result<Vec<mesos::Resource>, String> {
    wire.iter()
        .map(|resource| match Resource::from_wire(resource) {
            Ok(valid) => Ok(valid.to_wire()),
            Err(error) => Err(format!("resource {} is invalid: {error}", resource.name)),
        })
        .collect()
}

/// Rewrites resources in the form that every master reads, as far as it can express them.
pub(crate) fn downgraded(wire: &[mesos::Resource]) -> Vec<mesos::Resource> {
    wire.iter()
        .map(|resource| {
            let valid = Resource::from_wire(resource).ok();
            let old = valid.and_then(|valid| valid.to_wire_pre_refinement().ok());
            old.unwrap_or_else(|| resource.clone())
        })
        .collect()
}

/// The sum of two lists.
pub(crate) fn sum(left: &[mesos::Resource], right: &[mesos::Resource]) -> Vec<mesos::Resource> {
    (read_valid(left) + read_valid(right)).to_wire()
}

/// How much of a scalar there is.
pub(crate) fn scalar(wire: &[mesos::Resource], name: &str) -> f64 {
    read_valid(wire).scalar(name).to_f64()
}

/// What an executor and its living tasks hold.
pub(crate) fn held_by(executor: &Executor) -> Resources {
    let mut held = read_valid(&executor.info.resources);
    for task in executor.queued.values() {
        held += read_valid(&task.resources);
    }
    for task in executor.launched.values() {
        held += read_valid(&task.resources);
    }
    held
}

/// The same, for the wire.
pub(crate) fn of_executor(executor: &Executor) -> Vec<mesos::Resource> {
    held_by(executor).to_wire()
}
