"""The contacts between regions while regions merge: a queue with the best in front, and who touches whom."""

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["Contacts", "between", "change", "contacts", "link", "remove", "unlink"]


class Contacts(NamedTuple):
    """Contacts 0..n-1, each between two regions; changed in place.

    Parameters
    ----------
    ends
        (2n) int32 or int64: contact i is between regions `ends[2i]` and `ends[2i + 1]`.
    area
        (n) int32 or int64: among contacts of equal key the largest comes first, then that of the lowest number.
    queue, key
        (n) as ends, and int64: the contacts in the queue as a heap of four branches, and the key of each; the lowest
        comes first.
    place
        (n) as ends: where in the queue a contact is, -1 when it no longer is.
    slots
        Hash table of contacts by the two regions, as ends; -1 is free.
    queued
        int64 (1): how many are in the queue.
    """

    ends: NDArray
    area: NDArray
    queue: NDArray
    key: NDArray[np.int64]
    place: NDArray
    slots: NDArray
    queued: NDArray[np.int64]


def contacts(ends: NDArray, area: NDArray, key: NDArray[np.int64]) -> Contacts:
    """Return the contacts of the given ends, area and key, all of them queued."""
    count = len(key)
    numbers = np.arange(count, dtype=ends.dtype)
    made = Contacts(ends, area, numbers, key, numbers.copy(), np.full(2 * count + 1, -1, ends.dtype), np.array([count]))
    _start(made)
    return made


@numba.njit(cache=True)
def _start(contacts):  # type: ignore[no-untyped-def]
    for i in range((contacts.queued[0] + 2) >> 2, -1, -1):
        if i < contacts.queued[0]:
            _sink(contacts, i, contacts.key[i], contacts.queue[i])
    for contact in range(contacts.queued[0]):
        link(contacts, contact)


@numba.njit(cache=True)
def _before(contacts, key, contact, other_key, other):  # type: ignore[no-untyped-def]
    if key != other_key:
        return key < other_key
    if contacts.area[contact] != contacts.area[other]:
        return contacts.area[contact] > contacts.area[other]
    return contact < other


@numba.njit(cache=True)
def _put(contacts, i, key, contact):  # type: ignore[no-untyped-def]
    contacts.key[i] = key
    contacts.queue[i] = contact
    contacts.place[contact] = i


@numba.njit(cache=True)
def _rise(contacts, i, key, contact):  # type: ignore[no-untyped-def]
    """Put a contact at place i of the queue, or as far to its front as it belongs; return where."""
    while i > 0:
        above = (i - 1) >> 2
        if not _before(contacts, key, contact, contacts.key[above], contacts.queue[above]):
            break
        _put(contacts, i, contacts.key[above], contacts.queue[above])
        i = above
    _put(contacts, i, key, contact)
    return i


@numba.njit(cache=True)
def _sink(contacts, i, key, contact):  # type: ignore[no-untyped-def]
    """Put a contact at place i of the queue, or as far to its end as it belongs."""
    while True:
        best, best_key, best_contact = i, key, contact
        for below in range(4 * i + 1, min(4 * i + 5, contacts.queued[0])):
            if _before(contacts, contacts.key[below], contacts.queue[below], best_key, best_contact):
                best, best_key, best_contact = below, contacts.key[below], contacts.queue[below]
        if best == i:
            break
        _put(contacts, i, best_key, best_contact)
        i = best
    _put(contacts, i, key, contact)


@numba.njit(cache=True)
def change(contacts, contact, key):  # type: ignore[no-untyped-def]
    """Give a contact another key, after its area has changed or not."""
    _sink(contacts, _rise(contacts, np.int64(contacts.place[contact]), key, contact), key, contact)


@numba.njit(cache=True)
def remove(contacts, contact):  # type: ignore[no-untyped-def]
    """Take a contact out of the queue."""
    i = np.int64(contacts.place[contact])
    contacts.place[contact] = -1
    last = contacts.queued[0] - 1
    contacts.queued[0] = last
    if i < last:
        moved = np.int64(contacts.queue[last])
        contacts.place[moved] = i
        change(contacts, moved, contacts.key[last])


@numba.njit(cache=True)
def _home(contacts, a, b):  # type: ignore[no-untyped-def]
    """Return where the search for the contact of two regions begins (multiplicative hashing, Knuth)."""
    mixed = np.uint64(min(a, b)) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(max(a, b)) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(31)
    return np.int64(mixed % np.uint64(contacts.slots.size))


@numba.njit(cache=True)
def between(contacts, a, b):  # type: ignore[no-untyped-def]
    """Return the slot of the contact between two regions, -1 where they don't touch."""
    slot = _home(contacts, a, b)
    while contacts.slots[slot] >= 0:
        contact = np.int64(contacts.slots[slot])
        u, v = contacts.ends[2 * contact], contacts.ends[2 * contact + 1]
        if (u == a and v == b) or (u == b and v == a):
            return slot
        slot = slot + 1 if slot + 1 < contacts.slots.size else 0
    return -1


@numba.njit(cache=True)
def link(contacts, contact):  # type: ignore[no-untyped-def]
    """Let a contact be found by its regions."""
    slot = _home(contacts, contacts.ends[2 * contact], contacts.ends[2 * contact + 1])
    while contacts.slots[slot] >= 0:
        slot = slot + 1 if slot + 1 < contacts.slots.size else 0
    contacts.slots[slot] = contact


@numba.njit(cache=True)
def unlink(contacts, contact):  # type: ignore[no-untyped-def]
    """Let a contact no longer be found; before its regions change."""
    free = between(contacts, contacts.ends[2 * contact], contacts.ends[2 * contact + 1])
    size = contacts.slots.size
    slot = free
    while True:
        slot = slot + 1 if slot + 1 < size else 0
        if contacts.slots[slot] < 0:
            break
        other = np.int64(contacts.slots[slot])
        home = _home(contacts, contacts.ends[2 * other], contacts.ends[2 * other + 1])
        # what has been searched for from the free slot or before it must not lie behind a gap
        if (slot - home) % size >= (slot - free) % size:
            contacts.slots[free] = other
            free = slot
    contacts.slots[free] = -1
