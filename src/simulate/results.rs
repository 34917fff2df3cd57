//! What a study found: panels of lines, each point a number per seed.

use serde::Serialize;

use crate::analysis::statistics::{holm, mean, paired_t_test, t_interval, Interval};

/// A difference with a smaller p, after Holm's correction over its panel, is called one.
pub const LEVEL: f64 = 0.05;

/// A study's numbers, and what to know when reading them.
#[derive(Debug, Clone, Serialize)]
pub struct Study {
    /// The name in a config.
    pub name: String,
    pub title: String,
    /// What holds by construction, and what the numbers are of.
    pub notes: Vec<String>,
    pub panels: Vec<Panel>,
}

/// Lines over one pair of axes.
#[derive(Debug, Clone, Serialize)]
pub struct Panel {
    pub title: String,
    pub x_label: String,
    pub y_label: String,
    /// Whether values are paired differences, which are tested against 0.
    pub difference: bool,
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub name: String,
    pub points: Vec<Point>,
}

/// A number per seed at one x, and what they come to.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    pub x: u64,
    pub values: Vec<f64>,
    pub mean: f64,
    /// Student's, 95 %; none for fewer than two seeds.
    pub interval: Option<Interval>,
    /// Of the paired t-test, for differences.
    pub p: Option<f64>,
    /// The same after Holm's correction over the panel.
    pub p_holm: Option<f64>,
}

impl Panel {
    /// With no values yet.
    pub fn new(title: impl Into<String>, x: (&str, &[u64]), y: &str, lines: &[String]) -> Panel {
        let point = |&x: &u64| Point {
            x,
            values: Vec::new(),
            mean: f64::NAN,
            interval: None,
            p: None,
            p_holm: None,
        };
        let line = |name: &String| Line {
            name: name.clone(),
            points: x.1.iter().map(point).collect(),
        };
        Panel {
            title: title.into(),
            x_label: x.0.to_owned(),
            y_label: y.to_owned(),
            difference: false,
            lines: lines.iter().map(line).collect(),
        }
    }

    /// Of differences.
    pub fn of_differences(self) -> Panel {
        Panel {
            difference: true,
            ..self
        }
    }

    /// How many points it has.
    pub fn size(&self) -> usize {
        self.lines.iter().map(|line| line.points.len()).sum()
    }

    fn points_mut(&mut self) -> impl Iterator<Item = &mut Point> {
        self.lines.iter_mut().flat_map(|line| &mut line.points)
    }

    fn settle(&mut self) {
        let difference = self.difference;
        for point in self.points_mut() {
            point.mean = mean(&point.values).unwrap_or(f64::NAN);
            point.interval = t_interval(&point.values);
            let test = paired_t_test(&point.values).filter(|_| difference);
            point.p = test.map(|test| test.p);
        }
        let mut tested: Vec<&mut Point> = self.points_mut().filter(|p| p.p.is_some()).collect();
        let p: Vec<f64> = tested.iter().filter_map(|point| point.p).collect();
        for (point, corrected) in tested.iter_mut().zip(holm(&p)) {
            point.p_holm = Some(corrected);
        }
    }
}

impl Line {
    /// `below 0 at 4 of 6, above at none`, counting what Holm's correction leaves.
    pub fn verdict(&self) -> String {
        let decided = |sign: f64| {
            let points = self.points.iter();
            let there = |p: &&Point| p.mean * sign > 0.0 && p.p_holm.is_some_and(|p| p < LEVEL);
            match points.filter(there).count() {
                0 => "none".to_owned(),
                count => count.to_string(),
            }
        };
        let all = self.points.len();
        format!(
            "below 0 at {} of {all}, above 0 at {}",
            decided(-1.0),
            decided(1.0)
        )
    }
}

impl Study {
    /// Takes the values of every seed, each in the order panel, line, x; then the tests.
    pub fn filled(mut self, seeds: &[Vec<f64>]) -> Study {
        for values in seeds {
            let points = self.panels.iter_mut().flat_map(Panel::points_mut);
            for (point, value) in points.zip(values) {
                point.values.push(*value);
            }
        }
        self.panels.iter_mut().for_each(Panel::settle);
        self
    }
}
