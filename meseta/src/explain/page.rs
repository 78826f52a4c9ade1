//! The master's answer in words.

use std::fmt::Write as _;

use serde_json::Value;

/// Agents that a line names; more are "and others".
const NAMED_MAX: usize = 3;

/// The whole page.
pub(super) fn page(answer: &Value) -> String {
    let mut page = format!("Framework {}\n", framework(answer));
    if answer["connected"] == false {
        page.push_str("It is not connected.\n");
    }
    let roles = array(&answer["roles"]);
    if roles.is_empty() {
        page.push_str("It is subscribed to no role, and gets no offers for that reason.\n");
    }
    for role in roles {
        page.push('\n');
        write_role(&mut page, role);
    }
    if let Some(more @ 1..) = answer["more_roles"].as_u64() {
        let _ = writeln!(page, "\nIt has {more} more roles: name one to have it explained.");
    }
    page
}

fn write_role(page: &mut String, role: &Value) {
    let _ = writeln!(
        page,
        "Role '{}', {} in the cluster:",
        text(&role["role"]),
        agents(&role["agents"])
    );
    let offers = array(&role["offers"]);
    if !offers.is_empty() {
        let hosts: Vec<&str> = offers.iter().map(name).collect();
        let offers =
            if hosts.len() == 1 { "1 offer".to_owned() } else { format!("{} offers", hosts.len()) };
        let _ =
            writeln!(page, "  {offers} in the framework's hands: {}", some_of(&hosts, hosts.len()));
    }
    let possible = &role["possible"];
    if possible["count"] != 0 {
        let line = "can be offered as soon as it is this framework's turn";
        write_agents(page, possible, line);
    }
    for cause in array(&role["causes"]) {
        if cause["count"] == 0 {
            let _ = writeln!(page, "  {}", text(&cause["text"]));
        } else {
            write_agents(page, cause, text(&cause["text"]));
        }
        let _ = writeln!(page, "      -> {}", text(&cause["remedy"]));
    }
    write_standing(page, &role["standing"]);
}

fn write_agents(page: &mut String, sample: &Value, line: &str) {
    let hosts: Vec<&str> = array(&sample["examples"]).iter().map(name).collect();
    let count = sample["count"].as_u64().and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
    let _ = writeln!(page, "  {}: {line} ({})", agents(&sample["count"]), some_of(&hosts, count));
}

fn write_standing(page: &mut String, standing: &Value) {
    let percent = |share: &Value| format!("{:.1} %", share.as_f64().unwrap_or(0.0) * 100.0);
    let _ = write!(page, "  It holds {} of the cluster in this role", percent(&standing["share"]));
    let ahead = standing["ahead"].as_u64().unwrap_or(0);
    let competitors = array(&standing["competitors"]);
    if competitors.is_empty() {
        page.push_str(", and is served first.\n");
        return;
    }
    let served = if ahead == 1 { "1 framework is" } else { &format!("{ahead} frameworks are") };
    let _ = writeln!(page, "; {served} served before it:");
    for competitor in competitors.iter().take(NAMED_MAX) {
        let _ = writeln!(
            page,
            "      {} in role '{}', which holds {}",
            framework(competitor),
            text(&competitor["role"]),
            percent(&competitor["share"])
        );
    }
}

fn framework(value: &Value) -> String {
    let id = text(&value["framework_id"]);
    match value["name"].as_str().filter(|name| !name.is_empty()) {
        Some(name) => format!("'{name}' ({id})"),
        None => id.to_owned(),
    }
}

fn agents(count: &Value) -> String {
    match count.as_u64() {
        Some(1) => "1 agent".to_owned(),
        count => format!("{} agents", count.unwrap_or(0)),
    }
}

/// The host name of an agent, or its id.
fn name(agent: &Value) -> &str {
    agent["hostname"].as_str().unwrap_or_else(|| text(&agent["agent_id"]))
}

fn some_of(names: &[&str], count: usize) -> String {
    let shown = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    if count > NAMED_MAX { format!("{shown} and others") } else { shown }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_says_who_is_kept_back_by_what_and_what_helps() {
        let agent = |name: &str| json!({"agent_id": "m-S1", "hostname": name});
        let hosts: Vec<Value> = ["a", "b", "c", "d", "e"].map(agent).into();
        let answer = json!({
            "framework_id": "m-0001", "name": "jobs", "connected": true, "active": true,
            "roles": [{
                "role": "ads", "agents": 7,
                "offers": [{"id": "m-O1", "agent_id": "m-S1", "hostname": "node-1"}],
                "possible": {"count": 1, "examples": [agent("node-2")]},
                "causes": [{
                    "reason": "REFUSED", "count": 5,
                    "examples": hosts,
                    "text": "refused by the framework until 12:03:11 UTC (in 4.0 s)",
                    "remedy": "wait, or REVIVE the role"
                }],
                "standing": {"share": 0.125, "role_share": 0.125, "ahead": 1, "competitors": [
                    {"framework_id": "m-0002", "role": "web", "share": 0.0, "role_share": 0.0}
                ]}
            }],
            "more_roles": 2
        });
        let expected = "\
Framework 'jobs' (m-0001)

Role 'ads', 7 agents in the cluster:
  1 offer in the framework's hands: node-1
  1 agent: can be offered as soon as it is this framework's turn (node-2)
  5 agents: refused by the framework until 12:03:11 UTC (in 4.0 s) (a, b, c and others)
      -> wait, or REVIVE the role
  It holds 12.5 % of the cluster in this role; 1 framework is served before it:
      m-0002 in role 'web', which holds 0.0 %

It has 2 more roles: name one to have it explained.
";
        assert_eq!(page(&answer), expected);
    }

    #[test]
    fn any_json_makes_a_page() {
        for answer in [json!({}), json!([1]), json!({"roles": [{}, 3]}), json!({"roles": {}})] {
            assert!(page(&answer).starts_with("Framework "));
        }
    }
}
