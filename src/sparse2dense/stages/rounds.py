"""The rounds of a run: the tracks that they make, and what each of them gained."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bootstrapped_tracks", "round_gains", "round_of", "run_tracks"]


def bootstrapped_tracks(rounds: int) -> list[str]:
    """Return the track that each of so many rounds makes, in order: `bootstrapped`, `bootstrapped_2`, ..."""
    return ["bootstrapped", *(f"bootstrapped_{number}" for number in range(2, rounds + 1))]


def run_tracks(tracks: Sequence[str], rounds: int) -> list[str]:
    """Return the tracks of a run: those of `evaluate.tracks`, with later rounds behind the first."""
    return [name for track in tracks for name in (bootstrapped_tracks(rounds) if track == "bootstrapped" else [track])]


def round_of(track: str) -> int | None:
    """Return the round that makes a track: 0 for `pseudo`, which goes before them, None for tracks beside them."""
    if track in ("pseudo", "bootstrapped"):
        return int(track == "bootstrapped")
    later = re.fullmatch(r"bootstrapped_([2-9]|[1-9]\d+)", track)
    return int(later[1]) if later else None


def round_gains(records: Sequence[Mapping[str, Any]], roles: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return what every round gained over the one before it, by VOI at the chosen thresholds.

    Parameters
    ----------
    records
        Contents of `best.json` of the run's tracks and scored volumes.
    roles
        Role of every volume.

    Returns
    -------
    `volumes`: name, `reference` (annotation or truth) and convention of each, annotated ones first; `rows`: round,
    track, `points` (threshold, voi_sum in bits, and `change`, less than 0 for a gain; in the order of the volumes; None
    where nothing is known) and `verdict`, a sentence, or None where there is nothing to compare with. Sums and changes
    have three decimals. Empty where there is no second round.
    """
    known = {
        (record["volume"], number): record
        for record in records
        if (number := round_of(record["track"])) is not None and (record.get("chosen") or {}).get("voi_sum") is not None
    }
    numbers = sorted({number for _, number in known})
    if not numbers or numbers[-1] < 2:
        return {}
    first = {volume: record for (volume, _), record in reversed(known.items())}
    names = sorted(first, key=lambda name: (roles.get(name) == "test", name))
    references = {name: "truth" if roles.get(name) == "test" else "annotation" for name in names}
    rows = []
    for number in numbers:
        points = [_point(known.get((name, number)), known.get((name, number - 1))) for name in names]
        places = {name: f"the {references[name]} of {name}" for name in names}
        changes = {places[name]: point["change"] for name, point in zip(names, points, strict=True)}
        track = next(record["track"] for (_, other), record in known.items() if other == number)
        rows.append({"round": number, "track": track, "points": points, "verdict": _verdict(number, changes)})
    volumes = [
        {"name": name, "reference": references[name], "convention": first[name].get("convention", "interior")}
        for name in names
    ]
    return {"volumes": volumes, "rows": rows}


def _point(record: Mapping[str, Any] | None, former: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return threshold and VOI sum of a round on a volume, and the change since the round before it."""
    if record is None:
        return {"threshold": None, "voi_sum": None, "change": None}
    chosen = record["chosen"]
    voi_sum = round(chosen["voi_sum"], 3)
    # of the rounded sums, so that the report's numbers add up
    change = None if former is None else round(voi_sum - round(former["chosen"]["voi_sum"], 3), 3)
    return {"threshold": chosen["threshold"], "voi_sum": voi_sum, "change": change}


def _verdict(number: int, changes: Mapping[str, float | None]) -> str | None:
    """Return a sentence that says where a round gained, and where it did not."""
    gained = [place for place, change in changes.items() if change is not None and change < 0]
    missed = [place for place, change in changes.items() if change is not None and change >= 0]
    if gained and missed:
        return f"Round {number} gained on {_listed(gained, 'and')}, but not on {_listed(missed, 'or')}."
    if missed:
        return f"Round {number} did not gain on {_listed(missed, 'or')}."
    return f"Round {number} gained on {_listed(gained, 'and')}." if gained else None


def _listed(names: Sequence[str], word: str) -> str:
    """Return names with commas between them, and `word` before the last."""
    return f"{', '.join(names[:-1])} {word} {names[-1]}" if len(names) > 1 else names[0]
