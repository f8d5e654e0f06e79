from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import zlib
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from cachestore.download import digests
from cachestore.download.digests import WANT, broken, promises
from cachestore.partials import Promise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXAMPLE = b'{"hello": "world"}'  # of RFC 9530; in its appendix B a newline follows
SHA_256 = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg="
SHA_512 = "YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg=="
CHUNK = 256 * 1024


def go_on() -> None:
    """Cancel nothing."""


def crc(polynomial: int, size: int, data: bytes) -> bytes:
    """Return a reflected CRC the slow way, bit by bit."""
    mask = (1 << 8 * size) - 1
    value = mask
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
    return (value ^ mask).to_bytes(size, "big")


ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "SHA-512": lambda data: hashlib.sha512(data).digest(),
    "SHA-256": lambda data: hashlib.sha256(data).digest(),
    "SHA-1": lambda data: hashlib.sha1(data).digest(),
    "MD5": lambda data: hashlib.md5(data).digest(),
    "XXH3-128": xxhash.xxh3_128_digest,
    "XXH3-64": xxhash.xxh3_64_digest,
    "XXH64": xxhash.xxh64_digest,
    "CRC-64/NVME": lambda data: crc(0x9A6C9329AC4BC9B5, 8, data),
    "CRC-32C": lambda data: crc(0x82F63B78, 4, data),
    "CRC-32": lambda data: crc(0xEDB88320, 4, data),
    "Adler-32": lambda data: zlib.adler32(data).to_bytes(4, "big"),
}


def of_200(*fields: tuple[str, str]) -> list[Promise]:
    return promises(httpx.Headers(list(fields)), partial=False)


def of_206(start: int, end: int, *fields: tuple[str, str]) -> list[Promise]:
    return promises(httpx.Headers(list(fields)), start=start, end=end, partial=True)


def algorithms(found: list[Promise]) -> list[str]:
    return [promise.algorithm for promise in found]


def kept(folder: Path, data: bytes, found: list[Promise]) -> bool:
    path = folder / "body"
    path.write_bytes(data)
    return broken(path, found, check=go_on) is None


@pytest.mark.parametrize(
    ("key", "text", "algorithm"),
    [
        (
            "sha-512",
            "WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==",
            "SHA-512",
        ),
        ("sha-256", "X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=", "SHA-256"),
        ("md5", "Sd/dVLAcvNLSq16eXua5uQ==", "MD5"),
        ("sha", "07CavjDP4u3/TungoUHJO/Wzr4c=", "SHA-1"),
        ("adler", "OZkGFw==", "Adler-32"),
        ("crc32c", "Q3lHIA==", "CRC-32C"),
    ],
)
def test_the_sample_values_of_rfc_9530_are_kept_by_their_bytes_only(
    tmp_path: Path, key: str, text: str, algorithm: str
) -> None:
    found = of_200(("Repr-Digest", f"{key}=:{text}:"))
    assert algorithms(found) == [algorithm]
    assert kept(tmp_path, EXAMPLE, found)
    assert not kept(tmp_path, EXAMPLE + b"\n", found)


@pytest.mark.parametrize(
    ("key", "text", "algorithm"),
    [
        ("crc32", "i9aeUg==", "CRC-32"),
        ("crc32c", "crUfeA==", "CRC-32C"),
        ("sha1", "e1AsOh9IyGCa4hLN+2Od7jlnP14=", "SHA-1"),
        ("sha256", "ZOyIygCyaOW6GjVnihtTFtIS9PNmskdyMlNKiuyjfzw=", "SHA-256"),
        ("sha512", b64encode(hashlib.sha512(b"Hello world").digest()).decode(), "SHA-512"),
        ("md5", "PiWWCnnbxptnTNTsZ6csYg==", "MD5"),
        ("xxhash64", "xQCwyRKzdtg=", "XXH64"),
        ("xxhash3", "tqy52Eo4/3Q=", "XXH3-64"),
        ("xxhash128", "c1H4mBL5c4K5HQWzHgTdfw==", "XXH3-128"),
    ],
)
def test_the_checksums_that_amazon_gives_are_kept_by_their_bytes_only(
    tmp_path: Path, key: str, text: str, algorithm: str
) -> None:
    found = of_200((f"x-amz-checksum-{key}", text))
    assert [(promise.field, promise.algorithm) for promise in found] == [(f"x-amz-checksum-{key}", algorithm)]
    assert kept(tmp_path, b"Hello world", found)
    assert not kept(tmp_path, b"hello world", found)


@pytest.mark.parametrize(
    ("field", "value"),
    [("crc32", 0xCBF43926), ("crc32c", 0xE3069283), ("crc64nvme", 0xAE8B14860A799888)],
)
def test_the_check_values_of_the_crc_catalogue_hold(tmp_path: Path, field: str, value: int) -> None:
    text = b64encode(value.to_bytes(8 if value >> 32 else 4, "big")).decode()
    assert kept(tmp_path, b"123456789", of_200((f"x-amz-checksum-{field}", text)))


@pytest.mark.parametrize(
    "fields", [["crc32c=yZRlqg==,md5=XrY7u+Ae7tCTyyK7j1rNww=="], ["crc32c=yZRlqg==", "md5=XrY7u+Ae7tCTyyK7j1rNww=="]]
)
def test_google_may_give_its_hashes_in_one_field_or_in_several(tmp_path: Path, fields: list[str]) -> None:
    found = of_200(*(("X-Goog-Hash", field) for field in fields))
    assert algorithms(found) == ["CRC-32C", "MD5"]
    assert kept(tmp_path, b"hello world", found)
    assert not kept(tmp_path, b"hello worle", found)


def test_content_md5_and_the_old_digest_field_are_promises_too(tmp_path: Path) -> None:
    found = of_200(
        ("Content-MD5", "Sd/dVLAcvNLSq16eXua5uQ=="), ("Digest", "SHA=07CavjDP4u3/TungoUHJO/Wzr4c=,UNIXsum=30637")
    )
    assert [(promise.field, promise.algorithm) for promise in found] == [("Content-MD5", "MD5"), ("Digest", "SHA-1")]
    assert kept(tmp_path, EXAMPLE, found)


def test_of_a_part_repr_digest_is_of_the_whole_and_content_digest_of_the_part(tmp_path: Path) -> None:
    part = "jjcgBDWNAtbYUXI37CVG3gRuGOAjaaDRGpIUFsdyepQ="  # the example of RFC 9530 appendix B.3
    found = of_206(10, 18, ("Content-Digest", f"sha-256=:{part}:"), ("Repr-Digest", f"sha-256=:{SHA_256}:"))
    assert [(promise.field, promise.start, promise.end) for promise in found] == [
        ("Repr-Digest", 0, None),
        ("Content-Digest", 10, 18),
    ]
    path = tmp_path / "body"
    path.write_bytes(EXAMPLE + b"\n")
    assert broken(path, found, check=go_on) is None
    path.write_bytes(b'["hello": "world"}\n')
    assert broken(path, found, check=go_on) == found[0]
    path.write_bytes(EXAMPLE + b" ")
    assert broken(path, found[::-1], check=go_on) == found[1]


def test_of_a_part_google_gives_the_hash_of_the_whole(tmp_path: Path) -> None:
    found = of_206(6, 10, ("x-goog-hash", "crc32c=yZRlqg=="))
    assert kept(tmp_path, b"hello world", found)
    assert not kept(tmp_path, b"jello world", found)


@pytest.mark.parametrize("field", ["Content-MD5", "x-amz-checksum-md5", "Digest"])
def test_of_a_part_a_field_that_might_mean_the_part_or_the_whole_says_nothing(field: str) -> None:
    value = ("md5=" if field == "Digest" else "") + "Sd/dVLAcvNLSq16eXua5uQ=="
    assert len(of_200((field, value))) == 1
    assert not of_206(0, 17, (field, value))


@pytest.mark.parametrize(
    "fields",
    [
        [("x-amz-checksum-crc32c", "UymZPQ==-7")],
        [("x-amz-checksum-crc32c", "UymZPQ=="), ("x-amz-checksum-type", "COMPOSITE")],
        [("x-amz-checksum-crc32c", "UymZPQ=="), ("x-amz-checksum-type", "something new")],
    ],
)
def test_a_checksum_of_checksums_is_no_promise(fields: list[tuple[str, str]]) -> None:
    assert not of_200(*fields)
    assert of_200((fields[0][0], "UymZPQ=="), ("x-amz-checksum-type", "FULL_OBJECT"))


@pytest.mark.parametrize(
    ("stored", "sent", "counts"),
    [
        ("identity", None, True),
        ("gzip", None, False),  # Google decompressed it
        ("gzip", "gzip", True),
        ("identity", "gzip", False),
    ],
)
def test_googles_hash_counts_only_for_bytes_sent_as_they_are_stored(
    stored: str, sent: str | None, counts: bool
) -> None:
    encoding = [("Content-Encoding", sent)] if sent else []
    found = of_200(("x-goog-hash", "crc32c=yZRlqg=="), ("x-goog-stored-content-encoding", stored), *encoding)
    assert bool(found) is counts


@pytest.mark.parametrize(
    "text",
    [
        f"sha-256=:{SHA_256}:",
        f"  sha-256=:{SHA_256}:  ",
        f"sha-256=:{SHA_256}:;q=1;a;b=?0;c=tok/en:*;d=:AA==:; e=1.5",
        f'sha-256=:{SHA_256}:;note="a, b=:c:, \\"d\\\\"',
        f'other=1, sha-256=:{SHA_256}:,\t  flag;x=1 \t, more=(a "b" :AA==:;c 4.2);d, empty=(), date=@-5',
        f"sha-256=:AAAA:, sha-256=:{SHA_256}:",
        f"sha-256=1, sha-256=:{SHA_256}:",
        f"sha-256=:{SHA_256}:, unixsum=:GQU=:, unixcksum=:7zsHAA==:",
        f"sha-256=:{SHA_256}:, sha-512=:{SHA_256}:",  # of the wrong length
        f"sha-256=:{SHA_256}:, sha-512=:{SHA_512.rstrip('=')}:",
    ],
)
def test_a_structured_field_is_read_as_rfc_9651_has_it(text: str) -> None:
    assert [(p.algorithm, b64encode(p.value).decode()) for p in of_200(("Repr-Digest", text))] == [("SHA-256", SHA_256)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "sha-256",
        "sha-256=",
        f"sha-256={SHA_256}",
        f"sha-256=:{SHA_256}",
        f"sha-256=:{SHA_256}:,",
        f"sha-256=:{SHA_256}:;",
        f"sha-256=:{SHA_256}: x",
        f"sha-256 =:{SHA_256}:",
        f"sha-256= :{SHA_256}:",
        f"sha-256=:{SHA_256}:, , sha-512=:{SHA_512}:",
        f"sha-256=:{SHA_256}:, SHA-512=:{SHA_512}:",
        f"sha-256=:{SHA_256}:, a=(b",
        f'sha-256=:{SHA_256}:, a="b',
        f"SHA-256=:{SHA_256}:",
        f"sha-256=:{SHA_256}:\n",
        f"sha-256=:{SHA_256.rstrip('=')}:",
        f"sha-256=:{SHA_256}=:",  # as in an example of RFC 9530 itself
        f"sha-256=:{SHA_256[:4]} {SHA_256[4:]}:",
        f"sha-256=:{SHA_256}:, sha-256=1",
        f"sha-512=:{SHA_256}:",
        f"sha-257=:{SHA_256}:",
        "sha-256=::",
    ],
)
def test_a_structured_field_that_breaks_its_grammar_or_means_nothing_known_promises_nothing(text: str) -> None:
    assert not promises({"repr-digest": text, "content-digest": text}, partial=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Content-MD5", "Sd/dVLAcvNLSq16eXua5uQ"),
        ("Content-MD5", "49dfdd54b01cbcd2d2ab5e9e5ee6b9b9"),
        ("Content-MD5", "Sd/dVLAcvNLSq16eXua5uQ==, Sd/dVLAcvNLSq16eXua5uQ=="),
        ("x-goog-hash", "crc32c"),
        ("x-goog-hash", "crc32c=XrY7u+Ae7tCTyyK7j1rNww=="),
        ("x-goog-hash", "sha3=yZRlqg=="),
        ("Digest", "adler32=03da0195"),
        ("Digest", "md5=49dfdd54b01cbcd2d2ab5e9e5ee6b9b9"),
        ("Digest", "sha-256=5f8f04f6a3a4aaaaef76db3c9ce25124ddce583528c96c417fb91bbbd0c13c4f"),
        ("x-amz-checksum-sha256", "yZRlqg=="),
        ("x-amz-checksum-crc32", ""),
    ],
)
def test_a_value_that_an_algorithm_cannot_have_promises_nothing(field: str, value: str) -> None:
    assert not of_200((field, value))


FIELDS = ["repr-digest", "content-digest", "content-md5", "digest", "x-goog-hash", "x-goog-stored-content-encoding",
          "x-amz-checksum-crc32c", "x-amz-checksum-type", "content-encoding"]  # fmt: skip
PIECES = ["sha-256", "md5", "crc32c", "=", ":", ";", ",", " ", "(", ")", '"', "\\", "?1", "@1", "%", "-1.5", "\t", "é"]
TEXT = st.binary().map(lambda data: data.decode("latin-1")) | st.lists(
    st.sampled_from([*PIECES, SHA_256, "yZRlqg=="])
).map("".join)


@given(st.dictionaries(st.sampled_from(FIELDS), TEXT), st.booleans())
def test_no_header_text_is_an_error(headers: dict[str, str], partial: bool) -> None:
    for promise in promises(headers, start=3, end=9, partial=partial):
        assert len(promise.value) == len(ALGORITHMS[promise.algorithm](b""))


@pytest.mark.parametrize(
    "text",
    ["a=(" + "a " * 30_000, "a=(" + " " * 60_000, 'a="' + "\\" * 60_000, "a" + ";a" * 30_000 + "!", "a," * 30_000],
)
def test_a_long_field_is_no_trap(text: str) -> None:
    assert not promises({"repr-digest": text}, partial=False)


@given(st.data(), st.binary(min_size=1, max_size=200), st.integers(1, 70))
def test_right_promises_are_kept_and_any_flipped_bit_breaks_each(
    tmp_path_factory: pytest.TempPathFactory, draws: st.DataObject, data: bytes, chunk: int
) -> None:
    start = draws.draw(st.integers(0, len(data) - 1))
    end = draws.draw(st.none() | st.integers(start, len(data) - 1))
    bit = draws.draw(st.integers(0, 8 * len(data) - 1))
    last = len(data) - 1 if end is None else end
    right = [Promise("x", name, of(data[start : last + 1]), start, end) for name, of in ALGORITHMS.items()]
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.getbasetemp() / "flipped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "_CHUNK", chunk)
        path.write_bytes(data)
        assert broken(path, right, check=go_on) is None
        path.write_bytes(flipped)
        found = [promise for promise in right if broken(path, [promise], check=go_on) is promise]
    assert found == (right if start <= bit // 8 <= last else [])


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_files_of_many_chunks_are_added_up_to_their_last_byte(tmp_path: Path, size: int) -> None:
    data = bytes(range(251)) * (size // 251) + bytes(size % 251)
    values = {"CRC-32": zlib.crc32(data).to_bytes(4, "big")} | {
        name: ALGORITHMS[name](data) for name in ["SHA-256", "XXH64", "Adler-32"]
    }
    assert kept(tmp_path, data, [Promise("Repr-Digest", name, value) for name, value in values.items()])
    part = Promise("Content-Digest", "SHA-256", hashlib.sha256(data[5:-3]).digest(), 5, size - 4)
    assert kept(tmp_path, data, [part])
    assert not kept(tmp_path, data, [replace(part, end=size - 5)])


def test_a_range_is_read_once_for_all_its_promises_and_checked_at_every_chunk(tmp_path: Path) -> None:
    data = bytes(3 * CHUNK)
    path = tmp_path / "body"
    path.write_bytes(data)
    checks: list[None] = []
    whole = [Promise("Repr-Digest", name, ALGORITHMS[name](data)) for name in ["SHA-256", "MD5", "Adler-32"]]
    assert broken(path, whole, check=lambda: checks.append(None)) is None
    assert len(checks) == 3
    part = Promise("Content-Digest", "MD5", hashlib.md5(data[CHUNK:]).digest(), CHUNK, 3 * CHUNK - 1)
    assert broken(path, [*whole, part], check=lambda: checks.append(None)) is None
    assert len(checks) == 3 + 3 + 2


def test_a_check_that_raises_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(bytes(3 * CHUNK))
    checks = iter([None])

    def cancel() -> None:
        if next(checks, "over"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        broken(path, [Promise("Repr-Digest", "MD5", bytes(16))], check=cancel)


def test_a_promise_by_an_algorithm_of_a_newer_program_says_nothing(tmp_path: Path) -> None:
    data = b"the bytes"
    strange = Promise("Repr-Digest", "SHA-3", bytes(64))
    assert kept(tmp_path, data, [strange])
    wrong = Promise("Repr-Digest", "MD5", bytes(16))
    (tmp_path / "body").write_bytes(data)
    assert broken(tmp_path / "body", [strange, wrong], check=go_on) == wrong


def test_nothing_promised_is_nothing_broken(tmp_path: Path) -> None:
    assert broken(tmp_path / "not even there", of_200(("Content-Type", "audio/flac")), check=go_on) is None


def test_we_ask_for_digests_that_we_verify() -> None:
    weights = dict(pair.split("=") for pair in WANT["Want-Repr-Digest"].split(", "))
    assert all(0 < int(weight) <= 10 for weight in weights.values())
    values = {"sha-256": SHA_256, "sha-512": SHA_512}
    found = of_200(("Repr-Digest", ", ".join(f"{key}=:{values[key]}:" for key in weights)))
    assert len(found) == len(weights)


def test_the_library_for_crcs_is_loaded_only_when_a_crc_is_promised() -> None:
    code = "import sys, cachestore.download.digests; print('anycrc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("between", [" ", "1 ", "a  ", "a;b ", '"" ', "a;  b=1 ", ":YQ==: "])
def test_the_time_that_a_field_takes_grows_as_its_length_does(between: str) -> None:
    def seconds(size: int) -> float:
        text = "a=(" + between * (size // len(between)) + "!"
        began = time.thread_time()
        assert digests._MEMBER.match(text) is None
        return time.thread_time() - began

    short, long = (min(seconds(size) for _ in range(5)) for size in (4_000, 64_000))
    assert long < 100 * short, "sixteen times as long; it would be 256 if each space were tried with each other"


def test_a_field_that_is_longer_than_any_reason_promises_nothing() -> None:
    given = f"sha-256=:{SHA_256}:"
    assert len(of_200(("Repr-Digest", f"{given}, x={'y' * 8_000}"))) == 1
    assert of_200(("Repr-Digest", f"{given}, x={'y' * 9_000}")) == []
