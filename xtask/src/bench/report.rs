//! Tables of figures: as text, as JSON in `target/bench`, and as one HTML page with a picture of each.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::picture;
use crate::workspace;

/// What was measured in one part of the bench.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    /// The file's name.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    /// What was measured: hypervisors, daemons.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// A figure of each column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) values: Vec<Option<f64>>,
    /// What the last column's value is to be at most.
    pub(crate) goal: Option<f64>,
}

impl Table {
    /// A row's value in a column.
    #[cfg(test)]
    fn value(&self, row: &str, column: &str) -> Option<f64> {
        let column = self.columns.iter().position(|name| name == column)?;
        let row = self.rows.iter().find(|candidate| candidate.name == row)?;
        row.values.get(column).copied().flatten()
    }

    /// As text, with each further column's ratio to the first that has a value.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let width = self
            .rows
            .iter()
            .map(|row| row.about.chars().count())
            .chain([self.unit.chars().count()])
            .max()
            .unwrap_or(0);
        let _ = write!(text, "\n{}\n\n{:<width$}", self.title, self.unit);
        for (number, column) in self.columns.iter().enumerate() {
            let _ = write!(text, " {column:>14}");
            if number > 0 {
                let _ = write!(text, " {:>6}", "ratio");
            }
        }
        let has_goal = self.rows.iter().any(|row| row.goal.is_some());
        let _ = writeln!(text, "{}", if has_goal { "        goal" } else { "" });
        for row in &self.rows {
            let _ = write!(text, "{:<width$}", row.about);
            let first = row.values.iter().flatten().next().copied();
            for (number, value) in row.values.iter().enumerate() {
                let shown = value.map_or("-".to_owned(), number_text);
                let _ = write!(text, " {shown:>14}");
                if number > 0 {
                    let ratio = match (value, first) {
                        (Some(value), Some(first)) if first > 0.0 => {
                            format!("{:.2}", value / first)
                        }
                        _ => "-".to_owned(),
                    };
                    let _ = write!(text, " {ratio:>6}");
                }
            }
            let goal = row.goal.map_or(String::new(), number_text);
            let _ = writeln!(text, "{}", format!(" {goal:>11}").trim_end());
        }
        text
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "about": row.about, "values": row.values, "goal": row.goal,
                })
            })
            .collect();
        json!({
            "name": self.name, "title": self.title, "unit": self.unit, "columns": self.columns, "rows": rows,
        })
    }

    /// Reads what [`Table::json`] wrote.
    fn parse(value: &Value) -> Option<Table> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let rows = value["rows"].as_array()?.iter().map(|row| {
            Some(Row {
                name: text(&row["name"])?,
                about: text(&row["about"])?,
                values: row["values"]
                    .as_array()?
                    .iter()
                    .map(Value::as_f64)
                    .collect(),
                goal: row["goal"].as_f64(),
            })
        });
        Some(Table {
            name: text(&value["name"])?,
            title: text(&value["title"])?,
            unit: text(&value["unit"])?,
            columns: value["columns"]
                .as_array()?
                .iter()
                .map(text)
                .collect::<Option<_>>()?,
            rows: rows.collect::<Option<_>>()?,
        })
    }

    /// Writes `target/bench/NAME.json`.
    pub(crate) fn save(&self) -> Result<()> {
        let directory = workspace::root().join("target/bench");
        fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{}.json", self.name));
        fs::write(&path, serde_json::to_string_pretty(&self.json())?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A number as people read it: whole with commas where it is large, with decimals where it is small.
pub(crate) fn number_text(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-" } else { "" }.to_owned();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The order of the tables on the page; others follow.
const ORDER: &[&str] = &[
    "boot",
    "programs",
    "programs-wall",
    "loads",
    "loads-part",
    "loads-wall",
    "devices",
    "devices-part",
    "devices-wall",
    "processors",
    "domains",
    "many",
];

/// Writes `target/bench/index.html` with all tables measured so far, by this run or an earlier one.
pub(crate) fn page() -> Result<PathBuf> {
    let directory = workspace::root().join("target/bench");
    let mut tables = Vec::new();
    let mut pictures = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".json") {
            let value = serde_json::from_str(&fs::read_to_string(&path)?)
                .with_context(|| path.display().to_string())?;
            tables.extend(Table::parse(&value));
        } else if name.ends_with(".svg") {
            pictures.push(path);
        }
    }
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    tables.sort_by_key(|table| {
        (
            place(&table.name).unwrap_or(ORDER.len()),
            table.name.clone(),
        )
    });
    pictures.sort();
    let mut html = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Xenolith, measured</title>\n\
         <style>body{font-family:sans-serif;max-width:70em;margin:2em auto}td,th{padding:2px 10px;text-align:right}\
         td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#f2f2f2}</style></head><body>\n\
         <h1>Xenolith, measured</h1>\n"
        .to_owned();
    for table in &tables {
        html += &table_html(table);
        html += &picture::bars(table);
    }
    for path in pictures {
        html += &fs::read_to_string(&path)?;
        html += "<br>\n";
    }
    html += "</body></html>\n";
    let path = directory.join("index.html");
    fs::write(&path, html)?;
    Ok(path)
}

fn table_html(table: &Table) -> String {
    let mut html = format!(
        "<h2>{}</h2>\n<table><tr><th>{}</th>",
        escape(&table.title),
        escape(&table.unit)
    );
    for column in &table.columns {
        let _ = write!(html, "<th>{}</th>", escape(column));
    }
    html += "<th>goal</th></tr>\n";
    for row in &table.rows {
        let _ = write!(html, "<tr><td>{}</td>", escape(&row.about));
        for value in row.values.iter().chain([&row.goal]) {
            let _ = write!(
                html,
                "<td>{}</td>",
                value.map_or(String::new(), number_text)
            );
        }
        html += "</tr>\n";
    }
    html + "</table>\n"
}

/// Text for HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{Row, Table, number_text};

    fn table() -> Table {
        Table {
            name: "t".to_owned(),
            title: "Title".to_owned(),
            unit: "instructions".to_owned(),
            columns: vec!["bare".to_owned(), "ours".to_owned()],
            rows: vec![Row {
                name: "null".to_owned(),
                about: "system call".to_owned(),
                values: vec![Some(400.0), Some(1000.0)],
                goal: Some(650.0),
            }],
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number_text(1234567.4), "1,234,567");
        assert_eq!(number_text(999.6), "1,000");
        assert_eq!(number_text(100.0), "100");
        assert_eq!(number_text(11.04), "11.0");
        assert_eq!(number_text(-12345.0), "-12,345");
    }

    #[test]
    fn text_has_ratios() {
        let text = table().text();
        let line = text.lines().last().unwrap();
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            ["system", "call", "400", "1,000", "2.50", "650"]
        );
        assert_eq!(table().value("null", "ours"), Some(1000.0));
    }

    #[test]
    fn json_is_read_back() {
        let mut table = table();
        table.rows[0].values[0] = None;
        assert_eq!(Table::parse(&table.json()), Some(table));
    }
}
