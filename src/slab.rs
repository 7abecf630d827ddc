//! A slab: a list whose freed places are used again.

/// A list in which freed places are used again, so adding and removing take constant time.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    /// Adds `item`, and returns its place.
    pub(crate) fn add(&mut self, item: T) -> usize {
        if let Some(place) = self.free.pop()
            && let Some(free) = self.places.get_mut(place)
        {
            *free = Some(item);
            return place;
        }
        self.places.push(Some(item));
        self.places.len() - 1
    }

    /// Removes the item at `place`, if there is one.
    pub(crate) fn remove(&mut self, place: usize) -> Option<T> {
        let item = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        if self.free.len() == self.places.len() && self.places.capacity() > KEPT {
            // The memory of a busy hour is released in the first quiet moment. A few places stay, so that one connection
            // after the other needs no memory of its own.
            *self = Self::default();
        }
        Some(item)
    }

    /// Returns the items by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    /// Returns the items at `count` places from `first` on. Returns `None` if that is beyond the last place.
    pub(crate) fn part(&self, first: usize, count: usize) -> Option<impl Iterator<Item = &T>> {
        let end = self.places.len().min(first.saturating_add(count));
        let places = self.places.get(first..end).filter(|places| !places.is_empty())?;
        Some(places.iter().flatten())
    }
}

/// The most places that an empty list keeps.
const KEPT: usize = 8;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_place_is_used_again_and_an_empty_slab_holds_little_memory() {
        let mut slab = Slab::default();
        assert_eq!([slab.add('a'), slab.add('b'), slab.add('c')], [0, 1, 2]);
        assert_eq!((slab.remove(1), slab.remove(1), slab.remove(9)), (Some('b'), None, None));
        assert_eq!(slab.add('d'), 1);
        assert_eq!(slab.iter().collect::<String>(), "adc");
        let part = |first, count| slab.part(first, count).map(Iterator::collect::<String>);
        assert_eq!(part(0, 2).as_deref(), Some("ad"));
        assert_eq!(part(2, usize::MAX).as_deref(), Some("c"));
        assert_eq!((part(3, 1), part(9, 1)), (None, None));
        for place in 0..3 {
            slab.remove(place).unwrap();
        }
        assert!(slab.places.capacity() <= KEPT);
        let places: Vec<_> = (0..=KEPT).map(|_| slab.add('e')).collect();
        places.into_iter().for_each(|place| assert_eq!(slab.remove(place), Some('e')));
        assert_eq!(slab.places.capacity() + slab.free.capacity(), 0);
    }
}
