"""Samples: acknowledged when the image is stored and right, whatever comes first."""

from __future__ import annotations

import itertools

import pytest

from cloud.access.principal import Principal, PrincipalKind, Role
from cloud.blobs import service as blobs
from cloud.errors import ForbiddenError, InvalidError
from cloud.inbound import Received, Tally
from cloud.telemetry import samples, service
from cloud.telemetry.spool import ENTRY_BYTES, SampleSpool
from protocol.chunks import describe, sha256_hex
from protocol.topics import Kind, Topic
from tests.unit.cloud.conftest import OPERATOR, Api
from tests.unit.cloud.telemetry.conftest import (
    DEVICE,
    Place,
    acked,
    jpeg,
    sample,
    tombstone,
)

IMAGE = jpeg()
CHUNK = 200
ACTING = Principal(PrincipalKind.DEVICE, DEVICE, Role.DEVICE)


def chunks(image: bytes, device_id: str = DEVICE) -> list[Received]:
    pieces = [image[i : i + CHUNK] for i in range(0, len(image), CHUNK)]
    name = sha256_hex(image)
    return [
        Received(Topic(Kind.SAMPLE_CHUNK, device_id, name, index), piece, None, 5.0)
        for index, piece in enumerate(pieces)
    ]


def report(place: Place, *batch: Received) -> Tally:
    with place.database.transaction() as session:
        return place.samples.store_reports(session, batch)


def send_chunks(place: Place, batch: list[Received]) -> Tally:
    with place.database.transaction() as session:
        return place.samples.store_chunks(session, batch)


def put(place: Place, image: bytes, sha256: str | None = None) -> Tally:
    with place.database.transaction() as session:
        name = sha256 or sha256_hex(image)
        return place.samples.put_image(session, ACTING, name, image, 5.0)[1]


def stored(place: Place) -> list[int]:
    with place.database.reading() as session:
        return [row.sequence for row in service.list_samples(session, OPERATOR)]


def test_the_image_goes_first_by_http(place: Place) -> None:
    put(place, IMAGE)
    assert report(place, sample(1, IMAGE)) == {"stored": 1}
    assert report(place, sample(1, IMAGE)) == {"duplicates": 1}
    assert (stored(place), acked(place.heard)) == ([1], {"samples": 1})
    with place.database.reading() as session:
        row = service.list_samples(session, OPERATOR)[0]
        data, media_type = samples.get_image(session, OPERATOR, place.samples.blobs, row.id)
    assert (data, media_type) == (IMAGE, "image/jpeg")


def test_without_its_image_a_sample_is_not_acknowledged(place: Place) -> None:
    assert report(place, sample(1, IMAGE)) == {"waiting_for_image": 1}
    assert (stored(place), acked(place.heard)) == ([], {"samples": 0})
    assert put(place, IMAGE) == {"stored": 1}
    assert (stored(place), acked(place.heard)) == ([1], {"samples": 1})


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::3])
def test_chunks_and_report_come_in_any_order(place: Place, order: tuple[int, ...]) -> None:
    pieces, rest = chunks(IMAGE)[:3], chunks(IMAGE)[3:]
    assert len(pieces) == 3
    send_chunks(place, rest or pieces[:1])
    for step in order:
        if step == 3:
            report(place, sample(1, IMAGE, CHUNK))
        else:
            send_chunks(place, [pieces[step]])
    assert (stored(place), acked(place.heard)) == ([1], {"samples": 1})
    assert place.samples.blobs.read(sha256_hex(IMAGE)) == IMAGE


def test_a_wrong_chunk_is_dropped_and_can_come_again(place: Place) -> None:
    pieces = chunks(IMAGE)
    wrong = Received(pieces[0].topic, b"x" * CHUNK, None, 5.0)
    report(place, sample(1, IMAGE, CHUNK))
    send_chunks(place, [wrong, *pieces[1:]])
    assert stored(place) == []
    send_chunks(place, [pieces[0]])
    assert stored(place) == [1]


def test_chunks_of_another_device_do_not_count(place: Place) -> None:
    report(place, sample(1, IMAGE, CHUNK))
    send_chunks(place, chunks(IMAGE, "line-2"))
    assert stored(place) == []


def test_what_is_no_image_is_refused(place: Place) -> None:
    with pytest.raises(InvalidError, match="no whole JPEG"):
        put(place, b"not an image")
    with pytest.raises(InvalidError, match="no whole JPEG"):
        put(place, IMAGE[: len(IMAGE) // 2])
    with pytest.raises(InvalidError):
        put(place, IMAGE, "ab" * 32)
    junk = b"junk" * 100
    report(place, sample(1, junk, CHUNK))
    assert send_chunks(place, chunks(junk))["refused.no_image"] == 1
    assert acked(place.heard) == {"samples": 1}, "or the device would send it for ever"
    assert stored(place) == []


def test_a_blob_that_is_something_else_is_no_samples_image(place: Place) -> None:
    with place.database.transaction() as session:
        ref = place.samples.blobs.put([b"a model"])
        blobs.record(session, ref, "application/octet-stream")
    assert report(place, sample(1, b"a model"))["refused.no_image"] == 1
    assert stored(place) == []


def test_a_tombstone_lets_the_stream_go_on(place: Place) -> None:
    put(place, IMAGE)
    assert report(place, tombstone(Kind.SAMPLES, 1, 3), sample(4, IMAGE)) == {
        "tombstones": 1,
        "stored": 1,
    }
    assert acked(place.heard) == {"samples": 4}


def test_the_spool_is_bounded_per_device() -> None:
    spool = SampleSpool(bytes_max=2000, images_max=3)
    images = [bytes([number]) * 100 for number in range(10)]
    for image in images:
        spool.add_chunk("a", sha256_hex(image), 0, image)
    small, large = b"y" * 400, b"z" * 1500
    spool.add_chunk("b", sha256_hex(small), 0, small)
    assert [i for i in images if spool.assemble("a", describe(i))] == images[-3:]
    assert spool.assemble("b", describe(small)) == small
    spool.add_chunk("b", sha256_hex(large), 0, large)
    assert spool.assemble("b", describe(small)) is None
    assert spool.assemble("b", describe(large)) == large


def test_many_empty_chunks_push_each_other_out() -> None:
    spool = SampleSpool(bytes_max=100 * ENTRY_BYTES, images_max=1000)
    small = b"first"
    spool.add_chunk("a", sha256_hex(small), 0, small)
    for index in range(100):
        spool.add_chunk("a", "ab" * 32, index, b"")
    assert spool.assemble("a", describe(small)) is None


def test_only_a_device_puts_images(place: Place) -> None:
    with place.database.transaction() as session, pytest.raises(ForbiddenError):
        place.samples.put_image(session, OPERATOR, sha256_hex(IMAGE), IMAGE, 5.0)


def test_images_by_the_api(api: Api) -> None:
    token = api.acting(Role.OPERATOR).post("/devices", json={"device_id": "a"}).json()["token"]
    http = api.bearing(token)
    path = f"/device/samples/{sha256_hex(IMAGE)}"
    assert http.put(path, content=IMAGE).json()["size_bytes"] == len(IMAGE)
    assert http.put(path, content=IMAGE).status_code == 200
    assert http.put(f"/device/samples/{'ab' * 32}", content=IMAGE).status_code == 422
    too_much = b"x" * (api.hub.settings.limits.sample_bytes_max + 1)
    assert http.put(path, content=too_much).status_code == 413
    assert api.acting(Role.VIEWER).get("/ingest/counters").json()["messages"] == 0
