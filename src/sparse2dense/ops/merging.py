"""The merging of regions, those of the best contact first, until none touch.

The kernels stay in one file, because numba's cache doesn't see changes of another. They are inlined and pass arrays
on one by one, because a call counts the references to its arrays, and so does taking them out of a tuple: that would
cost more than the work itself.
"""

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["bin_type", "contact_type", "merges"]


def contact_type(index: type[np.signedinteger], area: type[np.signedinteger]) -> np.dtype:
    """Return the type of a contact, given types for the numbers of contacts, regions and bins, and for areas.

    Fields are u and v, the regions it is between, -1 once it is no more; area and total, number and sum of the
    affinities across it; rank, which decides between equals; chain, the first bin of its histogram, -1 for none; and
    place, where it is in the queue.
    """
    indices = [(name, index) for name in ("u", "v", "rank", "chain", "place")]
    return np.dtype([*indices, ("area", area), ("total", np.int64)])


def bin_type(index: type[np.signedinteger], number: type[np.signedinteger]) -> np.dtype:
    """Return the type of a bin that isn't empty: its bin, the number in it, and the next bin of its chain, -1 for none.

    The bins of a chain ascend.
    """
    return np.dtype([("number", number), ("following", index), ("bin", np.uint8)])


def merges(
    contacts: NDArray, bins: NDArray, regions: int, scale: int, quantile: int
) -> tuple[NDArray, NDArray, NDArray[np.float64]]:
    """Merge the two regions of the best contact, again and again, until no two touch.

    Contacts of both regions with a third become one contact, of all the affinities. The best contact is always that
    of the lowest score now: one minus the mean affinity, or one minus the quantile. Of equal score, it is that of the
    higher mean, then of the larger area, then of the lower rank. Contacts that become one have the lower of their
    ranks.

    Parameters
    ----------
    contacts
        Of `contact_type`, one for any two regions; used up.
    bins
        Of `bin_type`, in chains; used up.
    regions
        How many there are, 0..regions - 1.
    scale
        What an affinity of 1 counts in the total.
    quantile
        In percent, 0 for the mean.

    Returns
    -------
    The two regions of every merge, each by the lowest of those merged into it, the lower first, and the scores.
    """
    count, index = len(contacts), contacts.dtype["u"]
    queue = np.empty(count, [("key", np.int64), ("contact", index)])
    queue["contact"] = np.arange(count, dtype=index)
    slots = np.empty(2 * count + 1, index)
    return _merges(contacts, queue, slots, bins, regions, scale, quantile)


# The queue is a heap of four branches, of keys and contacts. The slots are a hash table of contacts, each where a hash
# of its two regions says or as near behind as there was room; -1 is free. Counts are the contacts in the queue, the
# slots that aren't free, and the slots in use at all.


@numba.njit(cache=True, inline="always")
def _before(contacts, key, contact, other_key, other):  # type: ignore[no-untyped-def]
    if key != other_key:
        return key < other_key
    if contacts[contact].area != contacts[other].area:
        return contacts[contact].area > contacts[other].area
    return contacts[contact].rank < contacts[other].rank


@numba.njit(cache=True, inline="always")
def _set(contacts, queue, i, key, contact):  # type: ignore[no-untyped-def]
    queue[i].key = key
    queue[i].contact = contact
    contacts[contact].place = i


@numba.njit(cache=True, inline="always")
def _rise(contacts, queue, i, key, contact):  # type: ignore[no-untyped-def]
    """Put a contact at place i of the queue, or as far to its front as it belongs; return where."""
    while i > 0:
        above = (i - 1) // 4
        if not _before(contacts, key, contact, queue[above].key, queue[above].contact):
            break
        _set(contacts, queue, i, queue[above].key, queue[above].contact)
        i = above
    _set(contacts, queue, i, key, contact)
    return i


@numba.njit(cache=True, inline="always")
def _sink(contacts, queue, size, i, key, contact):  # type: ignore[no-untyped-def]
    """Put a contact at place i of the queue, or as far to its end as it belongs."""
    while True:
        best, best_key, best_contact = i, key, contact
        for below in range(4 * i + 1, min(4 * i + 5, size)):
            if _before(contacts, queue[below].key, queue[below].contact, best_key, best_contact):
                best, best_key, best_contact = below, queue[below].key, queue[below].contact
        if best == i:
            break
        _set(contacts, queue, i, best_key, best_contact)
        i = best
    _set(contacts, queue, i, key, contact)


@numba.njit(cache=True, inline="always")
def _change(contacts, queue, size, contact, key):  # type: ignore[no-untyped-def]
    """Give a contact another key, after its area has changed or not."""
    place = _rise(contacts, queue, np.int64(contacts[contact].place), key, contact)
    _sink(contacts, queue, size, place, key, contact)


@numba.njit(cache=True, inline="always")
def _remove(contacts, queue, counts, contact):  # type: ignore[no-untyped-def]
    """Take a contact out of the queue, and from between its regions."""
    contacts[contact].u = -1
    contacts[contact].v = -1
    last = counts[0] - 1
    counts[0] = last
    place = contacts[contact].place
    if place < last:
        moved = queue[last].contact
        contacts[moved].place = place
        _change(contacts, queue, last, moved, queue[last].key)


@numba.njit(cache=True, inline="always")
def _between(contacts, slots, size, a, b):  # type: ignore[no-untyped-def]
    """Return the slot of the contact between two regions, or the free one where it belongs (Knuth's hashing)."""
    mixed = np.uint64(min(a, b)) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(max(a, b)) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(31)
    slot = np.int64(mixed % np.uint64(size))
    while slots[slot] >= 0:
        u, v = contacts[slots[slot]].u, contacts[slots[slot]].v
        if (u == a and v == b) or (u == b and v == a):
            break
        slot = np.int64(slot + 1 if slot + 1 < size else 0)
    return slot


@numba.njit(cache=True, inline="always")
def _put(contacts, queue, slots, counts, slot, contact):  # type: ignore[no-untyped-def]
    """Let a contact whose regions have changed be found in the slot that `_between` returned for them.

    The slot of its former regions stays, so that what lies behind it is found. When few are free, all begin anew.
    """
    if slots[slot] < 0:
        counts[1] += 1
    slots[slot] = contact
    if 4 * counts[1] > 3 * counts[2]:
        _fill(contacts, queue, slots, counts)


@numba.njit(cache=True)
def _fill(contacts, queue, slots, counts):  # type: ignore[no-untyped-def]
    counts[1], counts[2] = counts[0], 2 * counts[0] + 1
    slots[: counts[2]] = -1
    for i in range(counts[0]):
        contact = queue[i].contact
        slots[_between(contacts, slots, counts[2], contacts[contact].u, contacts[contact].v)] = contact


@numba.njit(cache=True)
def _join_chains(bins, kept, gone):  # type: ignore[no-untyped-def]
    """Add one ascending chain of bins to another without a new entry; return the first."""
    first, before = kept, -1
    while gone >= 0:
        if kept >= 0 and bins[kept].bin <= bins[gone].bin:
            if bins[kept].bin == bins[gone].bin:
                bins[kept].number += bins[gone].number
                gone = bins[gone].following
            before, kept = kept, bins[kept].following
        else:
            if before < 0:
                first = gone
            else:
                bins[before].following = gone
            before, gone = gone, bins[gone].following
            bins[before].following = kept
    return first


@numba.njit(cache=True)
def _quantile_bin(bins, chain, quantile):  # type: ignore[no-untyped-def]
    """Return the bin of a quantile, as waterz counts."""
    entries, at = np.int64(0), chain
    while at >= 0:
        entries += bins[at].number
        at = bins[at].following
    wanted, at = quantile * entries // 100 + 1, chain
    while True:
        wanted -= bins[at].number
        if wanted <= 0:
            return np.int64(bins[at].bin)
        at = bins[at].following


@numba.njit(cache=True, inline="always")
def _distance(contact, scale):  # type: ignore[no-untyped-def]
    """Return one minus the mean affinity, rounded once."""
    whole = np.int64(contact.area) * scale
    return np.float64(whole - contact.total) / np.float64(whole)


@numba.njit(cache=True, inline="always")
def _key(contact, bins, scale, quantile):  # type: ignore[no-untyped-def]
    """Return a number that orders contacts by their score, then by their mean affinity."""
    distance = _distance(contact, scale)
    if quantile == 0:
        return np.int64(distance * 2.0**62)
    return (255 - _quantile_bin(bins, contact.chain, quantile)) * 2**55 + np.int64(distance * 2.0**54)


@numba.njit(cache=True, inline="always")
def _join(contacts, queue, counts, bins, scale, quantile, kept, gone):  # type: ignore[no-untyped-def]
    """Add one contact to another between the same regions."""
    _remove(contacts, queue, counts, gone)
    contacts[kept].area += contacts[gone].area
    contacts[kept].total += contacts[gone].total
    if quantile > 0:
        contacts[kept].chain = _join_chains(bins, contacts[kept].chain, contacts[gone].chain)
    _change(contacts, queue, counts[0], kept, _key(contacts[kept], bins, scale, quantile))


@numba.njit(cache=True)
def _sides(contacts, regions):  # type: ignore[no-untyped-def]
    """Return the sides at each region, 2i and 2i + 1 for u and v of contact i, as chains, and their number.

    These are the first side of each region, and the side that follows each, -1 at the end.
    """
    first, following = np.full(regions, -1, contacts.u.dtype), np.empty(2 * contacts.size, contacts.u.dtype)
    number = np.zeros(regions, contacts.u.dtype)
    for side in range(following.size):
        contact = contacts[side >> 1]
        region = contact.v if side & 1 else contact.u
        following[side] = first[region]
        first[region] = side
        number[region] += 1
    return first, following, number


@numba.njit(cache=True, nogil=True)
def _merges(contacts, queue, slots, bins, regions, scale, quantile):  # type: ignore[no-untyped-def]
    """As `merges`, given room for the queue, in which only the contacts' numbers are, and for the slots."""
    counts = np.array([contacts.size, 0, 0])
    for i in range(counts[0] - 1, -1, -1):
        _sink(contacts, queue, counts[0], i, _key(contacts[i], bins, scale, quantile), i)
    _fill(contacts, queue, slots, counts)
    first, following, number = _sides(contacts, regions)
    name = np.arange(regions).astype(first.dtype)
    low, high = np.empty(max(regions - 1, 0), first.dtype), np.empty(max(regions - 1, 0), first.dtype)
    score = np.empty(low.size)
    done = 0
    while counts[0] > 0:
        best = queue[0].contact
        a, b = np.int64(contacts[best].u), np.int64(contacts[best].v)
        low[done], high[done] = min(name[a], name[b]), max(name[a], name[b])
        if quantile == 0:
            score[done] = _distance(contacts[best], scale)
        else:
            score[done] = 1 - (_quantile_bin(bins, contacts[best].chain, quantile) + 0.5) / 256
        _remove(contacts, queue, counts, best)
        # sides move to where there are at least as many, so each at most log2 of their number times
        if number[a] < number[b]:
            a, b = b, a
        name[a] = low[done]
        side = np.int64(first[b])
        while side >= 0:
            after = np.int64(following[side])
            if _moved(contacts, queue, slots, counts, bins, scale, quantile, side, a):
                following[side] = first[a]
                first[a] = side
                number[a] += 1
            side = after
        done += 1
    return low[:done], high[:done], score[:done]


@numba.njit(cache=True, inline="always")
def _moved(contacts, queue, slots, counts, bins, scale, quantile, side, region):  # type: ignore[no-untyped-def]
    """Move a side of a contact to another region; return False if no contact is left there of which it is a side."""
    contact = side >> 1
    neighbour = contacts[contact].u if side & 1 else contacts[contact].v
    if neighbour < 0:
        return False
    slot = _between(contacts, slots, counts[2], region, neighbour)
    other = np.int64(slots[slot])
    if other >= 0:
        first = contacts[other].rank < contacts[contact].rank
        kept, gone = (other, contact) if first else (contact, other)
        _join(contacts, queue, counts, bins, scale, quantile, kept, gone)
        if first:
            return False
    if side & 1:
        contacts[contact].v = region
    else:
        contacts[contact].u = region
    _put(contacts, queue, slots, counts, slot, contact)
    return True
