#!/bin/sh
# Enrol each device that has no configuration yet: `line-N` watches `camera-N`.
set -eu
devices=${DEVICES:-/devices} data=${DATA:-/data} hub=${HUB:-http://hub:8000}
for device in "$@"; do
    config=$devices/$device/agent.toml
    [ -f "$config" ] && continue
    argosy device enrol "$device" --data "$data" --url "$hub" --model factory \
        --device-data . --label "line=${device#line-}" --out "$config.new" \
        --camera "belt=http://camera-${device#line-}:8080/stream:factory"
    password=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
        "$data/broker.json" "$device")
    sed -i "/^\[mqtt\]/a username = \"$device\"\npassword = \"$password\"" "$config.new"
    mv "$config.new" "$config"
done
