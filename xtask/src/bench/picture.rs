//! A picture of a table: bars, each row's relative to its first column.

use std::fmt::Write;

use super::report::{Table, escape, number_text};

const COLOURS: [&str; 5] = ["#76b7b2", "#f28e2b", "#4e79a7", "#59a14f", "#b07aa1"];
const BAR: f64 = 14.0;
const LEFT: f64 = 360.0;
const WIDTH: f64 = 560.0;

/// Draws it as SVG; nothing where there is nothing to compare.
pub(crate) fn bars(table: &Table) -> String {
    let ratios: Vec<Vec<Option<f64>>> = table
        .rows
        .iter()
        .map(|row| {
            let first = row.values.iter().flatten().next().copied();
            let relative = |value: &Option<f64>| match (value, first) {
                (Some(value), Some(first)) if first > 0.0 => Some(value / first),
                _ => None,
            };
            row.values.iter().map(relative).collect()
        })
        .collect();
    let most = ratios
        .iter()
        .flatten()
        .flatten()
        .copied()
        .fold(1.0, f64::max);
    if table.columns.len() < 2 || table.rows.is_empty() {
        return String::new();
    }
    let row_height = BAR * table.columns.len() as f64 + 10.0;
    let top = 30.0;
    let height = top + row_height * table.rows.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1060\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"1060\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (number, column) in table.columns.iter().enumerate() {
        let x = LEFT + 170.0 * number as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"8\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"18\">{}</text>",
            colour(number),
            x + 18.0,
            escape(column)
        );
    }
    for (place, (row, ratios)) in table.rows.iter().zip(&ratios).enumerate() {
        let y = top + row_height * place as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + row_height / 2.0,
            escape(&row.about)
        );
        for (number, (value, ratio)) in row.values.iter().zip(ratios).enumerate() {
            let (Some(value), Some(ratio)) = (value, ratio) else {
                continue;
            };
            let y = y + BAR * number as f64;
            let width = WIDTH * ratio / most;
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{}\" font-size=\"10\">{} ({ratio:.2})</text>",
                BAR - 2.0,
                colour(number),
                LEFT + width + 4.0,
                y + BAR - 4.0,
                number_text(*value)
            );
        }
    }
    svg + "</svg>\n"
}

fn colour(number: usize) -> &'static str {
    COLOURS
        .get(number % COLOURS.len())
        .copied()
        .unwrap_or("black")
}

#[cfg(test)]
mod tests {
    use super::super::report::{Row, Table};
    use super::bars;

    #[test]
    fn a_bar_for_each_value() {
        let mut table = Table {
            columns: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![Row {
                about: "x < y".to_owned(),
                values: vec![Some(2.0), Some(3.0)],
                ..Row::default()
            }],
            ..Table::default()
        };
        let svg = bars(&table);
        assert_eq!(svg.matches("font-size=\"10\"").count(), 2);
        assert!(svg.contains("x &lt; y") && svg.contains("(1.50)"));
        table.columns.pop();
        assert!(bars(&table).is_empty());
    }
}
