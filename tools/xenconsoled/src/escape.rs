//! Makes a guest's output fit to be read in a log: what a terminal would obey is taken out or made visible.
//!
//! A log is looked at with `cat` or `less -r` by an administrator. Terminals obey sequences that rename windows, type
//! answers as if the reader had, hide lines or reverse the order of characters. Hence:
//!
//! | input | in the log |
//! |---|---|
//! | printable characters, UTF-8, newline, tab | as they are |
//! | carriage returns before a newline | nothing |
//! | other carriage returns | a newline: what would have been overwritten stays readable |
//! | sequences that only set colours (`ESC [ … m`) | nothing |
//! | other control characters, among them ESC | `^[` and so on |
//! | C1 controls, and marks that change the direction of text | `<U+009B>` |
//! | bytes that are no UTF-8 | `<9B>` |
//!
//! The filter keeps at most a few bytes between calls, so its output is at most [`WORST`] times its input.

/// The longest sequence of colours that is recognised, in bytes after `ESC [`.
const LONGEST: usize = 32;
/// How many bytes come out for one that went in, at most.
pub const WORST: usize = 8;

const ESCAPE: u8 = 0x1b;

/// The filter of one stream.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    state: State,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Text,
    /// Carriage returns have come.
    Return,
    /// ESC has come.
    Escape,
    /// `ESC [` and these have come.
    Sequence(Vec<u8>),
    /// The first bytes of a character have come.
    Character(Vec<u8>),
}

impl Filter {
    /// Filters `input`, to the end of `output`.
    pub fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
        for &byte in input {
            self.byte(byte, output);
        }
    }

    /// Ends the stream: what was begun is made visible.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        match std::mem::take(&mut self.state) {
            State::Text => {}
            State::Return => output.push(b'\n'),
            State::Escape => output.extend_from_slice(b"^["),
            State::Sequence(begun) => broken_sequence(&begun, output),
            State::Character(begun) => invalid(&begun, output),
        }
    }

    fn byte(&mut self, byte: u8, output: &mut Vec<u8>) {
        match std::mem::take(&mut self.state) {
            State::Text => self.text(byte, output),
            State::Return => match byte {
                b'\r' => self.state = State::Return,
                b'\n' => output.push(b'\n'),
                _ => {
                    output.push(b'\n');
                    self.text(byte, output);
                }
            },
            State::Escape if byte == b'[' => self.state = State::Sequence(Vec::new()),
            State::Escape => {
                output.extend_from_slice(b"^[");
                self.text(byte, output);
            }
            State::Sequence(mut begun) => match byte {
                b'm' => {}
                b'0'..=b'9' | b';' | b':' if begun.len() < LONGEST => {
                    begun.push(byte);
                    self.state = State::Sequence(begun);
                }
                _ => {
                    broken_sequence(&begun, output);
                    self.text(byte, output);
                }
            },
            State::Character(mut begun) => {
                begun.push(byte);
                match std::str::from_utf8(&begun) {
                    Ok(character) => visible(character, output),
                    // More is to come.
                    Err(error) if error.error_len().is_none() => {
                        self.state = State::Character(begun);
                    }
                    Err(_) => {
                        begun.pop();
                        invalid(&begun, output);
                        self.text(byte, output);
                    }
                }
            }
        }
    }

    fn text(&mut self, byte: u8, output: &mut Vec<u8>) {
        match byte {
            b'\n' | b'\t' | 0x20..=0x7e => output.push(byte),
            b'\r' => self.state = State::Return,
            ESCAPE => self.state = State::Escape,
            0..0x20 | 0x7f => output.extend_from_slice(&[b'^', byte ^ 0x40]),
            0xc2..=0xf4 => self.state = State::Character(vec![byte]),
            0x80..=0xff => invalid(&[byte], output),
        }
    }
}

fn broken_sequence(begun: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(b"^[[");
    output.extend_from_slice(begun);
}

fn invalid(bytes: &[u8], output: &mut Vec<u8>) {
    for byte in bytes {
        output.extend_from_slice(format!("<{byte:02X}>").as_bytes());
    }
}

/// A character that is no ASCII.
fn visible(text: &str, output: &mut Vec<u8>) {
    for character in text.chars() {
        let harmful = matches!(
            character,
            '\u{80}'..='\u{9f}'
                // Line and paragraph separators, marks and overrides of direction, isolates.
                | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                // Invisible: what is shown is not what is there.
                | '\u{200b}'..='\u{200d}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        );
        if harmful {
            output.extend_from_slice(format!("<U+{:04X}>", u32::from(character)).as_bytes());
        } else {
            output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Whether bytes are safe to show: what the filter promises of its output.
pub fn is_harmless(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    text.chars().all(|character| {
        let mut shown = Vec::new();
        match character {
            '\n' | '\t' | ' '..='~' => return true,
            '\0'..='\u{7f}' => return false,
            _ => visible(character.encode_utf8(&mut [0; 4]), &mut shown),
        }
        !shown.starts_with(b"<")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filtered(input: &[u8]) -> String {
        let mut filter = Filter::default();
        let mut output = Vec::new();
        filter.push(input, &mut output);
        filter.finish(&mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn text_stays_and_colours_go() {
        assert_eq!(
            filtered("Grüße\tan\r\nalle €\n".as_bytes()),
            "Grüße\tan\nalle €\n"
        );
        assert_eq!(
            filtered(b"[\x1b[0;32m  OK  \x1b[0m] Started"),
            "[  OK  ] Started"
        );
        assert_eq!(filtered(b"\x1b[38:5:1mred\x1b[m"), "red");
    }

    #[test]
    fn what_a_terminal_obeys_is_made_visible() {
        // The title, an answer that is typed, the cursor, a screen that is cleared.
        assert_eq!(filtered(b"\x1b]0;root\x07"), "^[]0;root^G");
        assert_eq!(filtered(b"\x1b[6n\x1b[2Jx"), "^[[6n^[[2Jx");
        assert_eq!(filtered(b"\x1bP$q\x1b\\"), "^[P$q^[\\");
        assert_eq!(filtered(b"\x7f\0\x08"), "^?^@^H");
        assert_eq!(filtered("\u{9b}6n".as_bytes()), "<U+009B>6n");
        assert_eq!(filtered("a\u{202e}b".as_bytes()), "a<U+202E>b");
        assert_eq!(filtered(b"\x9b6n\xff"), "<9B>6n<FF>");
        assert_eq!(filtered(b"\xe2\x82"), "<E2><82>");
        assert_eq!(filtered(b"\xe2\x82\x1b[2J"), "<E2><82>^[[2J");
    }

    #[test]
    fn an_overwritten_line_stays() {
        assert_eq!(filtered(b"evil\rgood\r\r\n"), "evil\ngood\n");
        assert_eq!(filtered(b"end\r"), "end\n");
    }

    #[test]
    fn a_sequence_without_an_end_is_not_waited_for() {
        let input = [b"\x1b[".as_slice(), &[b'1'; 100]].concat();
        assert_eq!(filtered(&input).len(), 103);
    }

    proptest! {
        #[test]
        fn nothing_harmful_comes_out(input: Vec<u8>) {
            let output = filtered(&input);
            prop_assert!(is_harmless(output.as_bytes()), "{output:?}");
            prop_assert!(output.len() <= input.len() * WORST + 2);
        }

        #[test]
        fn pieces_make_no_difference(input in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"\x1b[;m0\r\n\xe2\x80\xae".to_vec())], 0..80),
            cut: proptest::sample::Index) {
            let (first, second) = input.split_at(cut.index(input.len() + 1));
            let mut filter = Filter::default();
            let mut output = Vec::new();
            filter.push(first, &mut output);
            filter.push(second, &mut output);
            filter.finish(&mut output);
            prop_assert_eq!(output, filtered(&input).into_bytes());
        }

        #[test]
        fn ascii_text_is_kept(text in "[ -~\n\t]*") {
            prop_assert_eq!(filtered(text.as_bytes()), text);
        }
    }
}
