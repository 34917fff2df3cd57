//! Each arm against its base over all sets of tasks: the first table.

use crate::analysis::statistics::DECIDED;
use crate::report::contrasts::Contrast;
use crate::report::samples::Sample;
use crate::report::table::{points, Entry, Table};

/// A row for each contrast, what is asked first in the first columns.
pub fn summary(contrasts: &[Contrast]) -> Table {
    let columns = [
        "Compared",
        "Setting",
        "#Points [95 %]",
        "#p (Holm)",
        "#Tasks",
        "#Seeds",
        "#Base → arm",
        "#Ahead",
        "#p over tasks (Holm)",
        "#Steps",
        "#Best of",
    ];
    let folds = match contrasts.iter().any(|c| c.over_seeds.folds.is_some()) {
        true => {
            " Seeds are folds of a cross-validation here; intervals and p over them are corrected for \
             the rows that they share (Nadeau and Bengio 2003)."
        }
        false => "",
    };
    let note = format!(
        "Each figure is the mean over the same sets of tasks and the same seeds on both sides, a joint \
         run's being the mean over its tasks. Points and their 95 % interval, and p, are over the seeds \
         (Student's t, paired): would other seeds say the same, on these tasks? p over tasks takes each \
         set's mean as one sample: would other tasks? (Sets that share a task are less than \
         independent.) Ahead counts the sets with a higher mean. In parentheses p after Holm's \
         correction over the column. Bold: below {DECIDED} after it, over three seeds or more, no run \
         collapsed (†); where some did, the correction takes the larger p of that with and that without \
         their seeds.{folds}"
    );
    let mut table = Table::new("summary", "Summary", &note, &columns);
    table.rows.extend(contrasts.iter().map(row));
    table.without_empty_columns()
}

fn row(contrast: &Contrast) -> Vec<Entry> {
    let [difference, p] = Entry::comparison(Some(&contrast.over_seeds)).map(|entry| Entry {
        p: contrast.deciding_p(),
        collapsed: contrast.over_seeds.collapsed,
        ..entry
    });
    let difference = match contrast.shown().interval {
        Some(_) if contrast.over_seeds.interval.is_none() => {
            let [over_sets, _] = Entry::comparison(Some(contrast.shown()));
            Entry {
                text: format!("{} over tasks", over_sets.text),
                p: None,
                ..over_sets
            }
        }
        _ => difference,
    };
    let over_sets = contrast.over_sets.as_ref();
    let [_, p_over_sets] = Entry::comparison(over_sets);
    vec![
        Entry::text(contrast.question()),
        Entry::text(contrast.setting()),
        difference,
        p,
        Entry {
            tooltip: contrast.sets.join(", "),
            ..Entry::text(match contrast.sets.len() {
                1 => contrast.sets[0].clone(),
                n => of(n, contrast.sets_planned),
            })
        },
        Entry::text(of(contrast.seeds.len(), contrast.seeds_planned)),
        Entry::text(format!(
            "{} → {}",
            mean(&contrast.base_sample),
            mean(&contrast.arm_sample)
        )),
        over_sets.map_or_else(Entry::default, |sets| {
            Entry::text(format!("{} of {}", sets.ahead, sets.n))
        }),
        p_over_sets,
        steps(contrast),
        Entry::best_of([&contrast.base_sample, &contrast.arm_sample]),
    ]
}

fn of(there: usize, planned: usize) -> String {
    match there == planned {
        true => there.to_string(),
        false => format!("{there} of {planned}"),
    }
}

fn mean(sample: &Sample) -> String {
    let mean = sample.mean().map_or(String::new(), points);
    match sample.collapsed() {
        0 => mean,
        _ => format!("{mean} †"),
    }
}

/// The steps of both sides, which should be no explanation of the difference.
fn steps(contrast: &Contrast) -> Entry {
    let shown = |sample: &Sample| {
        sample.steps().map(|(least, most)| match least == most {
            true => most.to_string(),
            false => format!("{least}–{most}"),
        })
    };
    let both = shown(&contrast.base_sample).zip(shown(&contrast.arm_sample));
    Entry::text(match both {
        None => String::new(),
        Some((base, arm)) if base == arm => arm,
        Some((base, arm)) => format!("{base} → {arm}"),
    })
}
