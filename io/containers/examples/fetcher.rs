//! The fetcher as a program of its own, for the black-box tests of this crate.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(u8::try_from(containers::fetcher::main()).unwrap_or(u8::MAX))
}
