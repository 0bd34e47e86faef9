#!/bin/sh
# First start of the trial: broker passwords and access rules, the hub's settings, owners.
set -eu
if [ ! -f /broker/done ]; then
    argosy broker acl > /broker/acl
    argosy broker passwords /broker/passwords hub line-1 line-2 > /data/broker.json
    password=$(python -c 'import json; print(json.load(open("/data/broker.json"))["hub"])')
    cat > /data/hub.toml <<EOF
# The trial's own network carries HTTP without TLS; only 127.0.0.1 of the host reaches it.
host = "0.0.0.0"
behind_tls_proxy = true

[mqtt]
url = "mqtt://mosquitto:1883"
username = "hub"
password = "$password"
EOF
    chmod 600 /data/hub.toml /data/broker.json
    touch /broker/done
fi
chown -R 1883:1883 /broker /broker-state            # the user mosquitto of its image
chown -R argosy:argosy /data /devices/line-1 /devices/line-2
