"""agent.toml is read strictly: what is refused names the key, the value and the remedy."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from edge_agent.config import ConfigError, load_config, parse_config
from edge_agent.outputs.settings import CsvSection

GOOD: dict[str, Any] = {
    "device": {"id": "line-1", "data_dir": "data"},
    "hub": {"url": "http://127.0.0.1:8000", "token": "secret"},
    "mqtt": {"host": "127.0.0.1"},
    "cameras": [{"id": "cam", "source": "v.mp4", "slot": "scratches"}],
}

TOML = """\
[device]
id = "line-1"
data_dir = "data"
[hub]
url = "https://hub.example"
token_file = "token"
[mqtt]
host = "broker"
proxy = "socks5://proxy.example:1080"
[[cameras]]
id = "a"
source = "usb:0"
slot = "x"
[[cameras]]
id = "b"
source = "usb:1"
slot = "x"
"""


def changed(section: str, **values: Any) -> dict[str, Any]:
    if section == "cameras":
        return {**GOOD, "cameras": [{**GOOD["cameras"][0], **values}]}
    return {**GOOD, section: {**GOOD.get(section, {}), **values}}


def test_paths_are_relative_to_the_file_and_slots_are_each_named_once(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(TOML)
    (tmp_path / "token").write_text("abc\n")
    config = load_config(tmp_path / "agent.toml")
    assert config.device.data_dir == tmp_path / "data"
    assert config.hub.read_token() == "abc"
    assert config.slots == ("x",)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (changed("limits", chunk_stal_s=3), ["limits.chunk_stal_s", "3", "mean chunk_stall_s"]),
        (changed("limits", chunk_stall_s=-1), ["limits.chunk_stall_s", "-1", "greater than 0"]),
        (changed("limits", keepalive_s="soon"), ["limits.keepalive_s", "soon", "integer"]),
        (changed("mqtt", port=0), ["mqtt.port", "0"]),
        (changed("mqtt", hosts="x"), ["mqtt.hosts", "did you mean host?"]),
        (changed("mqtt", proxy="ftp://x:1"), ["mqtt.proxy", "ftp://x:1", "socks5://host:port"]),
        (changed("hub", proxy="http://proxy"), ["hub.proxy", "http://host:port"]),
        (changed("cameras", slot="../x"), ["cameras.0.slot", "../x"]),
        (changed("cameras", fps=5), ["cameras.0.fps", "fps_max"]),
        (changed("device", id="a/b"), ["device.id", "a/b"]),
        ({**GOOD, "cameras": GOOD["cameras"] * 2}, ["two cameras", "'cam'"]),
        ({**GOOD, "cameras": []}, ["cameras"]),
        ({k: v for k, v in GOOD.items() if k != "mqtt"}, ["mqtt: is missing; add it"]),
        (changed("hub", token_file="t"), ["hub", "exactly one of token"]),
        ({**GOOD, "outptus": {}}, ["outptus", "did you mean outputs?"]),
        (changed("limits", http_timeout_s=True), ["limits.http_timeout_s", "True"]),
        (changed("limits", http_timeout_s="5"), ["limits.http_timeout_s", "'5'", "number"]),
        (changed("limits", gather_ms=float("nan")), ["limits.gather_ms", "finite"]),
        (changed("mqtt", tls="yes"), ["mqtt.tls", "boolean"]),
        (changed("mqtt", host=date(2026, 1, 1)), ["mqtt.host", "string"]),
        (changed("cameras", rotate="90"), ["cameras.0.rotate", "0, 90"]),
    ],
)
def test_refusals_name_the_key_and_the_remedy(tables: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(tables)
    for word in words:
        assert word in str(refused.value)


def test_secrets_are_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(changed("hub", token=["hunter2"]))
    assert "hunter2" not in str(refused.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({**changed("mqtt", port=-1), "limits": {"nope": 1}})
    assert len(str(refused.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "argosy device enrol"), (b"[device", "is no TOML"), (b"\xff", "TOML")],
)
def test_unreadable_files(content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "agent.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / "agent.toml")


def test_the_line_at_fault_is_named(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(
        """[device]
id = "box"
data_dir = "data"
[hub]
url = "http://127.0.0.1:1"
token = "abc"
[mqtt]
host = "127.0.0.1"
[[cameras]]
id = "one"
source = "x"
slot = "x"
[[cameras]]
id = "two"
source = "x"
fps_max = -1
"""
    )
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path / "agent.toml")
    lines = str(refused.value).splitlines()
    assert "agent.toml:13: cameras.1.slot: is missing" in lines[0]
    assert "agent.toml:16: cameras.1.fps_max:" in lines[1]


def test_a_mark_before_the_text_and_whole_numbers_for_lengths_are_taken(tmp_path: Path) -> None:
    text = TOML + "[limits]\nhttp_timeout_s = 5\n"
    (tmp_path / "agent.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_config(tmp_path / "agent.toml").limits.http_timeout_s == 5


CHANNEL = """[[channels]]
id = "gate"
type = "webhook"
url = "http://127.0.0.1:1"
"""
RULE = """[[rules]]
id = "r"
channels = [
  "gate",
"""


@pytest.mark.parametrize(
    ("added", "at", "text"),
    [
        ('[[cameras]]\nid = "a"\nsource = "x"\nslot = "x"\n', 2, "cameras.2.id: .*two cameras"),
        (CHANNEL + CHANNEL, 6, "channels.1.id: .*two channels"),
        (CHANNEL + RULE + "]\n" + RULE + "]\n", 11, "rules.1.id: .*two rules"),
        (CHANNEL + RULE + '  "gaet",\n]\n', 9, "rules.0.channels.1: .*'gaet'"),
        (CHANNEL + RULE + ']\ncameras = ["c"]\n', 10, "rules.0.cameras.0: .*'c'"),
        ('[[channels]]\nid = "x"\n', 1, "channels.0.type: is missing"),
        ('[[channels]]\nid = "x"\ntype = "fax"\n', 3, "channels.0.type: there is no type"),
    ],
)
def test_what_is_wrong_between_tables_has_its_line(
    added: str, at: int, text: str, tmp_path: Path
) -> None:
    (tmp_path / "agent.toml").write_text(TOML + added)
    line = TOML.count("\n") + at
    with pytest.raises(ConfigError, match=rf"agent.toml:{line}: {text}"):
        load_config(tmp_path / "agent.toml")


def test_relative_files_of_cameras_and_channels_are_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(
        """
[device]
id = "box"
data_dir = "data"
[hub]
url = "http://127.0.0.1:1"
token = "abc"
[mqtt]
host = "127.0.0.1"
[[cameras]]
id = "film"
source = "film.mp4"
slot = "x"
[[cameras]]
id = "stream"
source = "rtsp://127.0.0.1/1"
slot = "x"
[[channels]]
id = "feed"
type = "csv"
path = "stock.csv"
"""
    )
    config = load_config(tmp_path / "agent.toml")
    assert config.cameras[0].source == str(tmp_path / "film.mp4")
    assert config.cameras[1].source == "rtsp://127.0.0.1/1"
    [feed] = config.channels
    assert isinstance(feed, CsvSection)
    assert feed.path == tmp_path / "stock.csv"


LINE: dict[str, Any] = {
    "rules": [{"id": "r", "channels": ["gate"], "classes": ["scratch"]}],
    "channels": [{"id": "gate", "type": "webhook", "url": "http://127.0.0.1:1/x"}],
}


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({**LINE, "channels": []}, ["rule 'r' names the channel 'gate'", "none"]),
        ({**LINE, "channels": LINE["channels"] * 2}, ["two channels", "'gate'"]),
        ({**LINE, "rules": LINE["rules"] * 2}, ["two rules or shelves", "'r'"]),
        ({"channels": [{"id": "x"}]}, ["channels.0.type: is missing", "csv, modbus, mqtt"]),
        (
            {"channels": [{"id": "x", "type": "fax"}]},
            ["channels.0.type", "no type 'fax'", "csv, modbus, mqtt, opcua, sparkplug, webhook"],
        ),
        (
            {"channels": [{"id": "x", "type": "webhook", "ulr": "http://x"}]},
            ["channels.0.webhook.ulr", "did you mean url?"],
        ),
        ({"rules": [{"id": "r", "channels": ["g"], "clases": ["a"]}]}, ["did you mean classes?"]),
        ({"tracking": {"gap": 3}}, ["tracking.gap", "gap_s"]),
    ],
)
def test_the_line_is_checked_as_a_whole(tables: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({**GOOD, **tables})
    for word in words:
        assert word in str(refused.value)
