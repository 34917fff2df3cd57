//! What people want to know before the first step.

use crate::config::Config;
use crate::data::overlap::Overlap;
use crate::model::weights::LoadReport;
use crate::task::Labels;
use crate::train::feed::batches::Length;
use crate::train::keep::run_folder::Started;
use crate::train::step::precision::{device_name, Arithmetic};
use crate::train::tasks::TaskData;

/// Which run's weights these are.
pub fn starts_from(start: &Started) -> String {
    let heads = match start.heads.is_empty() {
        true => "fresh".to_owned(),
        false => {
            let each = start
                .heads
                .iter()
                .map(|(to, from)| format!("{to} {from}'s"));
            each.collect::<Vec<_>>().join(", ")
        }
    };
    format!(
        "starts from {} ({} on {}), its weights of step {}; heads: {heads}",
        start.run,
        start.method,
        start.tasks.join(", "),
        start.step
    )
}

/// What people want to know before the first step.
pub fn introduction(
    config: &Config,
    report: &LoadReport,
    data: &[TaskData],
    length: Length,
    arithmetic: Arithmetic,
) -> Vec<String> {
    let device = arithmetic.device();
    let rows: Vec<String> = data
        .iter()
        .map(|d| format!("{} {}", d.task.name, d.rows.len()))
        .collect();
    let mut lines = vec![format!(
        "{} on {} ({}), {} in {}, {} steps, training rows: {}",
        config.method.name(),
        config.encoder,
        device_name(device),
        arithmetic.name(),
        if device.is_cuda() {
            "CUDA kernels".to_owned()
        } else {
            format!("{} threads", tch::get_num_threads())
        },
        length.total,
        rows.join(", ")
    )];
    if !report.fresh.is_empty() {
        lines.push(format!(
            "the weights lack {}; made fresh",
            report.fresh.join(", ")
        ));
    }
    if !report.ignored.is_empty() {
        lines.push(format!(
            "the weights hold {} tensors that are no part of the encoder; ignored: {}",
            report.ignored.len(),
            report.ignored.join(", ")
        ));
    }
    for data in data {
        lines.extend(
            data.train
                .warnings
                .iter()
                .chain(&data.dev.warnings)
                .cloned(),
        );
        lines.extend(skipped(data));
    }
    lines.extend(data.iter().filter_map(unranked));
    lines.extend(controls(config, data));
    lines.extend(overlaps(data));
    lines
}

/// The rows of a task's training and dev files that were left out, by file and reason.
fn skipped(data: &TaskData) -> Vec<String> {
    let mut found: Vec<(String, Vec<u32>)> = Vec::new();
    for row in data.train.skipped.iter().chain(&data.dev.skipped) {
        let key = format!("{}: skipped, {}", row.file.display(), row.reason);
        match found.iter_mut().find(|(known, _)| *known == key) {
            Some((_, lines)) => lines.push(row.line),
            None => found.push((key, vec![row.line])),
        }
    }
    let line = |(key, mut lines): (String, Vec<u32>)| {
        lines.sort_unstable();
        // A file that is cut into train and dev has them in both.
        lines.dedup();
        let first: Vec<String> = lines.iter().take(5).map(u32::to_string).collect();
        match lines.len() {
            1 => format!("{key}: line {}", first[0]),
            few @ 2..=5 => format!("{key}: {few} rows, lines {}", first.join(", ")),
            many => format!("{key}: {many} rows, lines {}, …", first.join(", ")),
        }
    };
    found.into_iter().map(line).collect()
}

/// Labels that metrics of ranks leave out, since every dev row has them or none has.
fn unranked(data: &TaskData) -> Option<String> {
    let Labels::AnyOf(any) = &data.task.labels else {
        return None;
    };
    let ranks = data.task.metrics.iter().find(|metric| metric.ranks())?;
    let rows = |index: usize| {
        let labels = (0..data.dev.len()).filter_map(|row| data.dev.label(row));
        labels.filter(|label| label.holds(index)).count()
    };
    let out = any.names.iter().enumerate();
    let out = out.filter(|(index, _)| [0, data.dev.len()].contains(&rows(*index)));
    let out: Vec<&str> = out.map(|(_, name)| name.as_str()).collect();
    match out.is_empty() {
        true => None,
        false => Some(format!(
            "{}: {} is the mean over the labels without {}, which all dev rows have or none has",
            data.task.name,
            ranks.name(),
            out.join(", ")
        )),
    }
}

/// What was made otherwise than it is, on purpose.
fn controls(config: &Config, data: &[TaskData]) -> Vec<String> {
    let noisy = data.iter().filter(|data| data.noise.0 > 0).map(|data| {
        let (drawn, other) = data.noise;
        format!(
            "label_noise: {drawn} of {}'s {} training rows have a label by chance, {other} of them \
             another than theirs",
            data.task.name,
            data.rows.len()
        )
    });
    let turned = data.iter().filter_map(|data| {
        let degrees = config.turned.get(&data.task.name)?;
        Some(format!(
            "turned: {}'s embeddings by {degrees}°",
            data.task.name
        ))
    });
    noisy.chain(turned).collect()
}

/// What of the dev and test rows is trained on, and what was left out so that it is not.
fn overlaps(data: &[TaskData]) -> Vec<String> {
    let mut lines = Vec::new();
    for data in data.iter().filter(|data| data.left_out > 0) {
        lines.push(format!(
            "deduplicate: {} of {}'s {} training rows left out, whose text is in another task's dev \
             or test split",
            data.left_out,
            data.task.name,
            data.train.len()
        ));
    }
    let mut found: Vec<&Overlap> = data.iter().flat_map(|data| &data.overlaps).collect();
    found.sort_by_key(|overlap| std::cmp::Reverse(overlap.rows));
    lines.extend(found.iter().map(|overlap| format!("overlap: {overlap}")));
    if found.iter().any(|overlap| overlap.between_tasks()) {
        lines.push("`deduplicate: true` leaves out such training rows of another task".into());
    }
    lines
}
