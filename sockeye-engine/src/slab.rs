//! The connections of a shard, by index: in chunks, so that none is moved and no room is reserved twice, and with
//! generations, so that a key of one that is gone reaches none that came after it.
//!
//! The chunk that is nearest to the start and has room is filled first, so that the others become empty as connections go;
//! what is empty, and more than is soon needed, is given back. A chunk's generations outlast its storage.

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
    chunks: Vec<Chunk<T>>,
    /// No chunk before this one has storage with room in it.
    first: usize,
    /// How many chunks have storage.
    stored: usize,
    /// In how many of those nobody is.
    empty: usize,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    /// Only as many as were ever used: storage that nothing was written to takes no memory.
    places: Vec<Place<T>>,
    /// The place that is filled next, if not a new one.
    free: Option<u16>,
    used: u16,
    /// With which generation new places begin.
    generation: u32,
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
    Empty(Option<u16>),
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            first: 0,
            stored: 0,
            empty: 0,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One more than the largest index that is used, at least.
    pub(crate) fn end(&self) -> u32 {
        let last = self.chunks.iter().rposition(|chunk| !chunk.places.is_empty());
        last.map_or(0, |last| (last * CHUNK + self.chunks[last].places.len()) as u32)
    }

    /// The key that [`insert`](Self::insert) gives next; `None` when there are as many as indices.
    pub(crate) fn vacant(&mut self) -> Option<Key> {
        let rest = self.chunks.get(self.first..).unwrap_or_default();
        self.first = match rest.iter().position(Chunk::has_room) {
            Some(ahead) => self.first + ahead,
            None => self.grow()?,
        };
        let chunk = self.chunks.get(self.first)?;
        let (place, generation) = chunk.vacant();
        Some(Key {
            index: (self.first * CHUNK) as u32 + u32::from(place),
            generation,
        })
    }

    /// Puts a value into the vacant place.
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        let key = self.vacant()?;
        let chunk = self.chunks.get_mut(self.first)?;
        if chunk.used == 0 {
            self.empty -= 1;
        }
        chunk.insert(value);
        self.len += 1;
        Some(key)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let chunk = self.chunks.get(key.index as usize / CHUNK)?;
        match chunk.places.get(key.index as usize % CHUNK)? {
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
        let number = key.index as usize / CHUNK;
        let chunk = self.chunks.get_mut(number)?;
        let value = chunk.remove(key.index as usize % CHUNK, key.generation)?;
        if chunk.used == 0 {
            self.empty += 1;
        }
        self.first = self.first.min(number);
        self.len -= 1;
        self.shrink();
        Some(value)
    }

    /// Makes a chunk with room.
    #[cold]
    fn grow(&mut self) -> Option<usize> {
        let number = match self.chunks.iter().position(|chunk| !chunk.is_stored()) {
            Some(number) => number,
            None => {
                let number = self.chunks.len();
                // All indices are to fit.
                u32::try_from((number + 1) * CHUNK).ok()?;
                self.chunks.push(Chunk::new());
                number
            }
        };
        self.chunks[number].places.reserve_exact(CHUNK);
        self.stored += 1;
        self.empty += 1;
        Some(number)
    }

    /// Gives a chunk's storage back, if there is an empty one and at least as much room is left without it: so one more
    /// connection does not need it again at once.
    fn shrink(&mut self) {
        if self.empty > 0
            && self.stored * CHUNK - self.len >= 2 * CHUNK
            && let Some(chunk) = self
                .chunks
                .iter_mut()
                .rfind(|chunk| chunk.is_stored() && chunk.used == 0)
        {
            chunk.clear();
            self.stored -= 1;
            self.empty -= 1;
        }
    }

    #[inline]
    fn place_mut(&mut self, index: u32) -> Option<&mut Place<T>> {
        self.chunks
            .get_mut(index as usize / CHUNK)?
            .places
            .get_mut(index as usize % CHUNK)
    }
}

impl<T> Chunk<T> {
    const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: None,
            used: 0,
            generation: 0,
        }
    }

    fn is_stored(&self) -> bool {
        self.places.capacity() > 0
    }

    fn has_room(&self) -> bool {
        self.is_stored() && usize::from(self.used) < CHUNK
    }

    /// The place that is filled next, and its generation, if there is room.
    fn vacant(&self) -> (u16, u32) {
        match self.free {
            Some(place) => (place, self.places[usize::from(place)].generation),
            None => (self.places.len() as u16, self.generation),
        }
    }

    /// Fills that place.
    fn insert(&mut self, value: T) {
        let content = Content::Full(value);
        self.used += 1;
        let Some(place) = self.free else {
            let generation = self.generation;
            self.places.push(Place { generation, content });
            return;
        };
        let before = std::mem::replace(&mut self.places[usize::from(place)].content, content);
        self.free = match before {
            Content::Empty(next) => next,
            Content::Full(_) => None,
        };
    }

    fn remove(&mut self, number: usize, generation: u32) -> Option<T> {
        let place = self.places.get_mut(number)?;
        if place.generation != generation || matches!(place.content, Content::Empty(_)) {
            return None;
        }
        let content = std::mem::replace(&mut place.content, Content::Empty(self.free));
        place.generation = place.generation.wrapping_add(1);
        self.free = Some(number as u16);
        self.used -= 1;
        match content {
            Content::Full(value) => Some(value),
            Content::Empty(_) => None,
        }
    }

    /// Gives the storage back. What comes into these places later has generations that none of them has had.
    fn clear(&mut self) {
        let generations = self.places.iter().map(|place| place.generation);
        self.generation = generations.max().unwrap_or(0).max(self.generation);
        self.places = Vec::new();
        self.free = None;
    }
}

/// Values that are allocated together. So many connections are about 200 KB, which glibc, at first at least, takes from the
/// system by themselves and gives back to it: it does so from 128 KiB on.
const CHUNK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    impl<T> Slab<T> {
        /// Chunks that have storage.
        fn stored(&self) -> usize {
            let stored = || self.chunks.iter().filter(|chunk| chunk.is_stored());
            assert_eq!(self.stored, stored().count());
            assert_eq!(self.empty, stored().filter(|chunk| chunk.used == 0).count());
            assert_eq!(self.len, stored().map(|chunk| usize::from(chunk.used)).sum::<usize>());
            self.stored
        }
    }

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
        assert_eq!((slab.len(), slab.end()), (1000, 1000));
        let keys: Vec<_> = (0..slab.end()).filter_map(|index| Some(slab.at(index)?.0)).collect();
        assert_eq!(keys.len(), 1000);
        for key in keys {
            slab.remove(key).unwrap();
        }
        assert_eq!((slab.len(), slab.end()), (0, 1000));
        assert!(slab.at(3).is_none());
    }

    #[test]
    fn what_is_empty_is_given_back_and_made_again() {
        let mut slab = Slab::new();
        for _ in 0..3 {
            let keys: Vec<_> = (0..10 * CHUNK).map(|number| slab.insert(number).unwrap()).collect();
            assert_eq!((slab.stored(), slab.end() as usize), (10, 10 * CHUNK));
            for key in keys {
                slab.remove(key).unwrap();
            }
            assert!(slab.stored() <= 1, "one may stay for those who come next");
        }
    }

    #[test]
    fn no_key_of_a_chunk_that_was_given_back_reaches_anything() {
        let mut slab = Slab::new();
        let mut old: Vec<Key> = Vec::new();
        for round in 0..5_usize {
            let keys: Vec<_> = (0..5 * CHUNK).map(|number| slab.insert(number).unwrap()).collect();
            assert!(old.iter().all(|key| slab.get(*key).is_none()), "round {round}");
            assert!(old.iter().all(|key| slab.remove(*key).is_none()));
            // Some places are used more often than others.
            for key in keys.iter().skip(round) {
                slab.remove(*key).unwrap();
                old.push(*key);
            }
            let again = slab.insert(round).unwrap();
            assert!(!old.contains(&again));
            for key in keys.iter().take(round).chain([&again]) {
                slab.remove(*key).unwrap();
                old.push(*key);
            }
            assert!(slab.stored() <= 1);
        }
    }

    #[test]
    fn the_start_is_filled_first_so_that_the_end_becomes_empty() {
        let mut slab = Slab::new();
        let mut keys: Vec<_> = (0..8 * CHUNK).map(|number| slab.insert(number).unwrap()).collect();
        // Seven of eight go, here and there; then each time one comes and the oldest goes.
        let mut number = 0;
        keys.retain(|key| {
            number += 1;
            number % 8 == 0 || slab.remove(*key).is_none()
        });
        assert_eq!(slab.stored(), 8);
        for number in 0..CHUNK {
            keys.push(slab.insert(number).unwrap());
            slab.remove(keys.remove(0)).unwrap();
        }
        assert_eq!((slab.len(), slab.stored()), (CHUNK, 2));
        assert!(keys.iter().all(|key| slab.get(*key).is_some()));
    }

    #[test]
    fn one_that_comes_and_goes_takes_no_storage_each_time() {
        let mut slab = Slab::new();
        let _keys: Vec<_> = (0..CHUNK).map(|number| slab.insert(number).unwrap()).collect();
        let mut storage = None;
        for _ in 0..10 {
            let key = slab.insert(0).unwrap();
            assert_eq!(key.index as usize, CHUNK);
            let place = slab.chunks[1].places.as_ptr();
            assert_eq!(*storage.get_or_insert(place), place);
            slab.remove(key).unwrap();
            assert_eq!(slab.stored(), 2);
        }
    }
}
