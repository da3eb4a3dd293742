#!/bin/sh
# As many CPUs in domain 0 as the machine has (CPUS, of the environment), or as domain 0 is to have.
cpus=$(nproc)
echo "$(uname -r): $cpus CPUs in domain 0"
[ "$cpus" = "$CPUS" ] || exit 1
# Work and idle time, on each.
cpu=0
while [ $cpu -lt "$cpus" ]; do
    for _ in 1 2 3; do
        taskset -c $cpu sh -c '(exit 0); sleep 0.1' || exit 1
    done
    cpu=$((cpu + 1))
done
problems=$(dmesg | grep -E 'BUG:|WARNING:|Oops|soft lockup|rcu.*stall')
[ -z "$problems" ] || { echo "the kernel complains: $problems"; exit 1; }
