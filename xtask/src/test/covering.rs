//! A small set of combinations in which every pair of values of two dimensions occurs.

use std::collections::BTreeSet;

/// All combinations of values (given by their numbers) of dimensions of these sizes.
pub(crate) fn all(sizes: &[usize]) -> Vec<Vec<usize>> {
    sizes.iter().fold(vec![Vec::new()], |combinations, &size| {
        combinations
            .iter()
            .flat_map(|combination| {
                (0..size).map(move |value| {
                    let mut longer = combination.clone();
                    longer.push(value);
                    longer
                })
            })
            .collect()
    })
}

/// Combinations that cover all pairs: greedily the one that covers most new ones.
pub(crate) fn pairs(sizes: &[usize]) -> Vec<Vec<usize>> {
    let candidates = all(sizes);
    let mut open: BTreeSet<Pair> = candidates
        .iter()
        .flat_map(|candidate| pairs_of(candidate))
        .collect();
    let mut chosen = Vec::new();
    while !open.is_empty() {
        let gain = |candidate: &Vec<usize>| {
            pairs_of(candidate)
                .filter(|pair| open.contains(pair))
                .count()
        };
        // The first of the best, so that the choice is the same every time.
        let Some(best) = candidates
            .iter()
            .rev()
            .max_by_key(|candidate| gain(candidate))
        else {
            break;
        };
        for pair in pairs_of(best) {
            open.remove(&pair);
        }
        chosen.push(best.clone());
    }
    chosen
}

/// (dimension, value) twice.
type Pair = ((usize, usize), (usize, usize));

fn pairs_of(combination: &[usize]) -> impl Iterator<Item = Pair> + '_ {
    let numbered = || combination.iter().copied().enumerate();
    numbered().flat_map(move |first| {
        numbered()
            .filter(move |second| second.0 > first.0)
            .map(move |second| (first, second))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{all, pairs, pairs_of};

    #[test]
    fn every_pair_occurs_in_few() {
        let sizes = [2, 2, 3, 3];
        let wanted: BTreeSet<_> = all(&sizes).iter().flat_map(|c| pairs_of(c)).collect();
        let chosen = pairs(&sizes);
        let covered: BTreeSet<_> = chosen.iter().flat_map(|c| pairs_of(c)).collect();
        assert_eq!(wanted, covered);
        assert_eq!(all(&sizes).len(), 36);
        assert!((9..=11).contains(&chosen.len()), "{}", chosen.len());
    }
}
