//! What to fetch, and its JSON between the launching program and its child.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

/// Everything one container needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The container's directory, absolute.
    pub directory: PathBuf,
    /// What to fetch, in this order.
    pub items: Vec<Item>,
    /// Whose rights the fetcher gets; ours when absent. Only root can choose.
    pub user: Option<String>,
    /// Where relative paths start.
    pub frameworks_home: Option<PathBuf>,
    /// How long a download may stand still.
    pub stall_timeout: Duration,
}

/// One thing to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// A path, or a URI of scheme `file`, `http` or `https`.
    pub uri: String,
    /// Whether to extract it if its name is that of an archive.
    pub extract: bool,
    /// Whether to make it executable, which excludes extraction.
    pub executable: bool,
    /// The name in the container's directory, possibly with folders; by default the last part of the
    /// URI.
    pub output_file: Option<String>,
    /// Whether a copy may be kept for other containers. Nothing is kept yet: each container
    /// downloads its own.
    pub cache: bool,
}

/// Why a text is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It could not be read.
    #[error("failed to read standard input")]
    Read(#[source] io::Error),
    /// It is no JSON.
    #[error("the request is not JSON")]
    Json(#[from] serde_json::Error),
    /// A field is missing or has the wrong type.
    #[error("field '{0}' of the request is missing or malformed")]
    Field(&'static str),
}

impl Request {
    /// The request but for the user, whom the child has become already.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let items: Vec<Value> = self
            .items
            .iter()
            .map(|item| {
                json!({
                    "uri": item.uri,
                    "extract": item.extract,
                    "executable": item.executable,
                    "output_file": item.output_file,
                    "cache": item.cache,
                })
            })
            .collect();
        let home = self.frameworks_home.as_ref().map(|home| home.to_string_lossy());
        let stall_timeout_ms = u64::try_from(self.stall_timeout.as_millis()).unwrap_or(u64::MAX);
        json!({
            "directory": self.directory.to_string_lossy(),
            "items": items,
            "frameworks_home": home,
            "stall_timeout_ms": stall_timeout_ms,
        })
        .to_string()
        .into_bytes()
    }

    pub(super) fn from_json(text: &[u8]) -> Result<Self, RequestError> {
        let value: Value = serde_json::from_slice(text)?;
        let items = value["items"].as_array().ok_or(RequestError::Field("items"))?;
        Ok(Self {
            directory: string(&value["directory"], "directory")?.into(),
            items: items.iter().map(Item::from_json).collect::<Result<_, _>>()?,
            user: None,
            frameworks_home: optional(&value["frameworks_home"], "frameworks_home")?
                .map(PathBuf::from),
            stall_timeout: Duration::from_millis(
                value["stall_timeout_ms"]
                    .as_u64()
                    .ok_or(RequestError::Field("stall_timeout_ms"))?,
            ),
        })
    }
}

impl Item {
    fn from_json(value: &Value) -> Result<Self, RequestError> {
        Ok(Self {
            uri: string(&value["uri"], "uri")?,
            extract: value["extract"].as_bool().ok_or(RequestError::Field("extract"))?,
            executable: value["executable"].as_bool().ok_or(RequestError::Field("executable"))?,
            output_file: optional(&value["output_file"], "output_file")?,
            cache: value["cache"].as_bool().ok_or(RequestError::Field("cache"))?,
        })
    }
}

fn string(value: &Value, field: &'static str) -> Result<String, RequestError> {
    value.as_str().map(str::to_owned).ok_or(RequestError::Field(field))
}

fn optional(value: &Value, field: &'static str) -> Result<Option<String>, RequestError> {
    if value.is_null() { Ok(None) } else { string(value, field).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_pipe() {
        let request = Request {
            directory: "/sandbox".into(),
            items: vec![Item {
                uri: "http://host/é \"x\"".to_owned(),
                extract: true,
                executable: false,
                output_file: Some("a/b".to_owned()),
                cache: true,
            }],
            user: None,
            frameworks_home: Some("/home".into()),
            stall_timeout: Duration::from_millis(1500),
        };
        assert_eq!(Request::from_json(&request.to_json()).unwrap(), request);
        let error = Request::from_json(b"{\"items\": [{}]}").unwrap_err();
        assert_eq!(error.to_string(), "field 'directory' of the request is missing or malformed");
        assert!(matches!(Request::from_json(b"{"), Err(RequestError::Json(_))));
    }
}
