//! "Did you mean": the known word that a typing error is closest to.

/// The candidate that `word` is most likely a misspelling of, if any is close enough: one edit in
/// three characters.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(word: &str, candidate: &str) -> usize {
    // Case is a common slip and no edit; the cost is quadratic, so longer words aren't compared.
    const MOST: usize = 100;
    if word.len() > MOST {
        return usize::MAX;
    }
    strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase())
}
