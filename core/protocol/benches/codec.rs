//! Times of the two encodings on the largest message of a failover: an agent that reregisters with
//! 100 tasks. `cargo bench -p protocol`
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod message;

use std::hint::black_box;
use std::time::{Duration, Instant};

use message::reregistration;
use protocol::internal::ReregisterSlaveMessage;
use protocol::{Message as _, Names};

/// How long each measurement runs.
const RUN: Duration = Duration::from_millis(500);

fn main() {
    let message = reregistration(100);
    let bytes = message.encode_to_vec();
    let json = message.to_json(Names::V1);
    if let Some(path) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) {
        std::fs::write(path, &bytes).expect("the message can be written to the given file");
    }
    measure("encode protobuf", bytes.len(), || message.encode_to_vec().len());
    measure("decode protobuf", bytes.len(), || {
        ReregisterSlaveMessage::decode(&bytes).map_or(0, |message| message.tasks.len())
    });
    measure("write JSON", json.len(), || message.to_json(Names::V1).len());
    measure("read JSON", json.len(), || {
        ReregisterSlaveMessage::from_json(json.as_bytes(), Names::V1)
            .map_or(0, |message| message.tasks.len())
    });
}

/// Prints the fastest of ten runs: whatever else the machine does only adds time.
fn measure(name: &str, bytes: usize, mut operation: impl FnMut() -> usize) {
    let seconds = (0..10)
        .map(|_| {
            let start = Instant::now();
            let mut count = 0_u32;
            while start.elapsed() < RUN / 10 {
                black_box(operation());
                count += 1;
            }
            start.elapsed().as_secs_f64() / f64::from(count)
        })
        .fold(f64::INFINITY, f64::min);
    let megabytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / seconds / 1e6;
    println!("{name:16} {:>9.0} ns/op {megabytes:>7.0} MB/s ({bytes} bytes)", seconds * 1e9);
}
