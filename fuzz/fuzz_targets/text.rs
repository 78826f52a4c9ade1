//! RecordIO streams and the small texts of flags, headers and message fields.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{bytes, duration, pid::Pid, recordio, uuid::Uuid};
use resources::Resources;

fuzz_target!(|input: &[u8]| {
    // However the stream is cut, the records are the same.
    let whole = recordio::Decoder::new(1 << 16).decode(input);
    if let Ok(whole) = whole {
        let mut decoder = recordio::Decoder::new(1 << 16);
        let pieces: Vec<Vec<u8>> = input
            .chunks(3)
            .flat_map(|piece| decoder.decode(piece).expect("the whole stream was accepted"))
            .collect();
        assert_eq!(pieces, whole);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(pid) = text.parse::<Pid>() {
        assert_eq!(pid.to_string().parse(), Ok(pid));
    }
    if let Ok(amount) = bytes::parse(text) {
        assert_eq!(bytes::parse(&bytes::format(amount)), Ok(amount));
    }
    if let Ok(duration) = duration::parse(text) {
        assert!(duration::parse(&duration::format(duration)).is_ok());
    }
    if let Ok(uuid) = text.parse::<Uuid>() {
        assert_eq!(uuid.to_string().parse(), Ok(uuid));
    }
    drop(Resources::parse(text, "*"));
});
