"""Folders of images: layouts, the same cut as torchvision's, and whatever else people keep in them."""

import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.data.build import open_source
from mmgen.data.loader import slot_loader
from mmgen.media.images import from_pil, to_uint8
from mmgen.modalities.image.sources.image_folder import ImageFolder
from mmgen.modalities.image.sources.web_dataset import WebDataset
from tests.data.training import everything

NOISE = np.random.default_rng(0).integers(0, 256, (300, 200, 4), dtype=np.uint8)


def picture(width=20, height=14, mode="RGB"):
    return Image.fromarray(NOISE[:height, :width, :3]).convert(mode)


def write(folder, *names, image=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (image or picture()).save(folder / name)


@pytest.fixture
def root(tmp_path):
    """Two classes, as ImageNet lays them out."""
    write(tmp_path / "train" / "n02", "b.JPEG", "a.JPEG", "deep.png")
    write(tmp_path / "train" / "n01", "x.png")
    write(tmp_path / "val" / "n01", "v1.JPEG", "v2.JPEG")
    write(tmp_path / "val" / "n02", "w.JPEG")
    return tmp_path


def test_the_layout_of_imagenet(root):
    (root / "train" / "n02" / "inner").mkdir()
    (root / "train" / "n02" / "deep.png").rename(root / "train" / "n02" / "inner" / "deep.png")
    write(root / "train" / "n02" / ".hidden", "no.png")
    (root / "train" / "n01" / "readme.txt").write_text("no image")
    source = ImageFolder(root, image_size=8)
    assert source.class_names == ["n01", "n02"]
    assert everything(source, "train")["label"].tolist() == [0, 1, 1, 1]
    assert everything(source, "val")["label"].tolist() == [0, 0, 1]
    assert [name.decode() for name in source.samples("train").listing.names] == [
        "n01/x.png",
        "n02/a.JPEG",
        "n02/b.JPEG",
        "n02/inner/deep.png",
    ]
    numbers = [everything(source, split)["sample"].tolist() for split in ("train", "val")]
    assert numbers == [[0, 1, 2, 3], [4, 5, 6]]


def test_without_a_val_folder_a_share_of_each_class_is_held_out(root):
    for path in (root / "val").rglob("*.JPEG"):
        path.unlink()
    for folder in sorted((root / "val").iterdir()):
        folder.rmdir()
    (root / "val").rmdir()
    write(root / "train" / "n01", *(f"{number}.png" for number in range(5)))
    for where in (root, root / "train"):  # the same, whether or not there is a folder train
        source = ImageFolder(where, image_size=8, held_out=3)
        assert everything(source, "val")["sample"].tolist() == [0, 3, 6]
        assert everything(source, "train")["sample"].tolist() == [1, 2, 4, 5, 7, 8]
        assert everything(source, "val")["label"].tolist() == [0, 0, 1]


def test_images_without_folders_have_no_class(tmp_path):
    write(tmp_path, *(f"{number}.png" for number in range(4)))
    source = ImageFolder(tmp_path, image_size=8, held_out=2)
    assert (source.classes, source.class_names) == (0, [])
    assert everything(source, "train")["label"].tolist() == [-1, -1]
    assert len(source.samples("val")) == 2


def test_classes_are_shown_by_the_names_of_a_file(root):
    (root / "names.txt").write_text("n02 goldfish, Carassius auratus\n\nn99 something else\n")
    assert ImageFolder(root, names=root / "names.txt").class_names == [
        "n01",
        "goldfish, Carassius auratus",
    ]
    (root / "names.txt").write_text("n99 something else\n")
    with pytest.raises(UserError, match=r"names.txt names no class folder of .*a space, a name"):
        ImageFolder(root, names=root / "names.txt")
    with pytest.raises(UserError, match=r"none.txt cannot be read"):
        ImageFolder(root, names=root / "none.txt")


@pytest.mark.parametrize("size", [(20, 14), (14, 20), (7, 5), (8, 8), (199, 31), (33, 300)])
def test_the_centre_is_cut_as_torchvision_cuts_it(tmp_path, size):
    from torchvision.transforms import InterpolationMode, v2

    write(tmp_path, "a.png", "b.png", image=picture(*size))
    transform = v2.Compose([v2.Resize(8, InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(8)])
    expected = from_pil(transform(picture(*size)))
    source = ImageFolder(tmp_path, image_size=8, held_out=2)
    for split in ("train", "val"):
        assert everything(source, split)["x"][0].equal(expected)


def test_random_crops_keep_four_fifths_of_the_short_side(tmp_path):
    """A wide ramp: its left edge tells where a crop lies, its slope how large it is."""
    ramp = np.broadcast_to(np.linspace(0, 255, 200)[None, :, None], (100, 200, 3)).astype(np.uint8)
    write(tmp_path, "a.png", "b.png", image=Image.fromarray(ramp))
    samples = ImageFolder(tmp_path, image_size=50, held_out=2).samples("train")
    epochs = torch.arange(200)
    x = samples.augmented(torch.zeros_like(epochs), epochs, seed=1)["x"].mean((1, 2))
    mirrored = x[:, 0] > x[:, -1]
    assert 0.35 < mirrored.double().mean() < 0.65
    x = torch.where(mirrored[:, None], x.flip(1), x)
    width = (x[:, 45] - x[:, 5]) / 40 * 50  # of the ramp's range 2, of which a square crop of full height holds 1
    assert 0.78 < width.min() < 0.83
    assert 0.97 < width.max() < 1.02
    left = (x[:, 25] + 1 - width / 2) / (2 - width)
    assert left.min() < 0.05
    assert left.max() > 0.95
    assert abs(left.mean() - 0.5) < 0.1


def odd_files(folder):
    """Name -> grey or colour that its first pixel must have, for files that are converted."""
    folder.mkdir(parents=True)
    wide = np.full((9, 9), 40000, np.uint16)
    Image.fromarray(wide).save(folder / "sixteen.png")
    Image.fromarray(wide).save(folder / "sixteen.tif")
    Image.new("L", (30, 9), 100).save(folder / "grey.jpg")
    Image.new("LA", (9, 9), (10, 0)).save(folder / "grey_clear.png")
    Image.new("CMYK", (9, 30), (255, 0, 255, 0)).save(folder / "cmyk.jpg")
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(folder / "clear.png")
    Image.new("RGB", (9, 9), (0, 200, 0)).convert("P").save(folder / "palette.png")
    frames = [Image.new("RGB", (9, 9), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    turned = Image.new("RGB", (12, 6), (255, 255, 255))
    turned.paste((0, 0, 0), (0, 0, 6, 6))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: what is left in the file is the top
    turned.save(folder / "turned.png", exif=exif)
    return {
        "clear.png": (255, 255, 255),
        "cmyk.jpg": (0, 255, 0),
        "grey.jpg": (100, 100, 100),
        "grey_clear.png": (255, 255, 255),
        "moving.gif": (250, 0, 0),
        "palette.png": (0, 204, 0),
        "sixteen.png": (156, 156, 156),
        "sixteen.tif": (156, 156, 156),
        "turned.png": (0, 0, 0),
    }


def test_odd_files_are_converted_each_kind_told_once_with_its_count(tmp_path, caplog):
    expected = odd_files(tmp_path / "train" / "all")
    write(tmp_path / "val" / "all", "plain.png")
    source = ImageFolder(tmp_path, image_size=8)
    batch = everything(source, "train")
    first = to_uint8(batch["x"])[:, :, 0, 4].int()
    assert (first - torch.tensor(list(expected.values()))).abs().max() <= 3  # JPEG
    told = [record.getMessage().removeprefix(f"{tmp_path / 'train'}: ") for record in caplog.records[1:]]
    assert told == [
        "16 bits scaled to 8 in 2 image(s) (all/sixteen.png)",
        "CMYK turned to RGB in 1 image(s) (all/cmyk.jpg)",
        "grey turned to colour in 4 image(s) (all/grey.jpg)",
        "only the first of several frames taken in 1 image(s) (all/moving.gif)",
        "palette turned to RGB in 2 image(s) (all/moving.gif)",
        "transparency laid on white in 2 image(s) (all/clear.png)",
    ]


def test_colour_is_turned_to_grey_and_told(root, caplog):
    batch = everything(ImageFolder(root, image_size=8, channels=1), "train")
    assert batch["x"].shape == (4, 1, 8, 8)
    assert f"{root / 'train'}: colour turned to grey in 4 image(s) (n01/x.png)" in caplog.messages


def broken(folder):
    """Files that a scan skips."""
    folder.mkdir(parents=True, exist_ok=True)
    picture().save(folder / "whole.png")
    picture(200, 140).save(folder / "whole.jpg")
    for name, source, keep in (
        ("cut.png", "whole.png", 0.5),
        ("cut.jpg", "whole.jpg", 0.7),
        ("head.png", "whole.png", 0.02),
    ):
        content = (folder / source).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])
    (folder / "text.png").write_text("no image")
    (folder / "empty.jpg").touch()
    (folder / "whole.png").unlink()
    (folder / "whole.jpg").unlink()
    Image.fromarray(np.ones((4, 4), np.float32)).save(folder / "floats.tiff")
    Image.new("RGB", (400, 2)).save(folder / "strip.png")


def test_broken_files_are_skipped_with_a_count(root, caplog):
    broken(root / "train" / "n01")
    assert len(everything(ImageFolder(root, image_size=8), "train")["x"]) == 4
    folder = root / "train"
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        f"{folder}: 7 file(s) skipped: n01/cut.jpg, n01/cut.png, n01/empty.jpg, ..., the first because"
        f" {folder / 'n01' / 'cut.jpg'} is a damaged image: "
    )


def test_of_several_processes_one_tells_what_all_have_seen(root, caplog, monkeypatch):
    broken(root / "train" / "n01")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert len(ImageFolder(root, image_size=8).samples("train")) == 4
    assert caplog.messages == []


def damage(path):
    """Changes bytes within the data, where only decoding finds them."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("packed", [False, True])
def test_without_a_look_through_the_first_image_of_a_kind_that_is_converted_is_reported(packed, tmp_path, caplog):
    write(tmp_path / "images", *(f"{number}.png" for number in range(6)), image=Image.new("L", (9, 9), 100))
    source = ImageFolder(tmp_path / "images", image_size=8, held_out=2, check=False)
    if packed:
        with tarfile.open(tmp_path / "0.tar", "w") as tar:
            for path in sorted((tmp_path / "images").iterdir()):
                tar.add(path, path.name)
        source = WebDataset(tmp_path, image_size=8, held_out=2)
    for _ in range(2):
        assert len(everything(source, "train")["x"]) == 3
    place = f"1.png in {tmp_path / '0.tar'}" if packed else tmp_path / "images" / "1.png"
    assert f"{place}: grey turned to colour; further ones are not named" in caplog.messages
    assert len([line for line in caplog.messages if "turned to colour" in line]) == 1


def test_damage_that_shows_when_a_file_is_read(root, caplog):
    """A measurement ends in one line; training goes on with the next image, and says so once."""
    damage(root / "train" / "n01" / "x.png")
    source = ImageFolder(root, image_size=8)
    train = source.samples("train")
    assert len(train) == 4
    with pytest.raises(UserError, match=r"x.png is a damaged image") as caught:
        train.take(torch.tensor([1, 0]))
    assert "\n" not in str(caught.value)
    for _ in range(2):
        batch = train.augmented(torch.tensor([3, 0, 1]), torch.tensor([0, 0, 0]), 0)
        assert batch["sample"].tolist() == [3, 1, 1]
        assert batch["label"].tolist() == [1, 1, 1]
        assert batch["x"][1].equal(batch["x"][2])
    assert caplog.messages == [f"{caught.value}; the next image takes its place"]
    with pytest.raises(UserError) as again:
        list(slot_loader(train, 1, batches=[[(0, 0)]]))
    assert str(again.value) == str(caught.value)  # one line, on its way out of a worker too


def test_a_disk_that_is_gone_ends_training_in_one_line(root):
    train = ImageFolder(root, image_size=8).samples("train")
    for path in (root / "train").rglob("*.*"):
        path.unlink()
    with pytest.raises(UserError, match=r"images in a row cannot be read, the last because .* does not exist"):
        train.augmented(torch.tensor([0]), torch.tensor([0]), 0)


def test_without_a_check_no_file_is_opened_before_it_is_read(root, caplog):
    broken(root / "train" / "n01")
    assert len(ImageFolder(root, image_size=8, check=False).samples("train")) == 4 + 7
    assert caplog.messages == []


def test_a_class_folder_without_images_is_left_out_and_told(root, caplog):
    (root / "train" / "n00").mkdir()
    (root / "train" / "n03").mkdir()
    (root / "train" / "n03" / "list.txt").touch()
    write(root / "train", "loose.png")
    assert ImageFolder(root).class_names == ["n01", "n02"]
    assert caplog.messages == [
        f"{root / 'train'}: 2 folder(s) without images are no class: n00, n03",
        f"{root / 'train'}: 1 image(s) outside the class folders skipped",
    ]


def test_folders_that_cannot_be_trained_on_are_refused_in_one_line(tmp_path, root):
    empty = tmp_path / "empty"
    (empty / "class").mkdir(parents=True)
    write(tmp_path / "one", "a.png")
    write(tmp_path / "vals" / "val" / "n01", "a.png")
    for folder, message in (
        (tmp_path / "none", "is no folder: data.source.root must hold images"),
        (empty, "holds no images: put them into one folder a class"),
        (tmp_path / "vals", "has a folder val but none named train"),
        (tmp_path / "one", "has no images for the train split"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            ImageFolder(folder).samples("train")
        assert "\n" not in str(caught.value)
    write(root / "val" / "n07", "a.png")
    with pytest.raises(UserError, match="n07 is no class: the training images have no folder of that name"):
        ImageFolder(root).samples("val")


def test_validation_images_in_one_heap_are_refused(root):
    """As ImageNet's own archive unpacks them."""
    for path in sorted((root / "val").rglob("*.JPEG")):
        path.rename(root / "val" / path.name)
    with pytest.raises(UserError, match="val has no class folders with images; sort its images into the same folders"):
        ImageFolder(root).samples("val")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"image_size": 0}, "at least 1, got 0"),
        ({"channels": 2}, "1 or 3, got 2"),
        ({"held_out": 1}, "at least 2, got 1"),
    ],
)
def test_settings_out_of_range_are_refused(root, changes, rule):
    with pytest.raises(UserError, match=f"data.source.{next(iter(changes))} must be {rule}"):
        ImageFolder(root, **changes)


def test_a_source_that_needs_arguments_has_no_name(root):
    known = "asterisk_prompts, atari, digits, emoji, espeak_speech, mocap, moving_digits, photos, a YAML file"
    with pytest.raises(UserError, match=f"name {known}"):
        open_source("imagefolder")
