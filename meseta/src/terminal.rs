//! Words for the person at the terminal. Logs go elsewhere: see `logging`.

use std::io::Write as _;

/// Writes to standard output. A reader that went away, as `head` does, is no error.
pub(crate) fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}

/// Writes one line to standard error.
pub(crate) fn print_error(line: &str) {
    let mut output = std::io::stderr().lock();
    let _ = output.write_all(line.as_bytes());
    let _ = output.write_all(b"\n");
}
