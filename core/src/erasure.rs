//! Reed–Solomon coding: parity from data, and lost shards from any k others.
//!
//! The code is that of `reed-solomon-erasure` over GF(2^8) with the polynomial 0x11d: the k×k top of an n×k Vandermonde matrix
//! made the identity. It is frozen by golden vectors, because stored data depends on every coefficient.
//!
//! A shard is a linear combination of any k others, column by column. So both directions come down to one loop over a
//! matrix of coefficients, and any range of columns can be coded alone: a degraded read of 16 KiB needs 16 KiB of each of k
//! shards. The loop works in pieces that stay in the processor's cache, which more than doubles its speed.

use std::ops::Range;

use reed_solomon_erasure::galois_8::{ReedSolomon, mul_slice, mul_slice_xor};
use thiserror::Error;

use crate::scheme::Scheme;

/// Columns that are coded at a time: one input and a few outputs of this size fit the second-level cache of any processor.
const PIECE_COLUMNS: usize = 16 * 1024;

/// Shards cannot be coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodingError {
    /// There are not as many shards as the scheme says.
    #[error("{given} shards were given where the scheme has {expected}")]
    WrongCount {
        /// Shards expected.
        expected: usize,
        /// Shards given.
        given: usize,
    },
    /// Not all shards are of the same length.
    #[error("the shards differ in length")]
    WrongLength,
    /// Fewer than k shards are left.
    #[error("{present} shards are left where {needed} are needed")]
    TooFew {
        /// Shards given.
        present: usize,
        /// Shards needed.
        needed: usize,
    },
    /// An index is not below n or is given twice.
    #[error("shard {0} does not exist or is given twice")]
    WrongIndex(usize),
}

/// This machine cannot run the code that the program was built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this processor has no {0}, which this build of cyx needs; use a build made for older processors")]
pub struct UnsupportedCpu(pub &'static str);

/// Whether the processor has the instructions that the erasure code was compiled for. Programs ask this first of all: without
/// it they would end with an illegal instruction.
///
/// # Errors
/// [`UnsupportedCpu`] names what is missing.
pub fn check_cpu() -> Result<(), UnsupportedCpu> {
    #[cfg(target_arch = "x86_64")]
    {
        // What a compiler may use for -march=haswell.
        let needed = [
            ("AVX2", std::is_x86_feature_detected!("avx2")),
            ("BMI1", std::is_x86_feature_detected!("bmi1")),
            ("BMI2", std::is_x86_feature_detected!("bmi2")),
            ("FMA", std::is_x86_feature_detected!("fma")),
            ("LZCNT", std::is_x86_feature_detected!("lzcnt")),
            ("MOVBE", std::is_x86_feature_detected!("movbe")),
        ];
        if let Some((name, _)) = needed.iter().find(|(_, present)| !present) {
            return Err(UnsupportedCpu(name));
        }
    }
    Ok(())
}

/// The code of one scheme. Making one costs a few microseconds and inverts a small matrix; keep it.
pub struct Coder {
    scheme: Scheme,
    /// `None` without parity.
    code: Option<ReedSolomon>,
    /// One row of k coefficients for each parity shard.
    parity: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Coder({})", self.scheme)
    }
}

impl Coder {
    /// The code of a scheme.
    #[must_use]
    pub fn new(scheme: Scheme) -> Self {
        // A scheme has k ≥ 1 and n ≤ 32, so only m = 0 is refused, and needs no code.
        let code = ReedSolomon::new(scheme.k(), scheme.m()).ok();
        let mut parity = vec![vec![0; scheme.k()]; scheme.m()];
        if let Some(code) = &code {
            // Column j of the identity has one non-zero shard, j: its parity is column j of the coefficients.
            let _ = code.encode_sep(&identity(scheme.k()), &mut parity);
        }
        Self { scheme, code, parity }
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Computes the m parity shards from the k data shards. All have the same length.
    ///
    /// # Errors
    /// [`CodingError::WrongCount`] or [`CodingError::WrongLength`]; then nothing was written.
    pub fn encode<D: AsRef<[u8]>, P: AsMut<[u8]>>(&self, data: &[D], parity: &mut [P]) -> Result<(), CodingError> {
        check_count(self.scheme.k(), data.len())?;
        check_count(self.scheme.m(), parity.len())?;
        let inputs: Vec<&[u8]> = data.iter().map(AsRef::as_ref).collect();
        let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(AsMut::as_mut).collect();
        let rows: Vec<&[u8]> = self.parity.iter().map(Vec::as_slice).collect();
        combine(&rows, &inputs, &mut outputs)
    }

    /// Computes the parity of a segment that lies in one piece: n shards of equal length one after the other, the first k
    /// filled (padding included), the others overwritten.
    ///
    /// # Errors
    /// [`CodingError::WrongLength`] unless the length is a multiple of n.
    pub fn encode_in_place(&self, shards: &mut [u8]) -> Result<(), CodingError> {
        let columns = 0..shards.len() / self.scheme.n();
        self.encode_columns(shards, columns)
    }

    /// As [`Self::encode_in_place`], but only these columns of the shards: who has something else to do with every byte does it to what the
    /// processor still has at hand.
    ///
    /// # Errors
    /// [`CodingError::WrongLength`] unless the length is a multiple of n and the shards have these columns; then nothing was written.
    pub fn encode_columns(&self, shards: &mut [u8], columns: Range<usize>) -> Result<(), CodingError> {
        let shard_len = shards.len() / self.scheme.n();
        if !shards.len().is_multiple_of(self.scheme.n()) || columns.start > columns.end || columns.end > shard_len {
            return Err(CodingError::WrongLength);
        }
        if columns.is_empty() {
            return Ok(());
        }
        let (data, parity) = shards.split_at_mut(shard_len * self.scheme.k());
        let data: Vec<&[u8]> = data.chunks_exact(shard_len).map(|shard| &shard[columns.clone()]).collect();
        let mut parity: Vec<&mut [u8]> =
            parity.chunks_exact_mut(shard_len).map(|shard| &mut shard[columns.clone()]).collect();
        self.encode(&data, &mut parity)
    }

    /// Restores the `wanted` shards, data or parity, from any k others. All slices are the same columns of their shards.
    ///
    /// Each shard goes with its index. More than k `present` shards may be given; the first k are used. Nothing is computed
    /// that is not wanted.
    ///
    /// # Errors
    /// [`CodingError`]; then nothing was written.
    pub fn reconstruct(
        &self,
        present: &[(usize, &[u8])],
        wanted: &mut [(usize, &mut [u8])],
    ) -> Result<(), CodingError> {
        let (k, n) = (self.scheme.k(), self.scheme.n());
        let mut known = vec![false; n];
        for index in present.iter().map(|(index, _)| *index).chain(wanted.iter().map(|(index, _)| *index)) {
            match known.get_mut(index) {
                Some(known) if !*known => *known = true,
                _ => return Err(CodingError::WrongIndex(index)),
            }
        }
        let used = present.get(..k).ok_or(CodingError::TooFew { present: present.len(), needed: k })?;
        let indices: Vec<usize> = used.iter().map(|(index, _)| *index).collect();
        let rows = self.rows(&indices);
        let inputs: Vec<&[u8]> = used.iter().map(|(_, bytes)| *bytes).collect();
        let rows: Vec<&[u8]> = wanted.iter().map(|(index, _)| rows[*index].as_slice()).collect();
        let mut outputs: Vec<&mut [u8]> = wanted.iter_mut().map(|(_, bytes)| &mut **bytes).collect();
        combine(&rows, &inputs, &mut outputs)
    }

    /// Coefficients of every shard in terms of the k shards `indices`, in their order.
    fn rows(&self, indices: &[usize]) -> Vec<Vec<u8>> {
        let k = self.scheme.k();
        let unit = identity(k);
        let mut shards: Vec<Option<Vec<u8>>> = vec![None; self.scheme.n()];
        for (unit, index) in unit.into_iter().zip(indices) {
            shards[*index] = Some(unit);
        }
        if let Some(code) = &self.code {
            // Cannot fail: k distinct shards of length k are present.
            let _ = code.reconstruct(&mut shards);
        }
        shards.into_iter().map(|row| row.unwrap_or_else(|| vec![0; k])).collect()
    }
}

fn identity(size: usize) -> Vec<Vec<u8>> {
    (0..size).map(|row| (0..size).map(|column| u8::from(row == column)).collect()).collect()
}

fn check_count(expected: usize, given: usize) -> Result<(), CodingError> {
    if expected == given { Ok(()) } else { Err(CodingError::WrongCount { expected, given }) }
}

/// `outputs[i] = Σ rows[i][j] · inputs[j]`, column by column.
fn combine(rows: &[&[u8]], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<(), CodingError> {
    let len = inputs.first().map_or(0, |input| input.len());
    if inputs.iter().any(|input| input.len() != len) || outputs.iter().any(|output| output.len() != len) {
        return Err(CodingError::WrongLength);
    }
    for start in (0..len).step_by(PIECE_COLUMNS) {
        combine_piece(rows, inputs, outputs, start..len.min(start + PIECE_COLUMNS));
    }
    Ok(())
}

fn combine_piece(rows: &[&[u8]], inputs: &[&[u8]], outputs: &mut [&mut [u8]], columns: Range<usize>) {
    for (j, input) in inputs.iter().enumerate() {
        let input = &input[columns.clone()];
        for (row, output) in rows.iter().zip(outputs.iter_mut()) {
            let output = &mut output[columns.clone()];
            if j == 0 { mul_slice(row[j], input, output) } else { mul_slice_xor(row[j], input, output) }
        }
    }
}
