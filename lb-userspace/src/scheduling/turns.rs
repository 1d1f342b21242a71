//! Weighted round-robin, smooth: a backend's turns lie as far apart as its weight allows (the algorithm
//! of nginx, ngx_http_upstream_round_robin.c).

use super::Candidate;

/// Whose each of `turns` turns is, as an index into `candidates`; `None` everywhere if none is
/// available.
pub fn turns(turns: usize, candidates: &[Candidate<'_>]) -> Vec<Option<usize>> {
    let weight = |c: &Candidate<'_>| i64::from(if c.available { c.weight } else { 0 });
    let total: i64 = candidates.iter().map(weight).sum();
    let mut saved = vec![0i64; candidates.len()];
    let mut next = || {
        for (saved, candidate) in saved.iter_mut().zip(candidates) {
            *saved += weight(candidate);
        }
        // The first of the richest: `max_by_key` gives the last.
        let takers = (0..candidates.len()).filter(|&n| weight(&candidates[n]) > 0);
        let richest = takers.rev().max_by_key(|&n| saved[n])?;
        saved[richest] -= total;
        Some(richest)
    };
    (0..turns).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[u16]) -> Vec<Candidate<'static>> {
        let candidate = |&weight: &u16| Candidate {
            name: "",
            weight,
            available: true,
        };
        weights.iter().map(candidate).collect()
    }

    #[test]
    fn heavy_backends_are_spread_among_the_others() {
        let expected = [0, 0, 1, 0, 2, 0, 0].map(Some);
        assert_eq!(turns(7, &candidates(&[5, 1, 1])), expected);
    }

    #[test]
    fn equal_backends_take_turns() {
        let expected = [0, 1, 2, 0, 1, 2].map(Some);
        assert_eq!(turns(6, &candidates(&[7, 7, 7])), expected);
    }

    #[test]
    fn who_is_drained_or_away_has_no_turn() {
        let mut three = candidates(&[1, 0, 1]);
        assert_eq!(turns(4, &three), [0, 2, 0, 2].map(Some));
        three[0].available = false;
        assert_eq!(turns(2, &three), [2, 2].map(Some));
        three[2].available = false;
        assert_eq!(turns(2, &three), [None, None]);
    }

    #[test]
    fn shares_come_out_to_one_turn() {
        let weights = [3, 100, 41, 17];
        let all = turns(1021, &candidates(&weights));
        let total: u16 = weights.iter().sum();
        for (n, weight) in weights.into_iter().enumerate() {
            let has = all.iter().filter(|owner| **owner == Some(n)).count() as f64;
            let fair = 1021.0 * f64::from(weight) / f64::from(total);
            assert!((has - fair).abs() <= 1.0, "{n}: {has} of {fair}");
        }
    }
}
