#!/bin/sh
# Enrol each device that has no configuration yet: `line-N` watches `camera-N`.
set -eu
for device in "$@"; do
    config=/agents/$device.toml
    [ -f "$config" ] && continue
    argosy device enrol "$device" --data /data --url http://hub:8000 --model factory \
        --label "line=${device#line-}" --out "$config.new" \
        --camera "belt=http://camera-${device#line-}:8080/stream:factory"
    password=$(python -c 'import json, sys; print(json.load(open("/agents/broker.json"))[sys.argv[1]])' "$device")
    sed -i "/^\[mqtt\]/a username = \"$device\"\npassword = \"$password\"" "$config.new"
    mv "$config.new" "$config"
done
