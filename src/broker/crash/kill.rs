//! All processes killed, at every change: what was written is there, at every level.
