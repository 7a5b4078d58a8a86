//! A day of an origin as a line of characters.

use wcdn_proto::pb::admin::v1::HealthCell;

/// From nothing answered to everything.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Where nobody asked.
const NOTHING: char = '·';

/// Each of these many cells as one character, the oldest first.
pub(super) fn draw(cells: &[HealthCell], each: usize) -> String {
    cells.chunks(each.max(1)).map(character).collect()
}

fn character(cells: &[HealthCell]) -> char {
    let good: u64 = cells.iter().map(|cell| u64::from(cell.good)).sum();
    let bad: u64 = cells.iter().map(|cell| u64::from(cell.bad)).sum();
    let steps = LEVELS.len() as u64 - 1;
    // Only where everything was answered the line is full.
    let level = (good * steps).checked_div(good + bad);
    let level = level.and_then(|level| usize::try_from(level).ok());
    level.and_then(|level| LEVELS.get(level)).copied().unwrap_or(NOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(good: u32, bad: u32) -> HealthCell {
        HealthCell { from_ms: 0, good, bad }
    }

    #[test]
    fn a_cell_is_as_high_as_its_share_of_answers() {
        let cells = [cell(0, 0), cell(6, 0), cell(5, 1), cell(3, 3), cell(0, 6), cell(999, 1)];
        assert_eq!(draw(&cells, 1), "·█▆▄▁▇");
        assert_eq!(draw(&cells, 2), "█▅▇");
        assert_eq!(draw(&[], 4), "");
    }
}
