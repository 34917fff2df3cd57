//! What a report says of a study, in the order in which it is read.

use std::path::Path;

use anyhow::Result;

use super::answer::{answers, told};
use super::contrasts::{contrasts, Contrast};
use super::figures::cost::cost;
use super::figures::curves::curves;
use super::figures::forest::forest;
use super::figures::heat_map::heat_maps;
use super::figures::size::size_lines;
use super::groups::{groups, Group};
use super::heuristic::{ordered_pairs, OrderedPair};
use super::page::{Remark, Report, Section};
use super::results::Study;
use super::tables::joint::{self, joint_sets, JointSet};
use super::tables::{pairs, papers, runs, size, stilts, summary};

/// What can be said of a study. `folder` is the way from the report's folder to the study's.
pub fn report(study: Study, folder: &Path) -> Result<Report> {
    let groups = groups(&study);
    let contrasts = contrasts(&groups);
    let pairs = joint_sets(&groups, false);
    let ordered_pairs = ordered_pairs(&groups);
    let sections = sections(&study, &groups, &contrasts, &pairs, &ordered_pairs, folder)?;
    Ok(Report {
        title: study.title.clone(),
        study,
        groups,
        contrasts,
        pairs,
        ordered_pairs,
        sections,
    })
}

fn sections(
    study: &Study,
    groups: &[Group],
    contrasts: &[Contrast],
    pairs: &[JointSet],
    ordered_pairs: &[OrderedPair],
    folder: &Path,
) -> Result<Vec<Section>> {
    let size_points = size::size_points(groups);
    let mut stilts_section = Section::table(stilts::stilts(groups, ordered_pairs));
    let verdicts = stilts::verdicts(ordered_pairs);
    let verdicts = verdicts.into_iter().map(Remark::from);
    stilts_section.paragraphs.extend(verdicts);
    let mut all = joint::joint(&joint_sets(groups, true));
    all.id = "joint-all".into();
    all.title = "All tasks jointly, as a whole".into();
    let mut size_section = Section::table(size::size(&size_points));
    size_section.figures = size_lines(&size_points)?;
    let mut answer = Section::figures(
        "answer",
        "In short",
        forest(&told(contrasts))?.into_iter().collect(),
    );
    let answers = answers(contrasts).into_iter().map(Remark::from);
    answer.paragraphs = answers.chain(answer.paragraphs).collect();
    let sections = vec![
        answer,
        Section::table(summary::summary(contrasts)),
        Section {
            paragraphs: runs::remarks(study, groups),
            ..Section::figures("state", "What there is", Vec::new())
        },
        Section::table(joint::joint(pairs)),
        Section::table(all),
        Section::figures("maps", "Who helps whom", heat_maps(groups)?),
        Section::table(pairs::pairs(groups)),
        Section::table(pairs::transfer(groups)),
        Section::table(pairs::all(groups)),
        stilts_section,
        Section::table(stilts::thresholds(ordered_pairs)),
        size_section,
        Section::table(papers::papers(groups, contrasts)),
        Section {
            folded: true,
            ..Section::figures("curves", "Dev score against steps", curves(study, groups)?)
        },
        Section::table(runs::seen(study)),
        Section::figures("costs", "Cost", cost(study)?.into_iter().collect()),
        Section::table(runs::cells(groups)),
        Section::table(runs::runs(study, folder)),
    ];
    Ok(sections
        .into_iter()
        .filter(Section::says_something)
        .collect())
}
