//! From durations to figures.

/// What was measured for one case, in nanoseconds.
///
/// The kernel's clock may tick in steps of ten nanoseconds or more, and then single durations and
/// their median come in such steps. A mean does not: where within a step a packet starts is chance.
/// Means leave out the slowest hundredth, which are interrupts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Half of the packets took no longer.
    pub median: u32,
    /// 99 of 100 packets took no longer.
    pub p99: u32,
    /// The turns' means: the one in the middle.
    pub mean: f64,
    /// The turns' means: the lowest.
    pub lowest: f64,
    /// The turns' means: the highest.
    pub highest: f64,
}

impl Figures {
    /// Of durations turn by turn. There is at least one turn, and none is empty.
    pub(super) fn of(turns: &[Vec<u32>]) -> Self {
        let mut means: Vec<f64> = turns
            .iter()
            .map(|turn| trimmed_mean(&sorted(turn)))
            .collect();
        means.sort_unstable_by(f64::total_cmp);
        let all = sorted(&turns.concat());
        Self {
            median: all[(all.len() - 1) / 2],
            p99: all[(all.len() - 1) * 99 / 100],
            mean: (means[(means.len() - 1) / 2] + means[means.len() / 2]) / 2.0,
            lowest: means[0],
            highest: means[means.len() - 1],
        }
    }
}

fn sorted(durations: &[u32]) -> Vec<u32> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted
}

fn trimmed_mean(sorted: &[u32]) -> f64 {
    let kept = &sorted[..(sorted.len() * 99).div_ceil(100)];
    kept.iter().map(|&ns| f64::from(ns)).sum::<f64>() / kept.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_interrupt_in_a_hundred_changes_no_mean() {
        let mut durations = vec![90; 99];
        durations.insert(50, 40_000);
        let figures = Figures::of(&[durations]);
        assert_eq!((figures.median, figures.p99), (90, 90));
        assert_eq!(figures.mean, 90.0);
        assert_eq!(figures.lowest, 90.0);
    }

    #[test]
    fn one_noisy_turn_changes_no_mean() {
        let figures = Figures::of(&[vec![90; 10], vec![400; 10], vec![92; 10]]);
        assert_eq!(figures.mean, 92.0);
        assert_eq!((figures.lowest, figures.highest), (90.0, 400.0));
    }

    #[test]
    fn the_mean_sees_between_the_ticks() {
        let durations: Vec<u32> = (0..1000)
            .map(|n| if n % 10 < 3 { 100 } else { 90 })
            .collect();
        let figures = Figures::of(&[durations]);
        assert_eq!((figures.median, figures.p99), (90, 100));
        assert!((figures.mean - 93.0).abs() < 0.2, "{}", figures.mean);
    }
}
