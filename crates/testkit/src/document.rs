//! A Markdown document of `docs/`, as far as tests hold it against the code: its sections, tables and examples.

use std::collections::BTreeMap;
use std::path::Path;

/// A document or a section of one.
#[derive(Clone, Debug)]
pub struct Document(String);

/// One row of a table: the text of each cell.
pub type Row = Vec<String>;

/// A fenced example.
#[derive(Clone, Debug)]
pub struct Example {
    /// What is written behind the fence: `json`, `yaml`, `text`...
    pub language: String,
    /// What is in it.
    pub text: String,
}

impl Document {
    /// `docs/NAME` of this checkout.
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn open(name: &str) -> Document {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        Document(std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// The section under a heading (`### bridge`), with those below it.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn section(&self, heading: &str) -> Document {
        let level = |line: &str| line.bytes().take_while(|b| *b == b'#').count();
        let mut lines = self.0.lines().skip_while(|line| *line != heading);
        assert!(lines.next().is_some(), "there is no section \"{heading}\"");
        let ends = |line: &&str| !(1..=level(heading)).contains(&level(line));
        Document(lines.take_while(ends).collect::<Vec<_>>().join("\n"))
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The rows of all tables, without their headings.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let lines: Vec<&str> = self.0.lines().collect();
        let is_row = |line: &str| line.starts_with('|');
        let is_rule = |line: &str| is_row(line) && line.bytes().all(|b| b"|-: ".contains(&b));
        let mut rows = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            if is_row(line) && !is_rule(line) && !lines.get(at + 1).is_some_and(|next| is_rule(next)) {
                rows.push(line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect());
            }
        }
        rows
    }

    /// The rows by the keys in their first cell. A key that begins with a dot is of the object before it.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<String, Row> {
        let mut keys = BTreeMap::new();
        for row in self.rows() {
            let mut object = "";
            for key in code(row.first().map_or("", String::as_str)) {
                if key.starts_with('.') {
                    keys.insert(format!("{object}{key}"), row.clone());
                } else {
                    object = key;
                    keys.insert(key.to_owned(), row.clone());
                }
            }
        }
        keys
    }

    /// What of the keys that the code reads ([`crate::keys()`]) is not in the tables, what is there and is not read, and values that a key's row
    /// does not name. An object of which every key is there need not be there itself.
    #[must_use]
    pub fn differences(&self, known: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        let documented = self.keys();
        let is_object = |key: &str| known.keys().any(|k| k.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
        let missing = known.keys().filter(|key| !documented.contains_key(*key) && !is_object(key));
        let unknown = documented.keys().filter(|key| !known.contains_key(*key));
        let values = known.iter().filter_map(|(key, values)| Some((key, values, documented.get(key)?)));
        let unnamed = values.flat_map(|(key, values, row)| {
            let named = move |value: &str| row.iter().any(|cell| code(cell).any(|c| c.trim_matches('"') == value));
            values
                .iter()
                .filter(move |v| !named(v))
                .map(move |value| format!("{key}: the value \"{value}\" is not named"))
        });
        let missing = missing.map(|key| format!("{key}: not documented"));
        let unknown = unknown.map(|key| format!("{key}: documented, but not read"));
        missing.chain(unknown).chain(unnamed).collect()
    }

    /// The fenced examples, in order.
    #[must_use]
    pub fn examples(&self) -> Vec<Example> {
        let mut examples = Vec::new();
        let mut lines = self.0.lines();
        while let Some(line) = lines.next() {
            let Some(language) = line.strip_prefix("```") else { continue };
            let text: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            examples.push(Example { language: language.to_owned(), text: text.join("\n") });
        }
        examples
    }
}

/// The pieces of a cell that are set as code.
pub fn code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_tables_and_examples() {
        let document = Document(
            "# A\n## One\n| key | x |\n|---|---|\n| `a` `.b` | 1 |\n### Sub\n| k |\n|---|\n| `c`, `d` |\n## Two\n```json\n{}\n```\n".into(),
        );
        let one = document.section("## One");
        assert_eq!(one.keys().into_keys().collect::<Vec<_>>(), ["a", "a.b", "c", "d"]);
        assert_eq!(one.rows()[0], ["`a` `.b`", "1"]);
        let known = BTreeMap::from([
            ("a".to_owned(), vec![]),
            ("a.b".to_owned(), vec!["x".to_owned()]),
            ("c".to_owned(), vec![]),
            ("e".to_owned(), vec![]),
            ("e.f".to_owned(), vec![]),
        ]);
        let differences = ["e.f: not documented", "d: documented, but not read", "a.b: the value \"x\" is not named"];
        assert_eq!(one.differences(&known), differences);
        assert!(document.section("## Two").rows().is_empty());
        let examples = document.examples();
        assert_eq!((examples.len(), examples[0].language.as_str(), examples[0].text.as_str()), (1, "json", "{}"));
    }
}
