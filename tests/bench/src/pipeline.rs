//! The client's work on content that is uploaded, on one core and without any disk or network.

use bytes::BytesMut;
use cyx_core::erasure::Coder;
use cyx_core::extent::BlobHeader;
use cyx_core::ids::{BlobId, Random as _};
use cyx_core::scheme::Scheme;
use cyx_core::units::{FRAME_PLAIN, FRAME_SEALED, FRAMES_PER_SHARD};
use cyx_crypto::frames::BlobCipher;
use cyx_crypto::keys::BlobKey;
use cyx_crypto::segment::seal_and_code;

use crate::report::{Budget, Figure, Report};
use crate::{Plan, Result, raw, say};

/// Seals, codes and hashes segments of the two sizes that the client makes.
pub(crate) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    for (name, shards_factor) in [("pipeline, segments of 5 MiB", 1), ("pipeline, segments of 20 MiB", 4)] {
        if plan.wants(name) {
            say(name);
            let rate = segments(plan, FRAMES_PER_SHARD * shards_factor)?;
            let figure = Figure::new(name, rate, "GB/s").budget(Budget::AtLeast(2.0));
            report.add(figure.limit(report.raw.pipeline_limit()));
        }
    }
    Ok(())
}

fn segments(plan: &Plan, frames_per_shard: u64) -> Result<f64> {
    let scheme = Scheme::DEFAULT;
    let frames = frames_per_shard * scheme.k() as u64;
    let shard = usize::try_from(frames_per_shard * FRAME_SEALED)?;
    let coder = Coder::new(scheme);
    let mut buffer = BytesMut::zeroed(shard * scheme.n());
    let plain = frames * FRAME_PLAIN;
    let header = BlobHeader::new(plain)?;
    let mut failed = false;
    let rate = raw::rate(plan.raw_time * 2, plain, || {
        let cipher = BlobCipher::new(&BlobKey::make(), BlobId::random(), header);
        failed |= std::hint::black_box(seal_and_code(&cipher, &coder, &mut buffer)).is_err();
    });
    if failed { Err("the pipeline refuses to work".into()) } else { Ok(rate) }
}
