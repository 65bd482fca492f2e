//! What the machine can do at most, measured the same way as the figures that are compared with it: per second of processor
//! time, the best of several rounds, since others may be using the machine.

use std::fs::File;
use std::hint::black_box;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use cyx_core::erasure::Coder;
use cyx_core::scheme::Scheme;
use cyx_core::units::MIB;

use crate::local::at_page;
use crate::usage::{process_time, thread_time};
use crate::{Plan, Result, say, wire};

/// Plain bytes of a frame.
const FRAME: usize = 16 * 1024;
/// Bytes of a chunk of an ordinary segment.
const CHUNK: usize = 32 * (FRAME + 16);

/// The limits. Rates are decimal gigabytes per second of one core.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw {
    /// AES-256-GCM over frames of 16 KiB.
    pub(crate) cipher: f64,
    /// BLAKE3 over chunks.
    pub(crate) hash: f64,
    /// 10+4 parity, data bytes.
    pub(crate) code: f64,
    /// Copying in memory.
    pub(crate) copy: f64,
    /// Fresh memory, touched for the first time.
    pub(crate) touch: f64,
    /// Processor seconds per GiB over bare TCP, both ends together.
    pub(crate) tcp: f64,
    /// The same for a gRPC stream of messages of 256 KiB.
    pub(crate) grpc: f64,
    /// Processor seconds per GiB written to a new file.
    pub(crate) file_write: f64,
    /// The same when the memory for it has been idle: on virtual machines that hand idle memory back to their host, every page
    /// is then fetched from there again.
    pub(crate) file_write_idle: f64,
    /// Processor seconds per GiB read from a file that is in memory.
    pub(crate) file_read: f64,
    /// Decimal megabytes per second of time, appended in pieces of 1 MiB that are each made durable.
    pub(crate) disk: f64,
    /// Milliseconds to make 4 KiB durable, the median.
    pub(crate) fsync: f64,
}

impl Raw {
    /// Processor seconds per GiB of content at the rate of `gigabytes` per second.
    pub(crate) fn seconds(gigabytes: f64) -> f64 {
        1.073_741_824 / gigabytes
    }

    /// What an upload cannot be below: content is read, sealed and coded; 1.4 times as much is hashed, sent, hashed and
    /// written.
    pub(crate) fn upload_floor(&self) -> f64 {
        let client = self.file_read + Self::seconds(self.cipher) + Self::seconds(self.code);
        client + 1.4 * (2.0 * Self::seconds(self.hash) + self.tcp + self.file_write)
    }

    /// What a download cannot be below: content is read, verified, sent, opened and written.
    pub(crate) fn download_floor(&self) -> f64 {
        self.file_read + Self::seconds(self.hash) + self.tcp + Self::seconds(self.cipher) + self.file_write
    }

    /// What the client's work on content cannot be above, in gigabytes per second.
    pub(crate) fn pipeline_limit(&self) -> f64 {
        1.0 / (1.0 / self.cipher + 1.0 / self.code + 1.4 / self.hash)
    }
}

pub(crate) fn measure(plan: &Plan) -> Result<Raw> {
    say("raw limits of the machine");
    let folder = tempfile::tempdir()?;
    let (file_write, file_write_idle, file_read) = files(plan, folder.path())?;
    let (disk, fsync) = durable(plan, folder.path())?;
    Ok(Raw {
        cipher: cipher(plan)?,
        hash: hash(plan),
        code: code(plan)?,
        copy: copy(plan),
        touch: touch(plan),
        tcp: wire::tcp(plan.raw_bytes)?,
        grpc: wire::grpc(plan.raw_bytes)?,
        file_write,
        file_write_idle,
        file_read,
        disk,
        fsync,
    })
}

/// Decimal gigabytes per second of this thread's time: `job` handles `bytes`.
pub(crate) fn rate(time: Duration, bytes: u64, mut job: impl FnMut()) -> f64 {
    const ROUNDS: u32 = 4;
    job();
    let mut best: f64 = 0.0;
    for _ in 0..ROUNDS {
        let (began, before) = (Instant::now(), thread_time());
        let mut handled = 0;
        while handled == 0 || began.elapsed() < time / ROUNDS {
            job();
            handled += bytes;
        }
        let used = thread_time().saturating_sub(before).as_secs_f64();
        best = best.max(handled as f64 / used.max(1e-9) / 1e9);
    }
    best
}

fn cipher(plan: &Plan) -> Result<f64> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| "no AES-256")?);
    let mut frames = vec![1; usize::try_from(MIB)?];
    let mut failed = false;
    let mut counter: u64 = 0;
    let rate = rate(plan.raw_time, MIB, || {
        for frame in frames.chunks_mut(FRAME) {
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&counter.to_le_bytes());
            counter += 1;
            let nonce = Nonce::assume_unique_for_key(nonce);
            failed |= key.seal_in_place_separate_tag(nonce, Aad::from([0; 26]), frame).is_err();
        }
    });
    if failed { Err("the cipher refuses to work".into()) } else { Ok(rate) }
}

fn hash(plan: &Plan) -> f64 {
    let chunk = vec![1; CHUNK];
    rate(plan.raw_time, CHUNK as u64, || {
        black_box(blake3::hash(black_box(&chunk)));
    })
}

fn code(plan: &Plan) -> Result<f64> {
    let coder = Coder::new(Scheme::DEFAULT);
    // Small enough to stay in the cache of a core.
    let shard = 32 * 1024;
    let mut shards = vec![1; shard * Scheme::DEFAULT.n()];
    coder.encode_in_place(&mut shards)?;
    let bytes = (shard * Scheme::DEFAULT.k()) as u64;
    Ok(rate(plan.raw_time, bytes, || {
        let _ = coder.encode_in_place(black_box(&mut shards));
    }))
}

fn copy(plan: &Plan) -> f64 {
    let from = vec![1_u8; 64 << 20];
    let mut to = vec![0_u8; 64 << 20];
    rate(plan.raw_time, 64 << 20, || {
        to.copy_from_slice(black_box(&from));
        black_box(&to);
    })
}

fn touch(plan: &Plan) -> f64 {
    let bytes = 64 << 20;
    rate(plan.raw_time, bytes as u64, || {
        let mut fresh = vec![0_u8; bytes];
        fresh.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        black_box(&fresh);
    })
}

/// Writes a new file twice and reads it back: processor seconds per GiB of the better and of the worse writing, and of reading.
/// The second file takes the memory that the first has just given back.
fn files(plan: &Plan, folder: &std::path::Path) -> Result<(f64, f64, f64)> {
    let mut room = Vec::new();
    let piece = at_page(&mut room, usize::try_from(MIB)?);
    let path = folder.join("file");
    let per_gib = |used: Duration| used.as_secs_f64() * (1 << 30) as f64 / plan.raw_bytes as f64;
    let mut best = (f64::MAX, 0.0_f64, f64::MAX);
    // What others gave back a moment ago is idle by then.
    std::thread::sleep(plan.raw_time * 4);
    for _ in 0..2 {
        let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
        let before = thread_time();
        for _ in 0..plan.raw_bytes / MIB {
            file.write_all(piece)?;
        }
        let written = thread_time();
        file.seek(SeekFrom::Start(0))?;
        let read_from = thread_time();
        for _ in 0..plan.raw_bytes / MIB {
            std::io::Read::read_exact(&mut file, piece)?;
        }
        let read = thread_time();
        best.0 = best.0.min(per_gib(written - before));
        best.1 = best.1.max(per_gib(written - before));
        best.2 = best.2.min(per_gib(read - read_from));
    }
    std::fs::remove_file(path)?;
    Ok(best)
}

/// Appends and makes durable: megabytes per second, and milliseconds for a small append.
fn durable(plan: &Plan, folder: &std::path::Path) -> Result<(f64, f64)> {
    let piece = vec![1; usize::try_from(MIB)?];
    let mut file = File::create(folder.join("log"))?;
    let count = (plan.raw_bytes / MIB / 8).max(4);
    let began = Instant::now();
    for _ in 0..count {
        file.write_all(&piece)?;
        file.sync_data()?;
    }
    let disk = (count * MIB) as f64 / began.elapsed().as_secs_f64() / 1e6;
    let mut times = Vec::new();
    for _ in 0..count {
        file.write_all(&piece[..4096])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok((disk, median(times)))
}

/// The median of some values, at least one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Processor seconds per GiB that this process spends on `job`, which moves `bytes`; the better of two rounds.
pub(crate) fn process_cost(bytes: u64, mut job: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..2 {
        let before = process_time();
        job()?;
        let used = process_time().saturating_sub(before);
        best = best.min(used.as_secs_f64() * (1 << 30) as f64 / bytes as f64);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn slower_parts_make_higher_floors() {
        let fast =
            Raw { cipher: 10.0, hash: 8.0, code: 8.0, tcp: 0.2, file_write: 0.3, file_read: 0.1, ..Raw::default() };
        let mut slow = fast.clone();
        slow.hash = 1.0;
        assert!(slow.upload_floor() > fast.upload_floor());
        assert!(slow.download_floor() > fast.download_floor());
        assert!(slow.pipeline_limit() < fast.pipeline_limit());
    }
}
