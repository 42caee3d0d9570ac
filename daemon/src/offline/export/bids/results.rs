//! Recorded results of one run as a table, with a sidecar that describes its columns.
//!
//! The columns are the keys of a results line that do not depend on the machine's clock, then the
//! caption if there is one, then one column for each class. Numbers are written as they were
//! recorded.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::{
    offline::export::{
        error::{ExportError, io},
        files::{pretty, put},
    },
    outputs::json_lines::JsonLines,
    recording::file::beside,
};

/// Keys of a result that become columns, and their descriptions.
const COLUMNS: [(&str, &str); 5] = [
    ("index", "Newest volume that the result is based on, from 0."),
    ("stimulus_time_s", "When the stimulus was shown, seconds since the start of volume 0."),
    ("acquisition_time_s", "Start of the newest volume, seconds since the start of volume 0."),
    ("made_from", "The worst origin among its volumes: measured, interpolated or held."),
    ("blanked", "Whether the participant saw neutral feedback instead."),
];

/// The key of captions, and their description.
const CAPTION: (&str, &str) = ("caption", "Decoded caption of what the participant saw.");

/// The results of one run, while they are written.
pub struct Table {
    /// The run's name in results.
    pub run: String,
    path: PathBuf,
    open: Option<Open>,
}

struct Open {
    file: JsonLines,
    /// Keys of a result that are columns of this table, with their descriptions.
    columns: Vec<(&'static str, &'static str)>,
    classes: Vec<String>,
}

impl Table {
    /// A table that gets its file with the first row.
    pub fn new(run: &str, path: &Path) -> Self {
        Self { run: run.to_owned(), path: path.to_owned(), open: None }
    }

    /// Adds a result.
    pub fn row(&mut self, line: &[u8]) -> Result<(), ExportError> {
        let Ok(result) = serde_json::from_slice::<Map<String, Value>>(line) else {
            return Ok(());
        };
        let concepts = result.get("concepts").and_then(Value::as_object);
        let Open { file, columns, classes } = match &mut self.open {
            Some(open) => open,
            None => {
                let classes: Vec<String> =
                    concepts.map(|c| c.keys().cloned().collect()).unwrap_or_default();
                let mut file = JsonLines::create(&beside(&self.path, ".part"))?;
                let mut columns = COLUMNS.to_vec();
                columns.extend(result.contains_key(CAPTION.0).then_some(CAPTION));
                let keys = columns.iter().map(|(key, _)| *key);
                let header: Vec<&str> = keys.chain(classes.iter().map(String::as_str)).collect();
                file.line(header.join("\t").as_bytes())?;
                self.open.insert(Open { file, columns, classes })
            }
        };
        let of_classes = classes.iter().map(|class| concepts.and_then(|c| c.get(class)));
        let cells: Vec<String> =
            columns.iter().map(|(key, _)| result.get(*key)).chain(of_classes).map(cell).collect();
        Ok(file.line(cells.join("\t").as_bytes())?)
    }

    /// Gives the table its final name and writes its sidecar. A run without results has neither.
    pub fn finish(self) -> Result<(), ExportError> {
        let Some(Open { mut file, columns, classes }) = self.open else { return Ok(()) };
        file.flush()?;
        std::fs::rename(beside(&self.path, ".part"), &self.path).map_err(io(&self.path))?;
        let mut columns: Map<String, Value> = columns
            .iter()
            .map(|(key, meaning)| ((*key).to_owned(), json!({ "Description": meaning })))
            .collect();
        for class in classes {
            let meaning = format!("Probability of {class}.");
            columns.insert(class, json!({ "Description": meaning }));
        }
        put(&self.path.with_extension("json"), &pretty(&Value::Object(columns)))
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "n/a".to_owned(),
        Some(Value::String(text)) => text.replace(['\t', '\n', '\r'], " "),
        Some(other) => other.to_string(),
    }
}
