#!/bin/sh
# A machine of several CPUs: all are started, domain 0 has one.
# expect-console: Brought up 4 CPUs
cpus=$(nproc)
echo "$cpus CPU in domain 0"
[ "$cpus" -ge 1 ] || exit 1
# Work and idle time while the other CPUs are there.
for _ in 1 2 3 4 5; do
    (exit 0)
    sleep 0.2
done
[ "$(cat /proc/xen/capabilities)" = control_d ]
