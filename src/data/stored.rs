//! Numbers that are held in memory, or that lie in a file.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use memmap2::{MmapMut, MmapOptions};

/// A slice of numbers, or of plain records of them.
pub(super) enum Stored<T> {
    Held(Vec<T>),
    /// In a file, whose pages come as they are read.
    Mapped(MmapMut),
}

impl<T: Pod> Stored<T> {
    /// `count` of them from the byte `at` on, a multiple of `T`'s alignment, as they lie in memory. What is
    /// written to them stays in memory.
    pub fn in_file(file: &File, at: usize, count: usize) -> io::Result<Stored<T>> {
        if count == 0 {
            return Ok(Stored::Held(Vec::new()));
        }
        let mut options = MmapOptions::new();
        options.offset(at as u64).len(count * size_of::<T>());
        // SAFETY: a cache file is only ever replaced by renaming, never written in place, so the mapped
        // bytes do not change while they are borrowed.
        let map = unsafe { options.no_reserve_swap().map_copy(file) }?;
        Ok(Stored::Mapped(map))
    }
}

impl<T: Pod> Deref for Stored<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Stored::Held(values) => values,
            Stored::Mapped(map) => bytemuck::cast_slice(map),
        }
    }
}

impl<T: Pod> DerefMut for Stored<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Stored::Held(values) => values,
            Stored::Mapped(map) => bytemuck::cast_slice_mut(map),
        }
    }
}
