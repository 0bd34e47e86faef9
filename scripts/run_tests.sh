#!/usr/bin/env bash
# All tests but the slow ones, a file at a time on every core: first those that start no
# processes of their own, then those that do; last, one by one, those that measure the clock.
# Usage: run_tests.sh PYTHON [arguments for pytest]
set -uo pipefail
python=$1; shift
none=5  # pytest's word for "no test was selected", which each part may say, but not all

statuses=()
part() { "$python" -m pytest -m "not slow and $1" "${@:2}"; statuses+=($?); }
part "not integration" -n auto --dist loadfile "$@"
part "integration and not alone" -n auto --dist loadfile "$@"
part "integration and alone" "$@"

for status in "${statuses[@]}"; do
    [ "$status" -eq 0 ] || [ "$status" -eq $none ] || exit "$status"
done
[[ " ${statuses[*]} " == *" 0 "* ]] || exit $none
