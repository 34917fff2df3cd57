//! What libtorch fails with, for the person who reads it: without its stack trace and its advice to
//! programmers. And the panics of tch, as errors.

use std::any::Any;

use anyhow::{anyhow, Result};

use super::panics;

/// Runs `body`. What libtorch throws in a function of tch that returns no error, as rust-bert calls
/// them while a model is built, is an error instead of a panic; any other panic goes its way.
pub fn caught<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    panics::caught(body, thrown).unwrap_or_else(|text| Err(anyhow!("{text}")))
}

/// What libtorch threw, from the panic of an `unwrap`.
fn thrown(panic: &dyn Any) -> Option<String> {
    let (_, quoted) = panic
        .downcast_ref::<String>()?
        .split_once("`Err` value: Torch(\"")?;
    Some(quoted.replace("\\n", "\n").replace("\\\"", "\""))
}

/// An error's text with libtorch's part short.
pub fn shortened(text: &str) -> String {
    let traces = ["Exception raised from", "\nframe #0"];
    let end = traces.iter().filter_map(|trace| text.find(trace)).min();
    let text = &text[..end.unwrap_or(text.len())];
    if let Some(line) = out_of_memory(text) {
        return line;
    }
    // The lines after it are for those who write kernels.
    match text.find("CUDA error: ") {
        Some(at) => {
            let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
            text[..end].to_owned()
        }
        None => text.to_owned(),
    }
}

/// Whether libtorch found no memory.
pub fn is_out_of_memory(error: &anyhow::Error) -> bool {
    out_of_memory(&format!("{error:#}")).is_some()
}

/// What there was no memory for, and what helps.
fn out_of_memory(text: &str) -> Option<String> {
    let says = [
        "CUDA out of memory",
        "CUDA error: out of memory",
        "_STATUS_ALLOC_FAILED",
        "DefaultCPUAllocator: can't allocate memory",
    ];
    if !says.iter().any(|said| text.contains(said)) {
        return None;
    }
    let between = |from: &str, to: &str| {
        let (_, rest) = text.split_once(from)?;
        rest.split_once(to).map(|(found, _)| found)
    };
    let place = match (between("GPU ", " has"), text.contains("CPUAllocator")) {
        (Some(index), _) => format!(" on cuda:{index}"),
        (None, true) => String::new(),
        (None, false) => " on the CUDA device".to_owned(),
    };
    let asked = between("Tried to allocate ", ". ").map(str::to_owned);
    let asked = asked.or_else(|| {
        let bytes: f64 = between("you tried to allocate ", " bytes")?.parse().ok()?;
        Some(format!("{:.2} GiB", bytes / f64::from(1 << 30)))
    });
    let mut known: Vec<String> = Vec::new();
    known.extend(asked.map(|asked| format!("{asked} more are needed")));
    let total = between("total capacity of ", " of which ");
    if let (Some(free), Some(total)) = (between(" of which ", " is free"), total) {
        known.push(format!("{free} of {total} are free"));
    }
    let own = between("Of the allocated memory ", " is allocated by PyTorch");
    known.extend(own.map(|own| format!("tensors have {own}")));
    let known = match known.is_empty() {
        true => String::new(),
        false => format!(" ({})", known.join(", ")),
    };
    Some(format!(
        "out of memory{place}{known}; lower training.batch_size, and raise training.accumulate by as \
         much, set training.gradient_checkpointing: true, or lower evaluation.batch_size"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libtorch 2.11 says it on a GPU of which another process has the most.
    const FULL: &str = "CUDA out of memory. Tried to allocate 46.00 MiB. GPU 1 has a total \
        capacity of 79.15 GiB of which 21.19 MiB is free. Process 4242 has 70.01 GiB memory in use. \
        Including non-PyTorch memory, this process has 9.11 GiB memory in use. Of the allocated \
        memory 8.40 GiB is allocated by PyTorch, and 15.60 MiB is reserved by PyTorch but \
        unallocated. If reserved but unallocated memory is large try setting \
        PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation \
        for Memory Management  (https://docs.pytorch.org/docs/stable/notes/cuda.html)\n\
        Exception raised from malloc at /pytorch/c10/cuda/CUDACachingAllocator.cpp:1574 (most recent \
        call first):\nframe #0: c10::Error::Error(c10::SourceLocation) + 0x9d";

    const ADVICE: &str =
        "; lower training.batch_size, and raise training.accumulate by as much, set \
        training.gradient_checkpointing: true, or lower evaluation.batch_size";

    #[test]
    fn out_of_memory_says_what_was_free_and_which_keys_help() {
        let line =
            "out of memory on cuda:1 (46.00 MiB more are needed, 21.19 MiB of 79.15 GiB are \
            free, tensors have 8.40 GiB)";
        assert_eq!(shortened(FULL), format!("{line}{ADVICE}"));
        let inner = format!("weights.bin: tensor `x`: Internal torch error: {FULL}");
        assert_eq!(shortened(&inner), format!("{line}{ADVICE}"));
        for text in [
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        ] {
            let line = format!("out of memory on the CUDA device{ADVICE}");
            assert_eq!(shortened(text), line);
        }
    }

    #[test]
    fn other_errors_of_cuda_are_their_first_line() {
        let text = "step 3: Internal torch error: CUDA error: an illegal memory access was \
            encountered\nCUDA kernel errors might be asynchronously reported at some other API \
            call, so the stacktrace below might be incorrect.\nFor debugging consider passing \
            CUDA_LAUNCH_BLOCKING=1\nException raised from x (most recent call first):\nframe #0";
        let line = "step 3: Internal torch error: CUDA error: an illegal memory access was \
            encountered";
        assert_eq!(shortened(text), line);
    }
}
