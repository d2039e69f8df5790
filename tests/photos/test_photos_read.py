import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from facesearch.errors import UnreadablePhoto
from facesearch.photos import content as contents
from facesearch.photos import decode as decoding
from facesearch.photos.content import fingerprint, read_content
from facesearch.photos.decode import brightened, decode

pillow_heif.register_heif_opener()

# Quadrants, left to right and top to bottom, in RGB.
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 60, 210), (230, 220, 60))
WIDTH, HEIGHT = 96, 64


def quadrants(colours=COLOURS):
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for number, colour in enumerate(colours):
        y, x = divmod(number, 2)
        pixels[y * HEIGHT // 2 : (y + 1) * HEIGHT // 2, x * WIDTH // 2 : (x + 1) * WIDTH // 2] = colour
    return Image.fromarray(pixels)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def seen(pixels):
    """Return the colour in the middle of each quadrant, in RGB."""
    height, width = pixels.shape[:2]
    return [
        tuple(int(v) for v in pixels[height * y // 4, width * x // 4][::-1]) for y in (1, 3) for x in (1, 3)
    ]


def assert_colours(pixels, colours=COLOURS, tolerance=14):
    for found, wanted in zip(seen(pixels), colours, strict=True):
        assert np.abs(np.subtract(found, wanted)).max() <= tolerance, (seen(pixels), colours)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("BMP", {}),
        ("DIB", {}),
        ("PPM", {}),
        ("HEIF", {"quality": 95}),
        ("AVIF", {"quality": 95}),
        ("MPO", {"quality": 95}),
    ],
)
def test_every_format_gives_its_colours(kind, options):
    photo = decode(saved(quadrants(), kind, **options))
    assert photo.pixels.dtype == np.uint8
    assert (photo.width, photo.height) == (WIDTH, HEIGHT)
    assert photo.pixels.shape == (HEIGHT, WIDTH, 3)
    assert photo.scale == 1.0
    assert_colours(photo.pixels)


def test_a_gif_gives_its_first_frame():
    second = Image.new("RGB", (WIDTH, HEIGHT), "black")
    data = saved(quadrants(), "GIF", save_all=True, append_images=[second, second])
    assert_colours(decode(data).pixels)


def test_a_tiff_of_several_pages_gives_its_first():
    data = saved(quadrants(), "TIFF", save_all=True, append_images=[Image.new("RGB", (10, 10))])
    assert_colours(decode(data).pixels)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_modes_look_as_pillow_shows_them(kind, mode):
    possible = {
        "JPEG": ("L", "CMYK", "YCbCr"),
        "PNG": ("L", "1", "P", "LA"),
        "TIFF": ("L", "1", "P", "CMYK", "YCbCr"),
    }
    image = quadrants().convert(mode if mode in possible[kind] else "L")
    wanted = [tuple(int(v) for v in colour) for colour in seen(np.asarray(image.convert("RGB"))[:, :, ::-1])]
    options = {"compression": "raw"} if kind == "TIFF" else {}
    assert_colours(decode(saved(image, kind, **options)).pixels, wanted)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_lies_on_white(kind):
    image = quadrants().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, WIDTH // 2, HEIGHT // 2))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert_colours(decode(saved(image, kind, **options)).pixels, ((255, 255, 255), *COLOURS[1:]))


def test_half_transparent_grey_is_mixed_with_white():
    image = Image.new("LA", (WIDTH, HEIGHT), (100, 128))
    assert_colours(decode(saved(image, "PNG")).pixels, [(177, 177, 177)] * 4, 2)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white(kind):
    image = quadrants().quantize(8)
    first = image.getpixel((5, 5))
    assert_colours(decode(saved(image, kind, transparency=first)).pixels, ((255, 255, 255), *COLOURS[1:]), 20)


GREYS = (30, 90, 160, 250)


def grey_levels(top, dtype):
    """Return quadrants of grey at 30, 90, 160 and 250 of 255 parts of `top`."""
    grey = np.empty((HEIGHT, WIDTH), np.float64)
    for number, level in enumerate(GREYS):
        y, x = divmod(number, 2)
        grey[y * HEIGHT // 2 : (y + 1) * HEIGHT // 2, x * WIDTH // 2 : (x + 1) * WIDTH // 2] = level / 255
    return (grey * top).astype(dtype)


@pytest.mark.parametrize("top", [65535, 16383, 4095], ids=["16 bits", "14 bits", "12 bits"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey(kind, top):
    data = saved(Image.fromarray(grey_levels(top, np.uint16)), kind)
    assert_colours(decode(data).pixels, [(grey,) * 3 for grey in GREYS], 3)


def test_a_pgm_of_twelve_bits():
    levels = grey_levels(4095, np.uint16).astype(">u2").tobytes()
    data = b"P5 %d %d 4095\n" % (WIDTH, HEIGHT) + levels
    assert_colours(decode(data).pixels, [(grey,) * 3 for grey in GREYS], 3)


def test_sixteen_bit_colour():
    rgb = np.asarray(quadrants()).astype(np.uint16) * 257
    for suffix in (".png", ".tiff"):
        done, data = cv2.imencode(suffix, rgb[:, :, ::-1])
        assert done
        assert_colours(decode(data.tobytes()).pixels)


@pytest.mark.parametrize(("top", "dtype"), [(1.0, np.float32), (255.0, np.float32), (65535, np.int32)])
def test_float_and_long_tiff(top, dtype):
    data = saved(Image.fromarray(grey_levels(top, dtype)), "TIFF")
    assert_colours(decode(data).pixels, [(grey,) * 3 for grey in GREYS], 3)


def test_what_is_not_finite_in_a_float_tiff_is_black():
    levels = grey_levels(1.0, np.float32)
    levels[: HEIGHT // 2, : WIDTH // 2] = np.nan
    levels[HEIGHT // 2 :, : WIDTH // 2] = np.inf
    pixels = decode(saved(Image.fromarray(levels), "TIFF")).pixels
    assert_colours(pixels, [(0,) * 3, (90,) * 3, (0,) * 3, (250,) * 3], 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_every_orientation_is_turned_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind not in ("PNG", "TIFF") else {}
    data = saved(quadrants(), kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[:, :, ::-1]
    photo = decode(data)
    assert photo.pixels.shape == wanted.shape
    assert (photo.height, photo.width) == wanted.shape[:2]
    assert_colours(photo.pixels, seen(wanted), 3)


def exif_of(*orientations, thumbnails=None, order="<"):
    """Return an EXIF segment with these orientations in its first directory, and one in the thumbnail's."""
    kind = b"II*\0" if order == "<" else b"MM\0*"
    body = kind + struct.pack(order + "LH", 8, len(orientations))
    body += b"".join(struct.pack(order + "HHLHH", 0x112, 3, 1, one, 0) for one in orientations)
    if thumbnails is None:
        body += bytes(4)
    else:
        body += struct.pack(order + "LHHHLHHL", len(body) + 4, 1, 0x112, 3, 1, thumbnails, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 8) + b"Exif\0\0" + body


@pytest.mark.parametrize(
    ("segments", "turned"),
    [
        (exif_of(6), True),
        (exif_of(6, 1), True),
        (exif_of(1, 6), False),
        (exif_of(6, 1, order=">"), True),
        (exif_of(6) + exif_of(1), True),
        (exif_of(1) + exif_of(6), False),
        (exif_of(1, thumbnails=6), False),
        (exif_of(6, thumbnails=1), True),
    ],
)
def test_of_several_orientations_the_photos_first_one_counts(segments, turned):
    """As exiftool and ImageMagick have it."""
    plain = saved(quadrants(), "JPEG")
    photo = decode(plain[:2] + segments + plain[2:])
    assert (photo.width < photo.height) == turned
    assert photo.pixels.shape[:2] == (photo.height, photo.width)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("side", [1, 99, 100, 101, 200, 399, 400, 401, 799, 800, 801, 5000])
def test_a_large_jpeg_keeps_the_side_that_is_needed(side, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = decode(saved(quadrants().resize((801, 533)), "JPEG", exif=exif, quality=95), side=side)
    assert (photo.width, photo.height) == ((801, 533) if orientation == 1 else (533, 801))
    assert max(photo.pixels.shape) >= min(side, 801)
    assert photo.scale == pytest.approx(801 / max(photo.pixels.shape))
    if side <= 100:
        assert max(photo.pixels.shape) < 120
    if side > 401:
        assert max(photo.pixels.shape) == 801
    if orientation == 1:
        assert_colours(photo.pixels)


def test_other_formats_come_whole_whatever_the_side():
    photo = decode(saved(quadrants(), "PNG"), side=8)
    assert photo.pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.fixture
def _all_large(monkeypatch):
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 1)
    monkeypatch.setattr(decoding, "_TILE", 16)


@pytest.mark.usefixtures("_all_large")
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize(("side", "longer"), [(None, 95), (96, 95), (95, 95), (47, 48), (23, 24), (11, 12)])
def test_a_large_photo_of_any_format_keeps_the_side_that_is_needed(kind, orientation, side, longer):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if kind not in ("BMP", "GIF") else {}
    data = saved(quadrants().resize((95, 63), Image.Resampling.NEAREST), kind, **options)
    photo, whole = decode(data, side=side), decode(data)
    assert (photo.width, photo.height) == (whole.width, whole.height)
    assert {photo.width, photo.height} == {95, 63}
    assert max(photo.pixels.shape) == longer
    assert_colours(photo.pixels, seen(whole.pixels), 6)


@pytest.mark.usefixtures("_all_large")
@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_a_large_photo_of_any_mode_is_made_smaller(mode):
    data = saved(quadrants().convert(mode), "PNG")
    small = decode(data, side=12).pixels
    assert small.shape == (HEIGHT // 8, WIDTH // 8, 3)
    wanted = cv2.resize(decode(data).pixels, (WIDTH // 8, HEIGHT // 8), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - wanted).max() <= 2


@pytest.mark.usefixtures("_all_large")
@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int32])
def test_large_grey_of_many_bits_has_one_white(dtype):
    """The range is that of the whole photo, not that of each square."""
    data = saved(Image.fromarray(grey_levels(4095, dtype)), "TIFF")
    assert_colours(decode(data, side=12).pixels, [(grey,) * 3 for grey in GREYS], 3)


@pytest.mark.parametrize(("large", "at_once"), [(1, 1), (1 << 30, 4)])
def test_large_photos_are_decoded_one_at_a_time(monkeypatch, large, at_once):
    monkeypatch.setattr(decoding, "LARGE_PIXELS", large)
    real, inside, most = decoding._bgr, [], []
    all_here = threading.Barrier(at_once)

    def watched(image, divisor):
        inside.append(1)
        most.append(len(inside))
        if at_once > 1:
            all_here.wait(20)
        else:
            time.sleep(0.02)
        inside.pop()
        return real(image, divisor)

    monkeypatch.setattr(decoding, "_bgr", watched)
    data = saved(quadrants(), "PNG")
    threads = [threading.Thread(target=decode, args=(data,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == at_once
    assert len(most) == 4


@pytest.mark.usefixtures("_all_large")
@pytest.mark.parametrize(
    ("options", "side", "waits"),
    [
        ({}, 12, False),
        ({}, None, True),
        ({"progressive": True}, 12, True),
    ],
)
def test_a_large_jpeg_waits_when_it_is_in_memory_whole(options, side, waits):
    data = saved(quadrants(), "JPEG", **options)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (decode(data, side=side), done.set()))
    with decoding.ONE_LARGE:
        thread.start()
        assert done.wait(0.3 if waits else 20) != waits
    thread.join()
    assert done.is_set()


@pytest.mark.slow
def test_decoding_takes_little_more_than_the_pixels():
    """A process of its own, for its peak is measured; 22 bytes a pixel is what copies of the whole took."""
    code = (
        "import io, resource\nfrom PIL import Image\nfrom facesearch.photos.decode import decode\n"
        "def png(side):\n    file = io.BytesIO()\n"
        "    Image.new('RGBA', (side, side)).save(file, 'PNG', compress_level=1)\n"
        "    return file.getvalue()\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "large, small = png(4000), png(2000)\ndecode(small)\n"
        "before = peak()\ndecode(large)\nprint((peak() - before) * 1024 / 4000**2)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert float(ran.stdout) < 9, ran.stderr


def sentence(data):
    with pytest.raises(UnreadablePhoto) as caught:
        decode(data)
    message = caught.value.message
    assert message[0].isupper()
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "HEIF", "AVIF", "GIF"])
@pytest.mark.parametrize("part", [10, 0.5])
def test_a_truncated_photo_is_unreadable(kind, part):
    noise = np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    data = saved(Image.fromarray(noise), kind)
    sentence(data[: part if isinstance(part, int) else int(len(data) * part)])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [2, 40, 0.04])
def test_a_jpeg_without_its_end_is_taken_as_far_as_it_goes(progressive, lost):
    image = quadrants().resize((480, 320), Image.Resampling.BICUBIC)
    data = saved(image, "JPEG", progressive=progressive, quality=95)
    short = data[: len(data) - (lost if isinstance(lost, int) else int(lost * len(data)))]
    whole, found = decode(data), decode(short)
    assert (found.truncated, whole.truncated) == (True, False)
    assert found.pixels.shape == whole.pixels.shape
    difference = np.abs(found.pixels[:280].astype(int) - whole.pixels[:280])
    assert difference.mean() < 2
    assert decode(short, side=120).truncated


def test_a_progressive_jpeg_of_which_only_the_outlines_are_there_is_unreadable():
    data = saved(
        quadrants().resize((480, 320), Image.Resampling.BICUBIC), "JPEG", progressive=True, quality=95
    )
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    sentence(data[: scans[3] + 30])
    assert decode(data[: scans[6] + 30]).truncated


def test_white_is_one_in_a_picture_of_floats_whatever_is_brighter():
    grey = np.linspace(0, 1, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
    grey[:2] = 40.0  # a lamp
    pixels = decode(saved(Image.fromarray(grey), "TIFF")).pixels
    assert abs(int(pixels[HEIGHT // 2, 0, 0]) - 255 * grey[HEIGHT // 2, 0]) < 2
    assert (pixels[:2] == 255).all()
    grey[:2] = 1.0
    assert decode(saved(Image.fromarray(200 * grey), "TIFF")).pixels.mean() > 90


@pytest.mark.slow
def test_memory_that_large_photos_took_is_given_back():
    """A process of its own; four threads kept 700 MB."""
    code = (
        "import io\nfrom concurrent.futures import ThreadPoolExecutor\nfrom PIL import Image\n"
        "from facesearch.photos.decode import decode\nfile = io.BytesIO()\n"
        "Image.new('RGB', (6000, 6000)).save(file, 'PNG', compress_level=1)\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    list(pool.map(lambda _: decode(file.getvalue(), side=1280).width, range(6)))\n"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')][0])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert int(ran.stdout) < 250 * 1024, ran.stderr


@pytest.mark.parametrize("data", [b"", b"Dear diary,\n", b"\0" * 4000, b"\xff\xd8\xff", b"GIF89a", b"P6 9"])
def test_what_is_no_picture_is_unreadable(data):
    sentence(data)


def test_the_empty_file_is_called_empty():
    assert sentence(b"") == "It is empty."


def png_of(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize("size", [(16001, 16000), (50000, 50000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_unreadable_and_costs_nothing(size):
    assert "256000000 pixels" in sentence(png_of(*size))


def test_a_photo_just_under_the_limit_is_no_bomb():
    assert "pixels" not in sentence(png_of(16000, 16000))  # truncated, and said so


@pytest.mark.parametrize("body", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"GRIB\0\0\0\1"])
def test_formats_that_start_programs_are_not_known(body):
    assert sentence(body + bytes(1000)) == "It is not a picture in a format that is known here."


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage that is no TIFF",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40,
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0ab\0\0",  # an orientation that is text
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0",  # orientation 99
    ],
)
def test_hostile_exif_leaves_the_photo_as_it_is(exif):
    photo = decode(saved(quadrants(), "JPEG", quality=95, exif=exif))
    assert (photo.width, photo.height) == (WIDTH, HEIGHT)
    assert_colours(photo.pixels)


def test_random_damage_is_unreadable_or_a_picture():
    rng = np.random.default_rng(11)
    for kind in ("PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "HEIF", "AVIF"):
        whole = saved(quadrants(), kind)
        for _ in range(25):
            data = bytearray(whole)
            for place in rng.integers(0, min(len(data), 600), 3):
                data[place] = rng.integers(0, 256)
            try:
                photo = decode(bytes(data))
            except UnreadablePhoto:
                continue
            assert photo.pixels.shape == (photo.height, photo.width, 3)


def test_what_pillow_complains_of_is_not_printed(tmp_path):
    """A process of its own: libraries write to the terminal past Python."""
    files = {
        "half.png": saved(quadrants(), "PNG")[:400],
        "exif.jpg": saved(quadrants(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40),
        # A TIFF that claims 65535 samples for a pixel, of which Pillow writes a line to its log.
        "samples.tif": saved(quadrants(), "TIFF").replace(
            struct.pack("<HHIHH", 277, 3, 1, 3, 0), struct.pack("<HHIHH", 277, 3, 1, 65535, 0)
        ),
        "large.png": png_of(12000, 12000),
        "half.jpg": saved(quadrants(), "JPEG")[:900],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import pathlib, sys\n"
        "from facesearch.photos.decode import decode\n"
        "from facesearch.errors import UnreadablePhoto\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n        decode(path.read_bytes())\n"
        "    except UnreadablePhoto:\n        pass\n"
        "print('done')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("done\n", "")


def test_content_is_read_with_its_fingerprint(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"0123")
    os.utime(path, ns=(5, 1_234_567_891))
    content = read_content(str(path))
    changed = path.stat().st_ctime_ns
    assert content.data == b"0123"
    assert (content.file.size, content.file.mtime_ns, content.file.ctime_ns) == (4, 1_234_567_891, changed)
    assert content.file.file_digest == fingerprint(b"0123") != fingerprint(b"0124")
    assert len(content.file.digest) == len(content.file.file_digest) == 16


def test_a_wrong_suffix_does_not_matter(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(quadrants(), "PNG"))
    assert_colours(decode(read_content(str(path)).data).pixels)


def test_a_pipe_does_not_block_and_is_no_photo(tmp_path):
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    with pytest.raises(UnreadablePhoto, match="not an ordinary file"):
        read_content(str(path))


def test_a_folder_and_a_missing_file_are_errors_of_the_system(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_content(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        read_content(str(tmp_path / "gone.jpg"))


def test_a_file_larger_than_the_limit_is_not_read(tmp_path):
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(contents.MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(UnreadablePhoto, match="larger than 1 GiB"):
        read_content(str(path))


@pytest.mark.parametrize("name", ["huge.tif", "huge.jpg"])
def test_of_a_large_file_that_is_no_picture_only_the_first_bytes_are_read(tmp_path, monkeypatch, name):
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(contents.LARGE_BYTES + 1)
    monkeypatch.setattr(contents, "fingerprint", None)  # it is not come to
    with pytest.raises(UnreadablePhoto, match="not a picture in a format"):
        read_content(str(path))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "DIB", "HEIF", "AVIF"])
def test_each_format_is_known_by_its_first_bytes(kind):
    if kind in decoding.ISO_FORMATS:
        decoding._register_heif()
    assert contents._MAGIC.match(saved(quadrants(), kind)[: contents._HEAD])
    if kind == "TIFF":
        assert contents._MAGIC.match(saved(quadrants(), kind, big_tiff=True)[: contents._HEAD])
    if kind == "PPM":
        assert contents._MAGIC.match(saved(quadrants().convert("1"), kind)[: contents._HEAD])


def is_free(lock):
    """Return whether another thread could take a lock now."""

    def tried():
        taken = lock.acquire(blocking=False)
        if taken:
            lock.release()
        return taken

    with ThreadPoolExecutor(1) as other:
        return other.submit(tried).result()


@pytest.mark.parametrize(
    ("name", "free"),
    [("large.jpg", False), ("small.jpg", True), ("gone.jpg", True), ("s3://pictures/large.jpg", True)],
)
def test_large_files_take_turns(tmp_path, monkeypatch, name, free):
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(contents.LARGE_BYTES + 1)
    (tmp_path / "small.jpg").touch()
    with contents.alone_if_large(name):
        assert is_free(decoding.ONE_LARGE) is free
    assert is_free(decoding.ONE_LARGE)


def test_a_time_beyond_64_bits_is_kept_to_them(tmp_path):
    path = tmp_path / "future.jpg"
    path.write_bytes(b"x")
    os.utime(path, ns=(0, 1 << 63))
    if path.stat().st_mtime_ns == 1 << 63:  # not every file system holds it
        assert read_content(str(path)).file.mtime_ns == (1 << 63) - 1


def test_a_file_that_changes_while_it_is_read_is_unreadable(tmp_path):
    path = tmp_path / "growing.jpg"
    path.write_bytes(b"x" * 1000)
    stop = threading.Event()

    def grow():
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x" * 64)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        problems = set()
        for _ in range(200):
            try:
                content = read_content(str(path))
            except UnreadablePhoto as error:
                problems.add(error.message)
                break
            assert content.file.size == len(content.data)
    finally:
        stop.set()
        writer.join()
    assert problems <= {"It changes while it is read."}
    content = read_content(str(path))  # at rest again
    assert content.file.size == path.stat().st_size


@pytest.mark.parametrize("clock", ["runs", "stands still"])
def test_a_file_that_never_rests_is_given_up(tmp_path, monkeypatch, clock):
    path = tmp_path / "restless.jpg"
    path.write_bytes(b"x" * 100)
    real = os.fstat

    def stat_and_write(handle):
        about = real(handle)
        with path.open("ab") as file:
            file.write(b"z")
        if clock == "stands still":  # written twice within one tick of the file system
            os.utime(path, ns=(0, about.st_mtime_ns))
        return about

    monkeypatch.setattr(contents.os, "fstat", stat_and_write)
    with pytest.raises(UnreadablePhoto, match="changes while it is read"):
        read_content(str(path))


def test_a_dark_picture_is_stretched_and_any_other_left_as_it_is():
    ramp = np.repeat(np.arange(0, 50, dtype=np.uint8), 4).reshape(1, -1, 1).repeat(50, 0).repeat(3, 2)
    bright = brightened(ramp)
    assert bright[:, 0].max() == 0
    assert bright.max() == 255
    assert (np.diff(bright[0, :, 0].astype(int)) >= 0).all()
    for other in (ramp * 5, np.zeros((9, 9, 3), np.uint8), np.full((1, 1, 3), 200, np.uint8)):
        assert brightened(other) is other
