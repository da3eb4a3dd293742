#!/bin/sh
# Times what the kernel does for programs: run by `cargo xtask bench programs`, in domain 0.
exec /bench --batches "${BATCHES:-5}" $SHORT $(echo "$MEASUREMENTS" | tr , ' ')
