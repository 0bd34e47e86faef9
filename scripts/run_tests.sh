#!/usr/bin/env bash
# All tests but the slow ones: first those that start no processes of their own, a file at a time
# on every core; then, one by one, those that do, for they share the machine's clock and cores.
# Usage: run_tests.sh PYTHON [arguments for pytest]
set -uo pipefail
python=$1; shift
none=5  # pytest's word for "no test was selected", which either half may say, but not both

"$python" -m pytest -m "not slow and not integration" -n auto --dist loadfile "$@"; alone=$?
"$python" -m pytest -m "not slow and integration" "$@"; together=$?

for status in $alone $together; do
    [ "$status" -eq 0 ] || [ "$status" -eq $none ] || exit "$status"
done
[ "$alone" -ne $none ] || [ "$together" -ne $none ] || exit $none
