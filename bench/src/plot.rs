//! Cost against size, both in powers of ten.

use std::path::Path;

use plotters::prelude::*;

use crate::measure::Result;
use crate::results::{Kind, Row};
use crate::write::points;

const SIZE: (u32, u32) = (900, 560);

/// What tells one line from another where colours do not.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(120, 94, 240),
    RGBColor(90, 90, 90),
];

/// A way's name and kind, and its points.
type Line<'a> = (&'a str, Kind, Vec<(f64, f64)>);

/// Draws the medians of every way of one series: floors thin, ours thick, peers as points.
pub fn write(file: &Path, row: &Row, series: &str) -> Result<()> {
    let tables = points(row, series);
    let mut lines: Vec<Line> = Vec::new();
    for (size, table) in &tables {
        for line in &table.lines {
            let point = (*size as f64, line.spread().median / 1e3);
            match lines.iter_mut().find(|(name, ..)| *name == line.name) {
                Some((.., points)) => points.push(point),
                None => lines.push((&line.name, line.kind, vec![point])),
            }
        }
    }
    let all = || lines.iter().flat_map(|(.., points)| points);
    let (low, high) =
        all().fold((f64::MAX, 0.0_f64), |(low, high), (_, y)| (low.min(*y), high.max(*y)));
    let last = tables.last().map_or(1.0, |(size, _)| *size as f64);
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}, {series}", row.title), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((0.9..last * 1.1).log_scale(), (low * 0.8..high * 1.3).log_scale())?;
    chart.configure_mesh().x_desc("N").y_desc("ms").max_light_lines(0).draw()?;
    for (index, (name, kind, points)) in lines.into_iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let style = color.stroke_width(if kind == Kind::Ours { 3 } else { 1 });
        let dots = chart.draw_series(points.iter().map(|point| match kind {
            Kind::Peer => TriangleMarker::new(*point, 5, color.filled()).into_dyn(),
            _ => Circle::new(*point, 3, color.filled()).into_dyn(),
        }))?;
        dots.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        chart.draw_series(LineSeries::new(points, style))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
