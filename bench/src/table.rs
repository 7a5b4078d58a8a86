//! The results as a person reads them.

use std::fmt::Write as _;

use crate::{
    hits::{Cell, Plan},
    target::Target,
};

/// Foreign load beyond which a cell is marked.
const FOREIGN: f64 = 0.10;

/// One target at one size, over its rounds.
struct Row {
    target: Target,
    per_second: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
    foreign: f64,
    fetched: bool,
}

/// A table for each size: medians over rounds, and ratios to the best of the other caches.
pub(crate) fn text(plan: &Plan, cells: &[Cell]) -> String {
    let mut text = String::new();
    for size in &plan.sizes {
        let rows: Vec<Row> =
            plan.targets.iter().filter_map(|target| row(cells, *target, *size)).collect();
        let best = |of: fn(&Row) -> f64, better: fn(f64, f64) -> f64| {
            rows.iter().filter(|row| row.target.is_peer()).map(of).reduce(better)
        };
        let (fastest, cheapest) =
            (best(|row| row.per_second, f64::max), best(|row| row.cpu, f64::min));
        writeln!(
            text,
            "hot hits of {size} bytes\n  {:<12} {:<8} {:>10} {:>7} {:>11} {:>7} {:>9} {:>9}",
            "", "version", "req/s", "ratio", "CPU-ms/1k", "ratio", "p50 ms", "p99 ms"
        )
        .expect("writing to a string succeeds");
        for row in &rows {
            let mark = match (row.foreign > FOREIGN, row.fetched) {
                (_, true) => "  ! not all hits",
                (true, _) => "  ~ disturbed",
                _ => "",
            };
            writeln!(
                text,
                "  {:<12} {:<8} {:>10.0} {:>7} {:>11.2} {:>7} {:>9.3} {:>9.3}{mark}",
                row.target.name(),
                row.target.version(),
                row.per_second,
                ratio(row.per_second, fastest),
                row.cpu,
                ratio(row.cpu, cheapest),
                row.p50,
                row.p99,
            )
            .expect("writing to a string succeeds");
        }
        text.push('\n');
    }
    text.push_str(
        "Ratios are to the best of nginx, varnish and haproxy in this run. Medians over rounds.\n\
         ~: something else used over a tenth of the server's core. Server on core 0, one worker;\n\
         wrk and origin on core 1.\n",
    );
    text
}

fn ratio(value: f64, best: Option<f64>) -> String {
    best.map_or_else(|| "-".to_owned(), |best| format!("{:.2}x", value / best))
}

fn row(cells: &[Cell], target: Target, size: usize) -> Option<Row> {
    let of_row: Vec<&Cell> =
        cells.iter().filter(|cell| cell.target == target && cell.size == size).collect();
    let middle = |of: fn(&Cell) -> f64| median(of_row.iter().map(|cell| of(cell)).collect());
    Some(Row {
        target,
        per_second: middle(|cell| cell.load.per_second)?,
        cpu: middle(|cell| cell.cpu_ms_per_1k)?,
        p50: middle(|cell| cell.load.p50_ms)?,
        p99: middle(|cell| cell.load.p99_ms)?,
        foreign: middle(|cell| cell.foreign)?,
        fetched: of_row.iter().any(|cell| cell.fetched),
    })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
