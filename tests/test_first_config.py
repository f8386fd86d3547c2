"""`sparse2dense new`: a configuration for somebody's own files, written from what they say."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from numpy.typing import NDArray

from sparse2dense.errors import InputError
from sparse2dense.stages.checking import input_problems
from sparse2dense.stages.command import main
from sparse2dense.stages.configuration import complete, load_schema, problems
from sparse2dense.stages.first_config import choose_preset, write_first_config
from sparse2dense.stages.importing import plan_import
from sparse2dense.stages.surveying import survey
from tests.voronoi import voronoi

ROOT = Path(__file__).parents[1]
SCHEMA = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
SHAPE = (31, 45, 52)
PAINTED = (4, 13, 22, 29)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with what the command looks for in that of the project, and a folder for data."""
    for name in ("workflow", "config"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def image(dtype: str = "uint8", shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    """An image of noise."""
    return np.random.default_rng(3).integers(0, 250, shape).astype(dtype)


def paint(
    sections: tuple[int, ...] = PAINTED, shape: tuple[int, int, int] = SHAPE, kept: int = 9
) -> NDArray[np.uint16]:
    """Labels of which only some sections are painted, there only the first few objects, out of nine."""
    whole = voronoi(shape, 9)
    labels = np.zeros(shape, np.uint16)
    for z in sections:
        labels[z] = np.where(whole[z] <= kept, whole[z], 0)
    return labels


def written(*options: str) -> dict[str, Any]:
    """The configuration that the command writes, accepted by the checks that every run begins with."""
    assert main(["new", "mine.yaml", *options]) == 0
    config: dict[str, Any] = yaml.safe_load(Path("mine.yaml").read_text())
    problems, found = input_problems(complete(config, SCHEMA))
    assert (problems, len(found)) == ([], 1)
    return config


def write_imagej(labels: NDArray[Any]) -> list[str]:
    tifffile.imwrite(
        "data/crop.tif", image(), imagej=True, resolution=(250, 250), metadata={"spacing": 0.04, "unit": "um"}
    )
    tifffile.imwrite("data/painted.tif", labels)
    return ["--raw", "data/crop.tif", "--painted", "data/painted.tif"]


def write_hdf5(labels: NDArray[Any]) -> list[str]:
    with h5py.File("data/crop.h5", "w") as file:
        for name, values in (("volumes/raw", image()), ("volumes/painted", labels)):
            file.create_dataset(name, data=values).attrs["resolution"] = (40.0, 4.0, 4.0)
    files = ["--raw", "data/crop.h5", "--painted", "data/crop.h5"]
    return [*files, "--raw-dataset", "volumes/raw", "--painted-dataset", "volumes/painted"]


def write_zarr(labels: NDArray[Any]) -> list[str]:
    for name, values in (("crop", image()), ("painted", labels)):
        array = zarr.create_array(f"data/{name}.zarr", data=values, chunks=(8, 16, 16))
        array.attrs.update(voxel_size=[40, 4, 4])
    return ["--raw", "data/crop.zarr", "--painted", "data/painted.zarr"]


def write_sections(labels: NDArray[Any]) -> list[str]:
    for name, values in (("crop", image()), ("painted", labels)):
        (Path("data") / name).mkdir()
        for z, section in enumerate(values):
            (Path("data") / name / f"z{z}.png").write_bytes(imagecodecs.png_encode(section))
    return ["--raw", "data/crop", "--painted", "data/painted", "--voxel-size", "40", "4", "4"]


@pytest.mark.parametrize("write", [write_imagej, write_hdf5, write_zarr, write_sections])
def test_files_tell_what_they_are(
    write: Callable[[NDArray[Any]], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the format: place, voxel size, painted sections and the one held out, and a preset that suits them."""
    config = written(*write(paint()), "--nets", "cpu")
    volume = config["volumes"]["crop"]
    assert config["run"] == "mine"
    assert volume["raw"]["voxel_size"] == volume["painted"]["voxel_size"] == [40, 4, 4]
    assert volume["annotation"]["sections"] == list(PAINTED)
    assert volume["annotation"]["validation"] == PAINTED[-1]
    assert config["segment"]["fragments"]["per_section"]
    assert "config/presets/anisotropic_cpu.yaml" in capsys.readouterr().out


def test_a_voxel_size_that_nobody_says_is_left_to_fill_in(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is guessed: the line is marked, the command says so, and the check asks for it until it is filled in."""
    tifffile.imwrite("data/crop.tif", image())
    tifffile.imwrite("data/painted.tif", paint())
    files = ["--raw", "data/crop.tif", "--painted", "data/painted.tif"]
    assert main(["new", "mine.yaml", *files]) == 0
    told = capsys.readouterr().out
    assert "VOXEL SIZE UNKNOWN" in told
    assert "--voxel-size" in told
    text = Path("mine.yaml").read_text()
    marked = [line for line in text.splitlines() if "voxel_size: null" in line]
    assert len(marked) == 2
    assert all("CHECK: fill in" in line for line in marked)
    problems, _ = input_problems(complete(yaml.safe_load(text), SCHEMA))
    assert "voxel size absent in the file and in the config" in str(problems[0])
    filled = text.replace("voxel_size: null", "voxel_size: [8, 8, 8]")
    assert input_problems(complete(yaml.safe_load(filled), SCHEMA))[0] == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"resolution": (2_500_000, 2_000_000), "resolutionunit": "CENTIMETER"}, "pixels have 5 x 4 nm"),
        ({"resolution": (0.125, 0.125), "imagej": True, "metadata": {"unit": "nm"}}, "pixels have 8 x 8 nm"),
        ({"resolution": (250, 250), "imagej": True, "metadata": {"unit": "\\u00B5m"}}, "pixels have 4 x 4 nm"),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({}, None),
    ],
    ids=["centimetres", "ImageJ", "escaped", "print", "nothing"],
)
def test_a_pixel_size_alone_is_passed_on(options: dict[str, Any], told: str | None) -> None:
    """Sections may have any thickness, so a voxel size isn't made of it; that of a printer isn't even mentioned."""
    tifffile.imwrite("data/crop.tif", image(), **options)
    tifffile.imwrite("data/painted.tif", paint())
    found = survey(Path("data/crop.tif"), Path("data/painted.tif"))
    assert found.voxel_size is None
    assert [told in remark for remark in found.remarks if told] == ([True] if told else [])
    assert told is not None or found.remarks == []


def test_further_volumes_only_want_their_hash_signs_removed() -> None:
    """The rest of the volume and a crop to score against are filled in, but for the names of their files."""
    written(*write_imagej(paint()))
    text = re.sub(r"^  # (?=  |rest:|second:)", "  ", Path("mine.yaml").read_text(), flags=re.MULTILINE)
    config = complete(yaml.safe_load(text), SCHEMA)
    roles = {name: volume["role"] for name, volume in config["volumes"].items()}
    assert roles == {"crop": "annotated", "rest": "unlabelled", "second": "test"}
    assert all(volume["raw"]["voxel_size"] == [40, 4, 4] for volume in config["volumes"].values())


@pytest.mark.parametrize(("kept", "meaning", "reason"), [(9, "background", "At most"), (4, "unlabelled", "left out")])
def test_what_zero_means_is_suggested_with_its_reason(kept: int, meaning: str, reason: str) -> None:
    """The choice stands in the file with both answers, what speaks for this one, and a mark to look at it."""
    config = written(*write_imagej(paint(kept=kept)))
    assert config["volumes"]["crop"]["annotation"]["zero"] == meaning
    lines = Path("mine.yaml").read_text().splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.strip() == f"zero: {meaning}"]
    comments = "\n".join(lines[place - 5 : place])
    for said in ("CHECK", "unlabelled  ", "background  ", reason, "of section"):
        assert said in comments


@pytest.mark.parametrize(
    ("voxel_size", "gpu", "preset"),
    [
        ((8.0, 8.0, 8.0), True, "isotropic"),
        ((8.0, 8.0, 8.0), False, "isotropic_cpu"),
        ((30.0, 6.0, 6.0), True, "anisotropic"),
        ((4.5, 4.5, 4.5), False, "isotropic_cpu"),
    ],
)
def test_nets_are_those_of_a_preset(voxel_size: tuple[float, ...], gpu: bool, preset: str) -> None:
    """Every number of the preset for such voxels and such a machine stands in the file."""
    shape = (31, 70, 75)
    tifffile.imwrite("data/crop.tif", image(shape=shape))
    tifffile.imwrite("data/painted.tif", paint(shape=shape))
    found = survey(Path("data/crop.tif"), Path("data/painted.tif"), voxel_size=voxel_size)
    write_first_config(Path("mine.yaml"), found, gpu=gpu)
    config = yaml.safe_load(Path("mine.yaml").read_text())
    expected = yaml.safe_load((ROOT / f"config/presets/{preset}.yaml").read_text())
    assert {name: config[name] for name in expected} == expected
    assert tuple(config["volumes"]["crop"]["raw"]["voxel_size"]) == voxel_size


@pytest.mark.parametrize(
    ("voxel_size", "kind", "doubt"),
    [
        ((8, 8, 8), "isotropic", False),
        ((40, 4, 4), "anisotropic", False),
        ((50, 10, 10), "anisotropic", True),
        ((20, 9, 9), "isotropic", True),
        ((30, 30, 30), "isotropic", True),
        (None, "isotropic", True),
    ],
)
def test_doubts_about_a_preset_are_said(voxel_size: tuple[float, ...] | None, kind: str, doubt: bool) -> None:
    """Voxels unlike those that a preset is made for get the nearest one, and a mark."""
    chosen, reason = choose_preset(voxel_size)
    assert chosen == kind
    assert reason.startswith("CHECK") == doubt


def test_small_volumes_and_few_sections_get_a_run_too() -> None:
    """Affinities that don't fit are left out and said to be, and no section is held out of two."""
    shape = (7, 45, 52)
    tifffile.imwrite("data/crop.tif", image(shape=shape))
    tifffile.imwrite("data/painted.tif", paint((2, 5), shape))
    files = ["--raw", "data/crop.tif", "--painted", "data/painted.tif", "--voxel-size", "8", "8", "8"]
    config = written(*files, "--nets", "gpu")
    assert "validation" not in config["volumes"]["crop"]["annotation"]
    assert [-9, 0, 0] not in config["nets"]["3d"]["offsets"]
    assert [0, -9, 0] in config["nets"]["3d"]["offsets"]
    assert config["pseudo_truth"]["minimum_sections"] == 2
    text = Path("mine.yaml").read_text()
    assert "Offsets of 3d that reach beyond so small a volume are left out: 1." in text
    assert "CHECK: Fewer than three sections are painted" in text


def test_dense_labels_name_no_sections() -> None:
    """Where every section is painted, all are used, and the last one is held out."""
    config = written(*write_imagej(paint(tuple(range(31)))))
    annotation = config["volumes"]["crop"]["annotation"]
    assert "sections" not in annotation
    assert annotation["validation"] == 30


def test_what_is_allowed_but_hardly_meant_is_marked() -> None:
    """A dot on a section of its own, and an image that uses little of its type."""
    labels = paint()
    labels[18, 20, 20] = 5
    tifffile.imwrite("data/crop.tif", image("uint16"))
    tifffile.imwrite("data/painted.tif", labels)
    files = ["--raw", "data/crop.tif", "--painted", "data/painted.tif", "--voxel-size", "8", "8", "8"]
    config = written(*files)
    assert config["volumes"]["crop"]["annotation"]["sections"] == sorted([*PAINTED, 18])
    text = Path("mine.yaml").read_text()
    assert "CHECK: section 18 is hardly painted" in text
    assert "nearly black to a net" in text


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.zeros(SHAPE, np.uint8), "holds nothing but 0"),
        (paint()[:, :-1], "voxels, but"),
        (paint().astype(np.float32), "labels of type float32"),
        (paint().astype(np.int32) - (paint() == 0), "negative id"),
    ],
    ids=["empty", "shape", "float", "negative"],
)
def test_labels_that_cannot_be_used_are_refused(
    labels: NDArray[Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with a message that says what to do, and writes nothing."""
    assert main(["new", "mine.yaml", *write_imagej(labels)]) == 1
    message = capsys.readouterr().err
    assert told in message
    assert "what to do:" in message
    assert not Path("mine.yaml").exists()


IMAGE_AT, LABELS_AT = (0.0, 800.0, 240.0), (40.0, 80.0, 240.0)


def write_placed(image_at: tuple[float, ...] | None, labels_at: tuple[float, ...] | None) -> list[str]:
    """An image and its labels in Zarr, each with its offset; TIFF where there is none."""
    files = []
    for option, name, values, offset in (
        ("--raw", "crop", image(), image_at),
        ("--painted", "labels", paint(), labels_at),
    ):
        if offset is None:
            tifffile.imwrite(f"data/{name}.tif", values)
        else:
            array = zarr.create_array(f"data/{name}.zarr", data=values, chunks=(8, 16, 16))
            array.attrs.update(voxel_size=[8, 8, 8], offset=list(offset))
        files += [option, f"data/{name}.{'tif' if offset is None else 'zarr'}"]
    return [*files, "--voxel-size", "8", "8", "8"]


@pytest.mark.parametrize(
    ("image_at", "labels_at", "place"),
    [
        (IMAGE_AT, None, IMAGE_AT),
        (IMAGE_AT, (0.0, 0.0, 0.0), IMAGE_AT),
        (None, LABELS_AT, LABELS_AT),
        (IMAGE_AT, tuple(side + 1e-7 for side in IMAGE_AT), None),
        (None, None, None),
    ],
)
def test_labels_of_the_shape_of_the_image_lie_where_it_lies(
    image_at: tuple[float, ...] | None, labels_at: tuple[float, ...] | None, place: tuple[float, ...] | None
) -> None:
    """An offset that only one of the files states is that of both, and the reader is told; else the files are left."""
    volume = written(*write_placed(image_at, labels_at))["volumes"]["crop"]
    stated = {kind: volume[kind].get("offset") for kind in ("raw", "painted")}
    assert stated == {"raw": place and list(place), "painted": place and list(place)}
    plans = [plan_import(Path(volume[kind]["path"]), **facts(volume[kind])) for kind in ("raw", "painted")]
    assert plans[0].offset == pytest.approx(plans[1].offset, abs=1e-3)
    assert ("CHECK: only one of the files says where it lies" in Path("mine.yaml").read_text()) == (place is not None)


def facts(source: dict[str, Any]) -> dict[str, Any]:
    """What a configuration says of a file."""
    return {key: value for key, value in source.items() if key in ("voxel_size", "offset")}


def test_labels_that_say_that_they_lie_elsewhere_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """One shape and two places: one of the files is wrong, and only the user knows which."""
    assert main(["new", "mine.yaml", *write_placed(IMAGE_AT, LABELS_AT)]) == 1
    message = capsys.readouterr().err
    assert "lies at [40.0, 80.0, 240.0] nm, but data/crop.zarr of the same shape at [0.0, 800.0, 240.0] nm" in message
    assert not Path("mine.yaml").exists()


@pytest.mark.parametrize("name", ["001", "2024_11_21", "null", "no", "nets", "logs"])
def test_files_may_have_any_name(name: str) -> None:
    """A file named by a number, a date, or a word of YAML gives a run and a volume of that name, or nearly."""
    tifffile.imwrite(f"data/{name}.tif", image())
    tifffile.imwrite("data/painted.tif", paint())
    files = ["--raw", f"data/{name}.tif", "--painted", "data/painted.tif", "--voxel-size", "8", "8", "8"]
    assert main(["new", f"{name}.yaml", *files]) == 0
    config = yaml.safe_load(Path(f"{name}.yaml").read_text())
    assert config["run"] == name
    assert list(config["volumes"]) == [f"{name}_crop" if name in ("nets", "logs") else name]
    assert problems(config, SCHEMA) == []


def test_commands_can_be_copied() -> None:
    """A file whose name holds blanks is quoted wherever a shell reads it."""
    found = survey(*map(Path, write_imagej(paint())[1::2]))
    told = write_first_config(Path("my run.yaml"), found, gpu=False)
    for text in (told, Path("my run.yaml").read_text()):
        asked = [shlex.split(line.lstrip("# ")) for line in text.splitlines() if "--configfile" in line]
        assert [words[words.index("--configfile") + 1] for words in asked] == ["my run.yaml"] * 2


@pytest.mark.parametrize("size", [(0, 8, 8), (40, float("nan"), 4)])
def test_a_voxel_size_that_is_none_is_told_where_it_is_mended(
    size: tuple[float, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no configuration yet, so the message names the option."""
    with h5py.File("data/crop.h5", "w") as file:
        file.create_dataset("raw", data=image()).attrs["resolution"] = size
    tifffile.imwrite("data/painted.tif", paint())
    files = ["--raw", "data/crop.h5", "--painted", "data/painted.tif"]
    assert main(["new", "mine.yaml", *files]) == 1
    message = capsys.readouterr().err
    assert "so says data/crop.h5" in message
    assert "--voxel-size" in message and "config" not in message
    assert main(["new", "mine.yaml", *files, "--voxel-size", "8", "0", "8"]) == 1
    assert "a voxel size of [8.0, 0.0, 8.0] nm, as you gave it" in capsys.readouterr().err


def test_one_section_is_no_volume(capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite("data/crop.tif", image()[0])
    tifffile.imwrite("data/painted.tif", paint()[PAINTED[0]])
    files = ["--raw", "data/crop.tif", "--painted", "data/painted.tif", "--voxel-size", "8", "8", "8"]
    assert main(["new", "mine.yaml", *files]) == 1
    assert "two sections or more" in capsys.readouterr().err


def test_pixels_of_ome_are_passed_on() -> None:
    """OME may say how large pixels are and not how thick sections; sizes that differ by rounding aren't remarked."""
    tifffile.imwrite(
        "data/crop.ome.tif", image(), metadata={"axes": "ZYX", "PhysicalSizeY": 0.005, "PhysicalSizeX": 0.004}
    )
    with h5py.File("data/painted.h5", "w") as file:
        file.create_dataset("labels", data=paint()).attrs["resolution"] = (40.0, 5.0, 4.0000001)
    tifffile.imwrite("data/painted.tif", paint())
    found = survey(Path("data/crop.ome.tif"), Path("data/painted.tif"))
    assert found.voxel_size is None
    assert any("pixels have 5 x 4 nm" in remark for remark in found.remarks)
    assert survey(Path("data/crop.ome.tif"), Path("data/painted.h5"), voxel_size=(40, 5, 4)).remarks == []


def test_runs_do_not_share_results() -> None:
    """The name of a run that has results is refused, whatever folder the new file lies in."""
    found = survey(*map(Path, write_imagej(paint())[1::2]))
    Path("results/my_run").mkdir(parents=True)
    for name in ("my run.yaml", "config/my_run.yaml"):
        with pytest.raises(InputError, match=r"results/my_run exists already, and would be that of .* too"):
            write_first_config(Path(name), found, gpu=False)
    write_first_config(Path("my_run_2.yaml"), found, gpu=False)
    assert yaml.safe_load(Path("my_run_2.yaml").read_text())["run"] == "my_run_2"


def test_nothing_is_overwritten() -> None:
    """A file that exists stays as it is, and so does everything where there is no project."""
    Path("mine.yaml").write_text("mine")
    found = survey(*map(Path, write_imagej(paint())[1::2]))
    with pytest.raises(InputError, match=r"mine\.yaml exists already"):
        write_first_config(Path("mine.yaml"), found, gpu=False)
    assert Path("mine.yaml").read_text() == "mine"
    Path("workflow").unlink()
    with pytest.raises(InputError, match="isn't the directory of the project"):
        write_first_config(Path("other.yaml"), found, gpu=False)
    assert not Path("other.yaml").exists()
