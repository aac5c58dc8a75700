//! The connections of a shard, by index: in chunks, so that none is moved and no room is reserved twice, and with
//! generations, so that a key of one that is gone reaches none that came after it.

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    generation: u32,
}

impl Key {
    /// As one number, which [`from_u64`](Self::from_u64) takes back.
    pub(crate) fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_u64(number: u64) -> Self {
        Self {
            index: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Box<[Place<T>]>>,
    /// The place that is filled next, if not a new one.
    free: Option<u32>,
    len: usize,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Full(T),
    /// With the next one that is empty.
    Empty(Option<u32>),
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: None,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One more than the largest index ever used.
    pub(crate) fn end(&self) -> u32 {
        (self.chunks.len() * CHUNK) as u32
    }

    /// The key that [`insert`](Self::insert) gives next; `None` when there are as many as indices.
    pub(crate) fn vacant(&mut self) -> Option<Key> {
        if self.free.is_none() {
            self.grow()?;
        }
        let index = self.free?;
        let generation = self.place(index)?.generation;
        Some(Key { index, generation })
    }

    /// Puts a value into the vacant place.
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        let key = self.vacant()?;
        let place = self.place_mut(key.index)?;
        let Content::Empty(next) = place.content else {
            return None;
        };
        place.content = Content::Full(value);
        self.free = next;
        self.len += 1;
        Some(key)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.place(key.index)? {
            Place {
                generation,
                content: Content::Full(value),
            } if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.place_mut(key.index)? {
            Place {
                generation,
                content: Content::Full(value),
            } if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The value at the index, whichever it is, with its key.
    #[inline]
    pub(crate) fn at(&mut self, index: u32) -> Option<(Key, &mut T)> {
        let place = self.place_mut(index)?;
        let generation = place.generation;
        match &mut place.content {
            Content::Full(value) => Some((Key { index, generation }, value)),
            Content::Empty(_) => None,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let free = self.free;
        let place = self.place_mut(key.index)?;
        if place.generation != key.generation || matches!(place.content, Content::Empty(_)) {
            return None;
        }
        let content = std::mem::replace(&mut place.content, Content::Empty(free));
        place.generation = place.generation.wrapping_add(1);
        self.free = Some(key.index);
        self.len -= 1;
        match content {
            Content::Full(value) => Some(value),
            Content::Empty(_) => None,
        }
    }

    fn grow(&mut self) -> Option<()> {
        let start = u32::try_from(self.chunks.len() * CHUNK).ok()?;
        let end = start.checked_add(CHUNK as u32)?;
        let places = (start..end).map(|index| Place {
            generation: 0,
            content: Content::Empty((index + 1 < end).then_some(index + 1)),
        });
        self.chunks.push(places.collect());
        self.free = Some(start);
        Some(())
    }

    #[inline]
    fn place(&self, index: u32) -> Option<&Place<T>> {
        self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)
    }

    #[inline]
    fn place_mut(&mut self, index: u32) -> Option<&mut Place<T>> {
        self.chunks
            .get_mut(index as usize / CHUNK)?
            .get_mut(index as usize % CHUNK)
    }
}

/// Values that are allocated together.
const CHUNK: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_one_that_is_gone_reaches_none_that_came_after_it() {
        let mut slab = Slab::new();
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();
        assert_eq!(first.index, second.index);
        assert!(slab.get(first).is_none() && slab.get_mut(first).is_none() && slab.remove(first).is_none());
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(Key::from_u64(second.as_u64()), second);
    }

    #[test]
    fn the_vacant_key_is_the_next_one() {
        let mut slab = Slab::new();
        for number in 0..1000 {
            let vacant = slab.vacant().unwrap();
            assert_eq!(slab.insert(number), Some(vacant));
        }
        assert_eq!((slab.len(), slab.end()), (1000, 1024));
        let keys: Vec<_> = (0..slab.end()).filter_map(|index| Some(slab.at(index)?.0)).collect();
        assert_eq!(keys.len(), 1000);
        for key in keys {
            slab.remove(key).unwrap();
        }
        assert_eq!(
            (slab.len(), slab.end()),
            (0, 1024),
            "and no more than that is ever allocated"
        );
        assert!(slab.at(3).is_none());
    }
}
