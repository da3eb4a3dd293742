//! A persistent ordered map: a copy costs nothing, and shares with the original all that neither changes.
//!
//! An AVL tree of reference-counted entries. A change copies the entries on its path that are shared, and changes those
//! that are not in place. [`Work`] counts the entries visited.

use std::borrow::Borrow;
use std::cell::Cell;
use std::cmp::Ordering;
use std::sync::Arc;

/// Counts steps: entries visited, nodes handled. What a request costs, the same on every machine.
#[derive(Debug, Default)]
pub struct Work(Cell<u64>);

impl Work {
    /// Adds steps.
    pub(crate) fn add(&self, steps: u64) {
        self.0.set(self.0.get().wrapping_add(steps));
    }

    /// Steps so far.
    pub fn total(&self) -> u64 {
        self.0.get()
    }
}

type Link<K, V> = Option<Arc<Entry<K, V>>>;

#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    height: u8,
    left: Link<K, V>,
    right: Link<K, V>,
}

/// The map.
#[derive(Clone, Debug)]
pub(crate) struct Map<K, V> {
    root: Link<K, V>,
    count: usize,
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Map {
            root: None,
            count: 0,
        }
    }
}

fn height<K, V>(link: &Link<K, V>) -> u8 {
    link.as_ref().map_or(0, |entry| entry.height)
}

impl<K: Ord + Clone, V: Clone> Entry<K, V> {
    fn measure(&mut self) {
        self.height = height(&self.left).max(height(&self.right)) + 1;
    }

    /// Positive: the left side is higher.
    fn balance(&self) -> i16 {
        i16::from(height(&self.left)) - i16::from(height(&self.right))
    }
}

fn rotate_right<K: Ord + Clone, V: Clone>(link: &mut Arc<Entry<K, V>>) {
    let top = Arc::make_mut(link);
    let Some(mut left) = top.left.take() else {
        return;
    };
    let pivot = Arc::make_mut(&mut left);
    top.left = pivot.right.take();
    top.measure();
    std::mem::swap(link, &mut left);
    // `left` is the old top now.
    let top = Arc::make_mut(link);
    top.right = Some(left);
    top.measure();
}

fn rotate_left<K: Ord + Clone, V: Clone>(link: &mut Arc<Entry<K, V>>) {
    let top = Arc::make_mut(link);
    let Some(mut right) = top.right.take() else {
        return;
    };
    let pivot = Arc::make_mut(&mut right);
    top.right = pivot.left.take();
    top.measure();
    std::mem::swap(link, &mut right);
    let top = Arc::make_mut(link);
    top.left = Some(right);
    top.measure();
}

/// Restores the balance of an entry whose sides differ by two at most; the entry is not shared.
fn rebalance<K: Ord + Clone, V: Clone>(link: &mut Arc<Entry<K, V>>) {
    let entry = Arc::make_mut(link);
    entry.measure();
    match entry.balance() {
        2.. => {
            if let Some(left) = entry.left.as_mut().filter(|left| left.balance() < 0) {
                rotate_left(left);
            }
            rotate_right(link);
        }
        ..=-2 => {
            if let Some(right) = entry.right.as_mut().filter(|right| right.balance() > 0) {
                rotate_right(right);
            }
            rotate_left(link);
        }
        _ => {}
    }
}

fn insert<K: Ord + Clone, V: Clone>(
    link: &mut Link<K, V>,
    key: K,
    value: V,
    work: &Work,
) -> Option<V> {
    work.add(1);
    let Some(entry) = link else {
        *link = Some(Arc::new(Entry {
            key,
            value,
            height: 1,
            left: None,
            right: None,
        }));
        return None;
    };
    let this = Arc::make_mut(entry);
    let old = match key.cmp(&this.key) {
        Ordering::Equal => return Some(std::mem::replace(&mut this.value, value)),
        Ordering::Less => insert(&mut this.left, key, value, work),
        Ordering::Greater => insert(&mut this.right, key, value, work),
    };
    if old.is_none() {
        rebalance(entry);
    }
    old
}

/// Takes the first entry out.
fn take_first<K: Ord + Clone, V: Clone>(link: &mut Link<K, V>, work: &Work) -> Option<(K, V)> {
    work.add(1);
    let entry = link.as_mut()?;
    if entry.left.is_none() {
        let entry = link.take()?;
        *link = entry.right.clone();
        return Some((entry.key.clone(), entry.value.clone()));
    }
    let taken = take_first(&mut Arc::make_mut(entry).left, work);
    rebalance(entry);
    taken
}

fn remove<K, V, Q>(link: &mut Link<K, V>, key: &Q, work: &Work) -> Option<V>
where
    K: Ord + Clone + Borrow<Q>,
    V: Clone,
    Q: Ord + ?Sized,
{
    work.add(1);
    let entry = link.as_mut()?;
    let this = Arc::make_mut(entry);
    let removed = match key.cmp(this.key.borrow()) {
        Ordering::Less => remove(&mut this.left, key, work),
        Ordering::Greater => remove(&mut this.right, key, work),
        Ordering::Equal => {
            let value = this.value.clone();
            match take_first(&mut this.right, work) {
                Some((key, value)) => (this.key, this.value) = (key, value),
                None => {
                    let left = this.left.take();
                    *link = left;
                    return Some(value);
                }
            }
            Some(value)
        }
    };
    rebalance(entry);
    removed
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The value of a key.
    pub(crate) fn get<Q>(&self, key: &Q, work: &Work) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let mut link = &self.root;
        loop {
            work.add(1);
            let entry = link.as_ref()?;
            link = match key.cmp(entry.key.borrow()) {
                Ordering::Equal => return Some(&entry.value),
                Ordering::Less => &entry.left,
                Ordering::Greater => &entry.right,
            };
        }
    }

    /// The value of a key that is in the map, to change it: what is shared on the way to it is copied.
    pub(crate) fn get_mut<Q>(&mut self, key: &Q, work: &Work) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let mut link = &mut self.root;
        loop {
            work.add(1);
            let entry = Arc::make_mut(link.as_mut()?);
            link = match key.cmp(entry.key.borrow()) {
                Ordering::Equal => return Some(&mut entry.value),
                Ordering::Less => &mut entry.left,
                Ordering::Greater => &mut entry.right,
            };
        }
    }

    /// Puts a value in, and answers the key's old one.
    pub(crate) fn insert(&mut self, key: K, value: V, work: &Work) -> Option<V> {
        let old = insert(&mut self.root, key, value, work);
        self.count += usize::from(old.is_none());
        old
    }

    /// Takes a value out.
    pub(crate) fn remove<Q>(&mut self, key: &Q, work: &Work) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        // Looked for first, so that nothing is copied in vain.
        self.get(key, work)?;
        let removed = remove(&mut self.root, key, work);
        self.count -= usize::from(removed.is_some());
        removed
    }

    /// All entries in the order of their keys.
    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        let mut iter = Iter { stack: Vec::new() };
        iter.descend(&self.root);
        iter
    }

    /// Whether both are the same tree, not merely equal.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// The entries in order.
pub(crate) struct Iter<'a, K, V> {
    stack: Vec<&'a Entry<K, V>>,
}

impl<'a, K, V> Iter<'a, K, V> {
    fn descend(&mut self, mut link: &'a Link<K, V>) {
        while let Some(entry) = link {
            self.stack.push(entry);
            link = &entry.left;
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.stack.pop()?;
        self.descend(&entry.right);
        Some((&entry.key, &entry.value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn check(link: &Link<u8, u16>) -> u8 {
        let Some(entry) = link else {
            return 0;
        };
        let (left, right) = (check(&entry.left), check(&entry.right));
        assert!(left.abs_diff(right) <= 1, "out of balance");
        assert_eq!(entry.height, left.max(right) + 1);
        entry.height
    }

    proptest! {
        /// Like a BTreeMap, and copies stay what they were.
        #[test]
        fn like_btree_map(steps in prop::collection::vec((any::<u8>(), any::<u16>(), 0..5u8), 0..400)) {
            let work = Work::default();
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (key, value, step) in steps {
                match step {
                    0 | 1 => prop_assert_eq!(map.insert(key, value, &work), model.insert(key, value)),
                    2 => prop_assert_eq!(map.remove(&key, &work), model.remove(&key)),
                    3 => {
                        if let (Some(a), Some(b)) = (map.get_mut(&key, &work), model.get_mut(&key)) {
                            (*a, *b) = (value, value);
                        }
                    }
                    _ => copies.push((map.clone(), model.clone())),
                }
                prop_assert_eq!(map.get(&key, &work), model.get(&key));
                check(&map.root);
            }
            copies.push((map, model));
            for (map, model) in copies {
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.iter().eq(model.iter()));
            }
        }
    }
}
