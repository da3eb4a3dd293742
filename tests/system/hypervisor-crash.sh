#!/bin/sh
# A crash of the hypervisor shows where, by name.
# expect-status: 125
# expect-console: crash asked for by debug key 'C'
# expect-console: call trace:
# expect-console: hypervisor::
# expect-console: Panic on CPU 0
host-keys "$(printf '\001\001\001')"
sleep 1
host-keys C
sleep 60
