//! The pictures of a report: SVG drawn by plotters, for light and dark pages and for narrow and wide
//! ones.
//!
//! Ink takes the page's text colour and the ground is transparent; other colours are Okabe and Ito's
//! or close to them, which people with colour-blindness tell apart. Tooltips and links lie over the
//! drawing, since plotters knows neither.

pub mod cost;
pub mod curves;
pub mod forest;
pub mod heat_map;
pub mod lines;
pub mod size;

use std::fmt::Write;

use anyhow::{anyhow, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::way::Way;

/// A picture and what it shows.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// Its anchor, and its file's name without `.svg`.
    pub id: String,
    pub title: String,
    pub note: String,
    /// The runs that it was drawn from.
    pub runs: Vec<String>,
    /// In pixels at the drawing's own scale.
    pub width: u32,
    #[serde(skip)]
    pub svg: String,
    /// What it shows, in words.
    #[serde(skip)]
    pub values: Vec<Value>,
    /// The same for narrow pages, with its width.
    #[serde(skip)]
    pub narrow: Option<(u32, String)>,
}

/// What a spot of a picture says, and where that comes from.
#[derive(Debug, Clone)]
pub struct Value {
    pub text: String,
    pub link: Option<String>,
}

/// A drawing and what its spots say.
pub struct Drawn {
    pub svg: String,
    pub values: Vec<Value>,
}

/// Stands for the page's text colour until the drawing is finished.
pub const INK: RGBColor = RGBColor(1, 2, 3);
/// Size of letters as plotters counts it: 13 pixels, a font being 1.24 times as high as its size.
pub const TEXT: i32 = 16;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What lies over a drawing: spots with a tooltip and perhaps a link.
#[derive(Default)]
pub struct Overlay {
    svg: String,
    values: Vec<Value>,
}

impl Overlay {
    /// A spot from `(x, y)`, `(width, height)` large.
    pub fn spot(&mut self, at: (i32, i32), size: (i32, i32), tooltip: &str, link: Option<&str>) {
        self.values.push(Value {
            text: tooltip.to_owned(),
            link: link.map(str::to_owned),
        });
        let tooltip = escape(tooltip);
        let (x, y, w, h) = (at.0, at.1, size.0, size.1);
        let mut spot = format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"none\" \
             pointer-events=\"all\"><title>{tooltip}</title></rect>"
        );
        if let Some(link) = link {
            spot = format!("<a href=\"{}\">{spot}</a>", escape(link));
        }
        self.svg.push_str(&spot);
        self.svg.push('\n');
    }
}

/// Draws an SVG of the given size; `draw` gets the area and the overlay.
pub fn drawing(
    size: (u32, u32),
    title: &str,
    draw: impl FnOnce(&Area, &mut Overlay) -> Result<()>,
) -> Result<Drawn> {
    let mut svg = String::new();
    let mut overlay = Overlay::default();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area, &mut overlay)?;
        area.present().map_err(failed)?;
    }
    let (_, body) = svg
        .split_once('>')
        .ok_or_else(|| anyhow!("plotters drew nothing"))?;
    let body = body.trim_end().trim_end_matches("</svg>");
    let body = body.replace("#010203", "currentColor");
    let mut out = String::new();
    let (width, height) = size;
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{}\">",
        escape(title)
    )?;
    write!(out, "{}\n{}</svg>", body.trim(), overlay.svg)?;
    Ok(Drawn {
        svg: out,
        values: overlay.values,
    })
}

/// What a file of its own needs besides: a size, and ink for light and dark.
pub fn standalone(svg: &str, width: u32) -> String {
    const STYLE: &str =
        "<style>svg{color:#1b1f24}@media(prefers-color-scheme:dark){svg{color:#e6e8eb}}\
                         </style>";
    let width = format!("<svg width=\"{width}\" ");
    let svg = svg.replacen("<svg ", &width, 1);
    format!("{}\n", svg.replacen('>', &format!(">\n{STYLE}"), 1))
}

/// `&`, `<`, `>` and quotes as XML wants them.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A name that can be an anchor and a file.
pub fn slug(text: &str) -> String {
    let letters = text.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() || "-_.+".contains(c) => c.to_ascii_lowercase(),
        '−' => '-',
        _ => '-',
    });
    let slug: String = letters.collect();
    let words: Vec<&str> = slug.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-")
}

/// A picture's id: `kind` and what tells it apart, as far as a file's name may be long; beyond that a
/// checksum tells it apart.
pub fn short_id(kind: &str, what: &str) -> String {
    const MOST: usize = 60;
    let name = format!("{kind}-{}", slug(what));
    if name.len() <= MOST {
        return name;
    }
    let digest = format!("{:x}", Sha256::digest(what));
    format!(
        "{}-{}",
        name[..MOST - 9].trim_end_matches('-'),
        &digest[..8]
    )
}

/// plotters' errors are not `Sync` in all versions; their text is.
pub fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

/// Text of a size at a place.
pub fn write_text(
    area: &Area,
    text: &str,
    at: (i32, i32),
    size: i32,
    anchor: (HPos, VPos),
    color: RGBColor,
) -> Result<()> {
    let style = ("sans-serif", size)
        .into_font()
        .color(&color)
        .pos(Pos::new(anchor.0, anchor.1));
    area.draw(&Text::new(text.to_owned(), at, style))
        .map_err(failed)
}

/// About how wide a text is; without fonts nobody knows exactly.
pub fn width_of(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * 0.5).ceil() as i32
}

/// The colour of a way to train in every picture.
pub fn color(way: Way) -> RGBColor {
    match way {
        Way::Single | Way::AlignedSingle => RGBColor(0x7a, 0x80, 0x88),
        Way::Pair => RGBColor(0x1f, 0x83, 0xc9),
        Way::AlignedPair | Way::AlignedTransfer => RGBColor(0xd5, 0x5e, 0x00),
        Way::Stilts | Way::Transfer => RGBColor(0x00, 0x9e, 0x73),
        Way::All => RGBColor(0xb5, 0x65, 0xa7),
        Way::AlignedAll | Way::AlignedStilts => RGBColor(0xb8, 0x86, 0x0b),
    }
}
