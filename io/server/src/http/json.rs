//! Writes JSON as Mesos' `jsonify` does: no blanks, fields in the order given, doubles as `1.0`.

use protocol::json::{write_double, write_string};
use protocol::{Message, Names};

use super::shared::{CHUNK_BYTES, Output};

/// A JSON document that is being written.
///
/// The caller keeps brackets and keys in balance; commas come by themselves.
#[derive(Debug, Default)]
pub struct JsonWriter {
    out: Vec<u8>,
    comma: bool,
    /// Where what is written goes piece by piece; none for a document that stays in memory.
    output: Option<Output>,
    /// Nobody reads any more.
    abandoned: bool,
}

impl JsonWriter {
    /// An empty document.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty document that is put out while it is written.
    #[must_use]
    pub fn streamed(output: Output) -> Self {
        Self { output: Some(output), ..Self::default() }
    }

    /// The text; of a streamed document what was not put out so far.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Puts out the rest of a streamed document.
    pub fn finish(self) {
        if let Some(output) = self.output
            && !self.abandoned
        {
            output.finish(self.out);
        }
    }

    /// Whether the rest of the document need not be written, as nobody reads it.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Puts out what is written, once that is enough.
    fn flush(&mut self) {
        if let Some(output) = &mut self.output
            && self.out.len() >= CHUNK_BYTES
        {
            let chunk = std::mem::replace(&mut self.out, Vec::with_capacity(CHUNK_BYTES + 4096));
            self.abandoned = self.abandoned || !output.push(chunk);
        }
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    /// Writes an object, whose fields `fields` writes.
    pub fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.begin_object();
        fields(self);
        self.end_object();
    }

    /// Begins an object that does not end in the same function.
    pub fn begin_object(&mut self) {
        self.separate();
        self.out.push(b'{');
        self.comma = false;
    }

    /// Ends the object that was begun last.
    pub fn end_object(&mut self) {
        self.out.push(b'}');
        self.comma = true;
        self.flush();
    }

    /// Writes an array, whose elements `elements` writes.
    pub fn array(&mut self, elements: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push(b'[');
        self.comma = false;
        elements(self);
        self.out.push(b']');
        self.comma = true;
    }

    /// Writes the key of the value that follows.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.separate();
        write_string(key, &mut self.out);
        self.out.push(b':');
        self.comma = false;
        self
    }

    /// Writes a string.
    pub fn string(&mut self, value: &str) {
        self.separate();
        write_string(value, &mut self.out);
    }

    /// Writes a boolean.
    pub fn boolean(&mut self, value: bool) {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes an integer.
    pub fn integer(&mut self, value: u64) {
        self.separate();
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    /// Writes a double; an infinite one as the string that Mesos reads back.
    pub fn double(&mut self, value: f64) {
        self.separate();
        write_double(value, &mut self.out);
    }

    /// Writes a protobuf message in Mesos' JSON mapping.
    pub fn message(&mut self, message: &impl Message, names: Names) {
        self.separate();
        message.write_json(names, &mut self.out);
        self.flush();
    }

    /// Writes a whole JSON value that was rendered before.
    pub fn raw(&mut self, value: &[u8]) {
        self.separate();
        self.out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_brackets() {
        let mut json = JsonWriter::new();
        json.object(|json| {
            json.key("a").array(|json| {
                json.integer(1);
                json.object(|_| ());
                json.array(|json| json.boolean(true));
                json.string("x");
            });
            json.key("b").object(|json| json.key("c").double(2.0));
            json.key("d").raw(b"{}");
        });
        assert_eq!(json.into_bytes(), br#"{"a":[1,{},[true],"x"],"b":{"c":2.0},"d":{}}"#);
    }
}
