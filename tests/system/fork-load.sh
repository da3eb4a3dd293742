#!/bin/sh
# Eight shells in parallel, each of which starts /bin/true a hundred times: what page tables, flushes and interrupts
# between CPUs cost. Prints the wall time; runs on the bare machine and on Debian's Xen as well (docs/performance.md).
now() { cut -d' ' -f1 /proc/uptime; }
start=$(now)
shell=0
while [ $shell -lt 8 ]; do
    (
        number=0
        while [ $number -lt 100 ]; do
            /bin/true
            number=$((number + 1))
        done
    ) &
    shell=$((shell + 1))
done
wait
awk -v start="$start" -v end="$(now)" -v cpus="$(nproc)" \
    'BEGIN { printf "fork load: %.2f s with %d CPUs\n", end - start, cpus }'
problems=$(dmesg | grep -E 'BUG:|WARNING: CPU|Oops|soft lockup|hung task|rcu.*stall')
[ -z "$problems" ] || { echo "FAIL: the kernel complains: $problems"; exit 1; }
