//! Messages per second between two nodes over loopback. Run with `cargo bench -p libprocess`.

use std::time::{Duration, Instant};

use libprocess::{Incoming, Node, NodeOptions};

const SIZES: [(usize, usize); 3] = [(100, 500_000), (1000, 300_000), (100_000, 5_000)];

/// How many messages are sent ahead of the receiver: below the queue's bound.
const AHEAD: usize = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    for (bytes, count) in SIZES {
        let elapsed = runtime.block_on(run(bytes, count));
        report(bytes, count, elapsed);
    }
}

async fn run(bytes: usize, count: usize) -> Duration {
    let (receiver, mut incoming) = Node::bind(NodeOptions::default()).await.expect("a port");
    let (sender, _incoming) = Node::bind(NodeOptions::default()).await.expect("a port");
    receiver.register_actor("master");
    let to = receiver.pid("master");
    sender.link(&to);
    let body = vec![7; bytes];
    // Never more than the queue takes, also for large bodies.
    let ahead = AHEAD.min(32_000_000 / bytes);
    let start = Instant::now();
    let mut sent = 0;
    let mut received = 0;
    while received < count {
        while sent < count && sent - received < ahead {
            sender.send("slave(1)", &to, "mesos.internal.StatusUpdateMessage", &body);
            sent += 1;
        }
        // Send again only when half of what was sent has arrived.
        let until = (received + ahead / 2).min(count);
        while received < until {
            if let Some(Incoming::Message { .. }) = incoming.recv().await {
                received += 1;
            }
        }
    }
    start.elapsed()
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn report(bytes: usize, count: usize, elapsed: Duration) {
    let per_second = count as f64 / elapsed.as_secs_f64();
    let megabytes = per_second * bytes as f64 / 1e6;
    println!("{bytes:>7} bytes: {per_second:>9.0} messages/s, {megabytes:>6.0} MB/s");
}
