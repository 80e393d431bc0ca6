//! Reads a large file while what was read before is being written: with two cores, that is the copy
//! from the page cache for nothing.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use drave::codec::frame::FRAME_BYTES_AIM;
use rustix::io::Errno;

/// Room before what is read, for the incomplete record that the chunk before ended with. A longer
/// rest is copied the other way round.
pub(super) const HEADROOM: usize = 64 << 10;

/// One chunk is written, one waits, one is read.
const CHUNKS: usize = 3;

/// What has been read: the bytes behind the headroom. None: the file has ended.
pub(super) type Chunk = io::Result<Vec<u8>>;

/// A thread that reads ahead.
pub(super) struct ReadAhead {
    chunks: Receiver<Chunk>,
    empty: SyncSender<Vec<u8>>,
}

impl ReadAhead {
    /// Starts reading `fd` from where it stands.
    pub(super) fn start(fd: BorrowedFd<'_>) -> io::Result<ReadAhead> {
        let fd = rustix::io::dup(fd)?;
        let (filled, chunks) = sync_channel(CHUNKS);
        let (empty, emptied) = sync_channel(CHUNKS);
        for _ in 0..CHUNKS - 1 {
            // There is room for all of them.
            let _ = empty.send(vec![0; HEADROOM + FRAME_BYTES_AIM]);
        }
        std::thread::Builder::new().name("read-ahead".to_owned()).spawn(move || read(&fd, &emptied, &filled))?;
        Ok(ReadAhead { chunks, empty })
    }

    /// The next chunk; one without bytes behind the headroom is the end. `used` is read into again.
    pub(super) fn next(&self, used: Vec<u8>) -> Chunk {
        // A buffer of another size is one that a huge record took; it is not kept.
        let used = if used.capacity() == HEADROOM + FRAME_BYTES_AIM { used } else { vec![0; HEADROOM + FRAME_BYTES_AIM] };
        // Fails when the thread has ended: then what it has read is still to come.
        let _ = self.empty.send(used);
        self.chunks.recv().unwrap_or_else(|_| Ok(vec![0; HEADROOM]))
    }
}

fn read(fd: &OwnedFd, emptied: &Receiver<Vec<u8>>, filled: &SyncSender<Chunk>) {
    while let Ok(mut buffer) = emptied.recv() {
        buffer.resize(HEADROOM + FRAME_BYTES_AIM, 0);
        let chunk = fill(fd, &mut buffer[HEADROOM..]).map(|bytes| {
            buffer.truncate(HEADROOM + bytes);
            buffer
        });
        let is_last = chunk.as_ref().map_or(true, |chunk| chunk.len() == HEADROOM);
        if filled.send(chunk).is_err() || is_last {
            return;
        }
    }
}

fn fill(fd: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
    let mut bytes = 0;
    while bytes < room.len() {
        match rustix::io::read(fd, &mut room[bytes..]) {
            Ok(0) => break,
            Ok(more) => bytes += more,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}
