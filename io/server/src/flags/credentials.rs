//! Flags that name files of secrets.

use authentication::{Credential, Credentials};

use super::Values;

/// Why the value of a flag holds no credentials; never shows any of it.
#[derive(Debug, thiserror::Error)]
#[error("flag --{name} holds no credentials")]
pub struct CredentialsFlagError {
    name: &'static str,
    source: authentication::CredentialsError,
}

impl Values {
    /// The principals and secrets of `--credentials` or `--http_credentials`.
    ///
    /// # Errors
    /// The flag is given and cannot be read as such.
    pub fn credentials(
        &self,
        name: &'static str,
    ) -> Result<Option<Credentials>, CredentialsFlagError> {
        let text = self.text(name);
        let parsed = text.map(Credentials::parse).transpose();
        parsed.map_err(|source| CredentialsFlagError { name, source })
    }

    /// The principal and secret of `--credential`.
    ///
    /// # Errors
    /// The flag is given and cannot be read as such.
    pub fn credential(
        &self,
        name: &'static str,
    ) -> Result<Option<Credential>, CredentialsFlagError> {
        let text = self.text(name);
        let parsed = text.map(Credential::parse).transpose();
        parsed.map_err(|source| CredentialsFlagError { name, source })
    }
}
