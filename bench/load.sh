#!/bin/bash
# What `cargo xtask bench loads` measures, the same on the bare machine, in domain 0 and in a domain:
#   load.sh programs PLACE
#   load.sh disk PLACE DEVICE
#   load.sh network NAME SERVER [--reverse]
# A line for each: "MEASURED PLACE.WHAT:AMOUNT NANOSECONDS STATUS". Where the same is measured with two amounts, the difference is what
# counts, without the program's start. All has been done before it is measured, and lies in memory where it is not about the disk.
. /bench/settings
status=0
measured() { /bench/measured "$@" || status=1; }
# Once for warming up, then measured.
twice() { "${@:2}" > /dev/null 2>&1; measured "$@"; }

COMPILE='for unit in unit_*.c start.c; do tcc -c -Iinclude -o "objects/${unit%.c}.o" "$unit" || exit; done
tcc -nostdlib -static -o kernel objects/*.o'
ARCHIVE='tar -cf - tree | xz -1 --threads=1 > tree.tar.xz && xz --test tree.tar.xz && xz --decompress --stdout tree.tar.xz | tar -df -'
INSERT='rm -f base; [ "$(sqlite3 -bail base < "$0" | tail -n 1)" = ok ]'

# Rows in one transaction, then transactions of a row each.
statements() {
    echo 'create table item(id integer primary key, name text, value real); create index item_name on item(name); begin;'
    echo "with recursive number(n) as (select 1 union all select n + 1 from number where n < $1)
          insert into item select n, printf('%08x', n * 2654435761 % 4294967296), n * 0.5 from number; commit;"
    for ((row = 0; row < $2; row++)); do echo "insert into item values (null, 'one $row', $row);"; done
    echo 'pragma integrity_check;'
}

programs() {
    mkdir -p /run/bench
    mount -t tmpfs tmpfs /run/bench
    cd /run/bench || exit
    mkdir -p tree/include objects
    ln -s ../objects tree/objects
    mawk -v directory=tree -v "files=$FILES" -f /bench/c_tree.awk || status=1
    statements 1000 0 > few
    statements $((1000 + ROWS)) 0 > rows
    statements 1000 "$TRANSACTIONS" > transactions
    (cd tree && twice "$1.compile:$FILES" sh -c "$COMPILE" && [ -s kernel ]) || status=1
    rm -f tree/objects tree/kernel
    twice "$1.archive:$(($(cat tree/*.c tree/include/* | wc -c) / 1024))" sh -c "$ARCHIVE"
    twice "$1.insert_row:1000" sh -c "$INSERT" few
    measured "$1.insert_row:$((1000 + ROWS))" sh -c "$INSERT" rows
    measured "$1.insert_transaction:0" sh -c "$INSERT" few
    measured "$1.insert_transaction:$TRANSACTIONS" sh -c "$INSERT" transactions
    cd / && umount /run/bench
}

# fio says itself when it begins and ends with what it was told to read or write: its start is more than all of that.
disk() {
    cd /run || exit
    for kind in read:read:128k write:write:128k random_read:randread:4k random_write:randwrite:4k; do
        IFS=: read -r name mode block <<< "$kind"
        amounts=$SEQUENTIAL
        [ "$name" = "${name#random}" ] || amounts=$RANDOM_ACCESS
        for kibibytes in $amounts; do
            fio --name=load --filename="$2" --direct=1 --ioengine=psync --rw=$mode --bs=$block --size=64m --io_size="${kibibytes}k" \
                --thread --clocksource=clock_gettime --gtod_reduce=1 --minimal --exec_prerun="/bench/measured begin" \
                --exec_postrun="/bench/measured end $1.disk_$name:$kibibytes" > fio.log 2>&1 || { cat fio.log; status=1; }
            cat load.postrun.txt
        done
    done
}

network() {
    iperf3 --client "$2" --bytes 1M $3 > /dev/null
    for kibibytes in $STREAM; do
        measured "$1:$kibibytes" iperf3 --client "$2" --bytes "${kibibytes}K" $3
    done
}

"$@"
exit $status
