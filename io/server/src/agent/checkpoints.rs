//! The agent's meta directory: one thread that writes, and the reading at start.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::UNIX_EPOCH;

use agent::checkpoint::{self, Change, Entry, EntryKind, Tree};
use agent::effect::WriteId;
use protocol::time::Timestamp;

/// What the name of a file begins with while it is being written. A crash may leave such files.
const TEMPORARY_PREFIX: &str = ".tmp-";

/// What went wrong with a checkpoint, and where.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} '{}'", path.display())]
pub struct CheckpointError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_path_buf();
    move |source| CheckpointError { operation, path, source }
}

struct Request {
    write: WriteId,
    changes: Vec<Change>,
}

/// Hands writes to the writing thread. Dropping it ends the thread once all is written.
#[derive(Debug)]
pub struct Writer {
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `done` is called for each write, in order, once it is on disk.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        meta: PathBuf,
        mut done: impl FnMut(WriteId, Result<(), CheckpointError>) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, receiver) = mpsc::channel::<Request>();
        let thread = thread::Builder::new().name("checkpoints".to_owned()).spawn(move || {
            while let Ok(first) = receiver.recv() {
                // Writes that came meanwhile share the flush.
                let mut batch = vec![first];
                batch.extend(receiver.try_iter());
                write_batch(&meta, &batch, &mut done);
            }
        })?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Queues one write. The core asks for a bounded number of them before it waits.
    pub fn write(&self, write: WriteId, changes: Vec<Change>) {
        if let Some(requests) = &self.requests {
            // The thread ends only after this sender is dropped.
            let _ = requests.send(Request { write, changes });
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes checkpoints panicked");
        }
    }
}

fn write_batch(
    meta: &Path,
    batch: &[Request],
    done: &mut impl FnMut(WriteId, Result<(), CheckpointError>),
) {
    let mut touched = BTreeSet::new();
    let mut results = Vec::with_capacity(batch.len());
    for request in batch {
        let result =
            request.changes.iter().try_for_each(|change| apply(meta, change, &mut touched));
        results.push((request.write, result));
    }
    let mut flushed = touched.iter().try_for_each(|path| flush(path));
    for (write, result) in results {
        // A failed flush is told once; what follows it cannot be trusted and is told as well.
        let flush_failure = match &flushed {
            Ok(()) => Ok(()),
            Err(error) => Err(CheckpointError {
                operation: error.operation,
                path: error.path.clone(),
                source: io::Error::from(error.source.kind()),
            }),
        };
        done(write, result.and(std::mem::replace(&mut flushed, flush_failure)));
    }
}

fn flush(path: &Path) -> Result<(), CheckpointError> {
    match File::open(path) {
        Ok(file) => file.sync_all().map_err(failed("flush", path)),
        // Removed again within the same batch.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("open", path)(error)),
    }
}

fn apply(
    meta: &Path,
    change: &Change,
    touched: &mut BTreeSet<PathBuf>,
) -> Result<(), CheckpointError> {
    match change {
        Change::Write { path, content } => replace(&meta.join(path), content, touched),
        Change::Append { path, content } => append(&meta.join(path), content, touched),
        Change::Link { path, target } => link(&meta.join(path), &meta.join(target), touched),
        Change::Directory { path } => {
            let path = meta.join(path);
            fs::create_dir_all(&path).map_err(failed("create directory", &path))
        }
        Change::Remove { path } => remove(&meta.join(path), touched),
        Change::CreateVolume { path } => create_volume(Path::new(path), touched),
        Change::RemoveVolume { path, keep_root } => remove_volume(Path::new(path), *keep_root),
    }
}

fn parent(path: &Path) -> Result<PathBuf, CheckpointError> {
    let parent = path.parent().unwrap_or(Path::new("/")).to_path_buf();
    fs::create_dir_all(&parent).map_err(failed("create directory", &parent))?;
    Ok(parent)
}

fn temporary(path: &Path, parent: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent.join(format!("{TEMPORARY_PREFIX}{name}"))
}

fn replace(
    path: &Path,
    content: &[u8],
    touched: &mut BTreeSet<PathBuf>,
) -> Result<(), CheckpointError> {
    let parent = parent(path)?;
    let temporary = temporary(path, &parent);
    let mut file = File::create(&temporary).map_err(failed("create", &temporary))?;
    file.write_all(content).map_err(failed("write", &temporary))?;
    // The content must be there before the name is, or a crash could leave an empty file.
    file.sync_data().map_err(failed("flush", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("rename to", path))?;
    touched.insert(parent);
    Ok(())
}

fn append(
    path: &Path,
    content: &[u8],
    touched: &mut BTreeSet<PathBuf>,
) -> Result<(), CheckpointError> {
    let parent = parent(path)?;
    let existed = path.exists();
    let mut file =
        File::options().create(true).append(true).open(path).map_err(failed("open", path))?;
    file.write_all(content).map_err(failed("append to", path))?;
    touched.insert(path.to_path_buf());
    if !existed {
        touched.insert(parent);
    }
    Ok(())
}

fn link(
    path: &Path,
    target: &Path,
    touched: &mut BTreeSet<PathBuf>,
) -> Result<(), CheckpointError> {
    let parent = parent(path)?;
    let temporary = temporary(path, &parent);
    let _ = fs::remove_file(&temporary);
    symlink(target, &temporary).map_err(failed("link", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("rename to", path))?;
    touched.insert(parent);
    Ok(())
}

fn remove(path: &Path, touched: &mut BTreeSet<PathBuf>) -> Result<(), CheckpointError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    let removed = if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(failed("remove", path))?;
    touched.extend(path.parent().map(Path::to_path_buf));
    Ok(())
}

/// Makes the directory of a volume. It must not be lost once the volume is said to be there.
fn create_volume(path: &Path, touched: &mut BTreeSet<PathBuf>) -> Result<(), CheckpointError> {
    let missing = path.ancestors().take_while(|ancestor| !ancestor.exists());
    let missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
    fs::create_dir_all(path).map_err(failed("create volume", path))?;
    touched
        .extend(missing.iter().filter_map(|directory| directory.parent()).map(Path::to_path_buf));
    Ok(())
}

fn remove_volume(path: &Path, keep_root: bool) -> Result<(), CheckpointError> {
    if !keep_root {
        return remove(path, &mut BTreeSet::new());
    }
    if !path.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed("list", path))? {
        let entry = entry.map_err(failed("list", path))?;
        remove(&entry.path(), &mut BTreeSet::new())?;
    }
    Ok(())
}

/// Reads what recovery needs below the meta directory; nothing when there is no such directory.
///
/// # Errors
/// When anything that is there cannot be read: recovery must not mistake that for its absence.
pub fn read(meta: &Path) -> Result<Tree, CheckpointError> {
    let mut tree = Tree::default();
    if !meta.exists() {
        return Ok(tree);
    }
    add(&mut tree, meta, checkpoint::BOOT_ID)?;
    add_below(&mut tree, meta, "resources")?;
    add(&mut tree, meta, checkpoint::LATEST_AGENT)?;
    let latest = tree.link_name(checkpoint::LATEST_AGENT).map(str::to_owned);
    let agents = meta.join("slaves");
    if agents.is_dir() {
        for entry in fs::read_dir(&agents).map_err(failed("list", &agents))? {
            let name = entry.map_err(failed("list", &agents))?.file_name();
            let name = name.to_string_lossy();
            let path = format!("slaves/{name}");
            if Some(&*name) == latest.as_deref() {
                add_below(&mut tree, meta, &path)?;
            } else {
                add(&mut tree, meta, &path)?;
            }
        }
    }
    Ok(tree)
}

fn add(tree: &mut Tree, meta: &Path, path: &str) -> Result<(), CheckpointError> {
    let full = meta.join(path);
    let metadata = match fs::symlink_metadata(&full) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", &full)(error)),
    };
    let kind = if metadata.is_dir() {
        EntryKind::Directory
    } else if metadata.is_symlink() {
        let target = fs::read_link(&full).map_err(failed("read link", &full))?;
        EntryKind::Link(target.to_string_lossy().into_owned())
    } else {
        EntryKind::File(fs::read(&full).map_err(failed("read", &full))?)
    };
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanos = i64::try_from(modified.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX);
    let modified = Timestamp::from_nanos(nanos);
    tree.entries.insert(path.to_owned(), Entry { kind, modified });
    Ok(())
}

fn add_below(tree: &mut Tree, meta: &Path, path: &str) -> Result<(), CheckpointError> {
    add(tree, meta, path)?;
    let full = meta.join(path);
    if !full.is_dir() || full.is_symlink() {
        return Ok(());
    }
    for entry in fs::read_dir(&full).map_err(failed("list", &full))? {
        let entry = entry.map_err(failed("list", &full))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type().map_err(failed("look at", &entry.path()))?;
        if name.starts_with(TEMPORARY_PREFIX) && !kind.is_dir() {
            continue;
        }
        add_below(tree, meta, &format!("{path}/{name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_all(meta: &Path, changes: Vec<Change>) -> Vec<(WriteId, bool)> {
        let (sender, receiver) = mpsc::channel();
        let writer = Writer::start(meta.to_path_buf(), move |write, result| {
            let _ = sender.send((write, result.is_ok()));
        })
        .unwrap();
        for (number, change) in changes.into_iter().enumerate() {
            writer.write(WriteId(number as u64 + 1), vec![change]);
        }
        drop(writer);
        receiver.iter().collect()
    }

    fn write(path: &str, content: &str) -> Change {
        Change::Write { path: path.to_owned(), content: content.as_bytes().to_vec() }
    }

    /// The disk and the tree that simulations use must agree on what a change means.
    #[test]
    fn what_is_read_back_is_what_the_changes_say() {
        let folder = tempfile::tempdir().unwrap();
        let meta = folder.path().join("meta");
        let append = |content: &str| Change::Append {
            path: "slaves/S1/frameworks/F/log".to_owned(),
            content: content.as_bytes().to_vec(),
        };
        let changes = vec![
            write("boot_id", "one"),
            write("boot_id", "two"),
            write("slaves/S1/slave.info", "info"),
            Change::Link { path: "slaves/latest".to_owned(), target: "slaves/S1".to_owned() },
            append("a"),
            append("b"),
            Change::Directory { path: "slaves/S1/frameworks/G".to_owned() },
            write("slaves/S1/frameworks/H/framework.info", "gone"),
            Change::Remove { path: "slaves/S1/frameworks/H".to_owned() },
            Change::Remove { path: "never/there".to_owned() },
            write("resources/resources.info", "resources"),
        ];
        let results = write_all(&meta, changes.clone());
        assert_eq!(results.len(), changes.len());
        assert!(results.iter().all(|(_, is_ok)| *is_ok));
        let mut expected = Tree::default();
        for change in &changes {
            expected.apply(Timestamp::from_nanos(0), change);
        }
        let read = read(&meta).unwrap();
        let kinds = |tree: &Tree| {
            let kinds = tree.entries.iter().filter(|(path, _)| *path != "slaves");
            kinds
                .map(|(path, entry)| (path.clone(), relative(&meta, &entry.kind)))
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(&read), kinds(&expected));
    }

    fn relative(meta: &Path, kind: &EntryKind) -> EntryKind {
        match kind {
            EntryKind::Link(target) => {
                let target = Path::new(target);
                let below = target.strip_prefix(meta).unwrap_or(target);
                EntryKind::Link(below.to_string_lossy().into_owned())
            }
            EntryKind::Directory | EntryKind::File(_) => kind.clone(),
        }
    }

    #[test]
    fn an_interrupted_write_leaves_nothing_that_is_read() {
        let folder = tempfile::tempdir().unwrap();
        write_all(folder.path(), vec![write("boot_id", "one")]);
        fs::create_dir(folder.path().join("resources")).unwrap();
        fs::write(folder.path().join("resources/.tmp-resources.info"), "half").unwrap();
        assert_eq!(read(folder.path()).unwrap().file("resources/.tmp-resources.info"), None);
    }

    #[test]
    fn a_failed_write_names_its_path() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let change = write("file/below", "");
        let error = apply(folder.path(), &change, &mut BTreeSet::new()).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
        assert_eq!(write_all(folder.path(), vec![change]), [(WriteId(1), false)]);
    }
}
