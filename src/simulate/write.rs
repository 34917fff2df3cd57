//! A simulation's folder: `config.yaml`, `results.{csv,json,md}`, a picture per study, `tensorboard/`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{json, Value};

use super::config::SimulateConfig;
use super::results::Study;
use super::{picture, tables};
use crate::report::figures::slug;
use crate::telemetry::atomic;
use crate::telemetry::tensorboard::EventWriter;

/// What `results.json` has.
pub fn results(config: &SimulateConfig, studies: &[Study]) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "config": config,
        "studies": studies,
    })
}

/// Writes what a simulation found into a folder that is there; returns the pictures' paths.
pub fn write(config: &SimulateConfig, studies: &[Study], out: &Path) -> Result<Vec<PathBuf>> {
    let yaml = serde_yaml::to_string(config)?;
    atomic::write(&out.join("config.yaml"), yaml.as_bytes())?;
    atomic::write(
        &out.join("results.csv"),
        &tables::csv(studies, config.seed)?,
    )?;
    atomic::write_json(&out.join("results.json"), &results(config, studies))?;
    let text = tables::markdown(studies, config.seeds);
    atomic::write(&out.join("results.md"), text.as_bytes())?;
    let mut pictures = Vec::new();
    for study in studies {
        let path = out.join(format!("{}.svg", study.name));
        atomic::write(&path, picture::svg(study)?.as_bytes())?;
        pictures.push(path);
    }
    scalars(studies, &out.join("tensorboard"))?;
    Ok(pictures)
}

/// A tag per line; the step is x.
fn scalars(studies: &[Study], folder: &Path) -> Result<()> {
    let mut events = EventWriter::create(folder)?;
    for study in studies {
        for panel in &study.panels {
            for line in &panel.lines {
                let tag = format!("{}/{}/{}", study.name, slug(&panel.title), slug(&line.name));
                for point in &line.points {
                    events.scalar(&tag, point.mean, point.x)?;
                }
            }
        }
    }
    events.flush()
}
