//! Threads of our own, each of which computes by itself: none waits for another at the end of an operation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use anyhow::Result;

/// What several threads may read at once: tensors that nobody changes meanwhile, and what is `Sync`.
///
/// # Safety
/// Who reads it changes nothing but tensors' counts of references, which are atomic.
pub unsafe trait Readable {}

/// Lets several threads read what is behind it.
struct Reading<'a, T>(&'a T);

// SAFETY: this is what `Readable` promises.
unsafe impl<T: Readable> Sync for Reading<'_, T> {}

impl<T> Reading<'_, T> {
    fn get(&self) -> &T {
        self.0
    }
}

/// While it lives, this thread computes alone, and so do those that begin to count theirs.
pub(super) struct OneEach {
    before: i32,
}

impl OneEach {
    pub(super) fn begin() -> OneEach {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        OneEach { before }
    }
}

impl Drop for OneEach {
    fn drop(&mut self) {
        tch::set_num_threads(self.before);
    }
}

/// Does so many jobs by their numbers, on as many threads as libtorch has, each of which takes the next one
/// and computes it alone. This thread is given each result as it comes, in no order. The first error ends it.
pub fn share_out<T: Readable, R: Send>(
    shared: &T,
    jobs: usize,
    job: impl Fn(&T, usize) -> Result<R> + Sync,
    mut done: impl FnMut(usize, R) -> Result<()>,
) -> Result<()> {
    let one_each = OneEach::begin();
    let threads = jobs.min(one_each.before.max(1) as usize);
    let (next, shared, job) = (AtomicUsize::new(0), Reading(shared), &job);
    std::thread::scope(|scope| {
        let (give, results) = channel();
        for _ in 0..threads {
            let (give, next, shared) = (give.clone(), &next, &shared);
            scope.spawn(move || {
                // MKL counts for each thread by itself.
                tch::set_num_threads(1);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    // Nobody listens after an error.
                    if number >= jobs || give.send((number, job(shared.get(), number))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(give);
        results
            .iter()
            .try_for_each(|(number, result)| done(number, result?))
    })
}
