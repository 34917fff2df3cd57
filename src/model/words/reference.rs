//! The same along packed rows in libtorch's own operations, on any device, without waiting for it.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::data::batch::Packed;

/// Where packed tokens lie in a rectangle with a line for each row.
struct Rectangle {
    rows: i64,
    longest: i64,
    /// Each token's row, int64 `[tokens]`.
    row: Tensor,
    /// Each token's place in the rectangle's lines one after the other, int64 `[tokens]`.
    place: Tensor,
}

impl Rectangle {
    /// Lines of at least `least` places. With `backward`, every row is read from its end.
    fn new(packed: &Packed, least: i64, backward: bool) -> Result<Rectangle> {
        let longest = packed.longest.max(least);
        let lengths = lengths(packed)?;
        let tokens = packed.positions.size()[0];
        let row = Tensor::f_repeat_interleave(&lengths, tokens)?;
        let column = match backward {
            false => packed.positions.shallow_clone(),
            true => {
                let last = lengths.f_index_select(0, &row)?.f_add_scalar(-1)?;
                last.f_sub(&packed.positions)?
            }
        };
        Ok(Rectangle {
            rows: lengths.size()[0],
            longest,
            place: row.f_mul_scalar(longest)?.f_add(&column)?,
            row,
        })
    }

    /// `[tokens, width]` to `[rows, longest, width]`, `padding` in the other places.
    fn fill(&self, x: &Tensor, padding: f64) -> Result<Tensor> {
        let width = x.size()[1];
        let blank = Tensor::f_full(
            [self.rows * self.longest, width],
            padding,
            (x.kind(), x.device()),
        )?;
        let filled = blank.f_index_copy(0, &self.place, x)?;
        Ok(filled.f_view([self.rows, self.longest, width])?)
    }
}

/// Tokens of each row, int64 `[rows]`.
fn lengths(packed: &Packed) -> Result<Tensor> {
    let rows = packed.starts.size()[0] - 1;
    let ends = packed.starts.f_narrow(0, 1, rows)?;
    Ok(ends.f_sub(&packed.starts.f_narrow(0, 0, rows)?)?)
}

/// States `[tokens, width]` of one layer of torch.nn.LSTM.
pub fn lstm(x: &Tensor, rows: &Packed, weights: &[Tensor; 4], backward: bool) -> Result<Tensor> {
    let rectangle = Rectangle::new(rows, 1, backward)?;
    let width = weights[1].size()[1];
    let zeros = || Tensor::f_zeros([1, rectangle.rows, width], (Kind::Float, x.device()));
    let (start, cell) = (zeros()?, zeros()?);
    let filled = rectangle.fill(x, 0.0)?;
    // As if training always: cuDNN has no backward pass otherwise, and nothing is dropped.
    let (states, _, _) = filled.f_lstm(&[start, cell], weights, true, 1, 0.0, true, false, true)?;
    let states = states.f_reshape([rectangle.rows * rectangle.longest, width])?;
    Ok(states.f_index_select(0, &rectangle.place)?)
}

/// ReLU of the largest answer of each filter over each row, `[rows, filters]`, from
/// torch.nn.Conv1d's weight `[filters, input, window]`; a row shorter than the window is filled up
/// with zeros.
pub fn conv_max(x: &Tensor, rows: &Packed, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let answers = answers(x, rows, weight, bias)?;
    Ok(answers.f_max_dim(2, false)?.0.f_relu()?)
}

/// The answers of each filter at each place of a row, `[rows, filters, places]`; -inf behind the row's last.
pub fn answers(x: &Tensor, rows: &Packed, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let window = weight.size()[2];
    let rectangle = Rectangle::new(rows, window, false)?;
    let filled = rectangle.fill(x, 0.0)?.f_transpose(1, 2)?;
    let answers = filled.f_conv1d(weight, Some(bias), 1, 0, 1, 1)?;
    // Windows that begin where the row's last one has begun already look at padding.
    let lengths = lengths(rows)?;
    let count = lengths.f_add_scalar(1 - window)?.f_clamp_min(1)?;
    let places = Tensor::f_arange(answers.size()[2], (Kind::Int64, x.device()))?;
    let outside = places.f_ge_tensor(&count.f_unsqueeze(1)?)?.f_unsqueeze(1)?;
    Ok(answers.f_masked_fill(&outside, f64::NEG_INFINITY)?)
}

/// The largest of each column over each row, `[rows, width]`.
pub fn row_max(x: &Tensor, rows: &Packed) -> Result<Tensor> {
    let filled = Rectangle::new(rows, 1, false)?.fill(x, f64::NEG_INFINITY)?;
    Ok(filled.f_max_dim(1, false)?.0)
}

/// The mean of each row, `[rows, width]`.
pub fn row_mean(x: &Tensor, rows: &Packed) -> Result<Tensor> {
    let rectangle = Rectangle::new(rows, 1, false)?;
    let lengths = lengths(rows)?;
    let size = [rectangle.rows, x.size()[1]];
    let sums = Tensor::f_zeros(size, (x.kind(), x.device()))?;
    let sums = sums.f_index_add(0, &rectangle.row, x)?;
    Ok(sums.f_div(&lengths.f_unsqueeze(1)?.f_to_kind(x.kind())?)?)
}
