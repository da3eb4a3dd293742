//! [`Settings`]: the last value of each setting, read with the type that is wanted.
//!
//! Errors are collected, so that a person sees all of them at once.

use crate::error::{ConfigError, Place, Warning};
use crate::syntax::{Content, Setting, Value, parse_number};

/// The settings of all sources together.
pub(crate) struct Settings {
    settings: Vec<(Setting, bool)>,
    pub(crate) errors: Vec<ConfigError>,
}

impl Settings {
    /// Later settings replace earlier ones; `+=` adds to a string or list.
    pub(crate) fn new(all: Vec<Setting>) -> Self {
        let mut merged = Self {
            settings: Vec::new(),
            errors: Vec::new(),
        };
        for setting in all {
            merged.add(setting);
        }
        merged
    }

    fn add(&mut self, setting: Setting) {
        let old = self
            .settings
            .iter_mut()
            .find(|(old, _)| old.name == setting.name);
        let Some((old, _)) = old else {
            self.settings.push((setting, false));
            return;
        };
        if !setting.adds {
            *old = setting;
            return;
        }
        match (&mut old.value.content, setting.value.content) {
            (Content::Text(text), Content::Text(more)) => text.push_str(&more),
            (Content::List(list), Content::List(more)) => list.extend(more),
            (_, _) => self.errors.push(ConfigError {
                place: setting.place,
                problem: format!(
                    "`{}` cannot be added to: the value before is of another kind, or a number",
                    setting.name
                ),
            }),
        }
    }

    pub(crate) fn fail(&mut self, place: &Place, problem: impl Into<String>) {
        self.errors.push(ConfigError {
            place: place.clone(),
            problem: problem.into(),
        });
    }

    /// The value of a setting, which counts as known from now on.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let (setting, known) = self
            .settings
            .iter_mut()
            .find(|(setting, _)| setting.name == name)?;
        *known = true;
        Some(setting.value.clone())
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<(String, Place)> {
        let value = self.take(name)?;
        match value.content {
            Content::Text(text) => Some((text, value.place)),
            Content::Number(number) => Some((number.to_string(), value.place)),
            Content::List(_) => {
                self.fail(&value.place, format!("`{name}` is a string, not a list"));
                None
            }
        }
    }

    /// A number; as in Xen's `xl`, it may be in quotes.
    pub(crate) fn number(&mut self, name: &str, least: i64, most: i64) -> Option<i64> {
        let value = self.take(name)?;
        let number = match &value.content {
            Content::Number(number) => *number,
            Content::Text(text) => match parse_number(text.trim()) {
                Some(number) => number,
                None => {
                    self.fail(&value.place, format!("`{name}`: `{text}` is not a number"));
                    return None;
                }
            },
            Content::List(_) => {
                self.fail(&value.place, format!("`{name}` is a number, not a list"));
                return None;
            }
        };
        if (least..=most).contains(&number) {
            Some(number)
        } else {
            self.fail(
                &value.place,
                format!("`{name}` is {number}; it can be {least} to {most}"),
            );
            None
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        self.number(name, 0, 1).map(|number| number != 0)
    }

    /// A list of strings; as in Xen's `xl`, a lone string is a list of one where `lone` says so.
    pub(crate) fn texts(&mut self, name: &str, lone: bool) -> Option<Vec<(String, Place)>> {
        let value = self.take(name)?;
        let list = match value.content {
            Content::List(list) => list,
            Content::Text(text) if lone => return Some(vec![(text, value.place)]),
            _ => {
                self.fail(&value.place, format!("`{name}` is a list"));
                return None;
            }
        };
        let mut texts = Vec::new();
        for item in list {
            match item.content {
                Content::Text(text) => texts.push((text, item.place)),
                Content::Number(number) => texts.push((number.to_string(), item.place)),
                Content::List(_) => self.fail(
                    &item.place,
                    format!("`{name}` is a list of strings, not of lists"),
                ),
            }
        }
        Some(texts)
    }

    /// A list of strings, or one string or number alone.
    pub(crate) fn texts_or_number(&mut self, name: &str) -> Option<Vec<(String, Place)>> {
        let value = self.take(name)?;
        match value.content {
            Content::Number(number) => Some(vec![(number.to_string(), value.place)]),
            _ => self.texts(name, true),
        }
    }

    /// A word of a fixed set.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let (word, place) = self.text(name)?;
        let found = choices.iter().find(|(choice, _)| *choice == word);
        if let Some((_, value)) = found {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        self.fail(
            &place,
            format!(
                "`{name}` cannot be `{word}`; it can be {}",
                words.join(", ")
            ),
        );
        None
    }

    /// Where a setting is, for messages.
    pub(crate) fn place(&self, name: &str) -> Option<Place> {
        self.settings
            .iter()
            .find(|(setting, _)| setting.name == name)
            .map(|(setting, _)| setting.value.place.clone())
    }

    /// Warnings of all that nobody asked for.
    pub(crate) fn unknown(&self) -> Vec<Warning> {
        self.settings
            .iter()
            .filter(|(_, known)| !known)
            .map(|(setting, _)| Warning {
                place: setting.place.clone(),
                problem: format!("`{}` is not known and has no effect", setting.name),
            })
            .collect()
    }
}
