#!/bin/bash
# What the domains of `cargo xtask bench loads` do: beta answers, alpha measures.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
[ "$(uname -n)" = beta ] && exec iperf3 --server
status=0
load() { bash /bench/load.sh "$@" || status=1; }
# Until then beta starts, which is not to be measured.
for ((tries = 0; tries < 120; tries++)); do
    iperf3 --client 10.9.0.3 --bytes 1K > /dev/null 2>&1 && break
    sleep 1
done
iperf3 --server --daemon
load programs domain
load disk domain /dev/xvdb
load network domain.to_dom0 10.9.0.1
load network domain.from_dom0 10.9.0.1 --reverse
load network domain.to_domain 10.9.0.3
echo "ended with status $status"
# The console's reader gets its time.
sleep 1000
