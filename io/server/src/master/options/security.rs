//! Who must say who they are, and how they are known.

use std::collections::BTreeSet;

use crate::flags::Values;
use crate::http::authentication::Access;
use crate::master::endpoint::{READ_ONLY, READ_WRITE, SCHEDULER};

use super::{MasterOptions, OptionsError};

/// Reads the flags of authentication.
pub(super) fn read(values: &Values, options: &mut MasterOptions) -> Result<(), OptionsError> {
    let credentials = values.credentials("credentials")?;
    let settings = &mut options.settings;
    settings.authenticate_agents = values.boolean("authenticate_agents");
    settings.authenticate_frameworks = values.boolean("authenticate_frameworks");
    if let Some(timeout) = values.duration("authentication_v0_timeout") {
        settings.authentication_timeout = timeout;
    }
    let mut realms = BTreeSet::new();
    for (flag, realm) in [
        ("authenticate_http_readonly", READ_ONLY),
        ("authenticate_http_readwrite", READ_WRITE),
        ("authenticate_http_frameworks", SCHEDULER),
    ] {
        if values.boolean(flag) {
            realms.insert(realm);
        }
    }
    if realms.contains(SCHEDULER) && values.text("http_framework_authenticators").is_none() {
        return Err(OptionsError::Together(
            "authenticate_http_frameworks",
            "http_framework_authenticators",
        ));
    }
    let needs_credentials = ["authenticate_agents", "authenticate_frameworks"]
        .into_iter()
        .find(|it| values.boolean(it));
    if let (Some(flag), None) = (needs_credentials, &credentials) {
        return Err(OptionsError::Together(flag, "credentials"));
    }
    options.access = Access::new(realms, credentials.clone().unwrap_or_default());
    options.settings.credentials = credentials;
    Ok(())
}
