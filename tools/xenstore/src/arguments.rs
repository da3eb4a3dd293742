//! Options as `getopt_long` takes them: letters together or apart, long names, values, `--`.

/// What was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    options: Vec<(char, Option<String>)>,
    /// What is no option, in its order.
    pub words: Vec<String>,
}

impl Parsed {
    /// Whether an option was given.
    pub fn has(&self, letter: char) -> bool {
        self.options.iter().any(|(given, _)| *given == letter)
    }

    /// All values of an option, in their order.
    pub fn values(&self, letter: char) -> impl Iterator<Item = &str> {
        self.options
            .iter()
            .filter(move |(given, _)| *given == letter)
            .filter_map(|(_, value)| value.as_deref())
    }

    /// The last value of an option.
    pub fn value(&self, letter: char) -> Option<&str> {
        let mut given = self.options.iter().rev();
        given.find(|(given, _)| *given == letter)?.1.as_deref()
    }
}

/// Sorts words into options (each with its long name, and whether a value follows) and others. With `leading`, options end at the first word that is none.
///
/// # Errors
///
/// An option that is not known, or whose value is missing or too much.
pub fn parse(
    words: &[String],
    known: &[(char, &str, bool)],
    leading: bool,
) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if leading && !parsed.words.is_empty() {
            parsed.words.push(word.clone());
            continue;
        }
        if word == "--" {
            parsed.words.extend(words.cloned());
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let (letter, takes_value) = known
                .iter()
                .find(|(_, known, _)| *known == name)
                .map(|(letter, _, takes_value)| (*letter, *takes_value))
                .ok_or_else(|| format!("unknown option --{name}"))?;
            let value = match (takes_value, value) {
                (true, None) => Some(
                    words
                        .next()
                        .ok_or_else(|| format!("--{name} needs a value"))?
                        .clone(),
                ),
                (false, Some(_)) => return Err(format!("--{name} takes no value")),
                (_, value) => value,
            };
            parsed.options.push((letter, value));
            continue;
        }
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            parsed.words.push(word.clone());
            continue;
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            let takes_value = known
                .iter()
                .find(|(known, ..)| *known == letter)
                .map(|(.., takes_value)| *takes_value)
                .ok_or_else(|| format!("unknown option -{letter}"))?;
            if !takes_value {
                parsed.options.push((letter, None));
                continue;
            }
            let value = match letters.as_str() {
                "" => words
                    .next()
                    .ok_or_else(|| format!("-{letter} needs a value"))?
                    .clone(),
                rest => rest.to_owned(),
            };
            parsed.options.push((letter, Some(value)));
            break;
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[(char, &str, bool)] = &[
        ('f', "full", false),
        ('p', "perms", false),
        ('n', "number", true),
    ];

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn letters_and_words_in_any_order() {
        let parsed = parse(&words("-fp /a -n 3 --number=4 -- -x"), KNOWN, false).unwrap();
        assert!(parsed.has('f') && parsed.has('p'));
        assert_eq!(parsed.value('n'), Some("4"));
        assert_eq!(parsed.words, ["/a", "-x"]);
        assert_eq!(
            parse(&words("-pn7"), KNOWN, false).unwrap().value('n'),
            Some("7")
        );
        let parsed = parse(&words("-f live-update -t 3"), KNOWN, true).unwrap();
        assert_eq!(parsed.words, ["live-update", "-t", "3"]);
        for bad in ["-x", "--what", "-n", "--full=1", "--number"] {
            assert!(parse(&words(bad), KNOWN, false).is_err(), "{bad}");
        }
    }
}
