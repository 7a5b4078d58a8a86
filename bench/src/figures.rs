//! Figures beside what was promised of them.

use std::{fmt, time::Duration};

/// A small table.
#[derive(Debug)]
pub(crate) struct Figures {
    title: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    value: String,
    target: Option<(String, bool)>,
}

/// How a figure is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Millis,
    Seconds,
    Times,
    Count,
    MiB,
    PerSecond,
    KilobytesPerSecond,
    Percent,
}

impl Unit {
    fn text(self, value: f64) -> String {
        match self {
            Self::Millis => format!("{value:.2} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Times => format!("{value:.2}x"),
            Self::Count => format!("{value:.0}"),
            Self::MiB => format!("{value:.1} MiB"),
            Self::PerSecond => format!("{value:.0}/s"),
            Self::KilobytesPerSecond => format!("{value:.2} kB/s"),
            Self::Percent => format!("{value:.3} %"),
        }
    }
}

impl Figures {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    /// A figure of which nothing was promised.
    pub(crate) fn note(&mut self, what: impl Into<String>, value: f64, unit: Unit) {
        self.rows.push(Row { what: what.into(), value: unit.text(value), target: None });
    }

    /// A figure that should be at most `most`.
    pub(crate) fn at_most(&mut self, what: impl Into<String>, value: f64, most: f64, unit: Unit) {
        let target = Some((format!("≤ {}", unit.text(most)), value <= most));
        self.rows.push(Row { what: what.into(), value: unit.text(value), target });
    }

    /// A figure that should be at least `least`.
    pub(crate) fn at_least(&mut self, what: impl Into<String>, value: f64, least: f64, unit: Unit) {
        let target = Some((format!("≥ {}", unit.text(least)), value >= least));
        self.rows.push(Row { what: what.into(), value: unit.text(value), target });
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n  {:<58} {:>11}  {:>13}", self.title, "", "measured", "target")?;
        for Row { what, value, target } in &self.rows {
            match target {
                None => writeln!(f, "  {what:<58} {value:>11}")?,
                Some((target, true)) => writeln!(f, "  {what:<58} {value:>11}  {target:>13}")?,
                Some((target, false)) => {
                    writeln!(f, "  {what:<58} {value:>11}  {target:>13}  missed")?;
                }
            }
        }
        Ok(())
    }
}

/// Milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value that a share of all values does not exceed.
///
/// # Panics
/// When there are none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length"
    )]
    let index = (rank as usize).clamp(1, values.len()) - 1;
    values[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.5), 50.0);
        assert_eq!(quantile(&mut values, 0.99), 99.0);
        assert_eq!(quantile(&mut values, 1.0), 100.0);
        assert_eq!(quantile(&mut [7.0], 0.01), 7.0);
    }

    #[test]
    fn a_figure_beyond_its_target_says_so() {
        let mut figures = Figures::new("speed");
        figures.at_most("slow", 2.0, 1.0, Unit::Times);
        figures.at_most("fast", 0.5, 1.0, Unit::Times);
        figures.at_least("few", 1.0, 2.0, Unit::Count);
        figures.at_least("many", 2.0, 2.0, Unit::Count);
        let text = figures.to_string();
        assert!(text.lines().any(|line| line.contains("slow") && line.ends_with("missed")));
        assert!(text.lines().any(|line| line.contains("fast") && line.ends_with("≤ 1.00x")));
        assert!(text.lines().any(|line| line.contains("few") && line.ends_with("missed")));
        assert!(text.lines().any(|line| line.contains("many") && line.ends_with("≥ 2")));
    }
}
