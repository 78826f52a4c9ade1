//! Carries the records of a registry from one store to another, as text.
//!
//! The text is lines of JSON. The first says what it is, then there is one for each record in the order
//! of keys, and the last says how many there are and what SHA-256 all bytes before it have:
//!
//! ```text
//! {"format":"meseta-registry-export","version":1}
//! {"key":"agents/4b1f…-S0","value":"<base64>"}
//! {"records":1,"sha256":"<64 digits>"}
//! ```
//!
//! `head -n -1 FILE | sha256sum` computes the same.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::registry::{Change, Record, Registry, RegistryError};

const FORMAT: &str = "meseta-registry-export";
const VERSION: u64 = 1;

/// The longest line that is read: a record as large as a store takes, in base64, and some more.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// A record that is there while an import is not complete. No master starts with it: the key is none of
/// a master's records. It is the first record written and the last one removed.
pub const UNFINISHED_IMPORT_KEY: &str = "unfinished-import";

/// Why records were not carried over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A store could not be read or written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The text could not be read or written.
    #[error("cannot {operation} the exported records")]
    Text {
        /// What was tried.
        operation: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The text is no export, is damaged, or was cut off.
    #[error("line {line} of the exported records: {reason}")]
    Malformed {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The store already holds records.
    #[error("the registry holds {0} records already: records are imported into an empty one only")]
    NotEmpty(usize),
    /// An earlier import into the store was not completed.
    #[error(
        "an earlier import into the registry was not completed: remove the registry and begin anew"
    )]
    Unfinished,
}

/// Writes all records as text; gives their number.
///
/// # Errors
/// The store cannot be read, the text cannot be written, or the store holds an import that was not
/// completed.
pub fn export(registry: &dyn Registry, output: &mut dyn Write) -> Result<usize, TransferError> {
    let failed = |source| TransferError::Text { operation: "write", source };
    let records = registry.load()?;
    if records.iter().any(|(key, _)| key == UNFINISHED_IMPORT_KEY) {
        return Err(TransferError::Unfinished);
    }
    let mut checksum = Sha256::new();
    let mut write = |line: &Value| {
        let line = format!("{line}\n");
        checksum.update(&line);
        output.write_all(line.as_bytes())
    };
    write(&json!({"format": FORMAT, "version": VERSION})).map_err(failed)?;
    for (key, value) in &records {
        write(&json!({"key": key, "value": BASE64_STANDARD.encode(value)})).map_err(failed)?;
    }
    let trailer = json!({"records": records.len(), "sha256": hexadecimal(checksum)});
    output.write_all(format!("{trailer}\n").as_bytes()).map_err(failed)?;
    output.flush().map_err(failed)?;
    Ok(records.len())
}

/// Reads records from text into an empty store; gives their number. The whole text is checked before
/// anything is written.
///
/// # Errors
/// The text is damaged or cut off, the store is not empty or cannot be written. If writing fails, a store
/// that takes many records in several steps is left in a state with which no master starts.
pub fn import(registry: &dyn Registry, input: &mut dyn BufRead) -> Result<usize, TransferError> {
    let records = read(input)?;
    let present = registry.load()?;
    if present.iter().any(|(key, _)| key == UNFINISHED_IMPORT_KEY) {
        return Err(TransferError::Unfinished);
    }
    if !present.is_empty() {
        return Err(TransferError::NotEmpty(present.len()));
    }
    let count = records.len();
    let mut writes = vec![vec![Change::set(UNFINISHED_IMPORT_KEY, "")]];
    writes.extend(records.into_iter().map(|(key, value)| vec![Change::set(key, value)]));
    registry.commit_all(&writes)?;
    registry.commit(&[Change::remove(UNFINISHED_IMPORT_KEY)])?;
    Ok(count)
}

fn hexadecimal(checksum: Sha256) -> String {
    checksum.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read(input: &mut dyn BufRead) -> Result<Vec<Record>, TransferError> {
    let mut checksum = Sha256::new();
    let mut records: Vec<Record> = Vec::new();
    let mut keys = BTreeSet::new();
    let mut number = 0;
    loop {
        number += 1;
        let malformed =
            |reason: &str| TransferError::Malformed { line: number, reason: reason.to_owned() };
        let text = read_line(input)?.ok_or_else(|| malformed("the text was cut off"))?;
        let line: Value =
            serde_json::from_slice(&text).map_err(|error| malformed(&error.to_string()))?;
        if number == 1 {
            check_header(&line).map_err(|reason| malformed(&reason))?;
        } else if line.get("records").is_some() {
            if line["records"].as_u64() != u64::try_from(records.len()).ok() {
                return Err(malformed("the number of records is another"));
            }
            if line["sha256"].as_str() != Some(&hexadecimal(checksum)) {
                return Err(malformed("the checksum is another: the records are damaged"));
            }
            return match read_line(input)? {
                None => Ok(records),
                Some(_) => Err(malformed("more follows after the last line")),
            };
        } else {
            let (key, value) = read_record(&line).ok_or_else(|| malformed("it is no record"))?;
            if !keys.insert(key.clone()) {
                return Err(malformed("the record is there twice"));
            }
            records.push((key, value));
        }
        checksum.update(&text);
    }
}

/// One line with its end; none at the end of the text. A line without an end is one that was cut off.
fn read_line(input: &mut dyn BufRead) -> Result<Option<Vec<u8>>, TransferError> {
    let mut line = Vec::new();
    std::io::Read::take(&mut *input, LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .map_err(|source| TransferError::Text { operation: "read", source })?;
    Ok(line.ends_with(b"\n").then_some(line))
}

fn check_header(line: &Value) -> Result<(), String> {
    if line["format"] != FORMAT {
        return Err("these are no exported records".to_owned());
    }
    match line["version"].as_u64() {
        Some(VERSION) => Ok(()),
        _ => Err(format!("version {}, this version reads {VERSION}", line["version"])),
    }
}

fn read_record(line: &Value) -> Option<Record> {
    let value = BASE64_STANDARD.decode(line["value"].as_str()?).ok()?;
    Some((line["key"].as_str()?.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_memory::InMemory;

    fn filled() -> InMemory {
        let registry = InMemory::new();
        registry
            .commit(&[
                Change::set("agents/1", vec![0, 255]),
                Change::set("b", ""),
                Change::set("\"ü\n", "x"),
            ])
            .unwrap();
        registry
    }

    fn exported() -> Vec<u8> {
        let mut text = Vec::new();
        assert_eq!(export(&filled(), &mut text).unwrap(), 3);
        text
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let text = exported();
        let registry = InMemory::new();
        assert_eq!(import(&registry, &mut text.as_slice()).unwrap(), 3);
        assert_eq!(registry.load().unwrap(), filled().load().unwrap());

        let error = import(&registry, &mut text.as_slice()).unwrap_err();
        assert!(matches!(error, TransferError::NotEmpty(3)), "{error}");
    }

    #[test]
    fn every_cut_and_every_change_is_noticed() {
        let text = exported();
        for end in 0..text.len() {
            assert!(import(&InMemory::new(), &mut &text[..end]).is_err(), "cut at {end}");
        }
        for position in 0..text.len() {
            let mut damaged = text.clone();
            damaged[position] ^= 1;
            let registry = InMemory::new();
            assert!(import(&registry, &mut damaged.as_slice()).is_err(), "damaged at {position}");
            assert_eq!(registry.load().unwrap(), []);
        }
        let twice = [text.clone(), text].concat();
        assert!(import(&InMemory::new(), &mut twice.as_slice()).is_err());
    }

    #[test]
    fn newer_versions_are_refused_by_name() {
        let text = String::from_utf8(exported()).unwrap().replace("\"version\":1", "\"version\":2");
        let error = import(&InMemory::new(), &mut text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("version 2"), "{error}");
    }

    #[test]
    fn an_unfinished_import_is_not_taken_for_a_registry() {
        let registry = InMemory::new();
        registry
            .commit(&[Change::set(UNFINISHED_IMPORT_KEY, ""), Change::set("agents/1", "x")])
            .unwrap();
        let error = import(&registry, &mut exported().as_slice()).unwrap_err();
        assert!(matches!(error, TransferError::Unfinished), "{error}");
        let error = export(&registry, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, TransferError::Unfinished), "{error}");
    }
}
