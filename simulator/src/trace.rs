//! What is written down of a run.

use std::io::Write as _;

use crate::settings::Trace;

/// The record of a run.
#[derive(Debug)]
pub(crate) struct Log {
    mode: Trace,
    checksum: u64,
}

impl Log {
    pub(crate) const fn new(mode: Trace) -> Self {
        // The offset basis of FNV-1a.
        Self { mode, checksum: 0xCBF2_9CE4_8422_2325 }
    }

    /// Writes a line, which is made only if somebody wants it.
    pub(crate) fn write(&mut self, line: impl FnOnce() -> String) {
        match self.mode {
            Trace::Off => {}
            Trace::Checksum => {
                for byte in line().bytes() {
                    self.checksum = (self.checksum ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
                }
            }
            // At once, so that what comes before a panic is there. A reader who left is no error.
            Trace::Lines => drop(writeln!(std::io::stdout().lock(), "{}", line())),
        }
    }

    /// The checksum over all lines, if it was asked for.
    pub(crate) const fn checksum(&self) -> u64 {
        self.checksum
    }
}
