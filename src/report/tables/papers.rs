//! The papers' figures beside one's own, where the tasks are theirs.

use crate::report::contrasts::Contrast;
use crate::report::groups::Group;
use crate::report::table::{points, Entry, Table};
use crate::report::way::Way;

/// [W20]'s capacity study: accuracy alone, and of all six jointly at the best width (100), an LSTM over
/// GloVe vectors.
const SENTENCES: [(&str, f64, f64); 6] = [
    ("SST", 82.3, 90.8),
    ("MR", 76.4, 96.0),
    ("CR", 73.2, 78.7),
    ("SUBJ", 91.5, 89.5),
    ("MPQA", 86.7, 87.0),
    ("TREC", 85.7, 78.7),
];

/// BERT-large alone on dev (Clark et al., *ELECTRA*, ICLR 2020).
const GLUE: [(&str, f64); 8] = [
    ("CoLA", 60.6),
    ("SST-2", 93.2),
    ("MRPC", 88.0),
    ("STS-B", 90.0),
    ("QQP", 91.3),
    ("MNLI", 86.6),
    ("QNLI", 92.3),
    ("RTE", 70.4),
];

/// The five tasks of [W20]'s GLUE pairs.
const GLUE_PAIRS: [&str; 5] = ["CoLA", "MRPC", "QNLI", "RTE", "SST-2"];

/// A row for each mean, and for each count of pairs, that a paper has too.
pub fn papers(groups: &[Group], contrasts: &[Contrast]) -> Table {
    let columns = ["What", "Of", "Setting", "#Here", "#Paper", "Paper's"];
    let note =
        "Another encoder, other splits and other rates than here: these say where the papers' \
                figures lie, and test nothing.";
    let mut table = Table::new("papers", "Beside the papers", note, &columns);
    table.rows.extend(groups.iter().filter_map(score));
    table.rows.extend(contrasts.iter().filter_map(ahead));
    table.without_empty_columns()
}

fn score(group: &Group) -> Option<Vec<Entry>> {
    let sentence = SENTENCES.iter().find(|(task, ..)| *task == group.target);
    let glue = GLUE.iter().find(|(task, _)| *task == group.target);
    let all = group.supports.len() == SENTENCES.len() - 1
        && group
            .supports
            .iter()
            .all(|task| SENTENCES.iter().any(|(name, ..)| name == task));
    let (paper, whose) = match (group.way, sentence, glue) {
        (Way::Single, Some((_, alone, _)), _) => (alone, "LSTM over GloVe, Wu et al. 2020"),
        (Way::Single, _, Some((_, alone))) => (alone, "BERT-large, dev, Clark et al. 2020"),
        (Way::All, Some((.., jointly)), _) if all => {
            (jointly, "LSTM over GloVe, six sets, Wu et al. 2020")
        }
        _ => return None,
    };
    Some(vec![
        Entry::text(group.way.label()),
        Entry::text(&group.target),
        Entry::text(group.variant_name()),
        Entry::group(Some(group)),
        Entry::text(points(*paper)),
        Entry::text(whose),
    ])
}

/// On how many pairs alignment is ahead of MTL.
fn ahead(contrast: &Contrast) -> Option<Vec<Entry>> {
    let of = |known: &dyn Fn(&str) -> bool| {
        let mut tasks = contrast.sets.iter().flat_map(|set| set.split('+'));
        tasks.all(known)
    };
    let sets = contrast.over_sets.as_ref()?;
    let asked = (contrast.arm, contrast.base) == (Way::AlignedPair, Way::Pair);
    let (paper, whose) = match asked {
        true if of(&|task| SENTENCES.iter().any(|(name, ..)| *name == task)) => {
            ("13 of 15", "sentence sets, LSTM, Wu et al. 2020")
        }
        true if of(&|task| GLUE_PAIRS.contains(&task)) => {
            ("7 of 10", "five GLUE tasks, BERT-large, Wu et al. 2020")
        }
        _ => return None,
    };
    Some(vec![
        Entry::text(format!("{}: pairs ahead", contrast.question())),
        Entry::text(contrast.tasks()),
        Entry::text(contrast.setting()),
        Entry::text(format!("{} of {}", sets.ahead, sets.n)),
        Entry::text(paper),
        Entry::text(whose),
    ])
}
