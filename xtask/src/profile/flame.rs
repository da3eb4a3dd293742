//! A flame graph as SVG: each frame as wide as what was executed in it and in what it contains. Pointing at one shows its
//! name and number.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::bench::escape;

const WIDTH: f64 = 1200.0;
const ROW: f64 = 17.0;
const TOP: f64 = 34.0;
/// Narrower frames are not drawn.
const NARROWEST: f64 = 0.3;
/// Width of a letter.
const LETTER: f64 = 6.4;

#[derive(Default)]
struct Frame {
    weight: f64,
    children: BTreeMap<String, Frame>,
}

impl Frame {
    fn depth(&self) -> usize {
        1 + self.children.values().map(Frame::depth).max().unwrap_or(0)
    }
}

/// Draws stacks (frames separated by semicolons, outermost first) with their weights.
pub(super) fn draw(title: &str, lines: &[(String, f64)]) -> String {
    let mut root = Frame::default();
    for (stack, weight) in lines {
        root.weight += weight;
        let mut frame = &mut root;
        for name in stack.split(';') {
            frame = frame.children.entry(name.to_owned()).or_default();
            frame.weight += weight;
        }
    }
    let depth = root.depth();
    let height = TOP + ROW * depth as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"monospace\" font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">{}</text>\n",
        escape(title)
    );
    let scale = if root.weight > 0.0 {
        WIDTH / root.weight
    } else {
        0.0
    };
    children(
        &mut svg,
        &root,
        (0.0, height - 10.0 - ROW),
        scale,
        root.weight,
    );
    svg + "</svg>\n"
}

/// Draws a frame's children on the row above it.
fn children(svg: &mut String, frame: &Frame, (mut x, y): (f64, f64), scale: f64, total: f64) {
    for (name, child) in &frame.children {
        let width = child.weight * scale;
        if width >= NARROWEST {
            let letters = (width / LETTER) as usize;
            let label: String = if letters > 3 {
                short(name).chars().take(letters).collect()
            } else {
                String::new()
            };
            let _ = writeln!(
                svg,
                "<g><title>{} ({:.1}, {:.1} %)</title><rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{}\" \
                 fill=\"{}\" stroke=\"white\" stroke-width=\"0.5\"/><text x=\"{:.2}\" y=\"{:.1}\">{}</text></g>",
                escape(name),
                child.weight,
                100.0 * child.weight / total,
                ROW - 1.0,
                colour(name),
                x + 2.0,
                y + 12.0,
                escape(&label)
            );
            children(svg, child, (x, y - ROW), scale, total);
        }
        x += width;
    }
}

/// A function's name without most of its path.
fn short(name: &str) -> &str {
    if name.starts_with('<') {
        return name;
    }
    name.rmatch_indices("::")
        .nth(1)
        .and_then(|(position, _)| name.get(position + 2..))
        .unwrap_or(name)
}

/// Warm, and the same for the same name.
fn colour(name: &str) -> String {
    let hash = name.bytes().fold(5381u32, |hash, byte| {
        hash.wrapping_mul(33) ^ u32::from(byte)
    });
    format!(
        "rgb({},{},{})",
        205 + hash % 50,
        90 + hash / 64 % 120,
        hash / 4096 % 60
    )
}

#[cfg(test)]
mod tests {
    use super::{draw, short};

    #[test]
    fn frames_lie_on_each_other() {
        let svg = draw("t", &[("a;b".to_owned(), 3.0), ("a;<c>".to_owned(), 1.0)]);
        assert!(svg.contains("<title>a (4.0, 100.0 %)</title>"));
        assert!(svg.contains("<title>&lt;c&gt; (1.0, 25.0 %)</title>"));
        assert_eq!(svg.matches("<g>").count(), 3);
    }

    #[test]
    fn names_are_shortened() {
        assert_eq!(short("hypervisor::run::run"), "run::run");
        assert_eq!(short("memcpy"), "memcpy");
    }
}
