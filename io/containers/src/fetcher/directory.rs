//! A directory that nothing is written outside of, whatever names and links strangers choose.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process;

/// What an executable gets.
const EXECUTABLE_MODE: u32 = 0o755;

/// The permission bits that are taken from others: no set-user-id, set-group-id or sticky.
const MODE_MASK: u32 = 0o777;

/// The root of all that is written.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    /// Without links.
    root: PathBuf,
}

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum DirectoryError {
    #[error("'{}' leads out of the directory", .0.display())]
    Escape(PathBuf),
    #[error("failed to write '{}'", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to read '{}'", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("'{}' is not a plain file, so it gets no second name", .0.display())]
    LinkToSpecial(PathBuf),
}

impl Directory {
    /// The directory at this path, which exists.
    pub(super) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let root = path
            .canonicalize()
            .map_err(|source| DirectoryError::Read { path: path.to_owned(), source })?;
        Ok(Self { root })
    }

    /// The real path of a name in the directory, after its folders are made. The last part of the
    /// name may be a link, the folders lie inside.
    fn prepare(&self, name: &Path) -> Result<PathBuf, DirectoryError> {
        let escape = || DirectoryError::Escape(name.to_owned());
        let plain = plain(name).ok_or_else(escape)?;
        let last = plain.file_name().ok_or_else(escape)?;
        let mut folder = self.root.clone();
        for part in plain.parent().into_iter().flat_map(Path::components) {
            folder.push(part);
            folder = self.enter(&folder, name)?;
        }
        Ok(folder.join(last))
    }

    /// Makes a folder, or follows the link it is if that stays inside.
    fn enter(&self, folder: &Path, name: &Path) -> Result<PathBuf, DirectoryError> {
        let failed = |source| DirectoryError::Write { path: name.to_owned(), source };
        match fs::create_dir(folder) {
            Ok(()) => Ok(folder.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let real = folder.canonicalize().map_err(failed)?;
                if !real.starts_with(&self.root) {
                    return Err(DirectoryError::Escape(name.to_owned()));
                }
                if !real.is_dir() {
                    return Err(failed(io::ErrorKind::NotADirectory.into()));
                }
                Ok(real)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes a file and opens it for writing; a file or link of this name is replaced.
    pub(super) fn create(&self, name: &Path, mode: u32) -> Result<File, DirectoryError> {
        let failed = |source| DirectoryError::Write { path: name.to_owned(), source };
        let path = self.prepare(name)?;
        remove(&path).map_err(failed)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & MODE_MASK)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(failed)?;
        // The mode given to open() is subject to the umask.
        file.set_permissions(Permissions::from_mode(mode & MODE_MASK)).map_err(failed)?;
        Ok(file)
    }

    /// Makes a file under a temporary name and opens it for writing. It gets its own name when it is
    /// complete ([`Incomplete::complete`]), so that nobody takes a part for the whole.
    pub(super) fn begin(
        &self,
        name: &Path,
        mode: u32,
    ) -> Result<(File, Incomplete), DirectoryError> {
        let path = self.prepare(name)?;
        let temporary = name.with_file_name(format!(".fetching-{}", process::id()));
        let file = self.create(&temporary, mode)?;
        let temporary = self.prepare(&temporary)?;
        Ok((file, Incomplete { temporary, path, name: name.to_owned() }))
    }

    /// Makes a directory unless it is there, and gives its real path; none when it is the root.
    pub(super) fn create_directory(&self, name: &Path) -> Result<Option<PathBuf>, DirectoryError> {
        if plain(name).is_some_and(|plain| plain.as_os_str().is_empty()) {
            return Ok(None);
        }
        let path = self.prepare(name)?;
        self.enter(&path, name).map(Some)
    }

    /// Makes a symbolic link, whose target stays inside however it is followed.
    pub(super) fn create_link(&self, name: &Path, target: &Path) -> Result<(), DirectoryError> {
        let failed = |source| DirectoryError::Write { path: name.to_owned(), source };
        let path = self.prepare(name)?;
        let depth = path.parent().and_then(|parent| parent.strip_prefix(&self.root).ok());
        let depth = depth.map_or(0, |parent| parent.components().count());
        if !stays_inside(target, depth) {
            return Err(DirectoryError::Escape(target.to_owned()));
        }
        remove(&path).map_err(failed)?;
        symlink(target, &path).map_err(failed)
    }

    /// Makes a second name for a file of the directory.
    pub(super) fn create_hard_link(
        &self,
        name: &Path,
        target: &Path,
    ) -> Result<(), DirectoryError> {
        let failed = |source| DirectoryError::Write { path: name.to_owned(), source };
        let existing = self.prepare(target)?;
        let path = self.prepare(name)?;
        if existing == path {
            return Ok(());
        }
        // A symbolic link means something else in another folder, so it gets no second name.
        let metadata = fs::symlink_metadata(&existing).map_err(failed)?;
        if !metadata.is_file() {
            return Err(DirectoryError::LinkToSpecial(target.to_owned()));
        }
        remove(&path).map_err(failed)?;
        fs::hard_link(existing, path).map_err(failed)
    }

    /// Opens a plain file of the directory for reading.
    pub(super) fn read(&self, name: &Path) -> Result<File, DirectoryError> {
        let path = self.prepare(name)?;
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|source| DirectoryError::Read { path, source })
    }

    pub(super) fn make_executable(&self, name: &Path) -> Result<(), DirectoryError> {
        self.read(name)?
            .set_permissions(Permissions::from_mode(EXECUTABLE_MODE))
            .map_err(|source| DirectoryError::Write { path: name.to_owned(), source })
    }
}

/// A file under a temporary name, removed unless it is completed.
#[derive(Debug)]
pub(super) struct Incomplete {
    temporary: PathBuf,
    path: PathBuf,
    name: PathBuf,
}

impl Incomplete {
    /// Gives the file its name; a file or link of this name is replaced.
    pub(super) fn complete(self) -> Result<(), DirectoryError> {
        fs::rename(&self.temporary, &self.path)
            .map_err(|source| DirectoryError::Write { path: self.name.clone(), source })
    }
}

impl Drop for Incomplete {
    fn drop(&mut self) {
        // After a success there is nothing of this name.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Removes a file or link, so that nothing is written through it.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A relative path without steps up or back; `None` for any other.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

/// Whether a link so deep in the directory leads to something in it. Steps up must come first: after
/// a name, which may be a link itself, a step up leads nobody knows where.
fn stays_inside(target: &Path, depth: usize) -> bool {
    let mut left = depth;
    let mut named = false;
    for component in target.components() {
        match component {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if !named && left > 0 => left -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}
