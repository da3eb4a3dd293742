//! The syntax of `xl.cfg(5)`: settings with values that are strings, numbers or lists.
//!
//! ```text
//! setting := name ("=" | "+=") value        ended by a line's end or ";"
//! value   := string | number | "[" value,* "]"
//! ```
//! `#` begins a comment. Lists may span lines and end with a comma.

use std::sync::Arc;

use crate::error::{ConfigError, Place};

/// Lists in lists in lists: more than anybody writes, and few enough for the stack.
const MAX_DEPTH: u32 = 16;

/// A piece of configuration and where it is from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file's name, for messages.
    pub name: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// A value, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// A value without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// `"a string"`
    Text(String),
    /// `12`, `0x12`, `012`
    Number(i64),
    /// `[1, 2]`
    List(Vec<Value>),
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Where the name is.
    pub place: Place,
    /// Whether it adds to what was set before (`+=`).
    pub adds: bool,
    /// The value.
    pub value: Value,
}

/// Reads all settings of a source, in their order.
pub fn parse_settings(source: Source<'_>) -> Result<Vec<Setting>, ConfigError> {
    let mut parser = Parser {
        file: source.name.into(),
        rest: source.text,
        line: 1,
        column: 1,
    };
    let mut settings = Vec::new();
    loop {
        parser.skip_space(true);
        if parser.eat(';') {
            continue;
        }
        if parser.rest.is_empty() {
            return Ok(settings);
        }
        settings.push(parser.setting()?);
        parser.skip_space(false);
        match parser.peek() {
            None | Some('\n' | ';') => {}
            Some(other) => {
                return Err(parser.error(format!(
                    "expected the end of the line, not {}",
                    shown(Some(other))
                )));
            }
        }
    }
}

struct Parser<'a> {
    file: Arc<str>,
    rest: &'a str,
    line: u32,
    column: u32,
}

/// How a message shows a character.
fn shown(character: Option<char>) -> String {
    match character {
        None => "the end of the file".to_owned(),
        Some('\n') => "the end of the line".to_owned(),
        Some(character) => format!("`{}`", character.escape_debug()),
    }
}

impl Parser<'_> {
    fn place(&self) -> Place {
        Place {
            file: self.file.clone(),
            line: self.line,
            column: self.column,
        }
    }

    fn error(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            place: self.place(),
            problem: problem.into(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        if character == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(character)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    /// Skips blanks and comments, and line ends if told so.
    fn skip_space(&mut self, lines: bool) {
        while let Some(character) = self.peek() {
            match character {
                '\n' if !lines => return,
                '#' => {
                    while self.peek().is_some_and(|character| character != '\n') {
                        self.next();
                    }
                }
                character if character.is_whitespace() => {
                    self.next();
                }
                _ => return,
            }
        }
    }

    /// Takes characters as long as they belong.
    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let mut word = String::new();
        while let Some(character) = self.peek().filter(|&character| belongs(character)) {
            word.push(character);
            self.next();
        }
        word
    }

    fn setting(&mut self) -> Result<Setting, ConfigError> {
        let place = self.place();
        let starts = |character: char| character.is_ascii_alphabetic() || character == '_';
        if !self.peek().is_some_and(starts) {
            return Err(self.error(format!(
                "expected the name of a setting, not {}",
                shown(self.peek())
            )));
        }
        let name = self.word(|character| character.is_ascii_alphanumeric() || character == '_');
        self.skip_space(false);
        let adds = self.eat('+');
        if !self.eat('=') {
            let wanted = if adds { "`=`" } else { "`=` or `+=`" };
            return Err(self.error(format!(
                "expected {wanted} after `{name}`, not {}",
                shown(self.peek())
            )));
        }
        self.skip_space(false);
        let value = self.value(0)?;
        Ok(Setting {
            name,
            place,
            adds,
            value,
        })
    }

    fn value(&mut self, depth: u32) -> Result<Value, ConfigError> {
        let place = self.place();
        let content = match self.peek() {
            Some(quote @ ('"' | '\'')) => Content::Text(self.text(quote)?),
            Some('0'..='9' | '-') => Content::Number(self.number()?),
            Some('[') => Content::List(self.list(depth)?),
            Some(character) if character.is_alphabetic() => {
                let word = self.word(|character| !character.is_whitespace() && character != '#');
                return Err(ConfigError {
                    place,
                    problem: format!("`{word}` is not a value; a string needs quotes"),
                });
            }
            other => {
                return Err(self.error(format!(
                    "expected a value (string, number or list), not {}",
                    shown(other)
                )));
            }
        };
        Ok(Value { place, content })
    }

    fn number(&mut self) -> Result<i64, ConfigError> {
        let place = self.place();
        let word =
            self.word(|character| character.is_ascii_alphanumeric() || "-_.".contains(character));
        parse_number(&word).ok_or_else(|| ConfigError {
            place,
            problem: format!("`{word}` is not a number"),
        })
    }

    fn list(&mut self, depth: u32) -> Result<Vec<Value>, ConfigError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(format!("lists are nested deeper than {MAX_DEPTH}")));
        }
        let start = self.place();
        self.next();
        let mut values = Vec::new();
        loop {
            self.skip_space(true);
            if self.eat(']') {
                return Ok(values);
            }
            if self.rest.is_empty() {
                return Err(ConfigError {
                    place: start,
                    problem: "this list does not end: there is no `]`".to_owned(),
                });
            }
            values.push(self.value(depth + 1)?);
            self.skip_space(true);
            if !self.eat(',') && !matches!(self.peek(), Some(']') | None) {
                return Err(self.error(format!(
                    "expected `,` or `]` in a list, not {}",
                    shown(self.peek())
                )));
            }
        }
    }

    fn text(&mut self, quote: char) -> Result<String, ConfigError> {
        let start = self.place();
        self.next();
        let mut bytes = Vec::new();
        loop {
            let place = self.place();
            match self.next() {
                Some(character) if character == quote => break,
                None | Some('\n') => {
                    return Err(ConfigError {
                        place: start,
                        problem: format!("this string does not end: there is no {quote}"),
                    });
                }
                Some('\\') => self.escape(&mut bytes, place)?,
                Some(character) => {
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        String::from_utf8(bytes).map_err(|_| ConfigError {
            place: start,
            problem: "with its escapes, this string is not UTF-8".to_owned(),
        })
    }

    /// What follows a backslash.
    fn escape(&mut self, bytes: &mut Vec<u8>, place: Place) -> Result<(), ConfigError> {
        let fail = |problem: String| {
            Err(ConfigError {
                place: place.clone(),
                problem,
            })
        };
        let byte = match self.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('a') => 7,
            Some('b') => 8,
            Some('f') => 12,
            Some('v') => 11,
            Some(same @ ('\\' | '\'' | '"')) => same as u8,
            Some('x') => {
                let digits = self.digits(2, 16);
                match u8::from_str_radix(&digits, 16) {
                    Ok(byte) if digits.len() == 2 => byte,
                    _ => return fail("`\\x` needs two hexadecimal digits".to_owned()),
                }
            }
            Some(first @ '0'..='7') => {
                let digits = format!("{first}{}", self.digits(2, 8));
                match u8::from_str_radix(&digits, 8) {
                    Ok(byte) => byte,
                    Err(_) => return fail(format!("`\\{digits}` is more than a byte")),
                }
            }
            other => return fail(format!("there is no escape `\\` with {}", shown(other))),
        };
        if byte == 0 {
            return fail("a string cannot hold a NUL".to_owned());
        }
        bytes.push(byte);
        Ok(())
    }

    fn digits(&mut self, most: usize, radix: u32) -> String {
        let mut digits = String::new();
        while digits.len() < most
            && let Some(digit) = self.peek().filter(|digit| digit.is_digit(radix))
        {
            digits.push(digit);
            self.next();
        }
        digits
    }
}

/// Decimal, or with `0x` hexadecimal, or with `0` octal.
pub(crate) fn parse_number(word: &str) -> Option<i64> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let number = if let Some(digits) = lower.strip_prefix("0x") {
        (!digits.starts_with(['+', '-'])).then(|| i64::from_str_radix(digits, 16).ok())?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()
    } else {
        digits.parse().ok()
    }?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::{Content, Source, parse_number, parse_settings};

    fn parse(text: &str) -> Result<Vec<(String, Content)>, String> {
        parse_settings(Source { name: "f", text })
            .map(|settings| {
                let pair = |setting: super::Setting| (setting.name, setting.value.content);
                settings.into_iter().map(pair).collect()
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values() {
        let settings = parse(
            "a = 1 # one\n\tb='x;#y'; c=\"\\x41\\102\\n\\\"\"\nd = [ 1,\n 'b', # no\n ['c',],\n]\n",
        );
        let settings = settings.unwrap();
        assert_eq!(settings[0], ("a".into(), Content::Number(1)));
        assert_eq!(settings[1], ("b".into(), Content::Text("x;#y".into())));
        assert_eq!(settings[2], ("c".into(), Content::Text("AB\n\"".into())));
        let Content::List(list) = &settings[3].1 else {
            panic!("no list")
        };
        assert_eq!(list.len(), 3);
        assert_eq!((list[1].place.line, list[1].place.column), (4, 2));
        assert_eq!(parse(";;\n;"), Ok(vec![]));
    }

    #[test]
    fn errors_tell_their_place() {
        for (text, error) in [
            ("name='x", "f:1:6: this string does not end: there is no '"),
            (
                "\n a\n",
                "f:2:3: expected `=` or `+=` after `a`, not the end of the line",
            ),
            ("a+1", "f:1:3: expected `=` after `a`, not `1`"),
            (
                "memory=\n",
                "f:1:8: expected a value (string, number or list), not the end of the line",
            ),
            ("a=1 2", "f:1:5: expected the end of the line, not `2`"),
            ("a=[1 2]", "f:1:6: expected `,` or `]` in a list, not `2`"),
            ("a=[1,\n2", "f:1:3: this list does not end: there is no `]`"),
            (
                "a=xen # c",
                "f:1:3: `xen` is not a value; a string needs quotes",
            ),
            ("a=12m", "f:1:3: `12m` is not a number"),
            (
                "a=99999999999999999999",
                "f:1:3: `99999999999999999999` is not a number",
            ),
            ("=1", "f:1:1: expected the name of a setting, not `=`"),
            ("é=1", "f:1:1: expected the name of a setting, not `é`"),
            ("a='\\q'", "f:1:4: there is no escape `\\` with `q`"),
            ("a='\\x4'", "f:1:4: `\\x` needs two hexadecimal digits"),
            ("a='\\777'", "f:1:4: `\\777` is more than a byte"),
            (
                "a='\\xff'",
                "f:1:3: with its escapes, this string is not UTF-8",
            ),
            ("a='\\0'", "f:1:4: a string cannot hold a NUL"),
        ] {
            assert_eq!(parse(text), Err(error.to_owned()), "{text:?}");
        }
        let deep = format!("a={}", "[".repeat(100_000));
        assert_eq!(
            parse(&deep),
            Err("f:1:19: lists are nested deeper than 16".into())
        );
    }

    #[test]
    fn numbers() {
        for (word, number) in [
            ("0", Some(0)),
            ("017", Some(15)),
            ("0x1F", Some(31)),
            ("-5", Some(-5)),
            ("--5", None),
            ("0x-5", None),
            ("08", None),
            ("", None),
            ("1.5", None),
        ] {
            assert_eq!(parse_number(word), number, "{word}");
        }
    }
}
