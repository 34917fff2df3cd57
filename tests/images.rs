//! Tasks of images: DenseNet-121 computes what torchvision's does, pictures are seen as torchvision's
//! transforms see them, and what works with texts works with images or is refused in one line.

mod common;

use std::path::Path;

use covalign::config::images::{ImageKind, ImageModule};
use covalign::config::Engine;
use covalign::data::batch::{Batch, Layout, Shape};
use covalign::data::images::Frame;
use covalign::data::{Example, Rows, TokenizedSplit};
use covalign::model::encoder::{Encoder, Setup};
use covalign::model::images::shape::ImageShape;
use covalign::model::images::ImageEncoder;
use covalign::model::{save, Mode};
use image::{DynamicImage, GrayImage, ImageBuffer, RgbImage};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

fn cases() -> Value {
    serde_json::from_str(include_str!("fixtures/image_cases.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

/// `chance` of scripts/image_cases.py.
fn chance(number: usize, count: usize) -> Vec<f64> {
    let one = |at: usize| {
        let x = (at as f64 * 12.9898 + number as f64 * 78.233).sin() * 43758.5453;
        x - x.floor()
    };
    (0..count).map(one).collect()
}

fn around(number: usize, middle: f64, reach: f64, size: &[i64]) -> Tensor {
    let count: i64 = size.iter().product();
    let values = chance(number, count as usize);
    let values: Vec<f32> = values
        .iter()
        .map(|u| (middle + reach * (2.0 * u - 1.0)) as f32)
        .collect();
    Tensor::from_slice(&values).view(size)
}

fn module(weights: &str) -> ImageModule {
    ImageModule {
        kind: ImageKind::Densenet121,
        weights: weights.into(),
        image_size: 96,
        dropout: 0.0,
        crop: 0.08,
        flip: true,
    }
}

fn encoder(module: ImageModule) -> ImageEncoder {
    let setup = Setup {
        dropout: None,
        engine: Engine::Fast,
        device: Device::Cpu,
        seed: 1,
    };
    ImageEncoder::new(ImageShape::new(module), setup).unwrap()
}

/// The script's weights, by torchvision's names.
fn recorded(encoder: &ImageEncoder) -> Vec<(String, Tensor)> {
    let all = save::variables(encoder.variables()).into_iter().enumerate();
    all.map(|(number, (name, tensor))| {
        let size = tensor.size();
        let (middle, reach) = match size[..] {
            [_, from, height, width] => (0.0, (6.0 / (from * height * width) as f64).sqrt()),
            _ if name.ends_with("running_var") => (1.0, 0.5),
            _ if name.ends_with("weight") => (1.0, 0.2),
            _ => (0.0, 0.1),
        };
        (name, around(number, middle, reach, &size))
    })
    .collect()
}

fn pixels_of(batch: &Batch) -> Tensor {
    match &batch.layout {
        Layout::Pixels(pixels) => pixels.shallow_clone(),
        _ => unreachable!("a batch of images"),
    }
}

fn pass(encoder: &ImageEncoder, pixels: &Tensor, mode: Mode) -> Tensor {
    let none = Tensor::from_slice::<i64>(&[]);
    let batch = Batch {
        ids: none.shallow_clone(),
        segments: none,
        layout: Layout::Pixels(pixels.shallow_clone()),
        tokens: 1,
    };
    let embedded = encoder.embed(&batch, None, mode).unwrap();
    encoder.pooled(&embedded, &batch, mode).unwrap()
}

fn assert_near(ours: &[f64], theirs: &[f64], within: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!(
            (a - b).abs() <= within,
            "{what}, number {at}: {a} against {b}"
        );
    }
}

/// Every eighth feature, as the script keeps them.
fn kept(features: &Tensor) -> Vec<f64> {
    let all: Vec<f64> = Vec::try_from(features.detach().view([-1]).to_kind(Kind::Double)).unwrap();
    all.into_iter().step_by(8).collect()
}

#[test]
fn densenet_computes_what_torchvisions_does_and_so_do_its_gradients_and_statistics() {
    let case = &cases()["densenet"];
    let encoder = encoder(module("none"));
    for (name, value) in recorded(&encoder) {
        let mut variable = encoder.variables().variables().remove(&name).unwrap();
        tch::no_grad(|| variable.copy_(&value));
    }
    let rows = case["rows"].as_i64().unwrap();
    let size = case["size"].as_i64().unwrap();
    let pixels = around(1000, 0.0, 2.0, &[rows, 3, size, size]);
    let evaluated = tch::no_grad(|| pass(&encoder, &pixels, Mode::Evaluate));
    assert_eq!(evaluated.size(), [rows, 1024]);
    assert_near(
        &kept(&evaluated),
        &numbers(&case["evaluated"]),
        1e-4,
        "evaluated",
    );
    let trained = pass(&encoder, &pixels, Mode::Train { seed: 1 });
    assert_near(&kept(&trained), &numbers(&case["trained"]), 1e-4, "trained");
    let sent = around(1001, 0.0, 1.0, &trained.size());
    (&trained * sent).sum(Kind::Float).backward();
    let variables = save::variables(encoder.variables());
    let tensors = case["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), variables.len());
    for (number, ((name, variable), theirs)) in variables.iter().zip(tensors).enumerate() {
        assert_eq!(theirs["name"], **name);
        let value = match variable.requires_grad() {
            true => variable.grad(),
            false => variable.shallow_clone(),
        };
        let flat: Vec<f64> = Vec::try_from(value.reshape([-1]).to_kind(Kind::Double)).unwrap();
        let length = flat.iter().map(|x| x * x).sum::<f64>().sqrt();
        let weigh = chance(number, flat.len());
        let product: f64 = flat
            .iter()
            .zip(&weigh)
            .map(|(x, u)| x * (2.0 * u - 1.0))
            .sum();
        let theirs = numbers(&theirs["value"]);
        assert_near(
            &[length, product],
            &theirs,
            1e-3 * theirs[0].max(1e-2),
            name,
        );
    }
}

/// A split of one image of this file.
fn split(path: &Path) -> TokenizedSplit {
    TokenizedSplit::of_images(Rows {
        examples: vec![Example {
            text_a: path.to_string_lossy().into_owned(),
            text_b: None,
            label: None,
            index: None,
            file: 0,
            line: 1,
        }],
        ..Rows::default()
    })
}

#[test]
fn pictures_are_seen_as_torchvisions_evaluation_sees_them() {
    let folder = tempfile::tempdir().unwrap();
    for case in cases()["pictures"].as_array().unwrap() {
        let side = |key: &str| case[key].as_u64().unwrap() as u32;
        let (kind, width, height) = (
            case["kind"].as_str().unwrap(),
            side("width"),
            side("height"),
        );
        let path = folder.path().join("picture.png");
        let count = (width * height) as usize;
        let levels = |colours: usize| -> Vec<u8> {
            let all = chance(5, count * colours);
            all.into_iter().map(|u| (u * 256.0) as u8).collect()
        };
        let wave = |at: usize| {
            let (x, y) = (at as f64 % f64::from(width), (at as u32 / width) as f64);
            0.5 + 0.49 * (x * 0.05).sin() * (y * 0.07).cos()
        };
        let picture: DynamicImage = match kind {
            "grey" => GrayImage::from_raw(width, height, levels(1))
                .unwrap()
                .into(),
            "colour" => RgbImage::from_raw(width, height, levels(3)).unwrap().into(),
            "grey16" => {
                let deep = chance(7, count).into_iter().enumerate();
                let deep = deep
                    .map(|(at, u)| (u * 3e4 + wave(at) * 3e4) as u16)
                    .collect();
                DynamicImage::ImageLuma16(ImageBuffer::from_raw(width, height, deep).unwrap())
            }
            _ => {
                // Decoded by its content, whatever its name says.
                std::fs::copy(common::root().join("tests/fixtures/waves.jpeg"), &path).unwrap();
                image::open(common::root().join("tests/fixtures/waves.jpeg")).unwrap()
            }
        };
        if kind != "jpeg" {
            picture.save(&path).unwrap();
        }
        let size = i64::from(side("size"));
        let shape = Shape::Pixels(Frame::new(size, 0.08, true));
        let batch = Batch::collate(&split(&path), &[0], shape, Device::Cpu).unwrap();
        let pixels = pixels_of(&batch);
        assert_eq!(pixels.size(), [1, 3, size, size]);
        let some = pixels.slice(2, 0, size, 5).slice(3, 0, size, 5);
        let ours: Vec<f64> = Vec::try_from(some.reshape([-1]).to_kind(Kind::Double)).unwrap();
        // Of 8 bits two levels, where decoders and filters round.
        let within = match kind {
            "grey16" => 1e-3,
            "jpeg" => 3.0 / 255.0 / 0.22,
            _ => 1.01 / 255.0 / 0.22,
        };
        let what = format!("{kind} {width} x {height}");
        assert_near(&ours, &numbers(&case["pixels"]), within, &what);
    }
}
