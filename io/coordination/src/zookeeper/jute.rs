//! Jute, ZooKeeper's serialization (`zookeeper-jute/src/main/java/org/apache/jute`): integers in network
//! order, a boolean in one byte, and before texts, byte strings and lists their length in four bytes.

/// The bytes end too early, or a length or text cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ensemble sent a malformed {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(super) fn write_int(output: &mut Vec<u8>, value: i32) {
    output.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn write_long(output: &mut Vec<u8>, value: i64) {
    output.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn write_bool(output: &mut Vec<u8>, value: bool) {
    output.push(u8::from(value));
}

pub(super) fn write_bytes(output: &mut Vec<u8>, bytes: &[u8]) {
    write_length(output, bytes.len());
    output.extend_from_slice(bytes);
}

pub(super) fn write_text(output: &mut Vec<u8>, text: &str) {
    write_bytes(output, text.as_bytes());
}

pub(super) fn write_length(output: &mut Vec<u8>, length: usize) {
    // A frame this long is refused before it is sent, so the number is never seen.
    write_int(output, i32::try_from(length).unwrap_or(i32::MAX));
}

/// Takes values off the front of a frame. Errors name what was being read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(super) fn malformed(&self) -> Malformed {
        Malformed(self.what)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    pub(super) fn long(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.take::<1>()? != [0])
    }

    /// A byte string. ZooKeeper tells none (length -1) from an empty one; nobody here does.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.int()?;
        if length == -1 {
            return Ok(&[]);
        }
        let length = usize::try_from(length).map_err(|_| self.malformed())?;
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.malformed())
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>, Malformed> {
        let count = self.int()?;
        // The count is not trusted with memory: each text takes four bytes at least.
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.text()?.to_owned());
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip() {
        let mut bytes = Vec::new();
        write_int(&mut bytes, -2);
        write_long(&mut bytes, 1 << 40);
        write_bool(&mut bytes, true);
        write_text(&mut bytes, "/mesos");
        write_length(&mut bytes, 2);
        write_text(&mut bytes, "a");
        write_text(&mut bytes, "");
        write_int(&mut bytes, -1);
        let mut reader = Reader::new(&bytes, "test");
        assert_eq!(reader.int(), Ok(-2));
        assert_eq!(reader.long(), Ok(1 << 40));
        assert_eq!(reader.bool(), Ok(true));
        assert_eq!(reader.text(), Ok("/mesos"));
        assert_eq!(reader.texts(), Ok(vec!["a".to_owned(), String::new()]));
        assert_eq!(reader.bytes(), Ok(&[][..]));
        assert!(reader.is_empty());
    }

    #[test]
    fn damage_is_an_error() {
        let malformed = Malformed("test");
        for bytes in [&[][..], &[0, 0, 0], &[0, 0, 0, 9, 1], &[0xff, 0xff, 0xff, 0xfe]] {
            assert_eq!(Reader::new(bytes, "test").bytes(), Err(malformed), "{bytes:?}");
        }
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0xff], "test").text(), Err(malformed));
        assert_eq!(Reader::new(&[0x7f, 0xff, 0xff, 0xff], "test").texts(), Err(malformed));
    }
}
