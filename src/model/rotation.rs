//! Fixed rotations of the embeddings, which nothing learns: controls of what an alignment does.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use super::named_seed;

/// A rotation `[width, width]` that `seed` and `name` draw evenly from all rotations.
pub fn random(width: i64, seed: u64, name: &str, device: Device) -> Result<Tensor> {
    let drawn = orthogonal(width, seed, name)?;
    // Of determinant −1 half of them: with one axis turned over these are rotations as well.
    if f64::try_from(drawn.f_det()?)? < 0.0 {
        let _ = drawn.f_narrow(1, 0, 1)?.f_neg_()?;
    }
    Ok(drawn.f_to_kind(Kind::Float)?.f_to_device(device)?)
}

/// A rotation `[width, width]` after which every embedding, up to its part along one axis where the
/// width is odd, makes an angle of `degrees` with what it was; `seed` and `name` draw the planes.
pub fn by(degrees: f64, width: i64, seed: u64, name: &str, device: Device) -> Result<Tensor> {
    let axes = orthogonal(width, seed, name)?;
    let (sin, cos) = degrees.to_radians().sin_cos();
    let turn = Tensor::f_eye(width, (Kind::Double, Device::Cpu))?;
    for plane in 0..width / 2 {
        let block = turn.f_narrow(0, 2 * plane, 2)?.f_narrow(1, 2 * plane, 2)?;
        let values = Tensor::f_from_slice(&[cos, sin, -sin, cos])?.f_view([2, 2])?;
        block.shallow_clone().f_copy_(&values)?;
    }
    let turned = axes.f_matmul(&turn)?.f_matmul(&axes.f_transpose(0, 1)?)?;
    Ok(turned.f_to_kind(Kind::Float)?.f_to_device(device)?)
}

/// An orthogonal matrix from Haar's measure: Q of a Gaussian matrix, with the signs that make R's
/// diagonal positive (Mezzadri 2007, How to generate random matrices from the classical compact
/// groups).
fn orthogonal(width: i64, seed: u64, name: &str) -> Result<Tensor> {
    tch::manual_seed(named_seed(seed, &format!("rotation {name}")));
    let gaussian = Tensor::f_randn([width, width], (Kind::Double, Device::Cpu))?;
    let (q, r) = Tensor::f_linalg_qr(&gaussian, "reduced")?;
    Ok(q.f_mul(&r.f_diagonal(0, 0, 1)?.f_sign()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn largest(x: &Tensor) -> f64 {
        f64::try_from(x.abs().max()).unwrap()
    }

    #[test]
    fn rotations_keep_lengths_and_turn_by_their_angle() {
        let x = Tensor::randn([20, 8], (Kind::Float, Device::Cpu));
        let eye = Tensor::eye(8, (Kind::Float, Device::Cpu));
        for (degrees, expected) in [(0.0, 1.0), (45.0, 0.5f64.sqrt()), (90.0, 0.0)] {
            let q = by(degrees, 8, 1, "RTE", Device::Cpu).unwrap();
            assert!(largest(&(q.matmul(&q.tr()) - &eye)) < 1e-6);
            let cosine = Tensor::cosine_similarity(&x, &x.matmul(&q), 1, 1e-9);
            assert!(largest(&(cosine - expected)) < 1e-5, "{degrees}");
        }
        let (a, b) = (
            random(8, 1, "RTE", Device::Cpu).unwrap(),
            random(8, 1, "CoLA", Device::Cpu).unwrap(),
        );
        assert!(largest(&(a.matmul(&a.tr()) - &eye)) < 1e-6);
        assert!(f64::try_from(a.det()).unwrap() > 0.99);
        assert!(largest(&(&a - &b)) > 0.1);
        assert_eq!(a, random(8, 1, "RTE", Device::Cpu).unwrap());
    }
}
