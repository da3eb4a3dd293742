#!/bin/bash
# What an operation of the store costs with each daemon: run by `cargo xtask bench store`, in domain 0, by Debian's
# own test program, which checks the answers as well.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
debian=/usr/lib/xen-4.17/bin
mkdir -p /run/xenstored /var/lib/xenstored /run/xen /var/log/xen
failed=0
measure() {
    name=$1
    shift
    "$@" > /tmp/daemon.log 2>&1 &
    daemon=$!
    for _ in $(seq 60); do
        [ -S /run/xenstored/socket ] && break
        sleep 0.5
    done
    sleep 1
    echo "DAEMON $name"
    # The first round is for warming up; many operations, since a tick of the clock may fall into any of them.
    if ! $debian/test-xenstore -i 20 > /dev/null || ! $debian/test-xenstore -i 200; then
        echo "$name fails: $(tail -n 3 /tmp/daemon.log)"
        failed=1
    fi
    kill -9 $daemon
    wait $daemon 2> /dev/null
    rm -rf /run/xenstored/socket /run/xenstored/state /var/lib/xenstored/tdb
}
measure ours /usr/local/bin/xenstored --no-fork
measure C $debian/xenstored --no-fork
measure OCaml $debian/oxenstored --no-fork
exit $failed
