//! Where a URI leads (`src/slave/containerizer/fetcher.cpp` of Mesos).

use std::path::{Path, PathBuf};

/// Where something comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// An HTTP or HTTPS URL.
    Url(String),
}

/// Why a URI leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SourceError {
    #[error("illegal characters in the URI")]
    IllegalCharacters,
    #[error("malformed URI (missing path)")]
    MissingPath,
    #[error("a file URI supports absolute paths only")]
    RelativeFile,
    #[error(
        "a relative path needs the directory of the frameworks, which is not set \
         (--frameworks_home)"
    )]
    NoFrameworksHome,
    #[error(
        "URIs of scheme '{0}' are not supported; use http, https, file or a path of the machine"
    )]
    Scheme(String),
}

/// The source a URI names, and the name of the thing: what follows the last slash. A query is no part
/// of it, but a slash in the query counts, as in Mesos (users append `?/name` to give a download its
/// name).
pub(super) fn locate(
    uri: &str,
    frameworks_home: Option<&Path>,
) -> Result<(Source, String), SourceError> {
    let uri = uri.trim_start();
    if uri.contains(['\\', '\'', '\0']) {
        return Err(SourceError::IllegalCharacters);
    }
    let (scheme, path) = match uri.split_once("://") {
        Some((scheme, path)) => (Some(scheme.to_ascii_lowercase()), path),
        None => (None, uri),
    };
    let path = if scheme.is_some() { path } else { path.trim_end_matches('/') };
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = match scheme.as_deref() {
        Some("http" | "https") => name.split(['?', '#']).next().unwrap_or(name),
        Some(_) | None => name,
    };
    if matches!(name, "" | "." | "..") || (scheme.is_some() && !path.contains('/')) {
        return Err(SourceError::MissingPath);
    }
    let source = match scheme.as_deref() {
        None if path.starts_with('/') => Source::File(path.into()),
        None => {
            let home = frameworks_home.filter(|home| !home.as_os_str().is_empty());
            Source::File(home.ok_or(SourceError::NoFrameworksHome)?.join(path))
        }
        Some("file") => {
            let path = path.strip_prefix("localhost").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(SourceError::RelativeFile);
            }
            Source::File(path.into())
        }
        Some("http" | "https") => Source::Url(uri.to_owned()),
        Some(other) => return Err(SourceError::Scheme(other.to_owned())),
    };
    Ok((source, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_lead_to_files_and_urls() {
        let home = Some(Path::new("/home"));
        let file = |path: &str, name: &str| Ok((Source::File(path.into()), name.to_owned()));
        let url = |url: &str, name: &str| Ok((Source::Url(url.to_owned()), name.to_owned()));
        assert_eq!(locate("/a/b.tgz", None), file("/a/b.tgz", "b.tgz"));
        assert_eq!(locate("file:///a/b", None), file("/a/b", "b"));
        assert_eq!(locate("file://localhost/a/b", None), file("/a/b", "b"));
        assert_eq!(locate("a/b", home), file("/home/a/b", "b"));
        assert_eq!(locate("  http://h/a/b?c=d", None), url("http://h/a/b?c=d", "b"));
        assert_eq!(locate("http://h/b.tgz?c=d#e", None), url("http://h/b.tgz?c=d#e", "b.tgz"));
        assert_eq!(locate("/a/b?c", None), file("/a/b?c", "b?c"));
        assert_eq!(locate("/a/b/", None), file("/a/b", "b"));
        assert_eq!(locate("HTTPS://h:1/x?/a", None), url("HTTPS://h:1/x?/a", "a"));
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        assert_eq!(locate("a/b", None), Err(SourceError::NoFrameworksHome));
        assert_eq!(locate("file://a/b", None), Err(SourceError::RelativeFile));
        assert_eq!(locate("http://host", None), Err(SourceError::MissingPath));
        assert_eq!(locate("http://host/", None), Err(SourceError::MissingPath));
        assert_eq!(locate("http://host/?a=b", None), Err(SourceError::MissingPath));
        assert_eq!(locate("/a/..", None), Err(SourceError::MissingPath));
        assert_eq!(locate("", None), Err(SourceError::MissingPath));
        assert_eq!(locate("/a'b", None), Err(SourceError::IllegalCharacters));
        let error = locate("hdfs://host/a", None).unwrap_err();
        assert!(error.to_string().contains("scheme 'hdfs'"));
        assert_eq!(locate("ftp://h/a", None), Err(SourceError::Scheme("ftp".to_owned())));
    }
}
