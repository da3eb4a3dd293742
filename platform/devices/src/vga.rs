//! The VGA's 80 by 25 text mode, as the firmware leaves it: characters scroll up, the cursor follows.
//!
//! A shadow of the screen is kept, because reading video memory is slow: each line of output writes what
//! changed and never reads.

use crate::access::Registers;
use platform_cpu::ports;

/// Where the text screen is in machine memory.
pub const TEXT_MADDR: u64 = 0xb8000;
/// Bytes of the text screen.
pub const TEXT_BYTES: usize = COLUMNS * ROWS * 2;

const COLUMNS: usize = 80;
const ROWS: usize = 25;
const CELLS: usize = COLUMNS * ROWS;
const LIGHT_GREY: u16 = 0x0700;
const BLANK: u16 = LIGHT_GREY | b' ' as u16;

const CRTC_INDEX: u16 = 0x3d4;
const CRTC_DATA: u16 = 0x3d5;
const CURSOR_HIGH: u8 = 0x0e;
const CURSOR_LOW: u8 = 0x0f;

/// The text screen.
pub struct VgaText<R> {
    screen: R,
    shadow: [u16; CELLS],
    row: usize,
    column: usize,
}

impl<R: Registers> VgaText<R> {
    /// Clears the screen behind `screen` ([`TEXT_BYTES`] bytes from [`TEXT_MADDR`]).
    pub fn new(screen: R) -> Self {
        let mut text = Self {
            screen,
            shadow: [BLANK; CELLS],
            row: 0,
            column: 0,
        };
        text.redraw(0, ROWS);
        text.show_cursor();
        text
    }

    /// Writes text; control characters other than newline, return, tab and backspace are left out.
    pub fn write(&mut self, bytes: &[u8]) {
        let mut first = self.row;
        let mut scrolled = false;
        for &byte in bytes {
            match byte {
                b'\n' => {
                    self.column = 0;
                    scrolled |= self.next_row();
                }
                b'\r' => self.column = 0,
                0x08 => self.column = self.column.saturating_sub(1),
                b'\t' => {
                    self.column = (self.column + 8) & !7;
                    if self.column >= COLUMNS {
                        self.column = 0;
                        scrolled |= self.next_row();
                    }
                }
                0x20..=0x7e | 0x80..=0xff => {
                    if self.column >= COLUMNS {
                        self.column = 0;
                        scrolled |= self.next_row();
                    }
                    if let Some(cell) = self.shadow.get_mut(self.row * COLUMNS + self.column) {
                        *cell = LIGHT_GREY | u16::from(byte);
                    }
                    self.column += 1;
                }
                _ => {}
            }
        }
        if scrolled {
            first = 0;
        }
        self.redraw(first, self.row + 1);
        self.show_cursor();
    }

    /// Goes to the next row; true if the screen scrolled.
    fn next_row(&mut self) -> bool {
        if self.row + 1 < ROWS {
            self.row += 1;
            return false;
        }
        self.shadow.copy_within(COLUMNS.., 0);
        self.shadow[CELLS - COLUMNS..].fill(BLANK);
        true
    }

    /// Copies rows `first..end` of the shadow to the screen, two cells at a time.
    fn redraw(&mut self, first: usize, end: usize) {
        let range = first * COLUMNS..end.min(ROWS) * COLUMNS;
        if let Some(cells) = self.shadow.get(range.clone()) {
            for (pair, index) in cells.chunks_exact(2).zip(range.step_by(2)) {
                let both = u32::from(pair[0]) | u32::from(pair[1]) << 16;
                self.screen.write32(index * 2, both);
            }
        }
    }

    fn show_cursor(&self) {
        let at = (self.row * COLUMNS + self.column.min(COLUMNS - 1)) as u16;
        let [low, high] = at.to_le_bytes();
        set_crtc(CURSOR_HIGH, high);
        set_crtc(CURSOR_LOW, low);
    }

    /// Row and column of the cursor, for whoever takes the screen over (`dom0_vga_console_info`).
    pub fn cursor(&self) -> (u16, u16) {
        (self.row as u16, self.column.min(COLUMNS - 1) as u16)
    }
}

#[cfg(not(test))]
fn set_crtc(index: u8, value: u8) {
    ports::outb(CRTC_INDEX, index);
    ports::outb(CRTC_DATA, value);
}

#[cfg(test)]
fn set_crtc(_: u8, _: u8) {
    let _ = (ports::outb as fn(u16, u8), CRTC_INDEX, CRTC_DATA);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::format;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    struct Screen(RefCell<Vec<u32>>);

    impl Registers for Screen {
        fn read32(&self, _: usize) -> u32 {
            panic!("video memory is never read");
        }
        fn write32(&self, offset: usize, value: u32) {
            self.0.borrow_mut()[offset / 4] = value;
        }
    }

    impl Screen {
        fn row(&self, row: usize) -> String {
            let cells = self.0.borrow();
            let text: String = cells[row * 40..][..40]
                .iter()
                .flat_map(|pair| [*pair as u8 as char, (*pair >> 16) as u8 as char])
                .collect();
            String::from(text.trim_end())
        }
    }

    fn screen() -> Screen {
        Screen(RefCell::new(vec![0; CELLS / 2]))
    }

    #[test]
    fn lines_wrap_and_scroll() {
        let screen = screen();
        let mut text = VgaText::new(&screen);
        for n in 0..30 {
            text.write(format!("line {n}\n").as_bytes());
        }
        assert_eq!(text.cursor(), (24, 0));
        assert_eq!(screen.row(0), "line 6");
        assert_eq!(screen.row(23), "line 29");
        assert_eq!(screen.row(24), "");
        text.write(&[b'w'; 81]);
        assert_eq!(screen.row(23), "w".repeat(80));
        assert_eq!(screen.row(24), "w");
    }

    #[test]
    fn control_characters() {
        let screen = screen();
        let mut text = VgaText::new(&screen);
        text.write(b"a\tb\rc\x1b\x07\x08d");
        assert_eq!(screen.row(0), "d       b");
        text.write(&[b'\t'; 1000]);
    }
}
