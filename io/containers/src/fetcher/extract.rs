//! Extracts archives. They come from strangers: an entry that would be written elsewhere, that links
//! elsewhere or that is a device makes the whole archive refused.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

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
    #[error("failed to write '{}'", path.display())]
    Write { path: PathBuf, source: io::Error },
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

/// Extracts a file of the directory into it if its name is that of an archive, and tells whether.
pub(super) fn extract(directory: &Directory, name: &Path) -> Result<bool, ExtractError> {
    let text = name.to_string_lossy();
    let Some(kind) = kind(&text) else { return Ok(false) };
    let file = directory.read(name)?;
    match kind {
        Kind::Tar => tar(directory, BufReader::new(file))?,
        Kind::TarGz => tar(directory, MultiGzDecoder::new(file))?,
        Kind::TarBz2 => tar(directory, MultiBzDecoder::new(file))?,
        Kind::TarXz => tar(directory, XzReader::new(BufReader::new(file), true))?,
        Kind::Zip => zip(directory, file)?,
        Kind::Gz => {
            let last = text.rsplit('/').next().unwrap_or(&text);
            let plain = Path::new(last.strip_suffix(".gz").unwrap_or(last));
            write(directory, plain, DEFAULT_MODE, &mut MultiGzDecoder::new(file))?;
        }
    }
    Ok(true)
}

fn write(
    directory: &Directory,
    name: &Path,
    mode: u32,
    content: &mut impl Read,
) -> Result<(), ExtractError> {
    let mut file = directory.create(name, mode)?;
    io::copy(content, &mut file)
        .map(drop)
        .map_err(|source| ExtractError::Write { path: name.to_owned(), source })
}

fn tar(directory: &Directory, content: impl Read) -> Result<(), ExtractError> {
    let mut archive = tar::Archive::new(content);
    for entry in archive.entries().map_err(ExtractError::Read)? {
        let mut entry = entry.map_err(ExtractError::Read)?;
        let name = entry.path().map_err(ExtractError::Read)?.into_owned();
        let link = entry.link_name().map_err(ExtractError::Read)?.map(|link| link.into_owned());
        let mode = entry.header().mode().map_err(ExtractError::Read)?;
        match (entry.header().entry_type(), link) {
            (EntryType::Directory, _) => directory.create_directory(&name)?,
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, _) => {
                write(directory, &name, mode, &mut entry)?;
            }
            (EntryType::Symlink, Some(target)) => directory.create_link(&name, &target)?,
            (EntryType::Link, Some(target)) => directory.create_hard_link(&name, &target)?,
            // Says something of all entries, such as the commit of `git archive`.
            (EntryType::XGlobalHeader, _) => {}
            _ => return Err(ExtractError::Special(name)),
        }
    }
    // The end of the archive is not the end of the stream, whose checksum stands there.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop).map_err(ExtractError::Read)
}

fn zip(directory: &Directory, file: File) -> Result<(), ExtractError> {
    let mut archive = ZipArchive::new(BufReader::new(file))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = PathBuf::from(entry.name()?.as_ref());
        if entry.is_dir() {
            directory.create_directory(&name)?;
        } else if entry.is_symlink() {
            let mut target = Vec::new();
            let mut content = (&mut entry).take(LINK_BYTES_MAX);
            content.read_to_end(&mut target).map_err(ExtractError::Read)?;
            directory.create_link(&name, Path::new(&OsString::from_vec(target)))?;
        } else {
            let mode = entry.unix_mode().unwrap_or(DEFAULT_MODE);
            let format = mode & libc::S_IFMT;
            if format != 0 && format != libc::S_IFREG {
                return Err(ExtractError::Special(name));
            }
            write(directory, &name, mode, &mut entry)?;
        }
    }
    Ok(())
}
