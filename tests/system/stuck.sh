#!/bin/sh
# A CPU that gets stuck in the hypervisor is named by another, and says itself where.
# Domain 0 has one vCPU: with more, one may wait for the stuck CPU to flush, and be named in its place.
# expect-status: 125
# expect-console: 2 CPUs look after each other
# expect-console: spins for ever
# expect-console: Watchdog timer detects that CPU
# expect-console: is stuck!
# expect-console: spin_for_ever
host-keys "$(printf '\001\001\001')"
sleep 1
host-keys Z
sleep 60
