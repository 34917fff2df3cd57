//! Reading, tokenising, caching, batching, sampling over tasks.
