"""The reader against damaged and hostile bytes, the writer against a failing disk and sudden death."""

from __future__ import annotations

import ast
import errno
import json
import os
import resource
import signal
import stat
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastseq as fs
from fastseq import nn
from fastseq.persistence import ModelFileError, atomic, read_arrays, write_arrays, write_file


def whole_file(header, data=b"", length=None):
    """The bytes of a safetensors file with this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m"
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Standardize([1.0, 2.0], [1.0, 3.0]), nn.LSTM(2, 3), nn.Dropout(0.25), nn.Linear(3, 1))
    for p in model.parameters():
        p.data = rng.standard_normal(p.shape).astype(np.float32)
    fs.save(model, path)
    return path.read_bytes()


def refuses(path, data):
    """Whether loading raises the error it should; anything else it raises fails the test."""
    path.write_bytes(data)
    try:
        fs.load(path)
    except ModelFileError:
        return True
    return False


def test_every_truncation_is_noticed(model_bytes, tmp_path):
    for size in range(len(model_bytes)):
        assert refuses(tmp_path / "m", model_bytes[:size]), size
    assert not refuses(tmp_path / "m", model_bytes)
    assert refuses(tmp_path / "m", model_bytes + b"\0")


def test_every_flipped_bit_is_noticed(model_bytes, tmp_path):
    rng = np.random.default_rng(0)
    for position in range(len(model_bytes)):
        damaged = bytearray(model_bytes)
        damaged[position] ^= 1 << int(rng.integers(8))
        assert refuses(tmp_path / "m", bytes(damaged)), position


def test_zeroed_blocks_are_noticed(model_bytes, tmp_path):
    for start in range(0, len(model_bytes), 64):
        damaged = bytearray(model_bytes)
        damaged[start : start + 64] = bytes(len(damaged[start : start + 64]))
        assert damaged == model_bytes or refuses(tmp_path / "m", bytes(damaged)), start
    assert refuses(tmp_path / "m", bytes(len(model_bytes)))


def test_random_edits_give_the_error_or_the_same_model(model_bytes, tmp_path):
    rng = np.random.default_rng(1)
    original = {name: t.numpy().tobytes() for name, t in _load(tmp_path / "m", model_bytes).state_dict().items()}
    for _ in range(3000):
        damaged = bytearray(model_bytes)
        for _ in range(int(rng.integers(1, 4))):
            start, size = int(rng.integers(len(damaged))), int(rng.integers(1, 40))
            kind = int(rng.integers(4))
            if kind == 0:
                del damaged[start : start + size]
            elif kind == 1:
                damaged[start:start] = rng.bytes(size)
            elif kind == 2:
                damaged[start : start + size] = rng.bytes(len(damaged[start : start + size]))
            else:
                other = int(rng.integers(len(damaged)))
                damaged[start : start + size] = damaged[other : other + size]
        try:
            found = _load(tmp_path / "m", bytes(damaged))
        except ModelFileError:
            continue
        assert {name: t.numpy().tobytes() for name, t in found.state_dict().items()} == original


def _load(path, data):
    path.write_bytes(data)
    return fs.load(path)


def names_of(path):
    """What a module imports, and what it names by itself (``eval``, not ``model.eval``)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.keyword):
            yield node.arg or ""


def test_nothing_on_the_way_of_a_file_can_run_code():
    """F34: no module that reads models, checkpoints or tables names what executes bytes."""
    wrong = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy", "ctypes", "subprocess"}
    wrong |= {"eval", "exec", "compile", "__import__", "allow_pickle", "torch"}
    package = Path(fs.__file__).parent
    files = [path for part in ("persistence", "training", "scoring") for path in (package / part).glob("*.py")]
    assert len(files) > 25
    assert [(path.name, name) for path in files for name in names_of(path) if name.split(".")[0] in wrong] == []


@given(st.binary(max_size=300))
def test_any_bytes(tmp_path_factory, data):
    assert refuses(tmp_path_factory.getbasetemp() / "any", data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_any_json(tmp_path_factory, value):
    assert refuses(tmp_path_factory.getbasetemp() / "any", whole_file(value))
    assert refuses(tmp_path_factory.getbasetemp() / "any", whole_file({"w": value, "__metadata__": {"fastseq": "{}"}}))


HOSTILE = {
    "empty": (b"", "0 bytes"),
    "header longer than the file": (whole_file({}, length=10**6), "a header of 1000000 bytes"),
    "header of 2**64 - 1 bytes": (b"\xff" * 8 + b"{}", "a header of 18446744073709551615 bytes"),
    "zip": (b"PK\x03\x04" + bytes(100), "a zip archive: fastseq.interop.from_torch reads"),
    "pickle": (b"\x80\x04\x95" + bytes(100), "got a pickle, which is never loaded"),
    "NumPy": (b"\x93NUMPY\x01\x00v\x00" + bytes(100), "got an array of NumPy"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull fetches the file"),
    "web page": (b"<!DOCTYPE html>" * 9, "got a text: a header of"),
    "ONNX": (b"\x08\x0aB\x00" + b"\xff" * 9, "got another file: a header of"),
    "a list": (whole_file(b"[1, 2]"), "another kind of file"),
    "not JSON": (whole_file(b"{nonsense}"), "JSONDecodeError"),
    "not UTF-8": (whole_file(b'{"\xff": 1}'), "UnicodeDecodeError"),
    "duplicate names": (whole_file(b'{"a": {}, "a": {}}'), "a name that comes twice"),
    "nested too deeply": (whole_file(b'{"a":' + b"[" * 200_000), "nested too deeply"),
    "giant number": (whole_file(b'{"a":' + b"9" * 4_000_000 + b"}"), "more than 20 digits"),
    "NaN": (whole_file(b'{"a": NaN}'), "the number NaN"),
    "overflow": (whole_file(b'{"a": 1e999}'), "a number that overflows"),
    "metadata no strings": (whole_file({"__metadata__": {"a": 1}}), "metadata of strings"),
    "metadata a list": (whole_file({"__metadata__": []}), "metadata of strings"),
    "field missing": (whole_file({"a": {"dtype": "F32", "shape": [1]}}), "dtype, shape and data_offsets for 'a'"),
    "field too many": (whole_file({"a": entry() | {"code": 1}}, bytes(4)), "dtype, shape and data_offsets for 'a'"),
    "unknown dtype": (whole_file({"a": entry("F16", (2,))}, bytes(4)), "a dtype of F64"),
    "dtype no string": (whole_file({"a": entry(["F32"])}, bytes(4)), "a dtype of F64"),
    "negative size": (whole_file({"a": entry(shape=(-1, -1))}, bytes(4)), "a shape for 'a'"),
    "size no integer": (whole_file({"a": entry(shape=(1.0,))}, bytes(4)), "a shape for 'a'"),
    "size a bool": (whole_file({"a": entry(shape=(True,))}, bytes(4)), "a shape for 'a'"),
    "many axes": (whole_file({"a": entry(shape=(1,) * 17)}, bytes(4)), "a shape for 'a'"),
    "shape that overflows": (whole_file({"a": entry(shape=(2**32, 2**32), offsets=(0, 0))}), "a shape for 'a'"),
    "hidden overflow": (whole_file({"a": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}), "a shape for 'a'"),
    "shape larger than bytes": (whole_file({"a": entry(shape=(2,))}, bytes(4)), "8 bytes for 'a'"),
    "offsets backwards": (whole_file({"a": entry(offsets=(4, 0))}, bytes(4)), "4 bytes for 'a'"),
    "three offsets": (whole_file({"a": entry(offsets=(0, 4, 4))}, bytes(4)), "two offsets"),
    "past the end": (whole_file({"a": entry()}, bytes(3)), "cut off"),
    "gap": (whole_file({"a": entry(offsets=(4, 8))}, bytes(8)), "a gap or an overlap"),
    "overlap": (whole_file({"a": entry(), "b": entry()}, bytes(4)), "a gap or an overlap"),
    "bytes left over": (whole_file({"a": entry()}, bytes(5)), "bytes too many"),
    "name unprintable": (whole_file({"a\x00": entry()}, bytes(4)), "printable names"),
    "lone surrogate": (whole_file(b'{"\\ud800": {}}'), "printable names"),
    "long name": (whole_file({"a" * 2000: entry()}, bytes(4)), "printable names"),
    "many names": (
        whole_file({f"{i}": entry(shape=(0,), offsets=(0, 0)) for i in range(40_000)}),
        "at most 32768 arrays",
    ),
    "document no JSON": (whole_file({"__metadata__": {"fastseq": "{"}}), "a JSON document"),
    "document a list": (whole_file({"__metadata__": {"fastseq": "[]"}}), "a JSON document with names"),
    "document deep": (whole_file({"__metadata__": {"fastseq": '{"a":' * 1500 + "1" + "}" * 1500}}), "JSON"),
    "no checksum": (whole_file({"__metadata__": {"fastseq": "{}"}}), "the checksum None"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers(case, tmp_path):
    data, message = HOSTILE[case]
    path = tmp_path / "m"
    path.write_bytes(data)
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(ModelFileError) as caught:
        read_arrays(path)
    assert message in str(caught.value) and len(str(caught.value)) < 700
    assert time.perf_counter() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000  # KiB


def test_a_sparse_file_of_a_terabyte(tmp_path):
    with open(tmp_path / "m", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelFileError):
        read_arrays(tmp_path / "m")


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    deep = current = {}
    for _ in range(300):
        current["a"] = current = {}
    for metadata, message in (
        ({"a": 10**30}, "an integer of more than 20 digits"),
        ({"a": deep}, "JSON nested too deeply"),
    ):
        with pytest.raises(ValueError, match=f"expected names and a document that can be read again, .*{message}"):
            fs.save(nn.Tanh(), tmp_path / "m", metadata=metadata)
    with pytest.raises(ValueError, match="printable names"):
        write_arrays(tmp_path / "m", {"a\n": np.zeros(1)}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", [None, 3, 1.5, ["m"], sys.stdin, nn.Tanh()], ids=lambda path: type(path).__name__)
def test_a_path_is_a_path(path):
    for call in (lambda: fs.load(path), lambda: fs.save(nn.Tanh(), path), lambda: fs.save_state(nn.Tanh(), path)):
        with pytest.raises(TypeError, match="path: expected the path of a file"):
            call()


def test_paths_of_every_kind(tmp_path):
    for path in (tmp_path / "m", str(tmp_path / "m"), os.fsencode(tmp_path / "m")):
        fs.save(nn.Linear(1, 1), path)
        assert isinstance(fs.load(path), nn.Linear)
    (tmp_path / "m").write_bytes(b"")
    with pytest.raises(ModelFileError, match=f"^{tmp_path}/m: expected"):
        fs.load(os.fsencode(tmp_path / "m"))


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system")
def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "m")
    with pytest.raises(ModelFileError, match="pipe"):
        fs.load(tmp_path / "m")


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4", ">i8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_arrays_of_all_dtypes_and_shapes_come_back(dtype, shape, tmp_path, rng):
    values = rng.integers(0, 2, shape).astype(dtype)
    write_arrays(tmp_path / "a", {"x": values, "y": values.T}, {"note": [1, 2.5, None, "ä"]})
    arrays, document = read_arrays(tmp_path / "a")
    assert document == {"note": [1, 2.5, None, "ä"]}
    for name, expected in (("x", values), ("y", values.T)):
        assert arrays[name].shape == expected.shape and np.array_equal(arrays[name], expected)
        assert arrays[name].dtype == values.dtype.newbyteorder("=") and arrays[name].flags.writeable


def test_dtypes_that_do_not_fit(tmp_path):
    for dtype in ("f2", "c8", "O", "U3"):
        with pytest.raises(TypeError, match="x: expected a dtype that a model file can hold"):
            write_arrays(tmp_path / "a", {"x": np.zeros(2, dtype)}, {})


# ---- writing ------------------------------------------------------------------------------------------------------


CALLS = ("open", "write", "fsync", "fchmod", "close", "replace")


@pytest.mark.parametrize("there", [True, False], ids=["over a file", "new"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EINTR])
def test_a_disk_that_fails_at_any_call_leaves_the_old_file(there, number, tmp_path, monkeypatch):
    target = tmp_path / "m"
    failures = 0
    for call in CALLS:
        for at in range(1, 8):
            if there:
                target.write_bytes(b"old")
            else:
                target.unlink(missing_ok=True)
            seen = [0]
            function = getattr(os, call)

            def fail(*args, call=call, real=function, at=at, seen=seen, **options):
                seen[0] += 1
                if seen[0] == at:
                    if call == "close":
                        real(*args)
                    raise OSError(number, os.strerror(number))
                return real(*args, **options)

            replaced = [False]
            real_replace = os.replace

            def replace(source, destination, real=real_replace, replaced=replaced):
                real(source, destination)
                replaced[0] = True

            with monkeypatch.context() as patch:
                patch.setattr(atomic, "CHUNK", 2)
                patch.setattr(atomic.os, "replace", replace)
                patch.setattr(atomic.os, call, fail)
                try:
                    write_file(target, [b"new", b"er"])
                except OSError:
                    failures += 1
                    new = replaced[0]
                else:
                    new = True
            assert os.listdir(tmp_path) == (["m"] if there or new else [])
            if there or new:
                assert target.read_bytes() == (b"newer" if new else b"old")
    assert failures >= 8


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(atomic.os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    write_file(tmp_path / "m", [b"0123456789", bytearray(b"abc"), memoryview(b"de")])
    assert (tmp_path / "m").read_bytes() == b"0123456789abcde"
    monkeypatch.setattr(atomic.os, "write", lambda descriptor, data: 0)
    with pytest.raises(OSError, match="none written"):
        write_file(tmp_path / "m", [b"x"])
    assert os.listdir(tmp_path) == ["m"]


def test_an_interrupt_leaves_the_old_file(tmp_path):
    (tmp_path / "m").write_bytes(b"old")

    def parts():
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "m", parts())
    assert os.listdir(tmp_path) == ["m"] and (tmp_path / "m").read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("kills", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_a_kill_at_any_instant_leaves_a_whole_file(tmp_path, kills):
    target = tmp_path / "m"
    versions = [bytes([i]) * 300_000 for i in range(4)]
    write_file(target, [versions[0]])
    rng = np.random.default_rng(0)
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            while True:
                for data in versions:
                    write_file(target, [data[:1000], data[1000:]])
        time.sleep(float(rng.uniform(0.001, 0.02)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert target.read_bytes() in versions
    write_file(target, [b"last"])
    assert os.listdir(tmp_path) == ["m"]  # what the dead left behind is gone


@pytest.mark.skipif(os.name == "nt", reason="processes are not looked up there")
def test_leftovers_of_the_living_and_of_others_stay(tmp_path):
    host, parent, own = atomic._host(), os.getppid(), os.getpid()
    keep = [
        f".m.{host}-{parent}-00000000.tmp",
        f".m.other-{2**22 + 5}-00000000.tmp",
        f".n.{host}-99999999-00000000.tmp",
    ]
    drop = [f".m.{host}-{own}-00000000.tmp", f".m.{host}-99999999-0000000a.tmp", f".m.{host}-{10**17}-0000000a.tmp"]
    for name in keep + drop:
        (tmp_path / name).write_bytes(b"")
    write_file(tmp_path / "m", [b"x"])
    assert sorted(os.listdir(tmp_path)) == sorted([*keep, "m"])


def test_names_as_long_as_a_folder_takes(tmp_path):
    for name in ("x" * 255, "ä" * 127):
        write_file(tmp_path / name, [b"x"])
        host, stem = atomic._host(), atomic._stem(name)
        assert stem.endswith(f".{host}-") and len(os.fsencode(stem)) < 200
        (tmp_path / f"{stem}99999999-00000000.tmp").write_bytes(b"")
        write_file(tmp_path / name, [b"again"])
    assert sorted(os.listdir(tmp_path)) == ["x" * 255, "ä" * 127]


@pytest.mark.skipif(os.name == "nt", reason="permission bits and links as on Unix")
def test_links_and_permission_bits(tmp_path):
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    real.parent.mkdir()
    link.symlink_to(real)
    write_file(link, [b"through a dangling link"])
    assert link.is_symlink() and real.read_bytes() == b"through a dangling link"
    os.chmod(real, 0o640)
    write_file(link, [b"again"])
    assert link.is_symlink() and real.read_bytes() == b"again" and stat.S_IMODE(real.stat().st_mode) == 0o640
    assert os.listdir(real.parent) == ["real"]
    mask = os.umask(0o027)
    try:
        write_file(tmp_path / "fresh", [b""])
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o640
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="expected a regular file to write"):
        write_file(tmp_path / "pipe", [b""])
    if os.getuid() != 0:
        os.chmod(real, 0o400)
        with pytest.raises(PermissionError, match="expected a file that may be written"):
            write_file(link, [b"x"])


def test_the_folder_is_flushed_and_file_systems_without_that_are_fine(tmp_path, monkeypatch):
    real, folders = os.fsync, []

    def sync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            folders.append(descriptor)
            raise OSError(errno.EINVAL, "no folders here")
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", sync)
    write_file(tmp_path / "m", [b"x"])
    assert len(folders) == 1 and (tmp_path / "m").read_bytes() == b"x"


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    """Where only root may look, names that are known can still be written and read."""

    def refuse(path, *flags, real=os.open):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, *flags)

    monkeypatch.setattr(atomic.os, "listdir", refuse)
    monkeypatch.setattr(atomic.os, "open", refuse)
    for data in (b"x", b"y"):
        write_file(tmp_path / "m", [data])
        assert (tmp_path / "m").read_bytes() == data


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_what_the_disk_says_names_the_file(call, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, call, fail)
        with pytest.raises(OSError, match="No space left on device") as caught:
            write_file(tmp_path / "m", [b"x"])
    assert caught.value.filename == str(tmp_path / "m")
