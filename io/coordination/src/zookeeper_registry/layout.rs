//! Names, places and the small texts of a registry in ZooKeeper.

use serde_json::{Value, json};

use crate::url::ZooKeeperUrl;
use crate::zookeeper::{Acl, CreateMode, Operation};

/// What the node `format` holds.
pub(super) const FORMAT: &str = "meseta-registry 1";
const FORMAT_PREFIX: &str = "meseta-registry ";

/// The children of the registry's node.
pub(super) const CHILDREN: &[&str] = &["format", "head", "records"];

/// How many buckets the records are spread over.
const BUCKETS: u64 = 64;

/// Where the nodes of a registry are.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The path below which masters contend.
    pub(super) base: String,
    pub(super) root: String,
    pub(super) format: String,
    pub(super) head: String,
    records: String,
    acl: Acl,
}

/// The ensemble and the path, for people.
pub(super) fn location(url: &ZooKeeperUrl) -> String {
    format!("{url}/registry")
}

impl Layout {
    pub(super) fn new(url: &ZooKeeperUrl) -> Self {
        let base = url.path().to_owned();
        Self {
            root: format!("{base}/registry"),
            format: format!("{base}/registry/format"),
            head: format!("{base}/registry/head"),
            records: format!("{base}/registry/records"),
            acl: url.acl(),
            base,
        }
    }

    pub(super) fn acl(&self) -> Acl {
        self.acl
    }

    /// The nodes of the buckets, in order.
    pub(super) fn buckets(&self) -> impl Iterator<Item = String> {
        (0..BUCKETS).map(|bucket| format!("{}/{bucket:02x}", self.records))
    }

    /// The node of the record `key`.
    pub(super) fn record(&self, key: &str) -> String {
        format!("{}/{:02x}/{}", self.records, bucket(key), escape(key))
    }

    /// What makes an empty registry, all at once.
    pub(super) fn creation(&self) -> Vec<Operation> {
        let node = |path: &str, data: &[u8]| Operation::Create {
            path: path.to_owned(),
            data: data.to_vec(),
            acl: self.acl,
            mode: CreateMode::Persistent,
        };
        let mut operations = vec![
            node(&self.root, b""),
            node(&self.format, FORMAT.as_bytes()),
            node(&self.head, Head::default().encode().as_bytes()),
            node(&self.records, b""),
        ];
        operations.extend(self.buckets().map(|bucket| node(&bucket, b"")));
        operations
    }

    pub(super) fn creation_of(&self, key: &str, value: Vec<u8>) -> Operation {
        Operation::Create {
            path: self.record(key),
            data: value,
            acl: self.acl,
            mode: CreateMode::Persistent,
        }
    }

    /// The keys in the buckets, given the children of each bucket.
    pub(super) fn keys(children: &[Vec<String>]) -> Result<Vec<String>, String> {
        let mut keys = Vec::new();
        for (number, names) in (0..).zip(children) {
            for name in names {
                let key = unescape(name).filter(|key| bucket(key) == number);
                let key = key.ok_or_else(|| {
                    format!("'{name}' in bucket {number:02x} is no record of this registry")
                })?;
                keys.push(key);
            }
        }
        keys.sort();
        Ok(keys)
    }
}

/// Says what is wrong with the content of the node `format`, if anything is.
pub(super) fn check_format(data: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(data);
    match text.strip_prefix(FORMAT_PREFIX) {
        Some(_) if text == FORMAT => Ok(()),
        Some(version) => Err(format!("format {version}, this version reads 1")),
        None => Err("it was made by another program".to_owned()),
    }
}

/// The content of the node `head`: who has written last, and what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the leader that has claimed the registry.
    pub(super) epoch: i64,
    /// The session in which it did so: two claims for one epoch differ.
    pub(super) claim: i64,
    /// How many steps were written since.
    pub(super) batch: u64,
    /// How many records there are.
    pub(super) records: u64,
}

impl Head {
    pub(super) fn encode(&self) -> String {
        let Self { epoch, claim, batch, records } = self;
        json!({"epoch": epoch, "claim": claim, "batch": batch, "records": records}).to_string()
    }

    pub(super) fn decode(data: &[u8]) -> Result<Self, String> {
        let damaged = || "its node 'head' is damaged".to_owned();
        let value: Value = serde_json::from_slice(data).map_err(|_| damaged())?;
        Ok(Self {
            epoch: value["epoch"].as_i64().ok_or_else(damaged)?,
            claim: value["claim"].as_i64().ok_or_else(damaged)?,
            batch: value["batch"].as_u64().ok_or_else(damaged)?,
            records: value["records"].as_u64().ok_or_else(damaged)?,
        })
    }
}

/// FNV-1a (Fowler, Noll, Vo), folded to the number of buckets. It is part of the format.
fn bucket(key: &str) -> u64 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) % BUCKETS
}

/// What an empty key is called; no other key is.
const EMPTY: &str = "%";

/// A name for a node: bytes other than ASCII letters, digits, `-`, `_`, `:` and inner dots are written as
/// `%` and two digits.
fn escape(key: &str) -> String {
    if key.is_empty() {
        return EMPTY.to_owned();
    }
    let mut name = String::with_capacity(key.len());
    for (position, byte) in key.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b':' => {
                name.push(char::from(byte));
            }
            // `.` and `..` cannot be names.
            b'.' if position > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

/// The key that has this name; none if no key has.
fn unescape(name: &str) -> Option<String> {
    if name == EMPTY {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_first_chunk::<2>()?;
            rest = after;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        } else {
            bytes.push(*first);
        }
    }
    let key = String::from_utf8(bytes).ok()?;
    (escape(&key) == name).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_name() {
        for (key, name) in [
            ("", "%"),
            (".", "%2E"),
            ("..", "%2E."),
            ("agents/4b1f-S0", "agents%2F4b1f-S0"),
            ("a%b/ü\0.x", "a%25b%2F%C3%BC%00.x"),
        ] {
            assert_eq!(escape(key), name);
            assert_eq!(unescape(name).as_deref(), Some(key));
        }
        for name in ["", "a b", "%2", "%zz", "%2f", "%61", "%FF", "%+1", ".", "a/b"] {
            assert_eq!(unescape(name), None, "{name}");
        }
    }

    #[test]
    fn buckets_are_filled_evenly() {
        let mut sizes = vec![0; 64];
        for number in 0..50_000 {
            let key = format!("agents/9f1f0b5e-3c4e-4f64-a9b1-5f3c0e1d2a3b-S{number}");
            sizes[usize::try_from(bucket(&key)).unwrap()] += 1;
        }
        assert!(sizes.iter().all(|size| (500..1100).contains(size)), "{sizes:?}");
        // A changed hash would make every existing registry foreign.
        assert_eq!(format!("{:02x}", bucket("agents/1")), "1b");
    }

    #[test]
    fn heads_round_trip() {
        let head = Head { epoch: 1 << 40, claim: -7, batch: 3, records: 50_000 };
        assert_eq!(Head::decode(head.encode().as_bytes()), Ok(head));
        for text in ["", "{}", "[]", r#"{"epoch":1,"claim":2,"batch":-3,"records":4}"#] {
            assert!(Head::decode(text.as_bytes()).unwrap_err().contains("damaged"), "{text}");
        }
    }
}
