//! Charts over time, as SVG inside the page.
//!
//! Colours are those of Okabe and Ito, which people with any colour vision tell apart; lines also
//! differ by their dashes, so a print in grey can be read.

use super::scale::{escape, range, thin, ticks, tidy};

/// Width of every chart; the page scales it.
pub(super) const WIDTH: f64 = 900.0;
/// Where the axis begins and ends.
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 10.0;
/// Room for the numbers of the axis, and its name.
const BOTTOM: f64 = 36.0;
/// Columns of a line.
const N_COLUMN: usize = 800;

/// A line.
pub(super) struct Line {
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64)>,
    /// The line is interrupted where points are further apart.
    pub(super) gap: f64,
}

/// A shaded stretch of time.
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    /// Which of the four shades.
    pub(super) shade: usize,
    pub(super) label: String,
}

/// A chart over time.
pub(super) struct Chart {
    /// Unique within the page.
    pub(super) id: &'static str,
    pub(super) title: String,
    /// What a listener hears instead of seeing it.
    pub(super) description: String,
    pub(super) unit: &'static str,
    /// First and last time, in seconds.
    pub(super) x: (f64, f64),
    /// `None`: from the data.
    pub(super) y: Option<(f64, f64)>,
    pub(super) starts_at_0: bool,
    pub(super) height: f64,
    pub(super) lines: Vec<Line>,
    pub(super) threshold: Option<f64>,
    pub(super) bands: Vec<Band>,
    /// Times that are marked at the lower edge.
    pub(super) spikes: Vec<f64>,
}

/// Where a time lies.
pub(super) fn across(x: (f64, f64), at: f64) -> f64 {
    let span = (x.1 - x.0).max(f64::MIN_POSITIVE);
    LEFT + ((at - x.0) / span).clamp(0.0, 1.0) * (RIGHT - LEFT)
}

/// The opening of an SVG picture that is read out as its title and description.
pub(super) fn open_svg(id: &str, height: f64, title: &str, description: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
        escape(title),
        escape(description),
    )
}

/// The axis of time under a chart.
pub(super) fn time_axis(x: (f64, f64), bottom: f64) -> String {
    let mut svg = format!(
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/>"
    );
    for tick in ticks(x, 10) {
        let at = across(x, tick);
        svg += &format!(
            "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom:.1}\" y2=\"{:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 4.0,
            bottom + 16.0,
            tidy(tick),
        );
    }
    svg + &format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">time in the run, s</text>",
        (LEFT + RIGHT) / 2.0,
        bottom + 31.0,
    )
}

impl Chart {
    /// The chart as a figure.
    pub(super) fn html(&self) -> String {
        let bottom = self.height - BOTTOM;
        let values = self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
        let y = self.y.unwrap_or_else(|| range(values.chain(self.threshold), self.starts_at_0));
        let up =
            |value: f64| bottom - ((value - y.0) / (y.1 - y.0)).clamp(0.0, 1.0) * (bottom - TOP);
        let mut svg = open_svg(self.id, self.height, &self.title, &self.description);
        for band in &self.bands {
            let (from, to) = (across(self.x, band.from), across(self.x, band.to));
            svg += &format!(
                "<rect class=\"band b{}\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" \
                 height=\"{:.1}\"><title>{}</title></rect>",
                band.shade % 4,
                (to - from).max(0.5),
                bottom - TOP,
                escape(&band.label),
            );
        }
        for tick in ticks(y, 4) {
            let at = up(tick);
            svg += &format!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                tidy(tick),
            );
        }
        svg += &time_axis(self.x, bottom);
        svg += &format!(
            "<text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (TOP + bottom) / 2.0,
            escape(self.unit),
        );
        if let Some(threshold) = self.threshold {
            let at = up(threshold);
            svg += &format!(
                "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"limit\" x=\"{RIGHT}\" y=\"{:.1}\" text-anchor=\"end\">threshold \
                 {}</text>",
                at - 4.0,
                tidy(threshold),
            );
        }
        for (style, line) in self.lines.iter().enumerate() {
            svg += &format!("<path class=\"l{}\" d=\"{}\"/>", style % 6, self.path(line, &up));
        }
        for spike in self.spikes.iter().take(N_COLUMN) {
            let at = across(self.x, *spike);
            svg += &format!("<path class=\"spike\" d=\"M{:.1} {bottom:.1}l4 -8l4 8z\"/>", at - 4.0);
        }
        format!("<figure>{svg}</svg>{}</figure>", self.legend())
    }

    fn path(&self, line: &Line, up: &impl Fn(f64) -> f64) -> String {
        let mut path = String::new();
        // Thinned points are further apart than volumes are.
        let n_before = line.points.len();
        let points = thin(&line.points, N_COLUMN);
        let gap = line.gap * (n_before as f64 / points.len().max(1) as f64).max(1.0) * 2.0;
        let gap = if points.len() == n_before { line.gap } else { gap };
        let mut before: Option<f64> = None;
        for (at, (time, value)) in points.iter().enumerate() {
            let follows = before.is_some_and(|before| time - before <= gap);
            let is_alone = !follows && points.get(at + 1).is_none_or(|next| next.0 - time > gap);
            let (x, y) = (across(self.x, *time), up(*value));
            path += &format!("{}{x:.1} {y:.1}", if follows { "L" } else { "M" });
            if is_alone {
                path.push_str("h0.1");
            }
            before = Some(*time);
        }
        path
    }

    fn legend(&self) -> String {
        let mut legend = String::new();
        if self.lines.len() > 1 {
            for (style, line) in self.lines.iter().enumerate() {
                legend += &format!(
                    "<span class=\"key\"><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><path \
                     class=\"l{}\" d=\"M0 4H28\"/></svg>{}</span> ",
                    style % 6,
                    escape(&line.label),
                );
            }
        }
        let mut seen: Vec<(usize, &str)> = Vec::new();
        for band in &self.bands {
            let kind = band.label.split(':').next().unwrap_or_default();
            if !seen.contains(&(band.shade, kind)) && seen.len() < 8 {
                seen.push((band.shade, kind));
                legend += &format!(
                    "<span class=\"key\"><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><rect \
                     class=\"band b{}\" width=\"28\" height=\"8\"/></svg>{}</span> ",
                    band.shade % 4,
                    escape(kind),
                );
            }
        }
        if !self.spikes.is_empty() {
            legend += "<span class=\"key\"><svg viewBox=\"0 0 8 8\" aria-hidden=\"true\"><path \
                       class=\"spike\" d=\"M0 8l4 -8l4 8z\"/></svg>spike</span>";
        }
        if legend.is_empty() { legend } else { format!("<figcaption>{legend}</figcaption>") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_interrupted_at_a_gap_and_a_single_volume_is_a_dot() {
        let chart = Chart {
            id: "a",
            title: "A <b>".to_owned(),
            description: String::new(),
            unit: "mm",
            x: (0.0, 10.0),
            y: Some((0.0, 1.0)),
            starts_at_0: true,
            height: 146.0,
            lines: Vec::new(),
            threshold: Some(0.5),
            bands: Vec::new(),
            spikes: vec![5.0],
        };
        let line = Line {
            label: "x".to_owned(),
            points: vec![(0.0, 0.0), (1.0, 1.0), (5.0, 0.5)],
            gap: 1.5,
        };
        let up = |value: f64| 110.0 - value * 100.0;
        assert_eq!(chart.path(&line, &up), "M64.0 110.0L146.4 10.0M476.0 60.0h0.1");
        let html = chart.html();
        assert!(html.contains("A &lt;b&gt;") && html.contains("threshold 0.5"), "{html}");
    }
}
