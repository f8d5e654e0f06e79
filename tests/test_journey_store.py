"""A stranger's store: bounded, checked, mended, looked into."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.stranger import row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers import Nginx
    from tests.stranger import Stranger


def test_an_export_evicts_the_least_recently_used_down_to_the_bound(stranger: Stranger, cloud: Nginx) -> None:
    stranger.configure(cloud.url, max_size="250 kB", min_age=0)
    stranger.export(row("t-flac"), dest="FIRST", options=("--link-mode", "copy"))
    stranger.export(row("t-wav"), dest="SECOND", options=("--link-mode", "copy"))
    assert [entry["id"] for entry in stranger.run("ls", "--json").facts] == ["t-wav"]
    info = stranger.run("info", "--json").facts
    assert info["exclusive_bytes"] <= 250_000
    assert len(stranger.blobs()) == 1


def test_a_held_blob_costs_nothing_until_its_bundle_is_deleted(stranger: Stranger, cloud: Nginx) -> None:
    stranger.configure(cloud.url)
    stranger.export(row("t-flac"))
    stranger.configure(cloud.url, max_size="10 kB", min_age=0)
    assert stranger.run("prune", "--json").facts["evicted"] == []
    assert stranger.run("info", "--json").facts["held_bytes"] > 100_000
    for path in sorted((stranger.home / "DEST").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    [evicted] = stranger.run("prune", "--json").facts["evicted"]
    assert evicted["label"] == "t-flac"
    assert stranger.blobs() == []


def damage_flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)
    os.utime(path, ns=times)  # as tag editors do: mtime is no witness


def damage_truncate(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 100)


def damage_remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [damage_flip, damage_truncate, damage_remove])
def test_damage_is_found_mended_and_fetched_again(
    damage: Callable[[Path], None], stranger: Stranger, cloud: Nginx
) -> None:
    stranger.export(row("t-flac"), row("t-mp3"), options=("--link-mode", "copy"))
    largest = max(stranger.blobs(), key=lambda path: path.stat().st_size)
    damage(largest)
    found = stranger.run("verify", "--json", code=1).facts
    assert [problem["label"] for problem in found["problems"]] == ["t-flac"]
    stranger.run("repair")
    assert stranger.run("verify", "--json").facts["problems"] == []
    done = stranger.export(row("t-flac"), row("t-mp3"), dest="AGAIN", options=("--json",)).facts
    assert (done["downloaded"], done["cached"]) == (1, 1)
    assert [a.read_bytes() for a in stranger.media()] == [b.read_bytes() for b in stranger.media("AGAIN")]


@pytest.mark.parametrize("damage", [damage_flip, damage_truncate, damage_remove])
def test_damage_never_reaches_a_bundle_also_without_repair(
    damage: Callable[[Path], None], stranger: Stranger, cloud: Nginx
) -> None:
    stranger.export(row("t-flac"), options=("--link-mode", "copy"))
    damage(stranger.blobs()[0])
    stranger.export(row("t-flac"), dest="AGAIN")
    assert stranger.media("AGAIN")[0].read_bytes() == stranger.media()[0].read_bytes()


def test_a_foreign_file_among_the_blobs_is_found_and_removed_by_repair(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    foreign = stranger.blobs()[0].with_name("holiday.jpg")
    foreign.write_bytes(b"not ours")
    [problem] = stranger.run("verify", "--json", code=1).facts["problems"]
    assert problem["kind"] == "foreign"
    stranger.run("repair")
    assert stranger.run("verify", "--json").facts["problems"] == []
    assert len([path for path in stranger.blobs() if path != foreign]) == 1


def test_what_ls_prints_can_be_pasted_back(stranger: Stranger, cloud: Nginx, music: Path) -> None:
    (music / "t-mp3").rename(music / "a@b%c")
    stranger.export(row("a@b%c"), row("t-flac"))
    [odd] = [entry for entry in stranger.run("ls", "--json").facts if entry["id"] == "a@b%c"]
    assert "a@b%c" in stranger.run("show", odd["key"]).out
    why = stranger.run("why", str(stranger.media()[0])).out
    assert odd["key"] in why
    stranger.run("pin", odd["key"])
    stranger.run("rm", odd["key"])
    assert [entry["id"] for entry in stranger.run("ls", "--json").facts] == ["t-flac"]
