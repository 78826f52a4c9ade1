//! A scheduler on the v1 HTTP API in JSON, written from the API's documentation alone.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A subscribed framework.
#[derive(Debug)]
pub struct Scheduler {
    address: String,
    framework: Value,
    stream_id: String,
    calls: TcpStream,
    events: mpsc::Receiver<Value>,
    offers: Vec<Value>,
    inverse_offers: Vec<Value>,
    states: BTreeMap<String, Vec<String>>,
    /// The last status of each task, for the message of a failed test.
    statuses: BTreeMap<String, Value>,
    /// Statuses of operations that were not looked at yet, oldest first.
    operations: VecDeque<Value>,
}

impl Scheduler {
    /// Subscribes a new framework.
    ///
    /// # Panics
    /// When the master does not accept it.
    #[must_use]
    pub fn subscribe(address: &str) -> Self {
        Self::subscribe_with(address, json!({}))
    }

    /// Subscribes a framework whose `FrameworkInfo` has these fields beside the necessary ones: a new one,
    /// unless there is an `id`.
    ///
    /// # Panics
    /// When the master does not accept it.
    #[must_use]
    pub fn subscribe_with(address: &str, fields: Value) -> Self {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
        let user = user.ok().flatten().expect("a user name").name;
        let mut info = json!({"user": user, "name": "scheduler", "role": "*", "checkpoint": false});
        if let (Some(info), Value::Object(fields)) = (info.as_object_mut(), fields) {
            info.extend(fields);
        }
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        call["framework_id"] = info["id"].clone();
        let mut stream = TcpStream::connect(address).expect("a connection to the master");
        stream.write_all(request(address, None, &call).as_bytes()).expect("a request");
        let mut reader = BufReader::new(stream);
        let head = read_head(&mut reader);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let stream_id = header(&head, "mesos-stream-id").expect("a stream id");
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            let mut records = Vec::new();
            while let Some(chunk) = read_chunk(&mut reader) {
                records.extend(chunk);
                while let Some(event) = take_record(&mut records) {
                    if sender.send(event).is_err() {
                        return;
                    }
                }
            }
        });
        let calls = TcpStream::connect(address).expect("a connection to the master");
        calls.set_nodelay(true).expect("a socket option");
        let mut scheduler = Self {
            address: address.to_owned(),
            framework: Value::Null,
            stream_id,
            calls,
            events,
            offers: Vec::new(),
            inverse_offers: Vec::new(),
            states: BTreeMap::new(),
            statuses: BTreeMap::new(),
            operations: VecDeque::new(),
        };
        let start = Instant::now();
        while scheduler.framework.is_null() {
            assert!(scheduler.take_event(start, Duration::from_secs(20)), "not subscribed in time");
        }
        scheduler
    }

    /// Its id, as in `FrameworkInfo`.
    #[must_use]
    pub fn id(&self) -> &Value {
        &self.framework
    }

    /// Sends a call and expects 202, or 200 for those that wait until it is done.
    ///
    /// # Panics
    /// When the answer is another one.
    pub fn call(&mut self, mut call: Value) {
        call["framework_id"] = self.framework.clone();
        let text = request(&self.address, Some(&self.stream_id), &call);
        self.calls.write_all(text.as_bytes()).expect("a request");
        let mut reader = BufReader::new(&self.calls);
        let head = read_head(&mut reader);
        let length = header(&head, "content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).expect("a body");
        let accepted = head.starts_with("HTTP/1.1 202") || head.starts_with("HTTP/1.1 200");
        assert!(accepted, "{head}{}", String::from_utf8_lossy(&body));
    }

    /// The next offer that was not used.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn next_offer(&mut self, limit: Duration) -> Value {
        let start = Instant::now();
        while self.offers.is_empty() {
            assert!(self.take_event(start, limit), "no offer within {limit:?}");
        }
        self.offers.remove(0)
    }

    /// The next inverse offer that was not answered.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn next_inverse_offer(&mut self, limit: Duration) -> Value {
        let start = Instant::now();
        while self.inverse_offers.is_empty() {
            assert!(self.take_event(start, limit), "no inverse offer within {limit:?}");
        }
        self.inverse_offers.remove(0)
    }

    /// The last status of a task.
    ///
    /// # Panics
    /// When there was none.
    #[must_use]
    pub fn status(&self, task: &str) -> &Value {
        self.statuses.get(task).expect("a status of the task")
    }

    /// The next offer for which the predicate holds; those before it are declined for a moment.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn next_offer_with(&mut self, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let offer = self.next_offer(limit.saturating_sub(start.elapsed()));
            if wanted(&offer) {
                return offer;
            }
            self.accept(&offer, &[], 0.1);
        }
    }

    /// The next status of an operation.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn next_operation_status(&mut self, limit: Duration) -> Value {
        let start = Instant::now();
        while self.operations.is_empty() {
            assert!(self.take_event(start, limit), "no status of an operation within {limit:?}");
        }
        self.operations.pop_front().unwrap_or_default()
    }

    /// Acknowledges the status of an operation.
    pub fn acknowledge_operation(&mut self, status: &Value) {
        self.call(json!({
            "type": "ACKNOWLEDGE_OPERATION_STATUS",
            "acknowledge_operation_status": {
                "agent_id": status["agent_id"],
                "uuid": status["uuid"]["value"],
                "operation_id": status["operation_id"],
            },
        }));
    }

    /// A small command task for an offer.
    #[must_use]
    pub fn task(&self, id: &str, offer: &Value, command: &str) -> Value {
        json!({
            "name": id,
            "task_id": {"value": id},
            "agent_id": offer["agent_id"],
            "command": {"value": command},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.01}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 1}},
            ],
        })
    }

    /// Accepts an offer with tasks; the rest of it is refused for `refuse_seconds`.
    pub fn launch(&mut self, offer: &Value, tasks: &[Value], refuse_seconds: f64) {
        let operation = json!({"type": "LAUNCH", "launch": {"task_infos": tasks}});
        self.accept(offer, &[operation], refuse_seconds);
    }

    /// Accepts an offer with operations; the rest of it is refused for `refuse_seconds`.
    pub fn accept(&mut self, offer: &Value, operations: &[Value], refuse_seconds: f64) {
        self.call(json!({
            "type": "ACCEPT",
            "accept": {
                "offer_ids": [offer["id"]],
                "operations": operations,
                "filters": {"refuse_seconds": refuse_seconds},
            },
        }));
    }

    /// Waits until a task was in a state.
    ///
    /// # Panics
    /// When it is not in time; the message holds the states it was in.
    pub fn wait_for_state(&mut self, task: &str, state: &str, limit: Duration) {
        self.wait_for_any_state(task, &[state], limit);
    }

    /// Waits until a task was in one of several states; gives the one.
    ///
    /// # Panics
    /// When it is not in time; the message holds the states it was in.
    pub fn wait_for_any_state(&mut self, task: &str, states: &[&str], limit: Duration) -> String {
        let start = Instant::now();
        loop {
            let seen = self.states.get(task).into_iter().flatten();
            let mut wanted = seen.filter(|one| states.contains(&one.as_str()));
            if let Some(state) = wanted.next() {
                return state.clone();
            }
            assert!(
                self.take_event(start, limit),
                "{task} not in {states:?} within {limit:?}: {:?}, last {:?}",
                self.states.get(task),
                self.statuses.get(task)
            );
        }
    }

    /// Runs a task on the next offer, and gives its id. A launch that the agent drops, because it has
    /// just registered anew, is repeated under another id.
    ///
    /// # Panics
    /// When the task does not run in time.
    pub fn run(&mut self, id: &str, command: &str, refuse_seconds: f64, limit: Duration) -> String {
        let mut attempt = id.to_owned();
        loop {
            let offer = self.next_offer(limit);
            let task = self.task(&attempt, &offer, command);
            self.launch(&offer, &[task], refuse_seconds);
            let reached =
                self.wait_for_any_state(&attempt, &["TASK_RUNNING", "TASK_DROPPED"], limit);
            if reached == "TASK_RUNNING" {
                return attempt;
            }
            assert_eq!(self.status(&attempt)["reason"], "REASON_INVALID_OFFERS");
            attempt.push('+');
        }
    }

    /// Runs many tasks as fast as offers allow; gives the time from the first accept to the last
    /// TASK_FINISHED.
    ///
    /// # Panics
    /// When they do not all finish in time.
    pub fn run_many(&mut self, count: usize, command: &str, limit: Duration) -> Duration {
        let mut launched = 0;
        let mut start = None;
        let finished = |states: &BTreeMap<String, Vec<String>>| {
            states.values().filter(|seen| seen.iter().any(|one| one == "TASK_FINISHED")).count()
        };
        let begin = Instant::now();
        loop {
            while launched < count && !self.offers.is_empty() {
                let offer = self.offers.remove(0);
                let room = room(&offer).min(count - launched);
                let tasks: Vec<Value> = (launched..launched + room)
                    .map(|number| self.task(&format!("many-{number}"), &offer, command))
                    .collect();
                launched += room;
                start.get_or_insert_with(Instant::now);
                self.launch(&offer, &tasks, 0.0);
            }
            if finished(&self.states) == count {
                return start.unwrap_or(begin).elapsed();
            }
            assert!(self.take_event(begin, limit), "{} of {count}", finished(&self.states));
        }
    }

    fn take_event(&mut self, start: Instant, limit: Duration) -> bool {
        let left = limit.saturating_sub(start.elapsed());
        let Ok(event) = self.events.recv_timeout(left) else { return false };
        match event["type"].as_str().unwrap_or_default() {
            "SUBSCRIBED" => self.framework = event["subscribed"]["framework_id"].clone(),
            "OFFERS" => {
                let offers = event["offers"]["offers"].as_array().cloned().unwrap_or_default();
                self.offers.extend(offers);
            }
            "RESCIND" => {
                let id = &event["rescind"]["offer_id"];
                self.offers.retain(|offer| offer["id"] != *id);
            }
            "INVERSE_OFFERS" => {
                let offers = event["inverse_offers"]["inverse_offers"].as_array();
                self.inverse_offers.extend(offers.cloned().unwrap_or_default());
            }
            "RESCIND_INVERSE_OFFER" => {
                let id = &event["rescind_inverse_offer"]["inverse_offer_id"];
                self.inverse_offers.retain(|offer| offer["id"] != *id);
            }
            "UPDATE" => self.take_update(&event["update"]["status"]),
            "UPDATE_OPERATION_STATUS" => {
                self.operations.push_back(event["update_operation_status"]["status"].clone());
            }
            _ => {}
        }
        true
    }

    fn take_update(&mut self, status: &Value) {
        let task = status["task_id"]["value"].as_str().unwrap_or_default().to_owned();
        let state = status["state"].as_str().unwrap_or_default().to_owned();
        self.statuses.insert(task.clone(), status.clone());
        self.states.entry(task).or_default().push(state);
        if status["uuid"].is_string() {
            self.call(json!({
                "type": "ACKNOWLEDGE",
                "acknowledge": {
                    "agent_id": status["agent_id"],
                    "task_id": status["task_id"],
                    "uuid": status["uuid"],
                },
            }));
        }
    }
}

/// How many tasks of [`Scheduler::task`] fit, with the executor's share of each.
fn room(offer: &Value) -> usize {
    let amount = |name: &str| {
        let resources = offer["resources"].as_array().cloned().unwrap_or_default();
        let found = resources.iter().find(|resource| resource["name"] == name).cloned();
        found.and_then(|resource| resource["scalar"]["value"].as_f64()).unwrap_or(0.0)
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of tasks is small and not negative"
    )]
    let fit = (amount("cpus") / 0.01).min(amount("mem")).floor() as usize;
    fit
}

fn request(address: &str, stream_id: Option<&str>, call: &Value) -> String {
    let body = call.to_string();
    let stream_id = stream_id.map(|id| format!("Mesos-Stream-Id: {id}\r\n")).unwrap_or_default();
    format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\n{stream_id}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn read_head(reader: &mut impl std::io::BufRead) -> String {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line of the response's head");
        if line.trim_end().is_empty() {
            return head;
        }
        head.push_str(&line);
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().to_owned())
}

/// One chunk of a chunked body; nothing at the end of the body or the connection.
fn read_chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let length = usize::from_str_radix(line.trim_end(), 16).ok().filter(|length| *length > 0)?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(length);
    Some(chunk)
}

fn take_record(records: &mut Vec<u8>) -> Option<Value> {
    let end = records.iter().position(|byte| *byte == b'\n')?;
    let length: usize = std::str::from_utf8(&records[..end]).ok()?.parse().ok()?;
    if records.len() < end + 1 + length {
        return None;
    }
    let record: Vec<u8> = records.drain(..end + 1 + length).skip(end + 1).collect();
    serde_json::from_slice(&record).ok()
}
