//! Names that a misspelt one may have meant.

/// Up to two of `names` within a third of their length in edits of `wrong`, nearest first; case
/// does not count.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    // Distances cost the product of both lengths.
    const LONGEST: usize = 64;
    let wrong = wrong.to_lowercase();
    let mut ranked: Vec<(usize, &str)> = names
        .filter(|name| name.len() <= LONGEST && wrong.len() <= LONGEST)
        .map(|name| (distance(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len().max(wrong.len()) / 3).max(1))
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(2).map(|(_, name)| name).collect()
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["carrier", "origin", "dep_delay"];
        assert_eq!(nearest("carier", names.into_iter()), ["carrier"]);
        assert_eq!(nearest("CARRIER", names.into_iter()), ["carrier"]);
        assert!(nearest("window_start", names.into_iter()).is_empty());
    }
}
