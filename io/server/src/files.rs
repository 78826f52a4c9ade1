//! The files that a daemon shows under virtual paths: sandboxes and logs (`src/files/files.cpp`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use protocol::mesos;

use crate::http::json::JsonWriter;
use crate::http::{Query, Rendered, Response};

/// The most bytes that one read gives: sixteen pages, as in Mesos.
pub const READ_BYTES_MAX: u64 = 16 * 4096;

/// The largest file that is downloaded whole.
pub const DOWNLOAD_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Why a file is not shown.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such file, or it lies outside of what is shown.
    #[error("there is no such file")]
    NotFound,
    /// The file cannot be read.
    #[error("failed to read '{}'", path.display())]
    Read {
        /// The real path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FilesError {
    /// The answer as Mesos gives it.
    #[must_use]
    pub fn response(&self) -> Response {
        match self {
            Self::Invalid(text) => Response::bad_request(text.clone()),
            Self::NotFound => Response::text(StatusCode::NOT_FOUND, ""),
            Self::Read { path: _, source } => {
                let text = format!("{self}: {source}.\n");
                Response::text(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }
}

/// Virtual paths, without a slash at the end, and the folders or files they stand for.
#[derive(Clone, Debug, Default)]
pub struct Attachments(BTreeMap<String, PathBuf>);

impl Attachments {
    /// Shows `real` under `path`.
    pub fn attach(&mut self, path: impl Into<String>, real: impl Into<PathBuf>) {
        let path: String = path.into();
        self.0.insert(path.trim_end_matches('/').to_owned(), real.into());
    }

    /// The real path, with every link followed, of a virtual one.
    ///
    /// # Errors
    /// [`FilesError::NotFound`] also when links or dots lead out of what is attached: a task must
    /// not choose which of the daemon's files are shown.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, FilesError> {
        let path = path.trim_end_matches('/');
        let attached = Path::new(path).ancestors().find_map(|ancestor| {
            let real = self.0.get(ancestor.to_str()?)?;
            Some((real, Path::new(path).strip_prefix(ancestor).ok()?))
        });
        let Some((root, below)) = attached else { return Err(FilesError::NotFound) };
        if below.components().any(|component| !matches!(component, Component::Normal(_))) {
            return Err(FilesError::NotFound);
        }
        let missing = |_| FilesError::NotFound;
        let real = root.join(below).canonicalize().map_err(missing)?;
        let root = root.canonicalize().map_err(missing)?;
        if real.starts_with(&root) { Ok(real) } else { Err(FilesError::NotFound) }
    }

    /// The entries of a directory, or the file itself; their paths are virtual.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub fn list(&self, path: &str) -> Result<Vec<mesos::FileInfo>, FilesError> {
        let real = self.resolve(path)?;
        let failed = |source| FilesError::Read { path: real.clone(), source };
        if !real.is_dir() {
            return Err(FilesError::Invalid("Cannot browse a file.\n".to_owned()));
        }
        let mut names: Vec<_> =
            fs::read_dir(&real).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        names.sort_by_key(fs::DirEntry::file_name);
        let virtual_path = path.trim_end_matches('/');
        // A file that vanishes meanwhile is not there.
        let infos = names.iter().filter_map(|entry| {
            let metadata = entry.path().symlink_metadata().ok()?;
            let name = entry.file_name();
            Some(info(format!("{virtual_path}/{}", name.to_string_lossy()), &metadata))
        });
        Ok(infos.collect())
    }

    /// The size of a file, and at most `length` (and [`READ_BYTES_MAX`]) of its bytes.
    ///
    /// # Errors
    /// See [`FilesError`].
    pub fn read(
        &self,
        path: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<(u64, Vec<u8>), FilesError> {
        let real = self.resolve(path)?;
        if real.is_dir() {
            return Err(FilesError::Invalid("Cannot read a directory.\n".to_owned()));
        }
        let failed = |source| FilesError::Read { path: real.clone(), source };
        let mut file = File::open(&real).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(FilesError::Invalid("Cannot read what is no file.\n".to_owned()));
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let length = length.unwrap_or(READ_BYTES_MAX).min(READ_BYTES_MAX);
        let mut data = Vec::new();
        file.take(length).read_to_end(&mut data).map_err(failed)?;
        Ok((metadata.len(), data))
    }

    /// `/files/browse`.
    #[must_use]
    pub fn browse_response(&self, query: &Query) -> Response {
        let Some(path) = query.get("path") else { return path_expected() };
        let infos = match self.list(path) {
            Ok(infos) => infos,
            Err(error) => return error.response(),
        };
        let mut json = JsonWriter::new();
        json.array(|json| infos.iter().for_each(|info| write_info(json, info)));
        Response::json(Rendered::new(json.into_bytes()).into(), query.get("jsonp"))
    }

    /// `/files/read`.
    #[must_use]
    pub fn read_response(&self, query: &Query) -> Response {
        let Some(path) = query.get("path") else { return path_expected() };
        let offset = match number(query, "offset") {
            Ok(offset) => offset,
            Err(response) => return response,
        };
        let length = match number(query, "length") {
            Ok(length) => length.and_then(|length| u64::try_from(length).ok()),
            Err(response) => return response,
        };
        // An offset of -1 asks for the size.
        let asks_size = offset.is_none_or(|offset| offset < 0);
        let start = offset.and_then(|offset| u64::try_from(offset).ok()).unwrap_or(0);
        let length = if asks_size { Some(0) } else { length };
        let (size, data) = match self.read(path, start, length) {
            Ok(read) => read,
            Err(error) => return error.response(),
        };
        let mut json = JsonWriter::new();
        json.object(|json| {
            json.key("data").string(&String::from_utf8_lossy(&data));
            json.key("offset").integer(if asks_size { size } else { start });
        });
        Response::json(Rendered::new(json.into_bytes()).into(), query.get("jsonp"))
    }

    /// `/files/download`.
    #[must_use]
    pub fn download_response(&self, query: &Query) -> Response {
        let Some(path) = query.get("path") else { return path_expected() };
        let real = match self.resolve(path) {
            Ok(real) => real,
            Err(error) => return error.response(),
        };
        if real.is_dir() {
            return Response::bad_request("Cannot download a directory.\n");
        }
        let content = match read_whole(&real) {
            Ok(content) => content,
            Err(source) => return FilesError::Read { path: real, source }.response(),
        };
        let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let disposition = HeaderValue::from_str(&format!("attachment; filename={name}"))
            .unwrap_or(HeaderValue::from_static("attachment"));
        Response::binary(Rendered::new(content).into())
            .with(header::CONTENT_DISPOSITION, disposition)
    }

    /// `/files/debug`: what is attached where.
    #[must_use]
    pub fn debug_response(&self, query: &Query) -> Response {
        let mut json = JsonWriter::new();
        json.object(|json| {
            for (path, real) in &self.0 {
                json.key(path).string(&real.to_string_lossy());
            }
        });
        Response::json(Rendered::new(json.into_bytes()).into(), query.get("jsonp"))
    }
}

fn path_expected() -> Response {
    Response::bad_request("Expecting 'path=value' in query.\n")
}

fn number(query: &Query, name: &str) -> Result<Option<i64>, Response> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| {
        Response::bad_request(format!("Failed to parse {name}: '{text}' is no number.\n"))
    })?;
    if number < -1 {
        return Err(Response::bad_request(format!("Negative {name} provided: {number}.\n")));
    }
    Ok(Some(number).filter(|number| name == "offset" || *number >= 0))
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > DOWNLOAD_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {DOWNLOAD_BYTES_MAX} bytes")));
    }
    let mut content = Vec::new();
    file.take(DOWNLOAD_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}

fn info(path: String, metadata: &fs::Metadata) -> mesos::FileInfo {
    let nanoseconds = metadata.mtime().saturating_mul(1_000_000_000);
    mesos::FileInfo {
        path,
        nlink: i32::try_from(metadata.nlink()).ok(),
        size: Some(metadata.size()),
        mtime: Some(mesos::TimeInfo { nanoseconds, ..Default::default() }),
        mode: Some(metadata.mode()),
        uid: Some(user_name(metadata.uid())),
        gid: Some(group_name(metadata.gid())),
        ..Default::default()
    }
}

fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into());
    user.ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    let group = nix::unistd::Group::from_gid(gid.into());
    group.ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

/// The legacy form, with permissions as `ls` writes them.
fn write_info(json: &mut JsonWriter, info: &mesos::FileInfo) {
    json.object(|json| {
        json.key("gid").string(info.gid.as_deref().unwrap_or_default());
        json.key("mode").string(&mode_text(info.mode.unwrap_or(0)));
        let nanoseconds = info.mtime.as_ref().map_or(0, |time| time.nanoseconds);
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 as a double")]
        json.key("mtime").double((nanoseconds / 1_000_000_000) as f64);
        json.key("nlink")
            .integer(info.nlink.and_then(|count| u64::try_from(count).ok()).unwrap_or(0));
        json.key("path").string(&info.path);
        json.key("size").integer(info.size.unwrap_or(0));
        json.key("uid").string(info.uid.as_deref().unwrap_or_default());
    });
}

fn mode_text(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o060_000 => 'b',
        0o020_000 => 'c',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '-',
    };
    let bits = (0..9).rev().zip("rwxrwxrwx".chars());
    std::iter::once(kind)
        .chain(bits.map(|(bit, letter)| if mode & (1 << bit) == 0 { '-' } else { letter }))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn attached() -> (tempfile::TempDir, Attachments) {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = folder.path().join("sandbox");
        fs::create_dir(&sandbox).unwrap();
        fs::write(sandbox.join("stdout"), "hello").unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        symlink(folder.path().join("secret"), sandbox.join("link-out")).unwrap();
        symlink("stdout", sandbox.join("link-in")).unwrap();
        let mut attachments = Attachments::default();
        attachments.attach("/run/latest", &sandbox);
        (folder, attachments)
    }

    #[test]
    fn files_are_read_in_pieces() {
        let (_folder, files) = attached();
        assert_eq!(files.read("/run/latest/stdout", 0, None).unwrap(), (5, b"hello".to_vec()));
        assert_eq!(files.read("/run/latest/stdout", 1, Some(3)).unwrap(), (5, b"ell".to_vec()));
        assert_eq!(files.read("/run/latest/stdout", 9, None).unwrap(), (5, Vec::new()));
        assert_eq!(files.read("/run/latest/link-in", 0, None).unwrap().0, 5);
    }

    #[test]
    fn nothing_outside_is_shown() {
        let (_folder, files) = attached();
        for path in [
            "/run/latest/link-out",
            "/run/latest/../secret",
            "/run/latest/none",
            "/run",
            "",
            "stdout",
        ] {
            let result = files.read(path, 0, None);
            assert!(matches!(result, Err(FilesError::NotFound)), "{path}: {result:?}");
        }
    }

    #[test]
    fn directories_are_listed_with_virtual_paths() {
        let (_folder, files) = attached();
        let paths: Vec<String> =
            files.list("/run/latest/").unwrap().into_iter().map(|info| info.path).collect();
        let expected = ["/run/latest/link-in", "/run/latest/link-out", "/run/latest/stdout"];
        assert_eq!(paths, expected);
        assert!(matches!(files.read("/run/latest", 0, None), Err(FilesError::Invalid(_))));
    }

    #[test]
    fn modes_read_as_in_listings() {
        assert_eq!(mode_text(0o100_644), "-rw-r--r--");
        assert_eq!(mode_text(0o040_750), "drwxr-x---");
    }
}
