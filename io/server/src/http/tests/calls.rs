//! Calls of subscribed schedulers, and what comes between them.

use super::*;

fn call(body: &str) -> String {
    format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nMesos-Stream-Id: 1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The bodies of the answers, by their length.
fn bodies(answer: &str) -> Vec<String> {
    let mut rest = answer;
    let mut bodies = Vec::new();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.expect("a length").parse().expect("a number");
        bodies.push(after[..length].to_owned());
        rest = &after[length..];
    }
    bodies
}

#[tokio::test]
async fn calls_are_answered_in_order_whichever_is_ready_first() -> TestResult {
    let fixture = Fixture::start().await?;
    let expected = ["slow 1", "quick 2", "slow 3", "quick 4"];
    let requests: String = expected.iter().map(|body| call(body)).collect();
    let answer = fixture.exchange(requests.as_bytes()).await?;
    assert_eq!(bodies(&answer), expected);
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn more_calls_than_are_taken_at_once_are_all_answered() -> TestResult {
    let fixture = Fixture::start().await?;
    let expected: Vec<String> = (0..500).map(|number| format!("call {number}")).collect();
    let requests: String = expected.iter().map(|body| call(body)).collect();
    assert_eq!(bodies(&fixture.exchange(requests.as_bytes()).await?), expected);
    Ok(())
}

#[tokio::test]
async fn an_answer_without_a_body_looks_as_everywhere_else() -> TestResult {
    let fixture = Fixture::start().await?;
    let fast = fixture.exchange(call("none").as_bytes()).await?;
    // Not on a subscription, so it is hyper that reads it.
    let plain = call("none").replace("Mesos-Stream-Id: 1\r\n", "");
    let slow = fixture.exchange(plain.as_bytes()).await?;
    let lines = |answer: &str| -> Vec<String> {
        let mut lines: Vec<String> = answer
            .lines()
            .filter(|line| !line.starts_with("Date: "))
            .map(|line| line.to_lowercase())
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&fast), lines(&slow));
    assert!(fast.starts_with("HTTP/1.1 202 Accepted\r\n"), "{fast}");
    Ok(())
}

#[tokio::test]
async fn other_requests_may_follow_on_the_same_connection() -> TestResult {
    let fixture = Fixture::start().await?;
    let get = "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n";
    let requests = format!("{}{get}{}{get}", call("slow first"), call("last"));
    let answer = fixture.exchange(requests.as_bytes()).await?;
    let statuses: Vec<&str> =
        answer.split("HTTP/1.1 ").skip(1).filter_map(|part| part.split(' ').next()).collect();
    assert_eq!(statuses, ["400", "200", "200", "200"]);
    assert_eq!(bodies(&answer), ["slow first", "", "last", ""]);
    Ok(())
}

#[tokio::test]
async fn a_call_may_arrive_byte_by_byte() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut socket = TcpStream::connect(fixture.address).await?;
    socket.set_nodelay(true)?;
    for byte in format!("{}{}", call("one"), call("two")).bytes() {
        socket.write_all(&[byte]).await?;
        tokio::task::yield_now().await;
    }
    assert_eq!(bodies(&read_available(&mut socket).await?), ["one", "two"]);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_said_as_ever() -> TestResult {
    let fixture = Fixture::start().await?;
    let endless = call("").replace("Content-Length: 0", "Content-Length: 99999999999");
    let answer = fixture.exchange(format!("{}{endless}", call("good")).as_bytes()).await?;
    assert!(answer.contains("HTTP/1.1 413 "), "{answer}");
    let twice = call("x").replace("Host: x", "Content-Length: 2");
    assert!(fixture.exchange(twice.as_bytes()).await?.starts_with("HTTP/1.1 400 "));
    let broken = call("x").replace("Host: x", "Ho st: x");
    assert!(fixture.exchange(broken.as_bytes()).await?.starts_with("HTTP/1.1 400 "));
    Ok(())
}

#[tokio::test]
async fn calls_are_answered_when_their_sender_has_nothing_more_to_say() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut socket = TcpStream::connect(fixture.address).await?;
    socket.write_all(format!("{}{}", call("slow 1"), call("2")).as_bytes()).await?;
    socket.shutdown().await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    assert_eq!(bodies(&answer), ["slow 1", "2"]);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_closes_is_the_last() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut socket = TcpStream::connect(fixture.address).await?;
    socket.write_all(format!("{}{}", call("1"), call("close")).as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(5), socket.read_to_string(&mut answer)).await??;
    assert_eq!(bodies(&answer), ["1", ""]);
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_stops_answers_what_it_has_taken() -> TestResult {
    let fixture = Fixture::start().await?;
    let mut socket = TcpStream::connect(fixture.address).await?;
    socket.write_all(call("slow").as_bytes()).await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    fixture.shutdown.send_replace(true);
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), socket.read_to_string(&mut answer)).await??;
    assert_eq!(bodies(&answer), ["slow"]);
    Ok(())
}
