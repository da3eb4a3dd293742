#!/bin/sh
# A crash of domain 0 shows its registers, and the last calls and traps of its vCPU.
# expect-status: 125
# expect-console: Kernel panic - not syncing
# expect-console: RIP:    e033
# expect-console: Last calls, traps and events
# expect-console: Hardware Dom0 crashed
sync
echo c > /proc/sysrq-trigger
sleep 60
