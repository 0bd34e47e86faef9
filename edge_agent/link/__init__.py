"""The device's way to the hub: MQTT for messages and chunks, HTTP beside it, and the
outbox that keeps what must arrive until the hub says that it is stored."""
