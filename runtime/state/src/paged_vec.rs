//! A vector that grows page by page.

use std::ops::{Index, IndexMut};

/// Items in a page, as a power of two: to move the first page takes milliseconds.
const BITS: usize = if cfg!(test) { 10 } else { 18 };
const PAGE: usize = 1 << BITS;

/// A vector in pages. A `Vec` of millions of items moves all of them when it grows, which stops
/// every pipeline of the slot meanwhile. Here an item never moves once the first page is full.
#[derive(Debug, Clone)]
pub struct PagedVec<T> {
    /// The first page: small vectors are as small and as fast as a `Vec`.
    first: Vec<T>,
    /// Pages of `PAGE` items; the last one that holds items may have fewer, and after it come empty
    /// ones, kept for their memory.
    rest: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for PagedVec<T> {
    fn default() -> Self {
        Self {
            first: Vec::new(),
            rest: Vec::new(),
            len: 0,
        }
    }
}

impl<T> PagedVec<T> {
    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends an item and returns its index.
    pub fn push(&mut self, item: T) -> usize {
        let index = self.len;
        self.open_page().push(item);
        self.len += 1;
        index
    }

    /// Removes all items and keeps the memory.
    pub fn clear(&mut self) {
        self.first.clear();
        self.rest.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }

    /// Returns the items in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.rest.iter().flatten())
    }

    /// Applies changes to items by their index, one after the other. In a hot loop this is faster
    /// than indexing while there is one page.
    #[inline]
    pub fn update<C>(
        &mut self,
        changes: impl Iterator<Item = (usize, C)>,
        mut apply: impl FnMut(&mut T, C),
    ) {
        if self.rest.is_empty() {
            let items = self.first.as_mut_slice();
            changes.for_each(|(index, change)| apply(&mut items[index], change));
        } else {
            changes.for_each(|(index, change)| apply(&mut self[index], change));
        }
    }

    /// Returns the page of the next item.
    fn open_page(&mut self) -> &mut Vec<T> {
        let Some(page) = (self.len >> BITS).checked_sub(1) else {
            return &mut self.first;
        };
        if page == self.rest.len() {
            self.rest.push(Vec::with_capacity(PAGE));
        }
        &mut self.rest[page]
    }
}

impl<T: Clone> PagedVec<T> {
    /// Appends copies of `item` until there are `len` items. Removes none.
    pub fn grow(&mut self, len: usize, item: &T) {
        while self.len < len {
            let missing = len - self.len;
            let page = self.open_page();
            let filled = PAGE.min(page.len() + missing);
            let added = filled - page.len();
            page.resize(filled, item.clone());
            self.len += added;
        }
    }
}

/// Page among those after the first, and position in it.
const fn split(index: usize) -> (usize, usize) {
    ((index >> BITS).wrapping_sub(1), index & (PAGE - 1))
}

impl<T> Index<usize> for PagedVec<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        if let Some(item) = self.first.get(index) {
            return item;
        }
        let (page, position) = split(index);
        &self.rest[page][position]
    }
}

impl<T> IndexMut<usize> for PagedVec<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        if index < self.first.len() {
            return &mut self.first[index];
        }
        let (page, position) = split(index);
        &mut self.rest[page][position]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_index_and_their_place_in_memory() {
        let mut pages = PagedVec::default();
        for item in 0..PAGE {
            assert_eq!(pages.push(item), item);
        }
        let first = &raw const pages[0];
        for item in PAGE..3 * PAGE + 5 {
            assert_eq!(pages.push(item), item);
            pages[item] += 1;
        }
        assert_eq!(&raw const pages[0], first);
        assert_eq!(pages.len(), 3 * PAGE + 5);
        let expected = (0..PAGE).chain(PAGE + 1..=3 * PAGE + 5);
        assert!(pages.iter().copied().eq(expected));
    }

    #[test]
    fn growing_adds_what_is_missing_and_removes_nothing() {
        let mut pages = PagedVec::default();
        let mut expected = Vec::new();
        for (round, len) in [3, PAGE - 1, PAGE, 7, 3 * PAGE + 1].into_iter().enumerate() {
            pages.grow(len, &round);
            expected.resize(len.max(expected.len()), round);
            assert_eq!(pages.len(), expected.len());
        }
        assert!(pages.iter().eq(&expected));
    }

    #[test]
    fn changes_are_applied_in_their_order_with_one_page_and_with_more() {
        for len in [5, 2 * PAGE + 5] {
            let mut pages = PagedVec::default();
            pages.grow(len, &1);
            let changes = [(0, 2), (len - 1, 3), (0, 5)];
            pages.update(changes.into_iter(), |item, by| *item = *item * 10 + by);
            assert_eq!((pages[0], pages[1], pages[len - 1]), (125, 1, 13));
        }
    }

    #[test]
    fn an_emptied_vector_starts_again_at_index_0() {
        let mut pages = PagedVec::default();
        pages.grow(2 * PAGE, &1);
        pages.clear();
        assert!(pages.is_empty());
        pages.grow(PAGE + 1, &2);
        assert_eq!(pages.push(3), PAGE + 1);
        assert_eq!((pages[0], pages[PAGE], pages.len()), (2, 2, PAGE + 2));
        assert_eq!(pages.iter().count(), PAGE + 2);
    }
}
