//! `meseta execute`: its flags become the options of the framework in `execute`.

use anyhow::Result;
use server::flags::Values;

use crate::execute::{ExecuteOptions, run as run_framework};

pub(crate) fn run(values: &Values) -> Result<i32> {
    let options = ExecuteOptions::from_flags(values)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run_framework(options))
}
