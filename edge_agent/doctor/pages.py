"""Check: the port of the local pages is free, or the agent's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from edge_agent.doctor.finding import Box, Finding, advice, ok
from edge_agent.local.address import read_address
from edge_agent.local.settings import LocalSection


def check(box: Box) -> Iterator[Finding]:
    if box.config is None:
        return
    local = box.config.local
    url = None if box.live is None else read_address(box.config.device.data_dir)
    yield judge(local, url, url is not None or is_free(local))


def judge(local: LocalSection, url: str | None, free: bool) -> Finding:
    """`url`: of the running agent's pages; `free`: whether the port can be had."""
    if not local.enabled:
        return ok("local pages are off")
    if url is not None:
        return ok(f"local pages: {url}/")
    if not free:
        return advice(
            f"port {local.port} on {local.host} is taken by another program",
            "give local.port another, or 0 for a free one; the agent sees without its pages",
        )
    return ok(f"local pages will be on {local.host}, port {local.port or 'any'}")


def is_free(local: LocalSection) -> bool:
    family = socket.AF_INET6 if ":" in local.address else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((local.address, local.port))
        except OSError:
            return False
    return True
