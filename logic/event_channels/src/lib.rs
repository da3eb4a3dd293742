//! event_channels.
#![no_std]
