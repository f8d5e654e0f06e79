"""The main job as a stranger meets it: real files, a real nginx, real processes."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

from tests.servers import TOKEN, replace
from tests.stranger import manifest, row, snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import StartNginx
    from tests.library import Sample
    from tests.servers import Nginx
    from tests.stranger import Row, Stranger


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the first export


def test_a_bundle_has_every_track_under_its_name_with_the_extension_of_its_bytes(
    stranger: Stranger, cloud: Nginx, cloud_rows: list[Row], library: Mapping[str, Sample]
) -> None:
    library["wav"].copy_to(stranger.home / "Local", "Intro.wav")
    stranger.export(*cloud_rows, {"path": "Local/Intro.wav", "title": "Intro"})
    names = [path.name for path in stranger.media()]
    assert [name[:5] for name in names] == [f"{place:02} - " for place in range(1, 7)]
    assert [name.rpartition(".")[2] for name in names] == [*library, "wav"]
    assert names[0] == "01 - Ada Sine - Café Ünïcode ♫.flac"
    assert names[5] == "06 - Intro.wav"
    assert [path.read_bytes() for path in stranger.media()[:5]] == [sample.data for sample in library.values()]


def test_the_extension_is_never_the_word_of_the_url(
    stranger: Stranger, cloud: Nginx, music: Path, library: Mapping[str, Sample]
) -> None:
    library["flac"].copy_to(music, "liar.mp3")
    stranger.export({"url": f"{cloud.url}/plain/liar.mp3?sig=a.wav", "title": "Liar"})
    assert [path.name for path in stranger.media()] == ["01 - Liar.flac"]


def test_cloud_tracks_are_read_only_links_to_the_blobs(stranger: Stranger, cloud: Nginx, cloud_rows: list[Row]) -> None:
    stranger.export(*cloud_rows)
    assert {path.stat().st_ino for path in stranger.media()} == {path.stat().st_ino for path in stranger.blobs()}
    assert {mode(path) for path in stranger.media()} == {0o444}


def test_local_tracks_are_copies_that_can_be_written(
    stranger: Stranger, cloud: Nginx, library: Mapping[str, Sample]
) -> None:
    original = library["wav"].copy_to(stranger.home, "Intro.wav")
    stranger.export(row("t-flac"), {"path": "Intro.wav", "title": "Intro"})
    copy = stranger.media()[1]
    assert copy.read_bytes() == original.read_bytes()
    assert copy.stat().st_ino != original.stat().st_ino
    assert mode(copy) & 0o600 == 0o600
    assert len(stranger.blobs()) == 1


def test_the_playlist_and_the_manifest_say_what_is_there(
    stranger: Stranger, cloud: Nginx, cloud_rows: list[Row]
) -> None:
    stranger.export(*cloud_rows)
    dest = stranger.home / "DEST"
    playlist = (dest / "Friday Warm-up.m3u8").read_text(encoding="utf-8").splitlines()
    assert playlist[0] == "#EXTM3U"
    assert [line for line in playlist if not line.startswith("#")] == [f"media/{p.name}" for p in stranger.media()]
    tracks = manifest(dest)["tracks"]
    assert [track["track"] for track in tracks] == [f"studio:{each['id']}" for each in cloud_rows]
    assert {track["status"] for track in tracks} == {"done"}
    assert {track["link_mode"] for track in tracks} == {"hardlink"}
    assert all(track["key"] and track["validator"] and track["digest"] and track["size"] for track in tracks)


def test_a_track_twice_in_a_mix_is_downloaded_once(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"), row("t-mp3"), row("t-flac"))
    assert sorted(request.path for request in cloud.requests()) == ["/plain/t-flac", "/plain/t-mp3"]


def test_the_first_run_needs_no_configuration(
    stranger: Stranger, nginx: StartNginx, music: Path, tmp_path: Path
) -> None:
    del stranger.environment["CACHESTORE_CONFIG"]
    stranger.environment["HOME"] = str(stranger.home)
    stranger.export({"url": f"{nginx(music).url}/redir/t-ogg", "title": "Ogg"})
    assert [path.name for path in stranger.media()] == ["01 - Ogg.ogg"]


def test_a_playlist_of_urls_and_paths_is_a_mix(stranger: Stranger, cloud: Nginx, library: Mapping[str, Sample]) -> None:
    library["wav"].copy_to(stranger.home, "Intro.wav")
    text = f"#EXTM3U\n#EXTINF:1,Ada - Opus\n{cloud.url}/plain/t-flac?token=abc\n#EXTINF:1,Intro\nIntro.wav\n"
    (stranger.home / "set.m3u8").write_text(text, encoding="utf-8")
    stranger.run("export", "set.m3u8", "DEST")
    assert [path.suffix for path in stranger.media()] == [".flac", ".wav"]
    assert "Opus" in stranger.media()[0].name
    # The same list by standard input, where relative paths start in the current folder.
    stranger.run("export", "-", "PIPED", stdin=text)
    assert len(stranger.media("PIPED")) == 2


# --- exports after it


def test_a_second_export_asks_once_a_track_and_downloads_nothing(
    stranger: Stranger, cloud: Nginx, cloud_rows: list[Row]
) -> None:
    stranger.export(*cloud_rows)
    before = len(cloud.requests())
    done = stranger.export(*cloud_rows, cloud_rows[0], dest="AGAIN", options=("--json",)).facts
    assert (done["downloaded"], done["cached"], done["total"]) == (0, 6, 6)
    asked = cloud.requests()[before:]
    assert sorted(request.path for request in asked) == sorted({request.path for request in asked})
    assert [request.status for request in asked] == [304] * 5
    assert [p.stat().st_ino for p in stranger.media()] == [p.stat().st_ino for p in stranger.media("AGAIN")[:5]]


def test_a_second_export_says_that_nothing_was_downloaded(stranger: Stranger, cloud: Nginx) -> None:
    assert "downloaded  1\n" in stranger.export(row("t-flac")).out
    again = stranger.export(row("t-flac"), dest="AGAIN").out
    assert "from cache  1\n" in again
    assert "downloaded  0\n" in again


def test_a_pinned_version_is_not_asked_for(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    [track] = manifest(stranger.home / "DEST")["tracks"]
    before = len(cloud.requests())
    for place, version in enumerate((track["validator"], track["key"].rpartition("@")[2])):
        stranger.export(row("t-flac", version=version), dest=f"PINNED-{place}")
    assert len(cloud.requests()) == before


def test_within_fresh_for_nothing_is_asked(stranger: Stranger, cloud: Nginx) -> None:
    stranger.configure(cloud.url, fresh_for="1 h")
    stranger.export(row("t-flac"))
    stranger.export(row("t-flac"), dest="AGAIN")
    assert len(cloud.requests()) == 1


def test_offline_uses_what_is_there_and_fails_on_what_is_not(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    cloud.requests()
    stranger.export(row("t-flac"), dest="OFFLINE", options=("--offline",))
    failed = stranger.export(row("t-flac"), row("t-mp3"), dest="HOLE", options=("--offline",), code=1)
    assert "t-mp3" in failed.err
    assert not (stranger.home / "HOLE").exists()
    assert len(cloud.requests()) == 1


def test_a_cached_mix_exports_while_the_server_is_away(stranger: Stranger, cloud: Nginx) -> None:
    stranger.export(row("t-flac"))
    cloud.stop()
    done = stranger.export(row("t-flac"), dest="AWAY")
    assert "warning" in done.err
    assert "from cache  1 (1 not confirmed by a server)\n" in done.out
    [track] = manifest(stranger.home / "AWAY")["tracks"]
    assert track["freshness"] == "stale"
    told = stranger.export(row("t-flac"), dest="OFFLINE", options=("--offline", "--events", "ndjson"))
    ends = [event for event in map(json.loads, told.out.splitlines()) if event.get("state") == "done"]
    assert [event["stale"] for event in ends] == [True]


def test_a_changed_file_is_a_new_version_and_the_old_bundle_is_untouched(
    stranger: Stranger, cloud: Nginx, music: Path, library: Mapping[str, Sample]
) -> None:
    stranger.export(row("t-flac"))
    before = snapshot(stranger.home / "DEST")
    replace(music / "t-flac", library["mp3"].data)
    stranger.export(row("t-flac"), dest="NEW")
    assert [path.name for path in stranger.media("NEW")] == ["01 - t-flac.mp3"]
    assert snapshot(stranger.home / "DEST") == before
    entries = stranger.run("ls", "--json").facts
    assert sorted(entry["ext"] for entry in entries) == ["flac", "mp3"]
    assert len({entry["key"] for entry in entries}) == 2
    assert len(stranger.blobs()) == 2


def test_equal_bytes_share_one_blob(
    stranger: Stranger, cloud: Nginx, music: Path, library: Mapping[str, Sample]
) -> None:
    library["flac"].copy_to(music, "twin")
    stranger.export(row("t-flac"), row("twin"))
    assert len(stranger.blobs()) == 1
    assert len({path.stat().st_ino for path in stranger.media()}) == 1
    assert len(stranger.run("ls", "--json").facts) == 2


def test_equal_ids_of_two_sources_never_meet(
    stranger: Stranger, cloud: Nginx, nginx: StartNginx, tmp_path: Path, library: Mapping[str, Sample]
) -> None:
    library["ogg"].copy_to(tmp_path / "other", "t-flac")
    url = f"{nginx(tmp_path / 'other').url}/plain/{{id}}"
    stranger.configure(cloud.url, sources=f'[sources.other]\nkind = "http"\nurl = "{url}"\n')
    stranger.export(row("t-flac"), row("t-flac", "other"))
    stranger.export(row("t-flac", "other"), row("t-flac"), dest="TURNED")
    assert [path.suffix for path in stranger.media()] == [".flac", ".ogg"]
    assert [path.suffix for path in stranger.media("TURNED")] == [".ogg", ".flac"]


def test_a_url_with_a_new_signature_is_the_same_track(stranger: Stranger, cloud: Nginx) -> None:
    signed = [{"url": f"{cloud.url}/plain/t-flac?expires={n}&signature=s{n}", "title": "Song"} for n in (1, 2)]
    stranger.export(signed[0])
    stranger.export(signed[1], dest="AGAIN")
    assert [request.status for request in cloud.requests()] == [200, 304]


def test_without_a_validator_a_track_is_downloaded_again_and_stored_once(stranger: Stranger, cloud: Nginx) -> None:
    song = {"url": f"{cloud.url}/noetag/t-flac", "title": "Song"}
    stranger.export(song)
    stranger.export(song, dest="AGAIN")
    assert [request.status for request in cloud.requests()] == [200, 200]
    assert len(stranger.blobs()) == 1
    assert len(stranger.run("ls", "--json").facts) == 1


def test_no_secret_is_left_on_the_disk(stranger: Stranger, cloud: Nginx) -> None:
    signed = {"url": f"{cloud.url}/plain/t-mp3?token=hush-hush", "title": "Song"}
    gone = {"url": f"{cloud.url}/status/404/x?token=hush-hush", "title": "Gone"}
    mix = stranger.mix(row("t-flac", "studio"), signed, gone)
    told = stranger.run("export", mix, "DEST", "--on-error", "skip", "-vv", code=3)
    assert "hush" not in told.out + told.err
    secrets = (TOKEN.encode(), b"hush-hush")
    written = [path for path in stranger.home.rglob("*") if path.is_file() and path.name != "mix.json"]
    assert not [path for path in written for secret in secrets if secret in path.read_bytes()]
