#!/bin/sh
# A machine of several CPUs: all are started, and domain 0 has as many.
# expect-console: Brought up 4 CPUs
cpus=$(nproc)
echo "$cpus CPUs in domain 0"
[ "$cpus" = 4 ] || exit 1
# Work and idle time.
for _ in 1 2 3 4 5; do
    (exit 0)
    sleep 0.2
done
[ "$(cat /proc/xen/capabilities)" = control_d ]
