//! What moves at a step, and how fast.

use crate::config::{Alignment, Method, Schedule};

/// Which parts of the model an optimiser step moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moving {
    pub encoder: bool,
    pub heads: bool,
    pub alignments: bool,
}

/// Nothing stands still.
pub const EVERYTHING: Moving = Moving {
    encoder: true,
    heads: true,
    alignments: true,
};

/// The plan of a run of a known number of optimiser steps.
#[derive(Debug, Clone)]
pub struct Plan {
    schedule: Schedule,
    total: u64,
    warmup: f64,
    alternate_every: u64,
    /// `fixed_encoder`: the first step of the second phase.
    boundary: u64,
    /// The first step that moves the alignments.
    aligns_from: u64,
}

impl Plan {
    /// The plan for `total` optimiser steps; without alignment, everything moves always.
    pub fn new(method: Method, alignment: &Alignment, total: u64, warmup: f64) -> Plan {
        let schedule = match method {
            Method::Aligned => alignment.schedule,
            _ => Schedule::Joint,
        };
        let boundary = (alignment.encoder_share * total as f64).round() as u64;
        Plan {
            schedule,
            total,
            warmup,
            alternate_every: alignment.alternate_every,
            boundary: boundary.clamp(1, total.saturating_sub(1).max(1)),
            aligns_from: alignment.warmup_steps,
        }
    }

    /// What moves at `step`, counted from 0.
    pub fn moving(&self, step: u64) -> Moving {
        let scheduled = self.scheduled(step);
        Moving {
            alignments: scheduled.alignments && step >= self.aligns_from,
            ..scheduled
        }
    }

    fn scheduled(&self, step: u64) -> Moving {
        match self.schedule {
            Schedule::Joint => EVERYTHING,
            Schedule::FixedEncoder => Moving {
                encoder: step < self.boundary,
                heads: true,
                alignments: step >= self.boundary,
            },
            Schedule::Alternating => {
                let encoder = (step / self.alternate_every).is_multiple_of(2);
                Moving {
                    encoder,
                    heads: !encoder,
                    alignments: !encoder,
                }
            }
        }
    }

    /// Whether an evaluation after `steps` steps scores the model that the run is for: under
    /// `fixed_encoder`, one whose second phase has begun.
    pub fn counts(&self, steps: u64) -> bool {
        self.schedule != Schedule::FixedEncoder || steps > self.boundary || steps >= self.total
    }

    /// What people want to know where not every evaluation counts.
    pub fn note(&self) -> Option<String> {
        (!self.counts(0)).then(|| {
            format!(
                "fixed_encoder: evaluations count after step {}, when the encoder stands still and \
                 the alignments move",
                self.boundary
            )
        })
    }

    /// The steps of the evaluations that count among the first `steps` steps, every so many steps
    /// and at the end.
    pub fn counted(&self, every: u64, steps: u64) -> impl Iterator<Item = u64> + '_ {
        let regular = (1..=steps / every).map(move |n| n * every);
        let last = (steps == self.total && !steps.is_multiple_of(every)).then_some(steps);
        regular.chain(last).filter(|&step| self.counts(step))
    }

    /// The factor on every learning rate at `step`: up linearly over the warm-up, then down to 0,
    /// as transformers' `get_linear_schedule_with_warmup`; afresh in each phase of
    /// `fixed_encoder`.
    pub fn factor(&self, step: u64) -> f64 {
        let (first, last) = match self.schedule {
            Schedule::FixedEncoder if step < self.boundary => (0, self.boundary),
            Schedule::FixedEncoder => (self.boundary, self.total),
            _ => (0, self.total),
        };
        let (step, total) = ((step - first) as f64, (last - first) as f64);
        let warmup = (self.warmup * total).ceil();
        if step < warmup {
            step / warmup
        } else {
            ((total - step) / (total - warmup).max(1.0)).max(0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(schedule: Schedule) -> Plan {
        let alignment = Alignment {
            schedule,
            alternate_every: 3,
            encoder_share: 0.6,
            ..Alignment::default()
        };
        Plan::new(Method::Aligned, &alignment, 10, 0.2)
    }

    #[test]
    fn factor_equals_transformers_linear_schedule() {
        // transformers.get_linear_schedule_with_warmup(optimizer, 2, 10), lr 1.
        let expected = [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125];
        let plan = plan(Schedule::Joint);
        for (step, expected) in expected.into_iter().enumerate() {
            assert!((plan.factor(step as u64) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn fixed_encoder_trains_the_encoder_first_and_warms_up_twice() {
        let plan = plan(Schedule::FixedEncoder);
        assert!(plan.moving(5).encoder && !plan.moving(5).alignments);
        assert!(!plan.moving(6).encoder && plan.moving(6).alignments && plan.moving(6).heads);
        assert_eq!(plan.factor(0), 0.0);
        assert_eq!(plan.factor(6), 0.0);
        assert!(plan.factor(5) > 0.0 && plan.factor(5) < plan.factor(2));
    }

    #[test]
    fn fixed_encoder_counts_the_evaluations_of_its_second_phase() {
        let counted = |plan: &Plan, every, steps| plan.counted(every, steps).collect::<Vec<_>>();
        let fixed = plan(Schedule::FixedEncoder);
        // The encoder is trained for six of ten steps.
        assert_eq!(counted(&fixed, 3, 10), [9, 10]);
        assert_eq!(counted(&fixed, 2, 10), [8, 10]);
        assert_eq!(counted(&fixed, 1, 8), [7, 8]);
        let joint = plan(Schedule::Joint);
        assert_eq!(counted(&joint, 4, 10), [4, 8, 10]);
        assert_eq!(counted(&joint, 4, 9), [4, 8]);
        // A single step has one phase.
        let alignment = Alignment {
            schedule: Schedule::FixedEncoder,
            ..Alignment::default()
        };
        let short = Plan::new(Method::Aligned, &alignment, 1, 0.0);
        assert_eq!(counted(&short, 1, 1), [1]);
    }

    #[test]
    fn alternating_takes_turns() {
        let plan = plan(Schedule::Alternating);
        let turns: Vec<bool> = (0..9).map(|s| plan.moving(s).encoder).collect();
        assert_eq!(
            turns,
            [true, true, true, false, false, false, true, true, true]
        );
        assert!((0..9).all(|s| plan.moving(s).encoder != plan.moving(s).alignments));
    }

    #[test]
    fn plain_multitask_ignores_the_alignment_schedule() {
        let alignment = Alignment {
            schedule: Schedule::FixedEncoder,
            ..Alignment::default()
        };
        let plan = Plan::new(Method::Multitask, &alignment, 10, 0.0);
        assert!((0..10).all(|step| plan.moving(step) == EVERYTHING));
    }
}
