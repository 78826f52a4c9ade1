//! Nodes talking to each other, and to sockets that speak the bytes of other implementations.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use crate::{Incoming, Node, NodeOptions, Outbox, QUEUE_MESSAGES_MAX};
use protocol::pid::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(10);

async fn node(actors: &[&str]) -> (Node, Receiver<Incoming>) {
    let (node, incoming) = Node::bind(NodeOptions::default()).await.unwrap();
    for actor in actors {
        node.register_actor(actor);
    }
    (node, incoming)
}

async fn next(incoming: &mut Receiver<Incoming>) -> Incoming {
    timeout(PATIENCE, incoming.recv()).await.expect("nothing arrived").unwrap()
}

async fn message(incoming: &mut Receiver<Incoming>) -> (String, String, String, Vec<u8>) {
    match next(incoming).await {
        Incoming::Message { from, actor, name, body } => {
            (from.to_string(), actor, name, body.to_vec())
        }
        other @ (Incoming::Http(_) | Incoming::Exited { .. }) => panic!("got {other:?}"),
    }
}

async fn exited(incoming: &mut Receiver<Incoming>) -> Pid {
    match next(incoming).await {
        Incoming::Exited { pid } => pid,
        other @ (Incoming::Http(_) | Incoming::Message { .. }) => panic!("got {other:?}"),
    }
}

async fn nothing(incoming: &mut Receiver<Incoming>) {
    if let Ok(event) = timeout(Duration::from_millis(150), incoming.recv()).await {
        panic!("unexpected {event:?}");
    }
}

async fn dial(node: &Node) -> TcpStream {
    TcpStream::connect(node.address()).await.unwrap()
}

/// Reads until the answers hold `count` status lines.
async fn statuses(stream: &mut TcpStream, count: usize) -> Vec<u16> {
    let mut text = String::new();
    loop {
        let codes: Vec<u16> =
            text.split("HTTP/1.1 ").skip(1).map(|rest| rest[..3].parse().unwrap()).collect();
        if codes.len() >= count && text.ends_with("\r\n") {
            return codes;
        }
        let mut buffer = vec![0; 65536];
        let length = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(length, 0, "closed after {text}");
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
}

fn raw(actor: &str, from: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /{actor}/mesos.internal.X HTTP/1.1\r\nLibprocess-From: {from}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn messages_go_both_ways_in_order() {
    let (master, mut at_master) = node(&["master"]).await;
    let (agent, mut at_agent) = node(&["slave(1)"]).await;
    for number in 0..1000_u32 {
        agent.send("slave(1)", &master.pid("master"), "a.Number", number.to_le_bytes());
    }
    for number in 0..1000_u32 {
        let (from, actor, name, body) = message(&mut at_master).await;
        assert_eq!(from, agent.pid("slave(1)").to_string());
        assert_eq!((actor.as_str(), name.as_str()), ("master", "a.Number"));
        assert_eq!(body, number.to_le_bytes());
    }
    master.send("slave-observer(1)", &agent.pid("slave(1)"), "mesos.internal.PingSlaveMessage", []);
    let (from, _, name, body) = message(&mut at_agent).await;
    assert_eq!(from, master.pid("slave-observer(1)").to_string());
    assert_eq!((name.as_str(), body.len()), ("mesos.internal.PingSlaveMessage", 0));
    assert!(agent.flush(PATIENCE).await);
    assert_eq!(agent.counters().messages_sent, 1000);
    assert_eq!(master.counters().messages_received, 1000);
}

#[tokio::test]
async fn what_an_outbox_collects_is_sent_in_order_when_it_is_flushed() {
    let (sender, _incoming) = node(&["a"]).await;
    let (receiver, mut incoming) = node(&["master"]).await;
    let (other, mut other_incoming) = node(&["slave(1)"]).await;
    let mut outbox = Outbox::new(sender.clone());
    // More than one bundle for the receiver, with a message for somebody else in between.
    let bodies: Vec<Vec<u8>> = (0..60_u8).map(|number| vec![number; 5_000]).collect();
    for body in &bodies {
        outbox.send("a", &receiver.pid("master"), "M", body);
    }
    outbox.send("a", &other.pid("slave(1)"), "P", b"ping");
    nothing(&mut other_incoming).await;
    outbox.flush();
    sender.send("a", &receiver.pid("master"), "M", b"last");
    for body in &bodies {
        assert_eq!(message(&mut incoming).await.3, *body);
    }
    assert_eq!(message(&mut incoming).await.3, b"last");
    assert_eq!(message(&mut other_incoming).await.3, b"ping");
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let (master, mut at_master) = node(&["master"]).await;
    let (agent, _at_agent) = node(&[]).await;
    let body: Vec<u8> = (0..20_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    agent.send("slave(1)", &master.pid("master"), "a.Large", &body);
    assert_eq!(message(&mut at_master).await.3, body);
}

#[tokio::test]
async fn a_node_can_send_to_itself() {
    let (node, mut incoming) = node(&["master"]).await;
    node.register_actor_prefix("slave-observer(");
    node.send("master", &node.pid("master"), "a.B", b"x");
    node.send("master", &node.pid("slave-observer(7)"), "a.C", b"y");
    node.send("master", &node.pid("unknown"), "a.D", b"z");
    assert_eq!(message(&mut incoming).await.2, "a.B");
    assert_eq!(message(&mut incoming).await.1, "slave-observer(7)");
    nothing(&mut incoming).await;
    assert_eq!(node.counters().messages_unroutable, 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (node, mut incoming) = node(&["master"]).await;
    let mut stream = dial(&node).await;
    let mut bytes = raw("master", "a@127.0.0.1:9", "one");
    bytes.extend(raw("nobody", "a@127.0.0.1:9", "two"));
    bytes.extend(raw("master", "no pid", "three"));
    bytes.extend(raw("%zz", "a@127.0.0.1:9", "four"));
    bytes.extend(raw("m%61ster", "a@127.0.0.1:9", "five"));
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(statuses(&mut stream, 5).await, [202, 404, 500, 500, 202]);
    assert_eq!(message(&mut incoming).await.3, b"one");
    assert_eq!(message(&mut incoming).await.3, b"five");
    let counters = node.counters();
    assert_eq!((counters.messages_unroutable, counters.messages_malformed), (1, 2));
}

#[tokio::test]
async fn old_clients_with_host_names_are_understood() {
    let (node, mut incoming) = node(&["master"]).await;
    let mut stream = dial(&node).await;
    let text = "POST /master/mesos.internal.RegisterFrameworkMessage HTTP/1.0\r\n\
        User-Agent: libprocess/scheduler@localhost:41111\r\nConnection: Keep-Alive\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(text.as_bytes()).await.unwrap();
        let (from, _, _, body) = message(&mut incoming).await;
        assert_eq!((from.as_str(), body.as_slice()), ("scheduler@127.0.0.1:41111", &b"abc"[..]));
        assert_eq!(statuses(&mut stream, 1).await, [202]);
    }
}

#[tokio::test]
async fn connection_close_is_obeyed() {
    let (node, mut incoming) = node(&["master"]).await;
    let mut stream = dial(&node).await;
    let text =
        "POST /master/a.B HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\nConnection: close\r\n\r\n";
    stream.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(message(&mut incoming).await.2, "a.B");
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\nDate: "), "{answer}");
    assert!(answer.ends_with(" GMT\r\nContent-Length: 0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn senders_must_match_their_address_when_that_is_required() {
    let options = NodeOptions { require_peer_address_ip_match: true, ..Default::default() };
    let (node, mut incoming) = Node::bind(options).await.unwrap();
    node.register_actor("master");
    let mut stream = dial(&node).await;
    stream.write_all(&raw("master", "a@10.1.1.1:9", "x")).await.unwrap();
    stream.write_all(&raw("master", "a@127.0.0.1:9", "y")).await.unwrap();
    assert_eq!(statuses(&mut stream, 2).await, [400, 202]);
    assert_eq!(message(&mut incoming).await.3, b"y");
}

#[tokio::test]
async fn http_connections_are_handed_over_from_their_first_byte() {
    let (node, mut incoming) = node(&["master"]).await;
    let request = b"POST /api/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    // At the start of a connection, and after a message on one.
    for before in [Vec::new(), raw("master", "a@127.0.0.1:9", "x")] {
        let mut stream = dial(&node).await;
        stream.write_all(&[before.as_slice(), request].concat()).await.unwrap();
        if !before.is_empty() {
            assert_eq!(message(&mut incoming).await.3, b"x");
            assert_eq!(statuses(&mut stream, 1).await, [202]);
        }
        let Incoming::Http(mut connection) = next(&mut incoming).await else { panic!("no HTTP") };
        assert_eq!(connection.peer(), stream.local_addr().unwrap());
        let mut read = vec![0; request.len()];
        connection.read_exact(&mut read).await.unwrap();
        assert_eq!(read, request);
        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        drop(connection);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\n");
    }
}

#[tokio::test]
async fn what_cannot_be_framed_is_answered_and_closed() {
    let (node, _incoming) = node(&["master"]).await;
    let mut stream = dial(&node).await;
    let text = "POST /master/a.B HTTP/1.1\r\nLibprocess-From: a@1.2.3.4:5\r\n\
        Transfer-Encoding: chunked\r\n\r\nnonsense\r\n";
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}

#[tokio::test]
async fn each_linked_pid_exits_once_when_the_connection_closes() {
    let (node, mut incoming) = node(&["master"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    let pids = [Pid::new("slave(1)", address), Pid::new("slave(2)", address)];
    for pid in &pids {
        node.link(pid);
        node.link(pid);
    }
    let (mut accepted, _) = listener.accept().await.unwrap();
    // Messages use the link.
    node.send("master", &pids[0], "a.B", b"x");
    let mut buffer = [0; 1000];
    let length = accepted.read(&mut buffer).await.unwrap();
    assert!(
        buffer[..length].starts_with(b"POST /slave(1)/a.B HTTP/1.1\r\nUser-Agent: libprocess/")
    );
    nothing(&mut incoming).await;
    drop(accepted);
    assert_eq!(exited(&mut incoming).await, pids[0]);
    assert_eq!(exited(&mut incoming).await, pids[1]);
    nothing(&mut incoming).await;
    assert_eq!(node.counters().links_broken, 1);
    // It is no longer linked, and may be again.
    node.link(&pids[0]);
    let (accepted, _) = listener.accept().await.unwrap();
    drop(accepted);
    assert_eq!(exited(&mut incoming).await, pids[0]);
}

#[tokio::test]
async fn a_refused_link_exits() {
    let (node, mut incoming) = node(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    drop(listener);
    let pid = Pid::new("slave(1)", address);
    node.link(&pid);
    assert_eq!(exited(&mut incoming).await, pid);
    // Without a link, nobody is told.
    node.send("master", &pid, "a.B", b"x");
    nothing(&mut incoming).await;
    assert_eq!(node.counters().messages_lost, 1);
    node.send("master", &Pid::EMPTY, "a.B", b"x");
    assert_eq!(node.counters().messages_lost, 2);
}

#[tokio::test]
async fn an_idle_link_stays_open_and_an_idle_connection_does_not() {
    let (node, mut incoming) = node(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    let pid = Pid::new("slave(1)", address);
    node.send("master", &pid, "a.B", b"x");
    let (mut accepted, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, accepted.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes.starts_with(b"POST /slave(1)/a.B"));

    node.link(&pid);
    let (mut accepted, _) = listener.accept().await.unwrap();
    assert!(timeout(Duration::from_millis(1500), accepted.read_u8()).await.is_err());
    // Once unlinked it closes, and nobody is told.
    node.unlink(&pid);
    let end = timeout(PATIENCE, accepted.read_to_end(&mut bytes)).await.unwrap();
    end.unwrap();
    nothing(&mut incoming).await;
}

#[tokio::test]
async fn relinking_replaces_the_connection_without_an_exit() {
    let (node, mut incoming) = node(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    let pid = Pid::new("slave(1)", address);
    node.link(&pid);
    let (mut first, _) = listener.accept().await.unwrap();
    node.relink(&pid);
    let (mut second, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, first.read_to_end(&mut bytes)).await.unwrap().unwrap();
    node.send("master", &pid, "a.B", b"x");
    let mut buffer = [0; 4];
    timeout(PATIENCE, second.read_exact(&mut buffer)).await.unwrap().unwrap();
    nothing(&mut incoming).await;
    drop(second);
    assert_eq!(exited(&mut incoming).await, pid);
}

#[tokio::test]
async fn a_peer_that_does_not_read_breaks_its_link_and_costs_nobody_else() {
    let (node, mut incoming) = node(&["master"]).await;
    let (other, mut at_other) = self::node(&["slave(2)"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    let pid = Pid::new("slave(1)", address);
    node.link(&pid);
    let (accepted, _) = listener.accept().await.unwrap();
    for _ in 0..3 * QUEUE_MESSAGES_MAX {
        node.send("master", &pid, "a.B", [7; 100]);
    }
    node.send("master", &other.pid("slave(2)"), "a.C", b"x");
    assert_eq!(message(&mut at_other).await.2, "a.C");
    assert_eq!(exited(&mut incoming).await, pid);
    let counters = node.counters();
    assert!(counters.messages_overflowed > 0);
    drop(accepted);
}

#[tokio::test]
async fn an_outbox_breaks_the_link_to_a_peer_that_does_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("IPv4") };
    let options = NodeOptions { queue_bytes_max: 1 << 20, ..NodeOptions::default() };
    let (node, mut incoming) = Node::bind(options).await.unwrap();
    let stuck = Pid::new("slave(1)", address);
    let mut outbox = Outbox::new(node.clone());
    outbox.link(&stuck);
    let (_stream, _) = listener.accept().await.unwrap();
    let body = vec![0; 64 << 10];
    for _ in 0..1000 {
        outbox.send("master", &stuck, "M", &body);
    }
    outbox.flush();
    assert_eq!(exited(&mut incoming).await, stuck);
    assert!(node.counters().messages_overflowed > 0);
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answers_is_still_heard() {
    let (node, mut incoming) = node(&["master"]).await;
    let mut stream = dial(&node).await;
    let writer = tokio::spawn(async move {
        let batch = raw("master", "a@127.0.0.1:9", "x").repeat(1000);
        for _ in 0..200 {
            stream.write_all(&batch).await.unwrap();
        }
        stream
    });
    for _ in 0..200_000 {
        message(&mut incoming).await;
    }
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn shutdown_closes_the_port_and_the_links() {
    let (node, _incoming) = node(&["master"]).await;
    let (agent, mut at_agent) = self::node(&[]).await;
    agent.link(&node.pid("master"));
    agent.send("slave(1)", &node.pid("master"), "a.B", []);
    assert!(agent.flush(PATIENCE).await);
    node.shutdown();
    assert_eq!(exited(&mut at_agent).await, node.pid("master"));
    sleep(Duration::from_millis(20)).await;
    assert!(TcpStream::connect(node.address()).await.is_err());
}

#[tokio::test]
async fn the_advertised_address_is_what_others_see() {
    let options = NodeOptions {
        advertise_ip: Some(Ipv4Addr::new(192, 0, 2, 1)),
        advertise_port: Some(5050),
        ..Default::default()
    };
    let (node, _incoming) = Node::bind(options).await.unwrap();
    assert_eq!(node.address(), SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5050));
    let (receiver, mut incoming) = self::node(&["slave(1)"]).await;
    node.send("master", &receiver.pid("slave(1)"), "a.B", []);
    assert_eq!(message(&mut incoming).await.0, "master@192.0.2.1:5050");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (node, _incoming) = node(&[]).await;
    let options = NodeOptions { port: node.address().port(), ..Default::default() };
    let error = Node::bind(options).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", node.address()));
}
