//! Two results side by side.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use crate::report::show;

/// Reads both results and shows what they have, with the second as a multiple of the first.
///
/// # Errors
/// A file that is no result of swarm.
pub(crate) fn compare(first: &Path, second: &Path) -> anyhow::Result<String> {
    let (left, right) = (read(first)?, read(second)?);
    let name = |path: &Path| path.display().to_string();
    Ok(table(&name(first), &left, &name(second), &right))
}

fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    match serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))? {
        Value::Object(fields) if fields.contains_key("scenario") => Ok(fields),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => bail!("{} is no result of swarm", path.display()),
    }
}

fn table(
    first: &str,
    left: &Map<String, Value>,
    second: &str,
    right: &Map<String, Value>,
) -> String {
    let mut rows = vec![[String::new(), first.to_owned(), second.to_owned(), "ratio".to_owned()]];
    let mut add = |name: &str, left: Option<&Value>, right: Option<&Value>| {
        let text = |value: Option<&Value>| value.map_or_else(|| "-".to_owned(), show);
        rows.push([name.to_owned(), text(left), text(right), ratio(left, right)]);
    };
    for (name, value) in left {
        match value {
            Value::Object(parameters) => {
                let others = right.get(name).and_then(Value::as_object);
                for (parameter, value) in parameters {
                    add(parameter, Some(value), others.and_then(|others| others.get(parameter)));
                }
            }
            // The texts of violations do not compare; their number does.
            Value::Array(_) => {}
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                add(name, Some(value), right.get(name));
            }
        }
    }
    for (name, value) in right {
        if !left.contains_key(name) && !value.is_array() {
            add(name, None, Some(value));
        }
    }
    align(&rows)
}

/// Numbers that can be divided: the second as a multiple of the first.
fn ratio(left: Option<&Value>, right: Option<&Value>) -> String {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    match (number(left), number(right)) {
        (Some(left), Some(right)) if left > 0.0 => format!("{:.2}x", right / left),
        _ => String::new(),
    }
}

fn align(rows: &[[String; 4]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let mut output = String::new();
    for row in rows {
        let [name, left, right, ratio] = row;
        let [name_width, left_width, right_width, ratio_width] = widths;
        let line = format!(
            "{name:<name_width$}  {left:>left_width$}  {right:>right_width$}  {ratio:>ratio_width$}"
        );
        // Writing to a string cannot fail.
        let _ = writeln!(output, "{}", line.trim_end());
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Map<String, Value> {
        let Value::Object(fields) = value else { panic!("{value} is no object") };
        fields
    }

    #[test]
    fn numbers_are_compared_and_gaps_shown() {
        let left = fields(json!({
            "scenario": "nsdi",
            "parameters": {"agents": 100},
            "launches_per_second": 2000.0,
            "only_left": 1,
            "idle": 0,
            "errors": 0,
            "violations": [],
        }));
        let right = fields(json!({
            "scenario": "nsdi",
            "parameters": {"agents": 200},
            "launches_per_second": 11000.0,
            "idle": 5,
            "errors": 0,
            "only_right": null,
            "violations": ["x"],
        }));
        let table = table("a.json", &left, "b.json", &right);
        let row = |name: &str| -> Vec<&str> {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().collect()
        };
        assert_eq!(
            row("launches_per_second"),
            ["launches_per_second", "2000.0", "11000.0", "5.50x"]
        );
        assert_eq!(row("agents"), ["agents", "100", "200", "2.00x"]);
        assert_eq!(row("only_left"), ["only_left", "1", "-"]);
        assert_eq!(row("only_right"), ["only_right", "-", "-"]);
        assert_eq!(row("idle"), ["idle", "0", "5"], "nothing is a multiple of 0");
        assert!(!table.contains("violations"));
    }

    #[test]
    fn a_file_that_is_no_result_is_refused() {
        let folder = std::env::temp_dir();
        let error = compare(&folder.join("no-such-result.json"), &folder).unwrap_err();
        assert!(format!("{error:#}").contains("no-such-result.json"));
    }
}
