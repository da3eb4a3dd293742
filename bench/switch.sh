#!/bin/bash
# What a switch between two domains costs: run by `cargo xtask bench processors`, in domain 0, with $XL as the command.
export PATH=/usr/local/bin:$PATH
. /root/bench-settings
guest() { printf "name='%s'\nmemory=16\nvcpus=1\nkernel='/guests/guest_costs'\nextra='%s'\n" "$1" "$2" > "/tmp/$1.cfg"; }
log() { cat "/var/log/xen/console/guest-$1.log" 2> /dev/null; }
wait_for() { for _ in $(seq 200); do log "$1" | grep -q "$2" && return; sleep 0.2; done; echo "no “$2” of $1"; log "$1"; exit 1; }
# The second domain gets the number after the first one's.
guest follower peer=2
guest leader "peer=1 leads=1"
$XL create /tmp/follower.cfg > /tmp/out 2>&1 || { cat /tmp/out; exit 1; }
wait_for follower 'waiting for domain 2'
$XL create /tmp/leader.cfg > /tmp/out 2>&1 || { cat /tmp/out; exit 1; }
wait_for leader GUEST
log leader | tr -d '\r'
