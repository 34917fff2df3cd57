//! Tasks of images: DenseNet-121 computes what torchvision's does, pictures are seen as torchvision's
//! transforms see them, and what works with texts works with images or is refused in one line.

mod common;

use std::path::Path;

use common::{evaluations, fails, json, refused, run, text, train};
use covalign::config::images::{ImageKind, ImageModule};
use covalign::config::Engine;
use covalign::data::batch::{Batch, Layout, Shape};
use covalign::data::images::Frame;
use covalign::data::{Example, Rows, TokenizedSplit};
use covalign::model::encoder::{Encoder, Setup};
use covalign::model::images::shape::ImageShape;
use covalign::model::images::ImageEncoder;
use covalign::model::{save, Mode};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, RgbImage};
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

/// The network with the script's weights in a kind.
fn filled(kind: Kind) -> ImageEncoder {
    let encoder = encoder(module("none"));
    for (name, value) in recorded(&encoder) {
        let mut variable = encoder.variables().variables().remove(&name).unwrap();
        variable.set_data(&value.to_kind(kind));
    }
    encoder
}

fn pixels_of(batch: &Batch) -> Tensor {
    match &batch.layout {
        Layout::Pixels(pixels) => pixels.shallow_clone(),
        _ => unreachable!("a batch of images"),
    }
}

fn pass(encoder: &ImageEncoder, pixels: &Tensor, mode: Mode) -> Tensor {
    let batch = Batch::of_pixels(pixels.shallow_clone()).unwrap();
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
    let encoder = filled(Kind::Float);
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
    // In float32 the order of sums decides which ReLUs are open, and gradients differ by per cents.
    let encoder = filled(Kind::Double);
    let exact = pass(
        &encoder,
        &pixels.to_kind(Kind::Double),
        Mode::Train { seed: 1 },
    );
    (&exact * sent).sum(Kind::Double).backward();
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
            1e-6 * theirs[0].max(1e-2),
            name,
        );
    }
}

/// A split of one image of this file.
fn split(path: &Path) -> TokenizedSplit {
    TokenizedSplit::of_images(Rows {
        examples: vec![Example {
            text_a: path.to_string_lossy().into_owned(),
            line: 1,
            ..Example::default()
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

#[test]
fn a_picture_stands_as_its_camera_says_and_nothing_is_transparent() {
    let folder = tempfile::tempdir().unwrap();
    let seen = |bytes: &[u8]| {
        let path = folder.path().join("picture");
        std::fs::write(&path, bytes).unwrap();
        let shape = Shape::Pixels(Frame::new(64, 1.0, false));
        Batch::collate(&split(&path), &[0], shape, Device::Cpu).map(|batch| pixels_of(&batch))
    };
    let png = |picture: &DynamicImage| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let jpeg = std::fs::read(common::root().join("tests/fixtures/waves.jpeg")).unwrap();
    let picture = image::load_from_memory(&jpeg).unwrap();
    assert_eq!(seen(&jpeg).unwrap(), seen(&png(&picture)).unwrap());

    // EXIF's tag 0x112 with value 6: turn by 90 degrees. A thumbnail's end is in it too.
    let mut exif =
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    exif.extend([0xff, 0xd9]);
    let mut turned = vec![0xff, 0xd8, 0xff, 0xe1, 0, exif.len() as u8 + 2];
    turned.extend(exif);
    turned.extend(&jpeg[2..]);
    let upright = seen(&png(&picture.rotate90())).unwrap();
    assert_eq!(seen(&turned).unwrap(), upright);

    for cut in [&jpeg[..jpeg.len() / 2], &turned[..turned.len() - 2]] {
        let error = seen(cut).unwrap_err().to_string();
        assert!(error.contains("it is cut short"), "{error}");
    }

    // A frame header (0xffc0) that claims 65500 × 65500 pixels.
    let mut huge = jpeg.clone();
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    huge[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    let error = seen(&huge).unwrap_err().to_string();
    let said = "its 65500 × 65500 pixels take more than 256 MiB";
    assert!(error.contains(said), "{error}");

    let mut clear = picture.to_rgba8();
    for (x, _, pixel) in clear.enumerate_pixels_mut() {
        pixel[3] = x as u8;
    }
    let clear = seen(&png(&clear.into())).unwrap();
    assert_eq!(clear, seen(&jpeg).unwrap());
}

#[test]
fn training_cuts_and_mirrors_by_seed_row_and_pass_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ramp.png");
    // Red says how far right a pixel lies, green how far down.
    let ramp = RgbImage::from_fn(256, 256, |x, y| image::Rgb([x as u8, y as u8, 0]));
    ramp.save(&path).unwrap();
    let one = split(&path);
    let seen = |shape: Shape| pixels_of(&Batch::collate(&one, &[0], shape, Device::Cpu).unwrap());
    let shape = Shape::Pixels(Frame::new(64, 0.3, true));
    assert_eq!(seen(shape.drawn(7)), seen(shape.drawn(7)));
    assert_ne!(seen(shape.drawn(7)), seen(shape.drawn(8)));
    let whole = Shape::Pixels(Frame::new(64, 1.0, false));
    assert_eq!(seen(whole.drawn(7)), seen(shape));
    // The same image in two rows of a batch is cut twice.
    let rows = (0..2).map(|line| Example {
        text_a: path.to_string_lossy().into_owned(),
        line,
        ..Example::default()
    });
    let two = TokenizedSplit::of_images(Rows {
        examples: rows.collect(),
        ..Rows::default()
    });
    let both = Batch::collate(&two, &[0, 1], shape.drawn(7), Device::Cpu).unwrap();
    assert_ne!(pixels_of(&both).get(0), pixels_of(&both).get(1));

    let (draws, mut mirrored, mut shares) = (300, 0, Vec::new());
    for seed in 0..draws {
        let pixels = seen(shape.drawn(seed)).squeeze();
        let level = |colour: i64, y: i64, x: i64| {
            let (mean, deviation) = [(0.485, 0.229), (0.456, 0.224)][colour as usize];
            pixels.double_value(&[colour, y, x]) * deviation + mean
        };
        // From one pixel's middle to another's, 61 of 64 pixels apart.
        let width = (level(0, 32, 62) - level(0, 32, 1)) * 255.0 / 61.0 / 4.0;
        let height = (level(1, 62, 32) - level(1, 1, 32)) * 255.0 / 61.0 / 4.0;
        assert!(height > 0.0);
        mirrored += usize::from(width < 0.0);
        let ratio = width.abs() / height;
        assert!((0.72..1.39).contains(&ratio), "{ratio}");
        shares.push(width.abs() * height);
    }
    assert!((110..=190).contains(&mirrored), "{mirrored} of {draws}");
    let [least, most] = [f64::min, f64::max].map(|f| shares.iter().copied().reduce(f).unwrap());
    assert!(
        (0.28..0.4).contains(&least) && (0.85..1.03).contains(&most),
        "{least} to {most}"
    );
}

/// A folder with `images` pictures in ChestX-ray14's layout, in two folders, and the config `c.yaml`.
/// What is seen follows from the findings: Effusion is stripes across, Mass the brighter half.
fn ward(images: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("data/ChestX-ray14");
    let mut table = String::from(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
         OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n",
    );
    let (mut known, mut unseen) = (String::new(), String::new());
    for number in 0..images {
        let (across, bright) = (number % 2 == 0, number / 2 % 2 == 0);
        let findings = match (across, bright) {
            (true, true) => "Effusion|Mass",
            (true, false) => "Effusion",
            (false, true) => "Mass",
            (false, false) => "No Finding",
        };
        // Two images a patient.
        let (patient, file) = (
            number / 2 + 1,
            format!("{:08}_{:03}.png", number / 2 + 1, number % 2),
        );
        table += &format!(
            "{file},{findings},{},{patient},058Y,M,PA,72,80,0.14,0.14,\n",
            number % 2
        );
        let list = if patient % 5 == 0 {
            &mut unseen
        } else {
            &mut known
        };
        *list += &format!("{file}\n");
        let (width, height) = (72 + number as u32 % 9, 80);
        let grain = chance(number + 1, (width * height) as usize);
        let levels = grain.into_iter().enumerate().map(|(at, grain)| {
            let (x, y) = (at as u32 % width, at as u32 / width);
            let wave = f64::from(if across { y } else { x }) * 0.9 + number as f64;
            let middle = if bright { 170.0 } else { 90.0 };
            (middle + 50.0 * wave.sin() + 30.0 * grain) as u8
        });
        let picture = GrayImage::from_raw(width, height, levels.collect()).unwrap();
        let place = home.join(["images_001/images", "images_002/images"][number % 3 / 2]);
        std::fs::create_dir_all(&place).unwrap();
        picture.save(place.join(file)).unwrap();
    }
    std::fs::write(home.join("Data_Entry_2017.csv"), table).unwrap();
    std::fs::write(home.join("train_val_list.txt"), known).unwrap();
    std::fs::write(home.join("test_list.txt"), unseen).unwrap();
    std::fs::write(folder.path().join("c.yaml"), CONFIG).unwrap();
    folder
}

const CONFIG: &str = "
encoder: {kind: densenet121, weights: none, image_size: 64, crop: 0.5}
data: data
tasks: [ChestX-ray14]
method: multitask
training: {max_steps: 16, epochs: 9, batch_size: 12, learning_rate: 1e-3, threads: 1}
evaluation: {every: 8 steps}
checkpoints: {every: 8 steps, keep: 2}
";

#[test]
fn chest_x_rays_are_learned_scored_and_predicted_and_a_cut_run_goes_on_as_if_it_were_whole() {
    let folder = ward(100);
    let folder = folder.path();
    train(folder, "whole", &[]);
    let results = json(&folder.join("whole/results.json"));
    let dev = &results["tasks"]["ChestX-ray14"]["dev"];
    assert!(dev["auroc"].as_f64().unwrap() > 0.8, "{dev}");
    // Eighty images in the official list, less a tenth of their patients.
    assert_eq!(results["training_rows"]["ChestX-ray14"], 72);
    // Running statistics are kept, and are those that dev was scored with.
    let best = covalign::model::weights::read(&folder.join("whole/best/encoder.safetensors"));
    let statistic = best.unwrap().remove("features.norm5.running_mean").unwrap();
    assert!(f64::try_from(statistic.abs().max()).unwrap() > 0.0);
    let evaluated = run(folder, &["evaluate", "whole", "--json"]);
    let evaluated: Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    assert_eq!(evaluated["tasks"]["ChestX-ray14"]["auroc"], dev["auroc"]);

    // As if it had been stopped after the first of its two checkpoints.
    let copied = std::process::Command::new("cp")
        .args(["-r", "whole", "cut"])
        .current_dir(folder)
        .status();
    assert!(copied.unwrap().success());
    let cut = folder.join("cut");
    std::fs::remove_file(cut.join("results.json")).unwrap();
    for gone in ["checkpoints/step-16", "best", "best_per_task"] {
        std::fs::remove_dir_all(cut.join(gone)).unwrap();
    }
    let resumed = run(folder, &["train", "c.yaml", "--out", "cut", "--resume"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(evaluations(folder, "cut"), evaluations(folder, "whole"));
    let weights = |out: &str| {
        let path = folder
            .join(out)
            .join("checkpoints/step-16/encoder.safetensors");
        std::fs::read(path).unwrap()
    };
    assert!(weights("cut") == weights("whole"), "other weights");

    // An image under an old name is another run's.
    let image = folder.join("data/ChestX-ray14/images_001/images/00000001_001.png");
    let own = std::fs::read(&image).unwrap();
    std::fs::copy(image.with_file_name("00000002_001.png"), &image).unwrap();
    let line = fails(folder, &["train", "c.yaml", "--out", "cut", "--resume"], 2);
    let told = "task ChestX-ray14: the images of train rows (sha256) was ";
    assert!(line.contains(told), "{line}");
    std::fs::write(&image, own).unwrap();

    // By the official table, and by paths alone.
    let table = "data/ChestX-ray14/Data_Entry_2017.csv";
    let predict = |input: &str| {
        let output = run(
            folder,
            &["predict", "whole", "--task", "ChestX-ray14", input],
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines = text(&output.stdout);
        let lines = lines
            .lines()
            .skip(1)
            .map(|line| line.split('\t').nth(1).unwrap().to_owned());
        lines.collect::<Vec<_>>()
    };
    let named = predict(table);
    assert_eq!(named.len(), 100);
    let place = |number: usize| {
        let place = ["images_001/images", "images_002/images"][number % 3 / 2];
        let (patient, follow) = (number / 2 + 1, number % 2);
        format!("data/ChestX-ray14/{place}/{patient:08}_{follow:03}.png\n")
    };
    std::fs::write(
        folder.join("paths.txt"),
        (0..100).map(place).collect::<String>(),
    )
    .unwrap();
    assert_eq!(predict("paths.txt"), named);
    let picture = place(0);
    let given = ["predict", "whole", "--task", "ChestX-ray14", picture.trim()];
    let line = fails(folder, &given, 2);
    assert!(line.contains("is an image; give a file with"), "{line}");
}

#[test]
fn images_that_are_missing_or_broken_are_told_with_their_rows() {
    let folder = ward(40);
    let folder = folder.path();
    let home = folder.join("data/ChestX-ray14");
    let one = home.join("images_001/images/00000001_001.png");
    let whole = std::fs::read(&one).unwrap();
    std::fs::write(&one, &whole[..whole.len() / 2]).unwrap();
    let line = fails(folder, &["train", "c.yaml", "--out", "broken"], 1);
    assert!(
        line.contains("images/00000001_001.png: not readable as a PNG or JPEG image"),
        "{line}"
    );
    assert!(line.contains("Data_Entry_2017.csv:3"), "{line}");
    // Before a run, that can be asked for.
    let checked = run(folder, &["data", "check", "data"]);
    assert_eq!(checked.status.code(), Some(2));
    let told = text(&checked.stderr);
    let place = "Data_Entry_2017.csv:3); the first of 1 such images";
    assert!(told.contains(place), "{told}");
    std::fs::remove_file(&one).unwrap();
    let line = refused(folder, &[]);
    assert!(
        line.contains("Data_Entry_2017.csv:3: no image `00000001_001.png`"),
        "{line}"
    );
    std::fs::write(&one, &whole).unwrap();
    std::fs::write(home.join("images_002/images/00000001_001.png"), &whole).unwrap();
    let line = refused(folder, &[]);
    assert!(
        line.contains("`00000001_001.png` is in ") && line.contains(" and in "),
        "{line}"
    );
}

#[test]
fn what_has_no_meaning_with_images_is_refused_in_one_line() {
    let folder = ward(8);
    let folder = folder.path();
    common::write_demo(&folder.join("data"));
    for (set, expected) in [
        (
            "method=aligned",
            "key `method` `aligned` is for embeddings of words",
        ),
        (
            "training.max_length=64",
            "key `training.max_length` counts tokens",
        ),
        (
            "training.batch_tokens=4096",
            "key `training.batch_tokens` counts tokens",
        ),
        (
            "training.gradient_checkpointing=true",
            "key `training.gradient_checkpointing`",
        ),
        (
            "sampling.length_window=4",
            "key `sampling.length_window` is for rows of texts",
        ),
        ("training.reinit_layers=1", "key `training.reinit_layers`"),
        (
            "training.precision=bf16",
            "key `training.precision`: on a CPU",
        ),
        (
            "turned={ChestX-ray14: 45}",
            "key `turned` is for embeddings of words",
        ),
        ("engine=reference", "key `engine`"),
        (
            "encoder.image_size=32",
            "key `encoder.image_size` must lie from 64",
        ),
        ("encoder.crop=0", "key `encoder.crop`"),
        ("encoder.widht=3", "unknown key `widht`"),
        ("encoder.weights=missing.pth", "missing.pth: no such file"),
        (
            "tasks=[ChestX-ray14, DemoSentiment]",
            "task DemoSentiment has texts, but the encoder takes images",
        ),
        (
            "encoder=all-MiniLM-L6-v2",
            "task ChestX-ray14 has images, but the encoder takes texts",
        ),
    ] {
        let line = refused(folder, &[set]);
        assert!(line.contains(expected), "{set}: {line}");
    }
    let line = fails(folder, &["similarity", "c.yaml"], 2);
    assert!(line.contains("similarity is of embeddings"), "{line}");
}

#[test]
fn a_suite_of_images_is_guessed_from_images_and_not_from_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let base = "{encoder: {kind: densenet121, weights: none}, data: nowhere, \
                training: {epochs: 1, threads: 2, device: cpu}, evaluation: {every: 1 epoch}}";
    let suite = format!(
        "title: Rays\nbase: {base}\nseeds: [1]\nexperiments:\n  \
         - {{name: rays, tasks: [ChestX-ray14], strategy: single}}\n"
    );
    std::fs::write(folder.path().join("s.yaml"), suite).unwrap();
    let planned = run(folder.path(), &["suite", "s.yaml", "--dry-run"]);
    assert!(planned.status.success(), "{}", text(&planned.stderr));
    // 77,872 images forward and back, 8,652 forward, 17.0 GFLOP each at 6e10 a second.
    let told = text(&planned.stdout);
    assert!(
        told.contains("77872") && told.contains("6 h 21 min"),
        "{told}"
    );
}

#[test]
fn weights_come_under_the_names_that_torchvision_and_chexnet_have_given_them() {
    let folder = tempfile::tempdir().unwrap();
    let from = encoder(module("none"));
    let own = recorded(&from);
    let older = |name: &str| {
        let mut name = name.to_owned();
        if name.contains("denselayer") {
            for part in ["norm1", "norm2", "conv1", "conv2"] {
                let (stem, digit) = part.split_at(4);
                name = name.replace(&format!(".{part}."), &format!(".{stem}.{digit}."));
            }
        }
        format!("module.densenet121.{name}")
    };
    let write = |file: &str, tensors: Vec<(String, Tensor)>| {
        let path = folder.path().join(file);
        save::write(&path, &save::copies(tensors).unwrap()).unwrap();
        path
    };
    let mut tensors: Vec<_> = own
        .iter()
        .map(|(name, tensor)| (older(name), tensor.shallow_clone()))
        .collect();
    let classifier = Tensor::zeros([14, 1024], (Kind::Float, Device::Cpu));
    tensors.push(("module.densenet121.classifier.0.weight".into(), classifier));
    let counted = Tensor::from_slice(&[7i64]).squeeze();
    tensors.push((older("features.norm0.num_batches_tracked"), counted));
    let path = write("chexnet.safetensors", tensors);
    let report = from.fill(&path).unwrap();
    assert_eq!(report.ignored, ["classifier.0.weight"]);
    for ((name, now), (_, expected)) in save::variables(from.variables()).iter().zip(&own) {
        assert_eq!(now, expected, "{name}");
    }
    let mut less: Vec<_> = own
        .iter()
        .map(|(n, t)| (n.clone(), t.shallow_clone()))
        .collect();
    less.retain(|(name, _)| name != "features.norm5.running_var");
    let path = write("less.safetensors", less);
    let error = from.fill(&path).unwrap_err().to_string();
    assert!(
        error.contains("no tensor `features.norm5.running_var`"),
        "{error}"
    );
}
