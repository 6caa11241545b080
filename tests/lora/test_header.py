"""The header reader agrees with the reference library on sound files, and refuses everything else without harm."""

import json
import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora import factory
from whichlora.errors import RefusedError, UserError, WhichloraError
from whichlora.lora import dtypes
from whichlora.lora.formats import read_names, recognise
from whichlora.lora.header import (
    MAX_HEADER_BYTES,
    TensorFile,
    header_length,
    parse_header,
    printable,
    read_header,
    read_tensor,
)
from whichlora.lora.structure import build


def refuse(data: bytes, word: str, total=None):
    with pytest.raises(RefusedError, match=word):
        parse_header(data, len(data) if total is None else total)


def packed(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_reads_what_the_reference_library_wrote(tmp_path):
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    tensors = {
        "a.weight": rng.normal(size=(5, 7)).astype(np.float32), "b": rng.normal(size=(3,)).astype(np.float16),
        "标量": np.asarray(2.5, np.float64), "empty": np.zeros((0, 4), np.float32),
    }
    save_file(tensors, tmp_path / "x.safetensors", metadata={"who": "值"})
    header = read_header(tmp_path / "x.safetensors")
    assert set(header.entries) == set(tensors)
    assert header.metadata == {"who": "值"}
    assert header.file_bytes == (tmp_path / "x.safetensors").stat().st_size
    with TensorFile(tmp_path / "x.safetensors") as file:
        for name, want in tensors.items():
            entry = header.entries[name]
            assert entry.shape == want.shape
            np.testing.assert_array_equal(read_tensor(tmp_path / "x.safetensors", entry), want.astype(np.float32))
            np.testing.assert_array_equal(file.read(entry), want.astype(np.float32))


def test_values_beyond_float32_are_not_finite():
    assert not dtypes.all_finite(np.asarray([1e300]), "F64")
    assert dtypes.all_finite(np.asarray([1e30]), "F64")
    assert not dtypes.all_finite(np.asarray([1.0, np.inf], np.float32), "F32")


def test_a_range_request_sees_what_the_file_shows(tmp_path):
    drawn = factory.plain(factory.SPELLINGS["kohya"], factory.MODULES, 4, 2.0)
    path = factory.write(tmp_path / "a.safetensors", drawn.tensors)
    data = path.read_bytes()
    needed = header_length(data[:8])
    assert parse_header(data[:needed], len(data)) == read_header(path)
    with pytest.raises(RefusedError, match="incomplete"):
        parse_header(data[: needed - 1], len(data))


@pytest.mark.parametrize("length", [0x7B, 0x5B, 0x4B50, 0x3C, 0x0280, 0x0480, 0x20, 0x7B0A])
def test_a_header_length_that_looks_like_another_format(length):
    """The length's own bytes may spell '{', '<', 'PK' or a pickle's start; such files are sound."""
    text = json.dumps({"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}, separators=(",", ":")).encode()
    if length < len(text):
        text = b"{}"
    assert parse_header(packed(text.ljust(length)), 8 + length).header_bytes == 8 + length


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(("change", "word"), [
    ({"dtype": "F31"}, "number format"), ({"dtype": 3}, "number format"), ({"dtype": None}, "number format"),
    ({"shape": [-2]}, "shape"), ({"shape": [2.0]}, "shape"), ({"shape": [True, 2]}, "shape"), ({"shape": "2"}, "shape"),
    ({"shape": [1] * 9}, "shape"), ({"shape": [2**70]}, "shape"), ({"shape": [3]}, "not the size"),
    ({"shape": [2**40, 2**40]}, "not the size"), ({"data_offsets": [0, 7]}, "not the size"),
    ({"data_offsets": [8, 0]}, "end before"), ({"data_offsets": [0]}, "offsets"),
    ({"data_offsets": [0, 8, 9]}, "offsets"),
    ({"data_offsets": [-8, 0]}, "offsets"), ({"data_offsets": ["0", "8"]}, "offsets"),
    ({"data_offsets": [8, 16]}, "truncated"), ({"shape": None}, "shape"),
])
def test_wrong_declarations(change, word):
    refuse(packed({"a": {**ENTRY, **change}}, b"\0" * 8), word)


@pytest.mark.parametrize(("data", "word"), [
    (b"", "only 0 bytes"), (b"\x10\0\0", "only 3 bytes"), (struct.pack("<Q", 2**63), "claims"),
    (struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{", "claims"), (struct.pack("<Q", 1) + b"{", "claims 1"),
    (struct.pack("<Q", 0), "claims 0"), (struct.pack("<Q", 100) + b"{}", "truncated"),
    (packed(b"[]"), "JSON object"), (packed(b"{]"), "valid JSON"), (packed(b"{}x"), "valid JSON"),
    (packed(b'{"\xff": 1}'), "UTF-8"), (packed(b'{"a": ' + b"[" * 100_000), "nested|valid JSON"),
    (packed(b'{"a": ' + b"9" * 10_000 + b"}"), "valid JSON"),
    (packed(b'{"a": NaN}'), "NaN"), (packed(b'{"a": -Infinity}'), "Infinity"), (packed(b'{"a": 1}'), "lacks"),
    (packed({"a": {"dtype": "F32"}}), "lacks"), (packed({"__metadata__": {"a": 1}}), "metadata"),
    (packed({"__metadata__": []}), "metadata"), (packed({"__metadata__": "x"}), "metadata"),
    (packed(b'{"a": {"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a": {}}'), "twice"),
    (packed(b'{"__metadata__": {"a":"1","a":"2"}}'), "twice"),
    (packed({"a": {**ENTRY, "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 9), "after its last"),
    (packed({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, b"\0" * 12), "overlap"),
    (packed({"a": ENTRY, "b": ENTRY}, b"\0" * 8), "overlap"),
    (packed({"a": ENTRY, "b": {**ENTRY, "data_offsets": [9, 17]}}, b"\0" * 17), "gap"),
    (packed({"": ENTRY}, b"\0" * 8), "empty"), (packed({"a" * 513: ENTRY}, b"\0" * 8), "longer"),
    (packed({"a\x1b[31m": ENTRY}, b"\0" * 8), "control"), (packed({"a\0": ENTRY}, b"\0" * 8), "control"),
    (packed(b'{"\\ud800": {}}'), "control|Unicode"), (packed({"e\u0301": ENTRY}, b"\0" * 8), "normal form"),
])
def test_broken_headers(data, word):
    refuse(data, word)


@pytest.mark.parametrize(("data", "word"), [
    (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"), (b"\n  <html lang=en>" + b" " * 90, "web page"),
    (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "LFS"),
    (b"PK\x03\x04\x14\0\0\0\x08\0" + b"x" * 90, "zip"), (b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x08builtins", "pickle"),
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "pickle"), (b"GGUF\x03\0\0\0\x10\0\0\0", "GGUF"),
    (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "picture"), (b'{"error": "Repository not found"}', "JSON"),
    (b"Entry not found, sorry", "does not begin"), (b"\xff" * 40, "does not begin"),
])
def test_other_things_in_disguise(tmp_path, data, word):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(RefusedError, match=word):
        read_header(path)


def test_missing_empty_and_folder(tmp_path):
    with pytest.raises(UserError, match="no file"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="no file"):
        read_header(tmp_path)
    (tmp_path / "e.safetensors").touch()
    with pytest.raises(RefusedError, match="empty"):
        read_header(tmp_path / "e.safetensors")


def test_too_many_entries_are_refused_quickly():
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    refuse(packed({f"a{i}": empty for i in range(20_001)}), "20,001 tensors")
    assert len(parse_header(packed({f"a{i}": empty for i in range(20_000)}), 8 + len(packed(
        {f"a{i}": empty for i in range(20_000)})) - 8).entries) == 20_000


def test_printable():
    assert printable("a\x1b[31m\u202eb\n") == "a�[31m�b�"
    assert len(printable("x" * 1000)) == 120


# --------------------------------------------------------------------------- fuzz

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["F32", "BF16", "F8_E4M3", "transformer_blocks.0.attn.to_q.lora_A.weight"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "a"]) | st.text(max_size=8), inner,
        max_size=4,
    ), max_leaves=20,
)
STEMS = st.sampled_from(["transformer.", "lora_unet_", "diffusion_model.", "", "base_model.model.", "lycoris_"])
MODULE = st.sampled_from(["transformer_blocks.0.attn.to_q", "transformer_blocks_0_attn_to_q", "img_in", "nothing", ""])
ROLE = st.sampled_from([
    ".lora_A.weight", ".lora_B.weight", ".lora_A.default.weight", ".alpha", ".lora_down.weight", ".lora_up.weight",
    ".dora_scale", ".lokr_w1", ".lokr_w1_a", ".lokr_w2_b", ".hada_w1_a", ".hada_w2_b", ".diff", ".diff_b", ".weight",
    ".lora_B.bias", ".oft_blocks", ".lora_magnitude_vector",
])
NAME = st.tuples(STEMS, MODULE, ROLE).map("".join) | st.text(max_size=20)


def survive(data: bytes):
    """Either sound, or refused in words; never another exception."""
    try:
        header = parse_header(data, len(data))
    except RefusedError as error:
        assert error.reason  # noqa: PT017
        return
    for entry in header.entries.values():
        assert 0 <= entry.begin <= entry.end <= len(data) - header.header_bytes
    recognise(read_names(header.entries))
    build(header)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(JSON, st.binary(max_size=32))
def test_any_json_is_survived(value, data):
    survive(packed(json.dumps(value).encode(), data))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200))
def test_any_bytes_are_survived(data):
    survive(data)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAME, st.lists(st.integers(0, 5), max_size=4), max_size=12))
def test_any_names_and_shapes_are_survived(shapes):
    header, position = {}, 0
    for name, shape in shapes.items():
        end = position + 4 * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [position, end]}
        position = end
    survive(packed(header, b"\0" * position))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_flipped_bytes_of_a_sound_file_are_survived(tmp_path_factory, data):
    from whichlora.lora.static import check_static

    folder = tmp_path_factory.getbasetemp()
    drawn = factory.plain(factory.SPELLINGS["kohya"], {"transformer_blocks.0.attn.to_q": (24, 24)}, 2, 1.0)
    path = factory.write(folder / "fuzz.safetensors", drawn.tensors)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw))
    try:
        check_static(None, path)
    except WhichloraError as error:
        assert error.message  # noqa: PT017


def test_the_largest_allowed_header_takes_little_time_and_memory():
    name = "transformer_blocks.0." + "x" * 100
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    data = packed({f"{name}{i}": empty for i in range(20_000)})
    assert len(data) < MAX_HEADER_BYTES
    tracemalloc.start()
    start = time.perf_counter()
    build(parse_header(data, len(data)))
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
    # A bench states the figure; this only catches a return of quadratic time.
    assert seconds < 20
