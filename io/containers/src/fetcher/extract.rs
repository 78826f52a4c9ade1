//! Extracts archives. They come from strangers: an entry that would be written elsewhere, that links
//! elsewhere or that is a device makes the whole archive refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use tar::EntryType;
use zip::ZipArchive;
use zip::result::ZipError;

use super::directory::{Directory, DirectoryError};

/// The longest target of a link in a zip archive.
const LINK_BYTES_MAX: u64 = 4096;

/// The permissions of an entry that does not say.
const DEFAULT_MODE: u32 = 0o644;

/// The permissions of a directory that does not say.
const DEFAULT_DIRECTORY_MODE: u32 = 0o755;

/// The permissions a directory can get: no set-user-id, set-group-id or sticky.
const DIRECTORY_MODE_MASK: u32 = 0o777;

/// The most bytes that one archive may unpack to.
const EXTRACTED_BYTES_MAX: u64 = 64 << 30;

/// The most entries that one archive may have.
const ENTRIES_MAX: u64 = 4 << 20;

/// The most memory that unpacking xz may take, in KiB; its strongest preset needs 65 MiB.
const XZ_MEMORY_KIB_MAX: u32 = 256 << 10;

const BUFFER_BYTES: usize = 64 << 10;

/// Why an archive was not extracted. Entries before the bad one may have been.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExtractError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("malformed or truncated archive")]
    Read(#[source] io::Error),
    #[error("malformed zip archive")]
    Zip(#[from] ZipError),
    #[error("'{}' is a device or another special file", .0.display())]
    Special(PathBuf),
    #[error("failed to unpack '{}'", path.display())]
    Unpack { path: PathBuf, source: io::Error },
    #[error("failed to write '{}'", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the archive unpacks to more than {0} bytes")]
    TooManyBytes(u64),
    #[error("the archive has more than {0} entries")]
    TooManyEntries(u64),
}

/// Kinds of archives, by the end of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tar,
    TarGz,
    TarBz2,
    TarXz,
    Zip,
    Gz,
}

fn kind(name: &str) -> Option<Kind> {
    const ENDINGS: [(&str, Kind); 9] = [
        (".tar", Kind::Tar),
        (".tgz", Kind::TarGz),
        (".tar.gz", Kind::TarGz),
        (".tbz2", Kind::TarBz2),
        (".tar.bz2", Kind::TarBz2),
        (".txz", Kind::TarXz),
        (".tar.xz", Kind::TarXz),
        (".zip", Kind::Zip),
        (".gz", Kind::Gz),
    ];
    ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, kind)| *kind)
}

/// What one archive may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: EXTRACTED_BYTES_MAX, entries: ENTRIES_MAX }
    }
}

/// Extracts a file of the directory into it if its name is that of an archive, and tells whether.
pub(super) fn extract(
    directory: &Directory,
    name: &Path,
    limits: Limits,
) -> Result<bool, ExtractError> {
    let text = name.to_string_lossy();
    let Some(kind) = kind(&text) else { return Ok(false) };
    let file = BufReader::with_capacity(BUFFER_BYTES, directory.read(name)?);
    let mut extraction =
        Extraction { directory, limits, bytes: 0, entries: 0, folders: BTreeMap::new() };
    match kind {
        Kind::Tar => extraction.tar(file)?,
        Kind::TarGz => extraction.tar(MultiGzDecoder::new(file))?,
        Kind::TarBz2 => extraction.tar(MultiBzDecoder::new(file))?,
        Kind::TarXz => extraction.tar(XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB_MAX))?,
        Kind::Zip => extraction.zip(file)?,
        Kind::Gz => {
            let last = text.rsplit('/').next().unwrap_or(&text);
            let plain = Path::new(last.strip_suffix(".gz").unwrap_or(last));
            extraction.file(plain, Attributes::of(DEFAULT_MODE), &mut MultiGzDecoder::new(file))?;
        }
    }
    extraction.finish()?;
    Ok(true)
}

/// What an entry says of itself.
#[derive(Clone, Copy, Debug)]
struct Attributes {
    mode: u32,
    modified: Option<SystemTime>,
}

impl Attributes {
    const fn of(mode: u32) -> Self {
        Self { mode, modified: None }
    }
}

/// One archive being extracted.
#[derive(Debug)]
struct Extraction<'a> {
    directory: &'a Directory,
    limits: Limits,
    bytes: u64,
    entries: u64,
    /// The folders of the archive by their real paths. They get their attributes last, as these may
    /// forbid what is still to be written.
    folders: BTreeMap<PathBuf, Attributes>,
}

impl Extraction<'_> {
    fn tar(&mut self, content: impl Read) -> Result<(), ExtractError> {
        let mut archive = tar::Archive::new(content);
        for entry in archive.entries().map_err(ExtractError::Read)? {
            self.count_entry()?;
            self.tar_entry(&mut entry.map_err(ExtractError::Read)?)?;
        }
        // The end of the archive is not the end of the stream, whose checksum stands there.
        self.drain(&mut archive.into_inner())
    }

    fn tar_entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), ExtractError> {
        let name = entry.path().map_err(ExtractError::Read)?.into_owned();
        let link = entry.link_name().map_err(ExtractError::Read)?.map(|link| link.into_owned());
        let header = entry.header();
        let seconds = Duration::from_secs(header.mtime().map_err(ExtractError::Read)?);
        let attributes = Attributes {
            mode: header.mode().map_err(ExtractError::Read)?,
            modified: SystemTime::UNIX_EPOCH.checked_add(seconds),
        };
        match (header.entry_type(), link) {
            (EntryType::Directory, _) => self.folder(&name, attributes)?,
            // So the oldest archives mark folders.
            (EntryType::Regular, _) if name.as_os_str().as_bytes().ends_with(b"/") => {
                self.folder(&name, attributes)?;
            }
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, _) => {
                self.file(&name, attributes, entry)?;
            }
            (EntryType::Symlink, Some(target)) => self.directory.create_link(&name, &target)?,
            (EntryType::Link, Some(target)) => self.directory.create_hard_link(&name, &target)?,
            // Says something of all entries, such as the commit of `git archive`.
            (EntryType::XGlobalHeader, _) => {}
            _ => return Err(ExtractError::Special(name)),
        }
        Ok(())
    }

    fn zip(&mut self, file: impl Read + io::Seek) -> Result<(), ExtractError> {
        let mut archive = ZipArchive::new(file)?;
        for index in 0..archive.len() {
            self.count_entry()?;
            let mut entry = archive.by_index(index)?;
            let name = PathBuf::from(entry.name()?.as_ref());
            let mode = entry.unix_mode();
            let format = mode.unwrap_or(0) & libc::S_IFMT;
            if entry.is_dir() {
                let mode = mode.unwrap_or(DEFAULT_DIRECTORY_MODE);
                self.folder(&name, Attributes::of(mode))?;
            } else if entry.is_symlink() {
                let mut target = Vec::new();
                let mut content = (&mut entry).take(LINK_BYTES_MAX);
                content.read_to_end(&mut target).map_err(ExtractError::Read)?;
                self.directory.create_link(&name, Path::new(&OsString::from_vec(target)))?;
            } else if format == 0 || format == libc::S_IFREG {
                let attributes = Attributes::of(mode.unwrap_or(DEFAULT_MODE));
                self.file(&name, attributes, &mut entry)?;
            } else {
                return Err(ExtractError::Special(name));
            }
        }
        Ok(())
    }

    fn count_entry(&mut self) -> Result<(), ExtractError> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > self.limits.entries {
            return Err(ExtractError::TooManyEntries(self.limits.entries));
        }
        Ok(())
    }

    fn count_bytes(&mut self, count: usize) -> Result<(), ExtractError> {
        self.bytes = self.bytes.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if self.bytes > self.limits.bytes {
            return Err(ExtractError::TooManyBytes(self.limits.bytes));
        }
        Ok(())
    }

    /// Reads once. The error is about the archive, whether truncated, damaged or unreadable.
    fn read(content: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match content.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn drain(&mut self, content: &mut impl Read) -> Result<(), ExtractError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match Self::read(content, &mut buffer).map_err(ExtractError::Read)? {
                0 => return Ok(()),
                count => self.count_bytes(count)?,
            }
        }
    }

    fn folder(&mut self, name: &Path, attributes: Attributes) -> Result<(), ExtractError> {
        if let Some(path) = self.directory.create_directory(name)? {
            self.folders.insert(path, attributes);
        }
        Ok(())
    }

    fn file(
        &mut self,
        name: &Path,
        attributes: Attributes,
        content: &mut impl Read,
    ) -> Result<(), ExtractError> {
        let write = |source| ExtractError::Write { path: name.to_owned(), source };
        let mut file = self.directory.create(name, attributes.mode)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let unpack = |source| ExtractError::Unpack { path: name.to_owned(), source };
            let count = Self::read(content, &mut buffer).map_err(unpack)?;
            if count == 0 {
                break;
            }
            self.count_bytes(count)?;
            file.write_all(&buffer[..count]).map_err(write)?;
        }
        match attributes.modified {
            Some(modified) => file.set_modified(modified).map_err(write),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<(), ExtractError> {
        // What lies deeper sorts later, so from the end no closed folder is in the way.
        for (path, attributes) in self.folders.into_iter().rev() {
            let write = |source| ExtractError::Write { path: path.clone(), source };
            if let Some(modified) = attributes.modified {
                File::open(&path)
                    .and_then(|folder| folder.set_modified(modified))
                    .map_err(write)?;
            }
            let permissions = Permissions::from_mode(attributes.mode & DIRECTORY_MODE_MASK);
            fs::set_permissions(&path, permissions).map_err(write)?;
        }
        Ok(())
    }
}
