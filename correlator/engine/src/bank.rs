//! One machine's groups with their memory account: what all kinds of machines have in common.

use serde::{Deserialize, Serialize};

use crate::episode::Episode;
use crate::groups::{Group, Groups};
use crate::nanos::Nanos;
use crate::siphash::Key;
use crate::window::{Distinct, Times};

/// What a group remembers, as far as a bank has to know.
pub(crate) trait Window: Default {
    /// Returns the newest time it remembers.
    fn last(&self) -> Option<Nanos>;
    /// Returns roughly how many bytes it has on the heap.
    fn heap_bytes(&self) -> usize;
}

/// The groups of one machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(bound(serialize = "W: Default + Serialize", deserialize = "W: Default + Deserialize<'de>"))]
pub(crate) struct Bank<W> {
    pub(crate) groups: Groups<W>,
    bytes: usize,
}

impl<W: Window> Bank<W> {
    /// Returns how many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Returns roughly how many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the place of a key's group, made if need be, and makes it the last touched.
    pub(crate) fn enter(&mut self, key: Key) -> u32 {
        let place = self.enter_in_place(key);
        self.groups.touch(place);
        place
    }

    /// Returns the place of a key's group, made if need be; one that was there is not touched.
    pub(crate) fn enter_in_place(&mut self, key: Key) -> u32 {
        let (place, is_new) = self.groups.find_or_insert(key);
        if is_new {
            self.bytes += Groups::<W>::entry_bytes();
        }
        place
    }

    /// Changes a group and keeps the account.
    pub(crate) fn change<R>(&mut self, place: u32, change: impl FnOnce(&mut Group<W>) -> R) -> Option<R> {
        let group = self.groups.group_mut(place)?;
        let before = heap_bytes(group);
        let result = change(group);
        let after = heap_bytes(group);
        self.bytes = (self.bytes + after).saturating_sub(before);
        Some(result)
    }

    /// Takes out the group touched longest ago.
    pub(crate) fn drop_oldest(&mut self) -> Option<Group<W>> {
        let place = self.groups.oldest()?;
        self.remove(place)
    }

    /// Takes out the group touched longest ago if all it remembers is before `before`.
    pub(crate) fn drop_expired(&mut self, before: Nanos) -> Option<Group<W>> {
        let place = self.groups.oldest()?;
        let group = self.groups.group(place)?;
        let last = group.episode.as_ref().map(|episode| episode.last).max(group.window.last());
        if last.is_some_and(|last| last >= before) {
            return None;
        }
        self.remove(place)
    }

    /// Takes out one group.
    pub(crate) fn remove(&mut self, place: u32) -> Option<Group<W>> {
        let group = self.groups.remove(place)?;
        self.bytes = self.bytes.saturating_sub(Groups::<W>::entry_bytes() + heap_bytes(&group));
        Some(group)
    }
}

fn heap_bytes<W: Window>(group: &Group<W>) -> usize {
    group.window.heap_bytes() + group.episode.as_ref().map_or(0, |episode| Episode::heap_bytes(episode))
}

impl Window for Times {
    fn last(&self) -> Option<Nanos> {
        self.last()
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

impl Window for Distinct {
    fn last(&self) -> Option<Nanos> {
        self.last()
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}
