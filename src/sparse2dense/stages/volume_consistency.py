"""What the schema can't see of volumes: keys that contradict each other, and files that don't belong together."""

from collections.abc import Iterator, Mapping
from typing import Any

from sparse2dense.errors import InputError
from sparse2dense.stages.downloading import expand_url

__all__ = ["RUN_FOLDERS", "addresses", "has_truth", "volume_problems"]

Config = Mapping[str, Any]
RUN_FOLDERS = ("benchmarks", "charts", "logs", "nets", "thresholds")
"""What stands in the results of a run beside the folders of its volumes."""
SOURCES = ("raw", "truth", "painted", "painted_mask")


def addresses(source: Config) -> list[str]:
    """Return the URLs of a source in the order of its files; none for a file on this machine."""
    url = source["url"]
    if url is None or source["path"] is not None:
        return []
    return [address for template in ([url] if isinstance(url, str) else url) for address in expand_url(template)]


def volume_problems(config: Config) -> Iterator[InputError]:
    """Check every volume by itself."""
    for name, volume in config["volumes"].items():
        path = f"volumes.{name}"
        if name in RUN_FOLDERS:
            yield InputError(
                f"`{path}`: a volume called {name!r} would share a folder with what the run keeps there",
                allowed=f"any name but {', '.join(RUN_FOLDERS)}",
                remedy=f"rename {name!r}",
            )
        yield from image_problems(path, volume)
        for kind in SOURCES:
            if kind in volume:
                yield from source_problems(f"{path}.{kind}", volume[kind])
        if "skeletons" in volume:
            yield from skeleton_problems(path, volume)
        if volume["role"] == "annotated":
            yield from annotation_problems(path, volume)
            continue
        for key in ("annotation", "painted", "painted_mask"):
            if key in volume:
                yield InputError(
                    f"`{path}.{key}` is given, but `{path}.role` is {volume['role']}",
                    allowed=f"`{key}` on volumes with the role annotated",
                    remedy=f"remove `{key}`, or set `{path}.role` to annotated",
                )
        if volume["role"] == "test" and volume["weight"] != 1:
            yield InputError(
                f"`{path}.weight` is {volume['weight']}, but `{path}.role` is test",
                allowed="a weight of volumes that nets are trained on",
                remedy=f"remove `weight`, or set `{path}.role` to annotated or unlabelled",
            )
        if volume["role"] == "test" and not has_truth(volume):
            yield InputError(
                f"`{path}.role` is test, but `{path}.truth` is missing",
                allowed="dense truth to score against",
                remedy="add `truth`, or set the role to unlabelled",
            )


def has_truth(volume: Config) -> bool:
    """Whether dense truth of the volume is at hand; generated volumes come with theirs."""
    return "truth" in volume or "phantom" in volume


def image_problems(path: str, volume: Config) -> Iterator[InputError]:
    """Check that there is exactly one image."""
    if ("phantom" in volume) == ("raw" in volume):
        both = "phantom" in volume
        yield InputError(
            f"`{path}` has {'both `phantom` and `raw`' if both else 'neither `raw` nor `phantom`'}",
            allowed="one of them: an image from a file or a generated one",
            remedy="remove one" if both else "add `raw: {path: ..., voxel_size: [z, y, x]}`",
        )
    elif "phantom" in volume and "truth" in volume:
        yield InputError(
            f"`{path}.truth` is given for a generated volume",
            allowed="no `truth` beside `phantom`, which makes its own",
            remedy="remove `truth`",
        )


def source_problems(path: str, source: Config) -> Iterator[InputError]:
    """Check that a source says where it is, and that its parts fit."""
    url = source["url"]
    if source["path"] is None and url is None:
        yield InputError(
            f"`{path}` has neither `path` nor `url`",
            allowed="one of them",
            remedy="add `path` for a file on this machine, or `url` for one to download",
        )
        return
    if isinstance(source["url_sha256"], list) and len(source["url_sha256"]) != len(addresses(source)):
        yield InputError(
            f"`{path}.url_sha256` has {len(source['url_sha256'])} checksums for {len(addresses(source))} files",
            allowed="one checksum for each file",
            remedy="give a checksum for every file, or none",
        )
    for axis, (start, stop) in zip("zyx", source["crop"] or [], strict=False):
        if start >= stop:
            yield InputError(
                f"`{path}.crop` is [{start}, {stop}] along {axis}",
                allowed="a start below the end",
                remedy="give `[[z0, z1], [y0, y1], [x0, x1]]`, ends not included",
            )


def skeleton_problems(path: str, volume: Config) -> Iterator[InputError]:
    """Check that skeletons belong to a test volume and come from one place."""
    if volume["role"] != "test":
        yield InputError(
            f"`{path}.skeletons` is given, but `{path}.role` is {volume['role']}",
            allowed="`skeletons` on volumes with the role test",
            remedy=f"remove `skeletons`, or set `{path}.role` to test",
        )
    skeletons = volume["skeletons"]
    if (skeletons["path"] is not None) == skeletons["from_truth"]:
        both = skeletons["from_truth"]
        yield InputError(
            f"`{path}.skeletons` has {'both `path` and `from_truth`' if both else 'neither `path` nor `from_truth`'}",
            allowed="one of them: skeletons from a file, or made from dense truth",
            remedy="remove one" if both else "add `path`, or `from_truth: true`",
        )
    for axis, (begin, end) in zip("zyx", skeletons["region"] or [], strict=False):
        if begin >= end:
            yield InputError(
                f"`{path}.skeletons.region` is [{begin}, {end}] nm along {axis}",
                allowed="a begin below the end",
                remedy="give `[[z0, z1], [y0, y1], [x0, x1]]` in nm, ends not included",
            )


def annotation_problems(path: str, volume: Config) -> Iterator[InputError]:
    """Check what the annotation is drawn from."""
    if "annotation" not in volume:
        yield InputError(
            f"`{path}.annotation` is missing, but the role is annotated",
            allowed="a block that says which labels may be seen and what 0 means in them",
            remedy="add at least `annotation: {zero: unlabelled}`, see config/README.md",
        )
        return
    annotation = volume["annotation"]
    draw, sections = annotation["draw"], annotation["sections"]
    if draw == "painted" and "painted" not in volume:
        yield InputError(
            f"`{path}.annotation.draw` is painted, but `{path}.painted` is missing",
            allowed="`painted` labels, or another way to draw from dense truth",
            remedy="add `painted`, or set `draw` to sections, disks, objects, fraction or dense",
        )
    if draw != "painted" and not has_truth(volume):
        yield InputError(
            f"`{path}.annotation.draw` is {draw}, but `{path}.truth` is missing",
            allowed="dense truth to draw from",
            remedy="add `truth`, or set `draw` to painted",
        )
    if draw in ("sections", "disks") and not sections:
        yield InputError(
            f"`{path}.annotation.draw` is {draw}, but `{path}.annotation.sections` is missing",
            allowed="a list of section numbers",
            remedy="add for example `sections: [12, 34, 56]`",
        )
    if annotation["part"] >= annotation["parts"]:
        yield InputError(
            f"`{path}.annotation.part` is {annotation['part']} of {annotation['parts']} parts",
            allowed=f"0 to {annotation['parts'] - 1}",
            remedy="choose a part that exists, or raise `parts`",
        )
    validation = annotation["validation"]
    if validation is not None and sections and validation not in sections:
        yield InputError(
            f"`{path}.annotation.validation` is {validation}",
            allowed=f"one of the annotated sections {sections}",
            remedy="choose one of them, or remove `validation`",
        )
