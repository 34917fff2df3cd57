//! The alignment matrix R_i of a task: Z_i = X_i R_i goes into the shared encoder instead of the
//! embedding layer's output X_i (Wu, Zhang, Ré, ICLR 2020, Algorithm 1).
//!
//! Every form starts at the identity, where aligned training computes exactly what plain
//! multi-task training does. The product is taken as X + X (R − I), which stays exact there and
//! keeps small departures from the identity in half precision.

use anyhow::Result;
use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

use crate::config::alignment::{Form, Start};

const INIT_STD: f64 = 0.02;

/// One task's R_i.
#[derive(Debug)]
pub struct Alignment {
    form: Form,
    parameters: Vec<Tensor>,
    identity: Tensor,
}

impl Alignment {
    /// Variables for a task under `path`, for embeddings `width` wide on `device`, to which the caller
    /// moves the variables.
    pub fn new(
        path: &Path,
        form: Form,
        start: Start,
        width: i64,
        device: Device,
    ) -> Result<Alignment> {
        let noise = match start {
            Start::Identity => 0.0,
            Start::Random => INIT_STD,
        };
        let normal = |stdev: f64| Init::Randn { mean: 0.0, stdev };
        let square = [width, width];
        let parameters = match form {
            Form::Full => {
                let matrix = path.f_var("matrix", &square, normal(noise))?;
                let _ = tch::no_grad(|| matrix.f_diagonal(0, 0, 1)?.f_add_scalar_(1.0))?;
                vec![matrix]
            }
            Form::LowRank(rank) => vec![
                path.f_var("u", &[width, rank], normal(INIT_STD))?,
                path.f_var("v", &[width, rank], normal(noise))?,
            ],
            Form::Diagonal => {
                let around_one = Init::Randn {
                    mean: 1.0,
                    stdev: noise,
                };
                vec![path.f_var("diagonal", &[width], around_one)?]
            }
            Form::Orthogonal => vec![path.f_var("skew", &square, normal(noise))?],
        };
        Ok(Alignment {
            form,
            parameters,
            identity: Tensor::f_eye(width, (Kind::Float, device))?,
        })
    }

    /// X R for embeddings `[…, width]`, in their precision.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.change()?.apply(x)
    }

    /// What R does, worked out for as many products as there are before its parameters change.
    pub fn change(&self) -> Result<Change> {
        Ok(match self.form {
            Form::LowRank(_) => {
                let (u, v) = (&self.parameters[0], &self.parameters[1]);
                Change::Product(vec![u.shallow_clone(), v.f_transpose(0, 1)?])
            }
            Form::Diagonal => Change::Diagonal(self.parameters[0].f_add_scalar(-1.0)?),
            Form::Full | Form::Orthogonal => Change::Product(vec![self.departure()?]),
        })
    }

    /// R itself, `[width, width]`.
    pub fn matrix(&self) -> Result<Tensor> {
        Ok(self.departure()?.f_add(&self.identity)?)
    }

    /// The width of the embeddings.
    pub fn width(&self) -> i64 {
        self.identity.size()[0]
    }

    /// ‖R − I‖_F.
    pub fn distance_from_identity(&self) -> Result<f64> {
        Ok(f64::try_from(self.distance()?)?)
    }

    /// ‖R − I‖_F, a scalar on R's device.
    pub fn distance(&self) -> Result<Tensor> {
        let squared = tch::no_grad(|| self.squared_distance_from_identity())?;
        Ok(squared.f_sqrt()?.f_to_kind(Kind::Float)?)
    }

    /// ‖R − I‖²_F, a scalar that R's decay to the identity differentiates.
    pub fn squared_distance_from_identity(&self) -> Result<Tensor> {
        let departure = match self.form {
            Form::Diagonal => self.parameters[0].f_add_scalar(-1.0)?,
            _ => self.departure()?,
        };
        let kind = departure.kind();
        Ok(departure.f_square()?.f_sum(kind)?)
    }

    /// R − I in the host's memory, `[width, width]` in float32: a copy that nothing changes.
    pub fn departure_on_host(&self) -> Result<Tensor> {
        Ok(tch::no_grad(|| self.departure())?.f_to_device(Device::Cpu)?)
    }

    /// R − I, `[width, width]`.
    fn departure(&self) -> Result<Tensor> {
        let first = &self.parameters[0];
        Ok(match self.form {
            Form::Full => first.f_sub(&self.identity)?,
            Form::LowRank(_) => first.f_matmul(&self.parameters[1].f_transpose(0, 1)?)?,
            Form::Diagonal => first.f_add_scalar(-1.0)?.f_diag(0)?,
            Form::Orthogonal => {
                // (I + A)⁻¹ (I − A) − I = −2 (I + A)⁻¹ A; I + A is never singular.
                let skew = first.f_sub(&first.f_transpose(0, 1)?)?;
                let plus = self.identity.f_add(&skew)?;
                // Whether the factors are singular would be asked of the device, which all wait for.
                let (solved, ..) = Tensor::f_internal_linalg_solve_ex(&plus, &skew, true, false)?;
                solved.f_mul_scalar(-2.0)?
            }
        })
    }
}

/// R − I as X (R − I) takes it.
pub enum Change {
    /// R − I is the product of these.
    Product(Vec<Tensor>),
    /// R − I has this diagonal alone.
    Diagonal(Tensor),
}

impl Change {
    /// X R for embeddings `[…, width]`, in their precision.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let change = match self {
            Change::Product(factors) => {
                let mut product = x.shallow_clone();
                for factor in factors {
                    product = product.f_matmul(&factor.f_to_kind(x.kind())?)?;
                }
                product
            }
            Change::Diagonal(diagonal) => x.f_mul(&diagonal.f_to_kind(x.kind())?)?,
        };
        Ok(x.f_add(&change)?)
    }
}
