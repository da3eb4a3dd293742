//! `bench/budgets.toml`: what figures may be at most, and why.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::report::number_text;
use crate::workspace;

/// A figure's limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Budget {
    pub(crate) figure: String,
    pub(crate) most: f64,
    /// What it is to come to.
    pub(crate) goal: Option<f64>,
    pub(crate) reason: String,
}

/// A budget is to be lowered when a figure is below this part of it.
const SLACK: f64 = 0.85;

/// Reads them.
pub(crate) fn read() -> Result<Vec<Budget>> {
    let path = workspace::root().join("bench/budgets.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Budget>> {
    let table: toml::Table = text.parse()?;
    table
        .into_iter()
        .map(|(figure, value)| {
            let number = |key: &str| -> Option<f64> {
                let value = value.get(key)?;
                value
                    .as_float()
                    .or(value.as_integer().map(|whole| whole as f64))
            };
            let reason = value.get("reason").and_then(|reason| reason.as_str());
            match (number("most"), reason) {
                (Some(most), Some(reason)) if !reason.trim().is_empty() => Ok(Budget {
                    goal: number("goal"),
                    most,
                    reason: reason.to_owned(),
                    figure,
                }),
                _ => bail!("[{figure}] needs “most”, a number, and “reason”"),
            }
        })
        .collect()
}

/// Compares figures with their budgets: a table, and whether all are kept. A figure without budget, and a budget
/// without figure, is a mistake.
pub(crate) fn compare(budgets: &[Budget], figures: &[(String, f64)]) -> Result<(String, bool)> {
    ensure!(!figures.is_empty(), "nothing was measured");
    let mut text = format!(
        "{:<22} {:>12} {:>12} {:>12}\n",
        "instructions", "Xenolith", "at most", "goal"
    );
    let mut kept = true;
    for (name, value) in figures {
        let budget = budgets.iter().find(|budget| budget.figure == *name);
        let show = |number: Option<f64>| number.map_or("-".to_owned(), number_text);
        let _ = write!(
            text,
            "{name:<22} {:>12} {:>12} {:>12}",
            number_text(*value),
            show(budget.map(|budget| budget.most)),
            show(budget.and_then(|budget| budget.goal)),
        );
        match budget {
            None => {
                kept = false;
                text += "  NO BUDGET";
            }
            Some(budget) if *value > budget.most => {
                kept = false;
                let _ = write!(
                    text,
                    "  OVER ITS BUDGET, which is so because: {}",
                    budget.reason
                );
            }
            Some(budget) if *value < budget.most * SLACK => text += "  (the budget can be lowered)",
            Some(_) => {}
        }
        text.push('\n');
    }
    for budget in budgets {
        if !figures.iter().any(|(name, _)| *name == budget.figure) {
            kept = false;
            let _ = writeln!(text, "{:<22} NOT MEASURED", budget.figure);
        }
    }
    Ok((text, kept))
}

#[cfg(test)]
mod tests {
    use super::{compare, parse, read};

    const TEXT: &str = "[null]\nmost = 1000\ngoal = 650.5\nreason = \"traps\"\n";

    #[test]
    fn the_file_is_well_formed() {
        let budgets = read().unwrap();
        assert!(!budgets.is_empty());
        for budget in budgets {
            assert!(
                budget.goal.is_none_or(|goal| goal <= budget.most),
                "{}",
                budget.figure
            );
        }
    }

    #[test]
    fn a_budget_has_a_reason() {
        let budgets = parse(TEXT).unwrap();
        assert_eq!((budgets[0].most, budgets[0].goal), (1000.0, Some(650.5)));
        assert!(parse("[null]\nmost = 1\n").is_err());
        assert!(parse("[null]\nreason = \"x\"\n").is_err());
    }

    #[test]
    fn what_is_over_or_missing_is_no_success() {
        let budgets = parse(TEXT).unwrap();
        let verdict = |figures: &[(&str, f64)]| {
            let figures: Vec<_> = figures
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect();
            compare(&budgets, &figures).map(|(_, kept)| kept)
        };
        assert!(verdict(&[("null", 1000.0)]).unwrap());
        assert!(verdict(&[("null", 1.0)]).unwrap());
        assert!(!verdict(&[("null", 1000.5)]).unwrap());
        assert!(!verdict(&[("null", 9.0), ("pipe", 9.0)]).unwrap());
        assert!(!verdict(&[("pipe", 9.0)]).unwrap());
        assert!(verdict(&[]).is_err());
    }
}
