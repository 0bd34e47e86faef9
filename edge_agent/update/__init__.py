"""From a desired build to a serving one: fetch, verify, prove, exchange, probation."""
