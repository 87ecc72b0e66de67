//! Curves of how costs grow, as SVG: the number of keys to the right, the cost upwards, both in powers of ten.

use super::System;
use super::figures::{Collection, Unit};
use super::scenario::SIZES;
use std::fmt::Write as _;

/// A picture, and the figures in it: each `{what} with {size} keys`.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    pub file: &'static str,
    title: &'static str,
    what: &'static str,
}

/// In docs/performance.md.
pub const CURVES: [Curve; 4] = [
    Curve {
        file: "growth-put.svg",
        title: "put: server CPU each, one member, 64 clients",
        what: "put",
    },
    Curve {
        file: "growth-get.svg",
        title: "linearizable get: server CPU each, one member, 64 clients",
        what: "get",
    },
    Curve {
        file: "growth-list.svg",
        title: "list of 1000 from any key on: server CPU each",
        what: "list",
    },
    Curve {
        file: "growth-memory.svg",
        title: "resident memory of one member",
        what: "memory",
    },
];

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 40.0;
const COLOURS: [(System, &str); 2] = [(System::Quorate, "#1a7f64"), (System::Etcd, "#b4462b")];

/// One system's curve.
struct Line {
    system: System,
    colour: &'static str,
    /// Powers of ten: keys, cost.
    points: Vec<(f64, f64)>,
}

/// None if nothing of it was measured.
pub fn svg(curve: &Curve, all: &Collection) -> Option<String> {
    let mut unit = Unit::Micros;
    let mut lines = Vec::new();
    for (system, colour) in COLOURS {
        let mut points = Vec::new();
        for (count, size) in SIZES {
            let series = all.get(&format!("{} with {size} keys", curve.what));
            if let Some((series, value)) = series.and_then(|it| Some((it, it.of(system)?))) {
                unit = series.unit;
                points.push((super::load::approximate(count).log10(), value.log10()));
            }
        }
        if !points.is_empty() {
            lines.push(Line {
                system,
                colour,
                points,
            });
        }
    }
    let heights = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().map(|at| at.1))
    };
    let low = heights().fold(f64::INFINITY, f64::min).floor();
    let high = heights().fold(f64::NEG_INFINITY, f64::max).ceil();
    if !low.is_finite() {
        return None;
    }
    let high = high.max(low + 1.0);
    let (from, to) = (4.0, 7.0);
    let x = |at: f64| LEFT + (at - from) / (to - from) * (WIDTH - LEFT - RIGHT);
    let y = |at: f64| HEIGHT - BOTTOM - (at - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut text = String::new();
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    add(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    ));
    add(format!(
        "<text x=\"{LEFT}\" y=\"20\">{}</text>",
        curve.title
    ));
    let mut power = low;
    while power <= high {
        let at = y(power);
        add(format!(
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            unit.show(10_f64.powf(power))
        ));
        power += 1.0;
    }
    for (count, size) in SIZES {
        add(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{size}</text>",
            x(super::load::approximate(count).log10()),
            HEIGHT - BOTTOM + 18.0
        ));
    }
    for line in &lines {
        let Line {
            system,
            colour,
            points,
        } = line;
        let mut path = String::new();
        for (number, (right, up)) in points.iter().enumerate() {
            let word = if number == 0 { 'M' } else { 'L' };
            // Writing to a string cannot fail.
            write!(path, "{word}{:.1} {:.1}", x(*right), y(*up)).unwrap_or_default();
        }
        add(format!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        ));
        for (right, up) in points {
            add(format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(*right),
                y(*up)
            ));
        }
        if let Some((right, up)) = points.last() {
            add(format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{system} {}</text>",
                x(*right) + 8.0,
                y(*up) + 4.0,
                unit.show(10_f64.powf(*up))
            ));
        }
    }
    add("</svg>".to_owned());
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Figure;

    #[test]
    fn a_curve_has_a_point_for_every_size_that_was_measured() {
        let mut all = Collection::default();
        for (size, value) in [("10k", 10.0), ("100k", 12.0), ("1M", 15.0)] {
            for system in [System::Quorate, System::Etcd] {
                let name = format!("put with {size} keys");
                let unit = Unit::Micros;
                all.add(system, Figure { name, unit, value });
            }
        }
        let [put, get, ..] = CURVES;
        let picture = svg(&put, &all).unwrap();
        assert_eq!(picture.matches("<circle").count(), 6);
        assert!(picture.contains("quorate 15.0 us"));
        assert!(svg(&get, &all).is_none());
    }
}
