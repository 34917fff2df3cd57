//! Rows to draw from, and the batches that are drawn.

/// Rows of one task that are trained together.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedBatch {
    /// Index of the task among the run's.
    pub task: usize,
    /// Rows of the task's training split.
    pub rows: Vec<u32>,
    /// What their mean loss counts for: 1, or under a budget of tokens their number over that of a
    /// mean batch of the task, so that every row counts alike.
    pub weight: f64,
}

/// The training rows of one task, with their lengths in tokens.
#[derive(Debug, Clone)]
pub struct TaskRows {
    pub rows: Vec<u32>,
    /// Tokens of each of `rows`.
    pub lengths: Vec<u32>,
}

/// A batch: rows of one task, or of several, each task's apart.
pub type Parts = Vec<PlannedBatch>;
