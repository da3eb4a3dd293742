#!/bin/sh
# What a domain 0 is for: it knows that it is one, and drives real disks and network cards with its own
# drivers, makes processes, and keeps time. Expects a virtio and an AHCI disk of 65 MiB at least.
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
now() { cut -d. -f1 /proc/uptime; }

type=$(cat /sys/hypervisor/type 2>/dev/null)
capabilities=$(cat /proc/xen/capabilities 2>/dev/null)
echo "type $type, capabilities $capabilities"
[ "$type" = xen ] || fail "/sys/hypervisor/type is '$type'"
[ "$capabilities" = control_d ] || fail "/proc/xen/capabilities is '$capabilities'"

# Disks appear in the background.
find_disk() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        for disk in /sys/block/*; do
            case $(readlink -f "$disk") in
                */$1*/block/*) basename "$disk"; return 0 ;;
            esac
        done
        sleep 0.5
    done
    return 1
}

# 64 MiB that differ in every MiB, and between the disks. (busybox's `head -c` and `tee` copy byte by byte:
# on an emulated CPU that takes minutes.)
dd if=/dev/urandom of=/tmp/seed bs=4096 count=255 2>/dev/null
content() {
    block=0
    while [ $block -lt 64 ]; do
        printf '%-4096d' "$1$block"
        cat /tmp/seed
        block=$((block + 1))
    done
}

check_disk() {
    name=$1
    disk=$(find_disk "$2") || { fail "no $name disk"; return; }
    start=$(now)
    content "$3" > /tmp/data
    wrote=$(sha1sum < /tmp/data)
    cat /tmp/data > "/dev/$disk" || fail "$name: write"
    rm /tmp/data
    sync
    echo 3 > /proc/sys/vm/drop_caches
    before=$(awk '{ print $3 }' "/sys/block/$disk/stat")
    read=$(dd if="/dev/$disk" bs=1M count=64 2>/dev/null | sha1sum)
    after=$(awk '{ print $3 }' "/sys/block/$disk/stat")
    echo "$name disk $disk: 64 MiB written and read in $(($(now) - start)) s, $(((after - before) / 2048)) MiB from the disk"
    [ "$wrote" = "$read" ] || fail "$name: wrote $wrote, read $read"
    [ $((after - before)) -ge 131072 ] || fail "$name: the data came from the cache"
}
check_disk virtio virtio 1
check_disk AHCI ata 2

check_fetch() {
    start=$(now)
    wanted=$(wget -q -O - "http://$2/random/16777216.sha256") || { fail "$1: no answer"; return; }
    got=$(wget -q -O - "http://$2/random/16777216" | sha256sum | cut -d' ' -f1)
    echo "$1: 16 MiB in $(($(now) - start)) s"
    [ "$got" = "$wanted" ] || fail "$1: fetched $got, served $wanted"
}
driver() { basename "$(readlink "/sys/class/net/$(ip -o route get "${1%%:*}" | sed 's/.* dev \([^ ]*\).*/\1/')/device/driver")"; }
[ "$(driver "$HOST")" = virtio_net ] || fail "$HOST is reached through $(driver "$HOST")"
[ "$(driver "$HOST_E1000")" = e1000 ] || fail "$HOST_E1000 is reached through $(driver "$HOST_E1000")"
check_fetch virtio-net "$HOST"
check_fetch e1000 "$HOST_E1000"

start=$(now)
before=$(awk '/^processes/ { print $2 }' /proc/stat)
bad=0
number=0
while [ $number -lt 2000 ]; do
    (exit 7)
    [ $? = 7 ] || bad=$((bad + 1))
    number=$((number + 1))
done
made=$(($(awk '/^processes/ { print $2 }' /proc/stat) - before))
echo "$made processes in $(($(now) - start)) s"
[ $bad = 0 ] || fail "$bad of 2,000 processes ended wrongly"
[ $made -ge 2000 ] || fail "only $made processes were made"

# The RTC counts whole seconds, and a busy host may take a second from us between two commands.
rtc() { date -u -D '%Y-%m-%d %H:%M:%S' -d "$(cat /sys/class/rtc/rtc0/date) $(cat /sys/class/rtc/rtc0/time)" +%s; }
uptime_ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }
rtc_start=$(rtc)
clock_start=$(date +%s)
uptime_start=$(uptime_ms)
sleep 2
slept=$(($(uptime_ms) - uptime_start))
rtc_span=$(($(rtc) - rtc_start))
clock_span=$(($(date +%s) - clock_start))
echo "slept $slept ms: clock $clock_span s, RTC $rtc_span s; clock less RTC: $(($(date +%s) - $(rtc))) s"
# A kernel's sleep is never short (its uptime is told in hundredths).
[ $slept -ge 1990 ] || fail "a sleep of 2 s took $slept ms"
[ $rtc_span -ge 1 ] && [ $rtc_span -le 20 ] || fail "the RTC advanced by $rtc_span s in a sleep of 2 s"
difference=$((clock_span - rtc_span))
[ ${difference#-} -le 2 ] || fail "clock and RTC advanced differently"
difference=$(($(date +%s) - $(rtc)))
[ ${difference#-} -le 2 ] || fail "clock and RTC are $difference s apart"

problems=$(dmesg | grep -E 'BUG:|WARNING: CPU|Oops|soft lockup|hung task|nobody cared|timed out waiting|exception Emask')
[ -z "$problems" ] || fail "the kernel complains: $problems"
[ $failures = 0 ] && echo "all well"
exit $failures
