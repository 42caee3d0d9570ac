//! The carpet, and the map of tSNR.

use super::{
    absent,
    chart::{LEFT, RIGHT, WIDTH, across, open_svg, time_axis},
    motion,
    scale::tidy,
    section,
};
use crate::offline::report::{
    carpet::WHITE_Z, error::ReportError, facts::RunFacts, judge::Judged, picture,
    voxels::MAX_VOXELS,
};

/// Height of the carpet.
const CARPET: f64 = 300.0;

/// Names of the directions along the axes of a matrix.
const DIRECTIONS: [[&str; 2]; 3] =
    [["left", "right"], ["posterior", "anterior"], ["inferior", "superior"]];

/// The carpet with FD (or DVARS) above it.
pub(super) fn carpet(
    run: &RunFacts,
    judged: &Judged,
    span: (f64, f64),
) -> Result<String, ReportError> {
    let title = "Carpet";
    let Some(carpet) = &run.carpet else { return Ok(section(title, &no_map(run))) };
    let Some(picture) = picture::carpet(carpet)? else {
        return Ok(section(title, &no_map(run)));
    };
    let mut html = format!(
        "<p>Each row is one of {} voxels with signal, first slice at the top; each column is {}. \
         Black is {} s.d. below the voxel's mean and white {} above it, after a straight line was \
         taken out. Vertical stripes are changes of the whole brain.</p>",
        picture.height,
        match carpet.width {
            1 => "one volume".to_owned(),
            n => format!("the mean of {n} volumes"),
        },
        tidy(WHITE_Z),
        tidy(WHITE_Z),
    );
    // Above the carpet, the motion that explains its stripes.
    let (above, labels) = match (judged.fd, judged.dvars) {
        (Some(fd), _) => (Some(fd), ("carpet-fd", "FD", "FD, mm")),
        (None, dvars) => (dvars, ("carpet-dvars", "DVARS", "DVARS")),
    };
    if let Some(stats) = above {
        let is_fd = judged.fd.is_some();
        html += &motion::chart(run, span, stats, Vec::new(), labels, |row| {
            if is_fd { row.fd_mm } else { row.dvars }
        });
    }
    let (first, end) = carpet.span();
    let at = |index: u32| f64::from(index) * run.tr_s();
    let (left, right) = (across(span, at(first)), unclamped(span, at(end)));
    let mut svg = open_svg(
        "carpet",
        CARPET + 46.0,
        "Carpet of voxels over time",
        "A grey picture: voxels with signal from top to bottom, time from left to right.",
    );
    svg += &format!(
        "<svg x=\"{LEFT}\" y=\"4\" width=\"{0}\" height=\"{CARPET}\" viewBox=\"{LEFT} 4 {0} \
         {CARPET}\"><image href=\"{1}\" x=\"{left:.2}\" y=\"4\" width=\"{2:.2}\" \
         height=\"{CARPET}\" preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\"/>\
         </svg><rect class=\"frame\" x=\"{LEFT}\" y=\"4\" width=\"{0}\" height=\"{CARPET}\"/>",
        RIGHT - LEFT,
        picture.url,
        (right - left).max(1.0),
    );
    svg += &time_axis(span, CARPET + 8.0);
    svg += &format!(
        "<text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">voxels, slice \
         by slice</text>",
        CARPET / 2.0,
    );
    html += &format!("<figure>{svg}</svg></figure>");
    Ok(section(title, &html))
}

/// Where a time lies, beyond the axis, too: a last column may reach further than the run.
fn unclamped(span: (f64, f64), at: f64) -> f64 {
    LEFT + (at - span.0) / (span.1 - span.0).max(f64::MIN_POSITIVE) * (RIGHT - LEFT)
}

/// The map of tSNR.
pub(super) fn tsnr(run: &RunFacts) -> Result<String, ReportError> {
    let title = "Temporal signal-to-noise ratio";
    let Some(maps) = &run.maps else { return Ok(section(title, &no_map(run))) };
    let mosaic = picture::mosaic(maps, run.header.space.matrix())?;
    let median = maps.tsnr_median.map_or_else(|| "–".to_owned(), tidy);
    let affine = run.header.space.affine();
    let direction = |column: usize| {
        let size = |row: usize| affine[row][column].abs();
        let row = (0..3).max_by(|a, b| size(*a).total_cmp(&size(*b))).unwrap_or(0);
        DIRECTIONS[row][usize::from(affine[row][column] > 0.0)]
    };
    let step = |n: usize, what: &str| match n {
        1 => String::new(),
        n => format!(" Of {n} {what} one is shown."),
    };
    let html = format!(
        "<p>Mean over s.d. after a straight line was taken out, over {} volumes, of all voxels of \
         the recorded volumes, before any stage. The median over the {} voxels with signal is \
         <strong>{median}</strong>.</p>\n<figure><img class=\"map\" src=\"{}\" width=\"{}\" \
         height=\"{}\" alt=\"Map of tSNR: all slices side by side, bright where tSNR is high. The \
         median over voxels with signal is {median}.\">{}<figcaption>First slice at the top left, \
         further ones toward {}. In each slice the patient's {} is to the right and {} is up.{}{}\
         </figcaption></figure>",
        maps.n_volume,
        maps.n_brain,
        mosaic.picture.url,
        mosaic.picture.width,
        mosaic.picture.height,
        bar(maps.tsnr_high),
        direction(2),
        direction(0),
        direction(1),
        step(mosaic.slice_step, "slices"),
        step(mosaic.voxel_step, "voxels along an axis"),
    );
    Ok(section(title, &html))
}

/// The bar that says which grey is which value.
fn bar(high: f64) -> String {
    let mut svg =
        open_svg("bar", 40.0, "Scale of the map", "Black is 0, white the value at the right.");
    let (left, width) = (WIDTH / 2.0 - 150.0, 300.0);
    svg += &format!(
        "<defs><linearGradient id=\"grey\"><stop stop-color=\"#000\"/><stop offset=\"1\" \
         stop-color=\"#fff\"/></linearGradient></defs><rect x=\"{left}\" y=\"8\" width=\"{width}\" \
         height=\"10\" fill=\"url(#grey)\" stroke=\"#888\"/>"
    );
    for share in [0.0, 0.5, 1.0] {
        let anchor = format!("x=\"{:.1}\" y=\"34\" text-anchor=\"middle\"", left + share * width);
        svg += &format!("<text {anchor}>{}</text>", tidy(share * high));
    }
    svg + "</svg>"
}

fn no_map(run: &RunFacts) -> String {
    absent(match run.header.space.n_voxel() > MAX_VOXELS {
        true => "Not computed: the volumes have more than 4 million voxels.",
        false => "Not computed: it needs at least 3 recorded volumes with signal.",
    })
}
