//! Medians, their spread, and how sure a ratio of two of them is.

use serde::{Deserialize, Serialize};

/// How often the rounds are drawn anew.
const RESAMPLES: usize = 2_000;

/// What lies between the smaller and the larger half of some times, and where the middle half of them lies.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub lower_quartile: f64,
    pub upper_quartile: f64,
}

/// A ratio, and the interval that holds it in 95 of 100 cases.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ratio {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

pub fn spread(times: &[f64]) -> Spread {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Spread {
        median: quantile(&sorted, 0.5),
        lower_quartile: quantile(&sorted, 0.25),
        upper_quartile: quantile(&sorted, 0.75),
    }
}

pub fn median(times: &[f64]) -> f64 {
    spread(times).median
}

/// The ratio of the medians of two ways that were timed in the same rounds. Percentile bootstrap: whole
/// rounds are drawn with replacement, so that what disturbed a round disturbs both in it.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> Ratio {
    of_rounds(ours.len().min(theirs.len()), |rounds| {
        let drawn =
            |times: &[f64]| median(&rounds.iter().map(|round| times[*round]).collect::<Vec<_>>());
        drawn(ours) / drawn(theirs)
    })
}

/// A figure of so many rounds, with the interval that drawing them anew gives. The same rounds always
/// give the same interval.
pub fn of_rounds(count: usize, figure: impl Fn(&[usize]) -> f64) -> Ratio {
    let mut random = fastrand::Rng::with_seed(7);
    let all: Vec<_> = (0..count).collect();
    let mut drawn: Vec<_> = (0..RESAMPLES)
        .map(|_| figure(&all.iter().map(|_| random.usize(..count)).collect::<Vec<_>>()))
        .collect();
    drawn.sort_unstable_by(f64::total_cmp);
    Ratio { value: figure(&all), low: quantile(&drawn, 0.025), high: quantile(&drawn, 0.975) }
}

/// The slope of the straight line nearest to these points (least squares), for what one more of `x` costs.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / count, y / count);
    let covariance: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    covariance / variance
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        let spread = spread(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!(
            (spread.median, spread.lower_quartile, spread.upper_quartile),
            (2.5, 1.75, 3.25)
        );
    }

    #[test]
    fn what_disturbs_both_leaves_the_ratio_sure() {
        let floor: Vec<_> = (0..40).map(|round| 100.0 + f64::from(round % 7) * 50.0).collect();
        let ours: Vec<_> = floor.iter().map(|time| time * 1.1).collect();
        let found = ratio(&ours, &floor);
        assert!((found.value - 1.1).abs() < 1e-9 && found.high - found.low < 1e-9, "{found:?}");
    }

    #[test]
    fn what_differs_by_chance_leaves_it_unsure() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut times = || (0..40).map(|_| 100.0 + 20.0 * random.f64()).collect::<Vec<_>>();
        let found = ratio(&times(), &times());
        assert!(found.low < 1.0 && 1.0 < found.high, "{found:?}");
    }

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]) - 2.0).abs() < 1e-9);
    }
}
