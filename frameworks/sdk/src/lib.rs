//! Write a scheduler or an executor in Rust, over the public HTTP APIs.
