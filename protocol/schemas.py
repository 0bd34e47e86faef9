"""JSON Schemas and the AsyncAPI document, generated from the models and the topic table."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from protocol.bundles import GoldenSet, Manifest
from protocol.messages import PAYLOADS, TrustIndex
from protocol.topics import PATTERNS, ROOT_DEFAULT, Direction, Kind

TRUST_INDEX = "trust_index"
BINARY = {
    Kind.BLOB_CHUNK: "raw bytes of one chunk; its digest is in the blob's chunk list",
    Kind.SAMPLE_CHUNK: "raw bytes of one chunk of a sample's image",
    Kind.TRUST: "TUF metadata (its own JSON format); `index` is a trust_index message",
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of every JSON payload and of the bundle's files, by name."""
    models: dict[str, Any] = {kind.value: payload for kind, payload in PAYLOADS.items()}
    models |= {TRUST_INDEX: TrustIndex, "manifest": Manifest, "golden": GoldenSet}
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {
        name: dialect | TypeAdapter(model).json_schema(mode="serialization")
        for name, model in sorted(models.items())
    }


def asyncapi(version: str) -> dict[str, Any]:
    """The AsyncAPI 3.0 document of the wire, as the hub sees it."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Argosy fleet link", "version": version},
        "defaultContentType": "application/json",
        "channels": {kind.value: _channel(kind) for kind in Kind},
        "operations": {kind.value: _operation(kind) for kind in Kind},
        "components": {"messages": {kind.value: _message(kind) for kind in Kind}},
    }


def _channel(kind: Kind) -> dict[str, Any]:
    template = PATTERNS[kind].template
    names = [word[1:-1] for word in template.split("/") if word.startswith("{")]
    return {
        "address": f"{ROOT_DEFAULT}/{template}",
        "parameters": {name: {} for name in names},
        "messages": {kind.value: {"$ref": f"#/components/messages/{kind.value}"}},
        "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
    }


def _operation(kind: Kind) -> dict[str, Any]:
    pattern = PATTERNS[kind]
    return {
        "action": "receive" if pattern.direction is Direction.FROM_DEVICE else "send",
        "channel": {"$ref": f"#/channels/{kind.value}"},
        "bindings": {"mqtt": {"qos": 1, "retain": pattern.retained, "bindingVersion": "0.2.0"}},
    }


def _message(kind: Kind) -> dict[str, Any]:
    if kind in BINARY:
        return {"contentType": "application/octet-stream", "summary": BINARY[kind]}
    return {"payload": {"$ref": f"schemas/{kind.value}.json"}}
