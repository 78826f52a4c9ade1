//! Requests, and how their answers are read (`zookeeper-jute/src/main/resources/zookeeper.jute`).

use super::error::{Code, RequestError};
use super::jute::{
    Malformed, Reader, write_bool, write_bytes, write_int, write_length, write_text,
};

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const GET_CHILDREN: i32 = 8;
const SYNC: i32 = 9;
const CHECK: i32 = 13;
const MULTI: i32 = 14;
/// Marks the end of a multi, and a failed part in its answer.
const NONE: i32 = -1;
/// The answer for parts of a multi that another part has failed.
const RUNTIME_INCONSISTENCY: i32 = -2;

const EPHEMERAL: i32 = 1;
const SEQUENCE: i32 = 2;

const PERMISSION_READ: i32 = 1;
const PERMISSION_ALL: i32 = 31;

/// Whom a new node belongs to. Mesos knows these two (`src/zookeeper/authentication.cpp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acl {
    /// Everybody may do everything.
    Open,
    /// Everybody may read, the creator may do everything.
    ReadableByAll,
}

/// How long a node lives and who completes its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CreateMode {
    /// Until it is deleted.
    Persistent,
    /// Until the session ends; the ensemble appends ten digits to the name.
    EphemeralSequential,
}

/// What the ensemble knows of a node besides its data; of the eleven fields those that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The number of the change that made the node; numbers of changes only grow.
    pub(crate) created: i64,
    /// The number of the last change of the data.
    pub(crate) modified: i64,
    /// How often the data was changed.
    pub(crate) version: i32,
    /// The session that owns an ephemeral node; 0 for a persistent one.
    pub(crate) owner: i64,
}

impl Stat {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let created = reader.long()?;
        let modified = reader.long()?;
        let _times = (reader.long()?, reader.long()?);
        let version = reader.int()?;
        let _versions = (reader.int()?, reader.int()?);
        let owner = reader.long()?;
        let _lengths = (reader.int()?, reader.int()?);
        let _children_modified = reader.long()?;
        Ok(Self { created, modified, version, owner })
    }
}

/// A request: its kind and its encoded fields.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) kind: i32,
    pub(super) fields: Vec<u8>,
}

pub(super) fn sync(path: &str) -> Body {
    let mut fields = Vec::new();
    write_text(&mut fields, path);
    Body { kind: SYNC, fields }
}

pub(super) fn exists(path: &str, watch: bool) -> Body {
    read(EXISTS, path, watch)
}

pub(super) fn get_data(path: &str) -> Body {
    read(GET_DATA, path, false)
}

pub(super) fn get_children(path: &str, watch: bool) -> Body {
    read(GET_CHILDREN, path, watch)
}

fn read(kind: i32, path: &str, watch: bool) -> Body {
    let mut fields = Vec::new();
    write_text(&mut fields, path);
    write_bool(&mut fields, watch);
    Body { kind, fields }
}

pub(super) fn read_path(answer: &[u8]) -> Result<String, RequestError> {
    Ok(Reader::new(answer, "path").text()?.to_owned())
}

pub(super) fn read_stat(answer: &[u8]) -> Result<Stat, RequestError> {
    Ok(Stat::read(&mut Reader::new(answer, "description of a node"))?)
}

pub(super) fn read_data(answer: &[u8]) -> Result<(Vec<u8>, Stat), RequestError> {
    let mut reader = Reader::new(answer, "node");
    let data = reader.bytes()?.to_vec();
    Ok((data, Stat::read(&mut reader)?))
}

pub(super) fn read_children(answer: &[u8]) -> Result<Vec<String>, RequestError> {
    Ok(Reader::new(answer, "list of children").texts()?)
}

/// A change, alone or as a part of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Makes a node.
    Create { path: String, data: Vec<u8>, acl: Acl, mode: CreateMode },
    /// Replaces the data of a node of this version; any version if `None`.
    Set { path: String, data: Vec<u8>, version: Option<i32> },
    /// Removes a node without children.
    Delete { path: String },
    /// Changes nothing, but fails the multi when the node has another version; any version if `None`.
    Check { path: String, version: Option<i32> },
}

impl Operation {
    fn kind(&self) -> i32 {
        match self {
            Self::Create { .. } => CREATE,
            Self::Set { .. } => SET_DATA,
            Self::Delete { .. } => DELETE,
            Self::Check { .. } => CHECK,
        }
    }

    fn write(&self, output: &mut Vec<u8>) {
        match self {
            Self::Create { path, data, acl, mode } => {
                write_text(output, path);
                write_bytes(output, data);
                write_acl(output, *acl);
                write_int(
                    output,
                    match mode {
                        CreateMode::Persistent => 0,
                        CreateMode::EphemeralSequential => EPHEMERAL | SEQUENCE,
                    },
                );
            }
            Self::Set { path, data, version } => {
                write_text(output, path);
                write_bytes(output, data);
                write_version(output, *version);
            }
            Self::Delete { path } => {
                write_text(output, path);
                write_version(output, None);
            }
            Self::Check { path, version } => {
                write_text(output, path);
                write_version(output, *version);
            }
        }
    }

    /// The request that makes this change alone.
    pub(super) fn body(&self) -> Body {
        let mut fields = Vec::new();
        self.write(&mut fields);
        Body { kind: self.kind(), fields }
    }

    /// How many bytes it takes in a multi.
    pub(crate) fn encoded_bytes(&self) -> usize {
        let mut fields = Vec::new();
        self.write(&mut fields);
        PART_HEADER_BYTES + fields.len()
    }
}

fn write_version(output: &mut Vec<u8>, version: Option<i32>) {
    write_int(output, version.unwrap_or(-1));
}

fn write_acl(output: &mut Vec<u8>, acl: Acl) {
    let entries: &[(i32, &str, &str)] = match acl {
        Acl::Open => &[(PERMISSION_ALL, "world", "anyone")],
        Acl::ReadableByAll => &[(PERMISSION_READ, "world", "anyone"), (PERMISSION_ALL, "auth", "")],
    };
    write_length(output, entries.len());
    for (permissions, scheme, id) in entries {
        write_int(output, *permissions);
        write_text(output, scheme);
        write_text(output, id);
    }
}

/// Kind, end mark and error before each part of a multi.
const PART_HEADER_BYTES: usize = 9;

fn write_part_header(output: &mut Vec<u8>, kind: i32, done: bool) {
    write_int(output, kind);
    write_bool(output, done);
    write_int(output, -1);
}

/// All of the changes or none.
pub(super) fn multi(operations: &[Operation]) -> Body {
    let mut fields = Vec::new();
    for operation in operations {
        write_part_header(&mut fields, operation.kind(), false);
        operation.write(&mut fields);
    }
    write_part_header(&mut fields, NONE, true);
    Body { kind: MULTI, fields }
}

/// Reads the answer to a multi: `Ok` if all was done, else what was wrong with the first part that
/// failed.
pub(super) fn read_multi(answer: &[u8]) -> Result<(), RequestError> {
    let mut reader = Reader::new(answer, "answer to a multi");
    loop {
        let kind = reader.int()?;
        let done = reader.bool()?;
        let _error = reader.int()?;
        if done && kind == NONE {
            return Ok(());
        }
        match kind {
            CREATE => {
                reader.text()?;
            }
            SET_DATA => {
                Stat::read(&mut reader)?;
            }
            DELETE | CHECK => {}
            NONE => match reader.int()? {
                0 | RUNTIME_INCONSISTENCY => {}
                number => {
                    let code = Code::from_number(number).unwrap_or(Code::Other(number));
                    return Err(RequestError::Refused(code));
                }
            },
            _ => return Err(reader.malformed().into()),
        }
        if reader.is_empty() {
            return Err(reader.malformed().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat() -> Vec<u8> {
        (1..=68).collect()
    }

    #[test]
    fn a_multi_says_which_part_has_failed() {
        let part = |kind: i32, body: &[u8]| {
            let mut bytes = Vec::new();
            write_part_header(&mut bytes, kind, false);
            bytes.extend_from_slice(body);
            bytes
        };
        let mut end = Vec::new();
        write_part_header(&mut end, NONE, true);
        let error = |number: i32| part(NONE, &number.to_be_bytes());
        let created = part(CREATE, &[0, 0, 0, 2, b'/', b'a']);

        let done = [part(SET_DATA, &stat()), created, part(DELETE, &[]), end.clone()].concat();
        assert_eq!(read_multi(&done), Ok(()));
        let failed = [error(0), error(-103), error(RUNTIME_INCONSISTENCY), end].concat();
        assert_eq!(read_multi(&failed), Err(RequestError::Refused(Code::BadVersion)));
    }

    #[test]
    fn damaged_answers_are_errors() {
        let mut answer = vec![0, 0, 0, 2, b'/', b'a'];
        answer.extend_from_slice(&stat());
        assert_eq!(read_data(&answer).unwrap().0, b"/a");
        for end in 0..answer.len() {
            assert!(read_data(&answer[..end]).is_err(), "cut at {end}");
            assert!(read_multi(&answer[..end]).is_err(), "cut at {end}");
        }
        for end in 0..stat().len() {
            assert!(read_stat(&stat()[..end]).is_err(), "cut at {end}");
        }
        assert!(read_children(&[0, 0, 0, 2, 0, 0, 0, 0]).is_err());
        assert_eq!(read_children(&[0xff; 4]), Ok(Vec::new()), "none at all");
    }
}
