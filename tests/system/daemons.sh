#!/bin/bash
# Our store and console daemons are killed and continued while a guest uses both: it misses nothing, whatever is killed when.
# Several viewers of a console, with Debian's among them; the guests' and the hypervisor's logs. Runs on Debian's Xen as well.
# $KILLS: how often each is killed (5).
export PATH=/usr/local/bin:$PATH
kills=${KILLS:-5}
failures=0
log=/var/log/xen/console/guest-guest.log
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
now() { cut -d. -f1 /proc/uptime; }
step() { echo "$(now) s: $*"; }
die() { fail "$*"; echo "---- the console"; tail -c 2000 $log; echo "---- daemons"; tail -n 30 /var/log/xen/*-daemon.log; xl list; xenstore-control metrics "$domain"; exit 1; }
# `wait_for SECONDS COMMAND…`
wait_for() {
    local end=$(($(now) + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$(now)" -lt $end ] || return 1
        sleep 0.2
    done
}
# `has FILE TEXT [SECONDS]`
has() { wait_for "${3:-20}" grep -qaF -- "$2" "$1"; }
kill_store() {
    kill -9 "$(cat /run/xen/store.launched)"
    xen-daemons store ours || die "the store does not start again"
}
kill_console() {
    kill -9 "$(cat /run/xen/console.launched)"
    start_console
}
start_console() {
    CONSOLE_ARGUMENTS="--log all --timestamp hv $*" xen-daemons console ours
    wait_for 20 test -S /run/xen/xenconsoled/0.socket -o -s /var/log/xen/console/hypervisor.log || fail "no console daemon"
}

end_console() {
    kill "$(cat /run/xen/console.launched)"
    wait_for 10 sh -c '! kill -0 $(cat /run/xen/console.launched)'
}

# The first console daemon of the harness logs nothing.
end_console
start_console

# The guest gets the client of the store by its disk.
modprobe -a loop xen-blkback
tar -C /usr/local/bin -chf /root/disk xenstore
truncate -s %65536 /root/disk
losetup /dev/loop0 /root/disk
losetup /dev/loop1 /root/disk
xl create /guest/guest.cfg 'disk = ["phy:/dev/loop0,xvda,r"]' > /tmp/create.log 2>&1 || { cat /tmp/create.log; die "xl create"; }
domain=$(xl domid guest)
has $log 'guest login:' 180 || die "no login prompt in the log"
step "login prompt in the log"

# Debian's clients of the store and ours print the same, and end with the same status.
both() {
    # Once more if the store changed between the two.
    for _ in 1 2 3; do
        ours=$(/usr/local/bin/xenstore-"$1" "${@:2}" 2> /dev/null; echo "status $?")
        theirs=$(/usr/bin/xenstore-"$1" "${@:2}" 2> /dev/null; echo "status $?")
        [ "$ours" != "$theirs" ] || return 0
    done
    fail "xenstore-$*: $(diff <(echo "$ours") <(echo "$theirs") | head -n 6)"
}
/usr/bin/xenstore-write /t/bytes 'a\x01\x0227\t\n\\\377' /t/long "$(printf '%0100d' 1)" /t/a/b/c 1 /t/x/y/z 1
for words in ls 'ls -p' 'ls -f' 'ls -f -p' 'ls /t /local/domain/0' 'ls /nothing' 'list /' 'list -p /t /local' 'list /nothing' \
    'read /t/bytes' 'read -p /t/bytes /t/long' 'read -R /t/bytes' 'read /nothing' 'exists /t' 'exists /t /nothing' 'exists /nothing' \
    'watch -n 1 /t' 'watch -n 2 /t /t/a' 'read' 'write /t' 'write' 'rm' 'list' 'chmod /t' 'control' 'control nonsense' 'control live-update' \
    'control log' 'chmod /t q1'; do
    both $words
done
for whose in /usr/bin /usr/local/bin; do
    $whose/xenstore-write /w/a/b 'x\x41\102\n' /w/a/c 2 /w/tidy/1/2 '' || fail "$whose/xenstore-write"
    $whose/xenstore-write -R /w/raw 'x\x41' || fail "$whose/xenstore-write -R"
    $whose/xenstore-chmod -u /w/a/b n0 r"$domain" || fail "$whose/xenstore-chmod -u"
    $whose/xenstore-chmod -r /w/tidy b0 || fail "$whose/xenstore-chmod -r"
    $whose/xenstore-rm -t /w/tidy/1/2 || fail "$whose/xenstore-rm -t"
    xenstore-ls -f -p /w > /tmp/made-by-"$(basename "$(dirname $whose)")"
    xenstore-rm /w
done
diff /tmp/made-by-usr /tmp/made-by-local > /tmp/difference || fail "clients that change the store: $(cat /tmp/difference)"
grep -qF "/w/a = \"\"   (n0,r$domain)" /tmp/made-by-local || fail "chmod -u: $(cat /tmp/made-by-local)"
xenstore-rm /t
step "clients"

# Viewers: one types, one looks, and Debian's has the pty.
mkfifo /tmp/keys
xenconsole "$domain" < /tmp/keys > /tmp/first 2>&1 &
first=$!
exec 3> /tmp/keys
xenconsole "$domain" < /dev/null > /tmp/second 2>&1 &
second=$!
mkfifo /tmp/debian-keys
script -q -c "/usr/lib/xen-4.17/bin/xenconsole $domain" /dev/null < /tmp/debian-keys > /tmp/third 2>&1 &
third=$!
exec 4> /tmp/debian-keys
sleep 1
printf 'root\r' >&3
has /tmp/first '# ' || die "no shell"
printf 'echo typed-$((6 * 7))\r' >&4
for view in /tmp/first /tmp/second /tmp/third $log; do
    has $view typed-42 || fail "$view lacks what a command printed"
done
# ^] ends a viewer, and nobody else.
printf '\035' >&4
wait_for 10 sh -c "! kill -0 $third" || fail "Debian's xenconsole does not end at ^]"
printf '\035' >&3
wait_for 10 sh -c "! kill -0 $first" || fail "^] does not detach"
kill -0 $second || fail "another viewer ended as well"
exec 3>&- 4>&-
wait $first || fail "a detached viewer's status is $?"
step "viewers"
# Typed by a viewer that comes for it and goes.
enter() {
    (printf '%s\r' "$1"; sleep 1; printf '\035') | xenconsole "$domain" > /dev/null
}

# The hypervisor's log.
xl debug-keys r
wait_for 10 sh -c '[ "$(xl dmesg | wc -l)" -gt 1 ]' || fail "xl dmesg is empty"
line=$(xl dmesg | grep -a . | tail -n 1)
has /var/log/xen/console/hypervisor.log "$line" || fail "the hypervisor's log lacks “$line”"
wait_for 5 sh -c "[ \"\$(grep -acF -- '$line' /var/log/xen/console/hypervisor.log)\" = \"\$(xl dmesg | grep -acF -- '$line')\" ]" ||
    fail "the hypervisor's log has “$line” another number of times than xl dmesg"
before=$(wc -l < /var/log/xen/console/hypervisor.log)
step "$before lines of the hypervisor"

# A guest that prints faster than it may waits, and loses nothing; logs are rotated; what a terminal would obey is not in them.
end_console
start_console --rate 20000 --log-size 60000 --log-keep 9
started=$(now)
enter "dd if=/dev/zero bs=1000 count=200 2>/dev/null | tr '\\0' '\\175'; printf '\\033]0;title\\007\\033[31mred\\033[0m-%s\\n' \$((40 + 2))"
has $log '^[]0;title^Gred-42' 120 || die "the guest does not print its 200,000 bytes"
[ $(($(now) - started)) -ge 5 ] || fail "200,000 bytes at 20,000 a second took $(($(now) - started)) s"
flood=$(cat $log $log.? | tr -dc '}' | wc -c)
[ "$flood" = 200000 ] || fail "of 200,000 bytes the logs have $flood"
[ -e $log.3 ] || fail "the log is not rotated"
[ -z "$(find /var/log/xen/console -name 'guest-guest.log*' -size +60000c)" ] || fail "a log is too large"
grep -q "$(printf '\033')" $log $log.? && fail "escapes are in the log"
end_console
start_console
step "a flood, $(($(now) - started)) s"

# The console daemon, while the guest prints. What was printed is there once, or at a kill twice; nothing is missing.
enter 'i=0; while [ $i -lt 4000 ]; do i=$((i + 1)); echo "line $i of 4000"; [ $((i % 50)) != 0 ] || sleep 0.1; done; echo printed-$((1 + 1))'
for number in $(seq "$kills"); do
    sleep "$((number % 3)).$((number * 7 % 10))"
    kill_console
done
has $log printed-2 180 || die "the guest does not print any more"
[ "$(grep -aoE 'line [0-9]+ of 4000' $log | sort -u | wc -l)" = 4000 ] ||
    fail "lines are missing: $(seq 4000 | sed 's/.*/line & of 4000/' | grep -vxFf <(grep -aoE 'line [0-9]+ of 4000' $log) | tr '\n' ',')"
[ "$(wc -l < /var/log/xen/console/hypervisor.log)" -ge "$before" ] || fail "the hypervisor's log became shorter"
[ "$(grep -acF -- "$line" /var/log/xen/console/hypervisor.log)" = "$(xl dmesg | grep -acF -- "$line")" ] ||
    fail "a restart logged what the hypervisor said again"
step "console daemon killed $kills times; $(grep -aoE 'line [0-9]+ of 4000' $log | wc -l) lines of 4000, none missing"

# The store, while the guest writes and reads there, and sees its own watch.
home=/local/domain/$domain/data
enter 'cd /tmp && tar xf /dev/xvda && export XENSTORED_PATH=/dev/xen/xenbus && ./xenstore write data/n 0 && echo store-$((3 + 3))'
has $log store-6 60 || die "the guest does not reach the store"
enter './xenstore watch data/n > seen & i=0; while [ "$(./xenstore read data/stop 2>/dev/null)" != 1 ]; do i=$((i + 1)); ./xenstore write data/n $i && [ "$(./xenstore read data/n)" = $i ] || echo "BAD $i"; done; echo did-$i-end; sleep 1; echo "seen $(wc -l < seen) ended"'
count() { xenstore-read $home/n; }
above() { [ "$(count 2> /dev/null || echo 0)" -gt "$1" ]; }
wait_for 60 above 3 || die "the guest does not write"
for number in $(seq "$kills"); do
    sleep "$((number % 2)).$((number * 3 % 10))"
    kill_store
    reached=$(count)
    wait_for 60 above "${reached:-0}" || die "after kill $number the guest stands still at $reached"
done
xenstore-control check > /dev/null || fail "the store is not sound"
step "store killed $kills times, the guest is at $(count)"
xenstore-control live-update /usr/local/bin/xenstored > /tmp/update 2>&1 || fail "live update: $(cat /tmp/update)"
reached=$(count)
wait_for 60 above "$reached" || die "after the live update the guest stands still"
# Devices come and go by watches in the guest and in domain 0 that are older than the daemon.
xl block-attach guest phy:/dev/loop1,xvdb,r || fail "block-attach"
wait_for 30 sh -c "[ \"\$(xenstore-read /local/domain/$domain/device/vbd/51728/state)\" = 4 ]" || die "the guest does not connect a disk"
xl block-detach guest xvdb || fail "block-detach"
xenstore-write $home/stop 1
# Not what was typed, but what it printed.
wait_for 60 grep -qaE '^did-[0-9]+-end' $log || die "the guest does not end its loop"
wait_for 30 grep -qaE '^seen [0-9]+ ended' $log || die "the guest does not tell of its watch"
did=$(grep -aoE 'did-[0-9]+-end' $log | tail -n 1 | tr -dc 0-9)
seen=$(grep -aoE 'seen [0-9]+ ended' $log | tail -n 1 | tr -dc 0-9)
grep -aE '^BAD' $log && fail "the guest read something else than it wrote"
[ "$(count)" = "$did" ] || fail "the guest wrote $did, the store has $(count)"
# Once when it is set, and once for each change.
[ "$seen" = $((did + 1)) ] || fail "the guest saw $seen events of $did changes"
xenstore-control check > /dev/null || fail "the store is not sound"
verify() { xenstored --check "$(ls -t /run/xenstored/state/snapshot-* | head -n 1)"; }
wait_for 5 verify || fail "xenstored --check: $(verify 2>&1)"
step "live update, devices; $did writes of the guest, $seen events"

xl destroy guest || fail "destroy"
wait_for 20 sh -c "! xenstore-exists /local/domain/$domain" || fail "the domain is left in the store"
wait_for 20 sh -c "! kill -0 $second" || fail "a viewer outlives its domain"
step "destroyed"
grep -ahE 'panick|error' /var/log/xen/*-daemon.log | head
[ $failures = 0 ] && echo "all well"
exit $failures
