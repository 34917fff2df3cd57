//! The report's figures for other programs: CSV and JSON.

use anyhow::Result;
use serde_json::{json, Value};

use super::comparison::Comparison;
use super::groups::{beside, variant_name, Group, Variant};
use super::heuristic::{agreement, by_setting, sweep, OrderedPair};
use super::page::Report;
use super::results::RunRecord;
use super::way::Way;

/// One line per cell, seed and metric (`score` is their mean), as fractions; a cell without results
/// has one line without a value.
///
/// # Errors
/// None but the writer's own.
pub fn csv(report: &Report) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "cell",
        "experiment",
        "way",
        "target",
        "supports",
        "variant",
        "target_rows",
        "support_rows",
        "seed",
        "run",
        "state",
        "metric",
        "value",
        "step",
    ])?;
    let text = |rows: Option<u64>| rows.map_or(String::new(), |rows| rows.to_string());
    for group in &report.groups {
        for (seed, point) in &group.sample.points {
            let run = point.runs.first().map_or("", String::as_str);
            let Some(record) = report.study.run(run) else {
                continue;
            };
            for (metric, value, step) in metrics(record, &group.target) {
                writer.write_record([
                    &group.id,
                    &group.experiment,
                    group.way.label(),
                    &group.target,
                    &group.supports_name(),
                    &variant_name(&group.variant),
                    &text(group.target_rows),
                    &text(group.support_rows),
                    &seed.to_string(),
                    run,
                    record.state.name(),
                    &metric,
                    &value,
                    &step,
                ])?;
            }
        }
    }
    Ok(writer.into_inner()?)
}

/// Name, value and step of a run's metrics on a task.
fn metrics(record: &RunRecord, task: &str) -> Vec<(String, String, String)> {
    let result = record.results.as_ref().and_then(|r| r.tasks.get(task));
    let Some(result) = result else {
        return vec![("score".into(), String::new(), String::new())];
    };
    let Some(scores) = record.scores(task) else {
        return vec![("score".into(), String::new(), String::new())];
    };
    let score = ("score".to_owned(), scores.score);
    let all = std::iter::once(score).chain(scores.metrics.clone());
    let number = |value: f64| match value.is_finite() {
        true => value.to_string(),
        false => String::new(),
    };
    all.map(|(name, value)| (name, number(value), result.step.to_string()))
        .collect()
}

/// Everything with its runs.
pub fn json(report: &Report) -> Value {
    let runs = report.study.runs.iter().map(|record| {
        json!({
            "run": record.run.name,
            "path": record.path,
            "state": record.state,
            "method": record.run.method,
            "tasks": record.run.tasks,
            "seed": record.run.seed,
            "source": record.run.source,
            "collapsed_on": record.collapsed(),
            "results": record.results,
        })
    });
    let heuristic = |(variant, pairs): (&Variant, Vec<&OrderedPair>)| {
        json!({
            "setting": variant,
            "pairs": pairs,
            "agreement": agreement(&pairs, 1.0),
            "sweep_after_the_fact": sweep(&pairs),
        })
    };
    let heuristic = by_setting(&report.ordered_pairs).into_iter().map(heuristic);
    json!({
        "title": report.title,
        "planned": report.study.planned,
        "overlaps": report.study.seen,
        "runs": runs.collect::<Vec<_>>(),
        "summary": report.contrasts,
        "cells": report.groups,
        "differences": differences(&report.groups),
        "pairs": report.pairs.iter().map(|pair| json!({
            "means": pair,
            "multitask_minus_single": Comparison::of(&pair.multitask, &pair.single),
            "aligned_minus_single": Comparison::of(&pair.aligned, &pair.single),
            "aligned_minus_multitask": Comparison::of(&pair.aligned, &pair.multitask),
        })).collect::<Vec<_>>(),
        "heuristic": heuristic.collect::<Vec<_>>(),
        "figures": report.figures().collect::<Vec<_>>(),
    })
}

/// Every cell against the cells that the tables set beside it.
fn differences(groups: &[Group]) -> Vec<Value> {
    const BESIDE: [Way; 5] = [Way::Single, Way::Pair, Way::Stilts, Way::Transfer, Way::All];
    let mut differences = Vec::new();
    for group in groups {
        for way in BESIDE.into_iter().filter(|way| *way != group.way) {
            let supports: &[String] = match way {
                Way::Single => &[],
                _ => &group.supports,
            };
            let base = beside(groups, way, supports, group);
            let comparison = base.and_then(|base| Comparison::of(&group.sample, &base.sample));
            if let (Some(base), Some(comparison)) = (base, comparison) {
                differences.push(json!({
                    "cell": group.id,
                    "minus": base.id,
                    "comparison": comparison,
                }));
            }
        }
    }
    differences
}
