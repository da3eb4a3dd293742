#!/bin/sh
# Domain 0 under the scheduler that `sched=` names (SCHED, of the environment): it works, and idles.
status=$(xl cpupool-list 2>&1)
echo "$status"
echo "$status" | grep -q "^Pool-0.* $SCHED " || exit 1
for _ in 1 2 3 4 5 6 7 8; do
    (for _ in 1 2 3 4 5; do /bin/true; done) &
done
wait
sleep 2
problems=$(dmesg | grep -E 'BUG:|WARNING:|Oops|soft lockup|rcu.*stall')
[ -z "$problems" ] || { echo "the kernel complains: $problems"; exit 1; }
