//! A flame graph as one SVG image, with nothing outside it.
//!
//! ```text
//! |  blit  |                |
//! |  render       | parse   |      wide: much time
//! |  main                   |      up: called by what is below
//! ```
//!
//! Frames are coloured by category and carry their figures as a tooltip. Where
//! scripts run, a click zooms in and `search` marks names; nothing else depends on
//! them. The same profile makes the same bytes. Widths are of weights, or of
//! numbers of samples when nothing weighs anything. Frames narrower than a tenth
//! of a pixel, and those deeper than [`MAX_DEPTH`], are left out; the latter
//! are counted in the subtitle.

use std::fmt::Write as _;
use std::io::Write;

use crate::call_tree::{CallTree, Entered, Step};
use crate::category::Category;
use crate::error::{Error, Result};
use crate::profile::Profile;
use crate::sample::nanos;
use crate::totals::Total;

/// The deepest row that is drawn.
pub const MAX_DEPTH: usize = 1000;

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 10.0;
const ROW: usize = 16;
/// Above the frames: title, subtitle, legend.
const TOP: usize = 84;
/// Below them: the status line.
const BOTTOM: usize = 30;
/// The width of a character of the 12 px monospace font, about.
const CHAR: f64 = 7.2;
const NARROWEST: f64 = 0.1;

/// Writes a profile as a flame graph.
///
/// # Errors
///
/// [`Error::Write`] when the stream refuses the bytes.
pub fn write(profile: &Profile, out: &mut dyn Write) -> Result<()> {
    let graph = Graph::layout(profile);
    out.write_all(graph.render(profile).as_bytes())
        .map_err(|source| Error::Write {
            format: "svg",
            source,
        })
}

/// A frame with its place.
struct Rect<'a> {
    frame: Entered<'a>,
    depth: usize,
    x: f64,
    width: f64,
}

struct Graph<'a> {
    rects: Vec<Rect<'a>>,
    total: Total,
    rows: usize,
    too_deep: u64,
}

impl<'a> Graph<'a> {
    fn layout(profile: &'a Profile) -> Self {
        let tree = CallTree::new(profile);
        let total = profile.total();
        let mut graph = Self {
            rects: Vec::new(),
            total,
            rows: 1,
            too_deep: 0,
        };
        let all = Entered {
            name: "all",
            category: Category::Opaque,
            own: tree.no_stack,
            total,
        };
        graph.rects.push(Rect {
            frame: all,
            depth: 0,
            x: MARGIN,
            width: WIDTH - 2.0 * MARGIN,
        });
        let mut depth = 0;
        // Where the next frame of each row starts, in units of the value.
        let mut next = vec![0_u64];
        for step in tree.walk() {
            let frame = match step {
                Step::Enter(frame) => frame,
                Step::Leave => {
                    depth -= 1;
                    next.pop();
                    continue;
                }
            };
            let start = next[depth];
            next[depth] = start.saturating_add(value(frame.total, total));
            next.push(start);
            depth += 1;
            let scale = (WIDTH - 2.0 * MARGIN) / (value(total, total).max(1) as f64);
            let width = value(frame.total, total) as f64 * scale;
            if width < NARROWEST {
                continue;
            }
            if depth > MAX_DEPTH {
                graph.too_deep += 1;
                continue;
            }
            graph.rows = graph.rows.max(depth + 1);
            graph.rects.push(Rect {
                frame,
                depth,
                x: MARGIN + start as f64 * scale,
                width,
            });
        }
        graph
    }

    fn height(&self) -> usize {
        TOP + self.rows * ROW + BOTTOM
    }

    fn render(&self, profile: &Profile) -> String {
        let mut svg = String::new();
        // Writing to a string cannot fail.
        let _ = self.header(profile, &mut svg);
        for rect in &self.rects {
            let _ = self.frame(rect, profile, &mut svg);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn header(&self, profile: &Profile, svg: &mut String) -> std::fmt::Result {
        let meta = profile.meta();
        let height = self.height();
        writeln!(
            svg,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"{WIDTH}\" \
             height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" data-left=\"{MARGIN}\" \
             data-width=\"{inner}\" data-char=\"{CHAR}\">",
            inner = WIDTH - 2.0 * MARGIN,
        )?;
        writeln!(
            svg,
            "<style>\ntext {{ font: 12px monospace; fill: #1b1b1f; }}\n\
             .title {{ font: bold 16px sans-serif; }}\n\
             .button {{ fill: #1d4ed8; cursor: pointer; }}\n\
             g.f {{ cursor: pointer; }}\ng.f text {{ pointer-events: none; }}\n\
             g.f:hover rect {{ stroke: #1b1b1f; }}\n\
             g.hit rect {{ fill: #e11d8f; }}\n</style>"
        )?;
        writeln!(
            svg,
            "<rect width=\"100%\" height=\"100%\" fill=\"#fcfcfd\"/>\n\
             <text class=\"title\" x=\"{MARGIN}\" y=\"24\">{}</text>",
            Escaped(&meta.product)
        )?;
        let deeper = if self.too_deep == 0 {
            String::new()
        } else {
            format!(", {} frames below {MAX_DEPTH} not drawn", self.too_deep)
        };
        writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"44\">{} of {} time in {} samples{deeper}</text>",
            Millis(self.total),
            meta.clock.name(),
            self.total.count,
        )?;
        writeln!(
            svg,
            "<text id=\"search\" class=\"button\" x=\"{x}\" y=\"24\" text-anchor=\"end\">search</text>\n\
             <text id=\"reset\" class=\"button\" x=\"{x}\" y=\"44\" text-anchor=\"end\" \
             style=\"display:none\">reset zoom</text>",
            x = WIDTH - MARGIN,
        )?;
        let mut x = MARGIN;
        for (category, total) in profile.category_totals() {
            writeln!(
                svg,
                "<rect x=\"{x}\" y=\"56\" width=\"10\" height=\"10\" fill=\"{}\"/>\
                 <text x=\"{}\" y=\"65\">{} {}</text>",
                colour(category, category.name()),
                x + 14.0,
                category.name(),
                Percent(total, self.total),
            )?;
            x += 150.0;
        }
        writeln!(
            svg,
            "<text id=\"status\" x=\"{MARGIN}\" y=\"{}\"> </text>",
            height - 10
        )?;
        writeln!(
            svg,
            "<script type=\"text/ecmascript\"><![CDATA[\n{}]]></script>",
            include_str!("svg/flame.js")
        )
    }

    fn frame(&self, rect: &Rect<'_>, profile: &Profile, svg: &mut String) -> std::fmt::Result {
        let frame = &rect.frame;
        let y = self.height() - BOTTOM - (rect.depth + 1) * ROW;
        let name = Escaped(frame.name);
        write!(
            svg,
            "<g class=\"f\" data-d=\"{}\" data-n=\"{name}\"><title>{name}\n{}, {} samples, {} of {} time",
            rect.depth,
            Millis(frame.total),
            frame.total.count,
            Percent(frame.total, self.total),
            profile.meta().clock.name(),
        )?;
        if rect.depth > 0 {
            write!(svg, "\n{}", frame.category.name())?;
        }
        write!(
            svg,
            "</title><rect x=\"{:.2}\" y=\"{y}\" width=\"{:.2}\" height=\"{}\" rx=\"1\" fill=\"{}\"/>",
            rect.x,
            rect.width,
            ROW - 1,
            if rect.depth == 0 {
                "#e4e4e7".to_owned()
            } else {
                colour(frame.category, frame.name)
            },
        )?;
        let fits = ((rect.width - 6.0) / CHAR) as usize;
        if fits >= 3 {
            let label: String = if frame.name.chars().count() <= fits {
                frame.name.to_owned()
            } else {
                frame
                    .name
                    .chars()
                    .take(fits - 2)
                    .chain("..".chars())
                    .collect()
            };
            write!(
                svg,
                "<text x=\"{:.2}\" y=\"{}\">{}</text>",
                rect.x + 3.0,
                y + 11,
                Escaped(&label)
            )?;
        }
        svg.push_str("</g>\n");
        Ok(())
    }
}

/// What a width stands for: time, or samples when no sample weighs anything.
fn value(part: Total, whole: Total) -> u64 {
    if whole.weight.is_zero() {
        part.count
    } else {
        nanos(part.weight)
    }
}

/// The category's colour, a little lighter or darker by the name. As `#rrggbb`,
/// because not everything that draws SVG knows `hsl()`.
fn colour(category: Category, name: &str) -> String {
    let base: [u32; 3] = match category {
        Category::Guest => [240, 160, 92],
        Category::Wasi => [118, 198, 148],
        Category::Host => [132, 176, 226],
        Category::Engine => [184, 160, 220],
        Category::Opaque => [190, 194, 200],
        Category::Lost => [226, 146, 146],
    };
    // FNV-1a: any hash will do that is the same on every machine.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    // 92 to 104 percent.
    let [red, green, blue] = base.map(|part| (part * (92 + hash % 13) / 100).min(255));
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A text that is safe in XML, in an element and in an attribute.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' => f.write_str("&#10;")?,
                '\r' => f.write_str("&#13;")?,
                '\t' => f.write_str("&#9;")?,
                // XML has no way to write these at all.
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

struct Millis(Total);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = nanos(self.0.weight) / 1000;
        write!(f, "{}.{:03} ms", micros / 1000, micros % 1000)
    }
}

struct Percent(Total, Total);

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = value(self.1, self.1).max(1);
        let percent = value(self.0, self.1) as f64 * 100.0 / whole as f64;
        write!(f, "{percent:.2}%")
    }
}
