//! What a daemon says about the program it is.

use std::collections::BTreeMap;

use protocol::mesos::VersionInfo;

use crate::http::json::JsonWriter;

/// What was built from what. Builds that want to be told apart set these variables; by default equal sources give equal
/// programs.
pub(crate) fn info(version: &str) -> VersionInfo {
    let text = |value: Option<&str>| value.map(str::to_owned);
    let build_time = option_env!("MESETA_BUILD_TIME").and_then(|time| time.parse().ok());
    VersionInfo {
        version: version.to_owned(),
        build_date: Some(option_env!("MESETA_BUILD_DATE").unwrap_or_default().to_owned()),
        build_time: Some(build_time.unwrap_or(0.0)),
        build_user: Some(option_env!("MESETA_BUILD_USER").unwrap_or_default().to_owned()),
        git_sha: text(option_env!("MESETA_GIT_SHA")),
        git_branch: text(option_env!("MESETA_GIT_BRANCH")),
        git_tag: text(option_env!("MESETA_GIT_TAG")),
        ..Default::default()
    }
}

/// `/version`.
pub(crate) fn document(version: &str) -> Vec<u8> {
    let info = info(version);
    let mut texts = BTreeMap::from([("version", info.version)]);
    let optional = [
        ("build_date", info.build_date),
        ("build_user", info.build_user),
        ("git_sha", info.git_sha),
        ("git_branch", info.git_branch),
        ("git_tag", info.git_tag),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            texts.insert(name, value);
        }
    }
    let build_time = info.build_time.unwrap_or(0.0);
    let mut json = JsonWriter::new();
    json.object(|json| {
        json.key("build_time").double(build_time);
        for (name, value) in texts {
            json.key(name).string(&value);
        }
    });
    json.into_bytes()
}
