//! The lines of `--progress json`, checked against the tables of their document.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENT: &str = include_str!("../../cli/PROGRESS.md");
/// The section of the keys that every event has.
const EVERY: &str = "Every event";

/// The events that PROGRESS.md describes.
#[derive(Debug)]
pub struct ProgressSchema(BTreeMap<String, Section>);

#[derive(Debug, Default)]
struct Section {
    /// The tools after "Of" in its text.
    tools: BTreeSet<String>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    key: String,
    kind: String,
    /// The only tool that has it; none for a key of all.
    tool: Option<String>,
}

impl ProgressSchema {
    /// Reads the document.
    ///
    /// # Panics
    /// If its form has changed.
    pub fn documented() -> Self {
        let (_, events) = DOCUMENT
            .split_once("## JSON lines")
            .expect("a part on JSON");
        let mut sections = BTreeMap::new();
        for text in events.split("\n### ").skip(1) {
            let (title, text) = text.split_once('\n').expect("a title");
            let name = quoted(title).next().unwrap_or(EVERY);
            let section = Section {
                tools: text
                    .rsplit_once("Of `")
                    .filter(|_| name != EVERY)
                    .map(|(_, tools)| format!("`{tools}"))
                    .iter()
                    .flat_map(|tools| quoted(tools.split('.').next().expect("text")))
                    .map(str::to_owned)
                    .collect(),
                rows: text.lines().filter_map(row).collect(),
            };
            assert!(!section.rows.is_empty(), "{title}: no keys");
            sections.insert(name.to_owned(), section);
        }
        Self(sections)
    }

    /// Checks all that a tool wrote to stderr with `--progress json`: each line is a documented event of this tool,
    /// with the documented keys of the documented types in the documented order; and every event and key that the
    /// document says the tool has is there. Gives the events.
    ///
    /// # Panics
    /// If one is not.
    #[track_caller]
    pub fn check(&self, tool: &str, stderr: &str) -> Vec<Value> {
        let mut seen = BTreeSet::new();
        let mut events = Vec::new();
        for line in stderr.lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert_eq!(event["tool"], tool, "{line}");
            let name = event["event"].as_str().unwrap_or_default();
            let rows = self.rows(name, tool);
            assert!(
                !rows.is_empty(),
                "PROGRESS.md has no such event of {tool}: {line}"
            );
            // Order as written: a map would have sorted it.
            let keys: Vec<&str> = rows.iter().map(|row| &row.key[..]).collect();
            assert_eq!(written_keys(line), keys, "{line}");
            for row in rows {
                let value = &event[&row.key];
                assert!(row.takes(value), "{} is no {}: {line}", row.key, row.kind);
            }
            seen.insert(name.to_owned());
            events.push(event);
        }
        let documented = self.0.iter().filter(|(_, of)| of.tools.contains(tool));
        let documented: BTreeSet<String> = documented.map(|(name, _)| name.clone()).collect();
        assert_eq!(seen, documented, "events of {tool}");
        events
    }

    /// The rows of an event of a tool; none if it has no such event.
    fn rows(&self, event: &str, tool: &str) -> Vec<&Row> {
        let of_tool = |section: &&Section| section.tools.contains(tool);
        let Some(section) = self.0.get(event).filter(of_tool) else {
            return Vec::new();
        };
        let rows = self.0[EVERY].rows.iter().chain(&section.rows);
        rows.filter(|row| row.tool.as_deref().is_none_or(|only| only == tool))
            .collect()
    }
}

impl Row {
    fn takes(&self, value: &Value) -> bool {
        self.kind.split(" or ").any(|kind| match kind {
            "string" => value.is_string(),
            "null" => value.is_null(),
            "whole number" => value.is_u64(),
            "number" => value.as_f64().is_some_and(|value| value >= 0.0),
            "list of numbers" => value
                .as_array()
                .is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_f64)),
            "true" | "false" => value.is_boolean(),
            other => panic!("PROGRESS.md: {}: unknown type {other:?}", self.key),
        })
    }
}

/// A row of a table of keys.
fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [key, kind, text] = cells[..] else {
        return None;
    };
    Some(Row {
        key: key.strip_prefix('`')?.strip_suffix('`')?.to_owned(),
        kind: kind.to_owned(),
        tool: text
            .strip_prefix("of ")
            .filter(|text| text.contains(" only: "))
            .and_then(|text| quoted(text).next())
            .map(str::to_owned),
    })
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The keys of a line's object, in the order in which they stand there.
fn written_keys(line: &str) -> Vec<String> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let mut keys: Vec<String> = object.keys().cloned().collect();
    // No value of an event has an object in it, so that a key is found by how it is written.
    keys.sort_by_key(|key| line.find(&format!("\"{key}\":")));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: &str = r#"{"event":"frame","tool":"to-png","frame":0,"id":null,"open_s":0.0,"compute_s":0.5,"max_rss_bytes":1}"#;

    #[test]
    fn a_documented_line_passes() {
        let events = ProgressSchema::documented().check("to-png", DONE);
        assert_eq!(events[0]["compute_s"], 0.5);
    }

    #[test]
    fn all_else_does_not() {
        let schema = ProgressSchema::documented();
        let changes = [
            ("\"frame\":0", "\"frame\":-1"),
            ("\"id\":null", "\"id\":7"),
            ("\"id\":null,", ""),
            ("0.5", "\"0.5\""),
            ("to-png", "denoise"),
            ("\"frame\",", "\"frames\","),
            ("\"id\":null,\"open_s\":0.0", "\"open_s\":0.0,\"id\":null"),
            (":1}", ":1,\"more\":0}"),
        ];
        for (from, to) in changes {
            let line = DONE.replacen(from, to, 1);
            assert_ne!(line, DONE, "{from}");
            let checked = std::panic::catch_unwind(|| schema.check("to-png", &line));
            assert!(checked.is_err(), "{line}");
        }
        let nothing = std::panic::catch_unwind(|| schema.check("to-png", ""));
        assert!(nothing.is_err(), "an event that never comes");
        let steps = DONE.replace("to-png", "denoise");
        let steps = std::panic::catch_unwind(|| schema.check("denoise", &steps));
        assert!(steps.is_err(), "denoise has step_s");
    }
}
